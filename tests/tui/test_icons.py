from __future__ import annotations

from types import SimpleNamespace

from msgspec.structs import fields
from rich.cells import cell_len

from lmchat.tui.icons import icons_for
from lmchat.units import ASCII, UNICODE, Icons, in_ascii


def test_a_sign_takes_one_cell_in_both_sets_and_the_ascii_set_holds_only_ascii():
    for name in (field.name for field in fields(Icons)):
        assert getattr(ASCII, name).isascii(), name
        if name not in ("cut", "levels"):
            assert cell_len(getattr(UNICODE, name)) == cell_len(getattr(ASCII, name)) == 1, name
    assert len(UNICODE.levels) == len(ASCII.levels) == 8


def test_the_setting_chooses_the_set_and_states_of_a_server_differ_without_colour():
    for is_ascii, chosen in ((True, ASCII), (False, UNICODE)):
        app = SimpleNamespace(has_class=lambda _, is_ascii=is_ascii: is_ascii)
        assert icons_for(SimpleNamespace(app=app)) is chosen
        assert len({chosen.ready, chosen.degraded, chosen.down, chosen.off}) == 4


def test_our_words_keep_their_width_in_ascii():
    words = "● ready · ~24\u00a0tok – ‹2/3› ↑ ↓ …"
    assert in_ascii(words).isascii()
    assert cell_len(in_ascii(words)) == cell_len(words)
