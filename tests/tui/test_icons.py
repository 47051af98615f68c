from __future__ import annotations

from types import SimpleNamespace

import pytest
from msgspec.structs import fields
from rich.cells import cell_len

from lmchat.tui.icons import ASCII, UNICODE, Icons, icons_for, in_ascii

NAMES = [field.name for field in fields(Icons)]


@pytest.mark.parametrize("name", NAMES)
def test_the_ascii_set_holds_only_ascii(name):
    assert getattr(ASCII, name).isascii()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("cut", "levels")])
def test_a_sign_takes_one_cell_in_both_sets(name):
    assert cell_len(getattr(UNICODE, name)) == cell_len(getattr(ASCII, name)) == 1


def test_both_sparks_have_eight_levels():
    assert len(UNICODE.levels) == len(ASCII.levels) == 8


@pytest.mark.parametrize("chosen", [UNICODE, ASCII])
def test_the_states_of_a_server_differ_without_colour(chosen):
    assert len({chosen.ready, chosen.degraded, chosen.down, chosen.off}) == 4


@pytest.mark.parametrize(("is_ascii", "chosen"), [(True, ASCII), (False, UNICODE)])
def test_the_setting_chooses_the_set(is_ascii, chosen):
    app = SimpleNamespace(has_class=lambda _: is_ascii)
    assert icons_for(SimpleNamespace(app=app)) is chosen


def test_our_words_keep_their_width_in_ascii():
    words = "● ready · ~24\u00a0tok – ‹2/3› ↑ ↓ …"
    assert in_ascii(words).isascii()
    assert cell_len(in_ascii(words)) == cell_len(words)
