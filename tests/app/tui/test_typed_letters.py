"""Letters and blanks that Python does not call printable can be typed everywhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from textual import events

from lmchat.app.tui.quirks.keys import (
    TEXTUAL_IS_PRINTABLE,
    KeyParser,
    Paste,
    is_typed_text,
    mend_typing,
)

mend_typing()

BLANKS = "\u3000\u00a0\u202f\u2009"
JOINERS = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\ufe0f\ufe0e\U000e0101"
MARKS = "\u0301\u0e31\u0951"
EMOJI = "\U0001f468\U0001f3fd\U0001fae9\U000e0067"  # a skin tone, a new one, a tag of a flag
NEW = "\U0001c800\ua7d5\u0378"  # not in every table of Unicode
OWN = "\uf8ff\ue0b0"  # the apple of macOS, a sign of a prompt font
TYPED = BLANKS + JOINERS + MARKS + EMOJI + NEW + OWN
CONTROLS = "\x00\x07\x1b\x7f\x80\x85\x9b\u2028\u2029\u202e\u2066\ud800\udfff\ue00e"


def typed(*reads: str) -> str:
    parser = KeyParser()
    keys = [event for data in reads for event in parser.feed(data)]
    return "".join(
        key.text if isinstance(key, Paste) else key.character or ""
        for key in keys
        if isinstance(key, Paste) or (isinstance(key, events.Key) and key.is_printable)
    )


def test_textual_still_takes_blanks_and_joiners_for_no_text():
    for char in "\u3000\u200d\ufeff":
        key = events.Key("a key", char)
        assert not TEXTUAL_IS_PRINTABLE.fget(key)
        assert key.is_printable


def test_each_letter_is_typed_alone_together_and_as_a_key_of_kitty():
    assert typed(TYPED) == TYPED
    for char in TYPED:
        code = ord(char)
        assert typed(char) == char, hex(code)
        assert typed(f"\x1b[0;;{code}u") == typed(f"\x1b[97;1;{code}u") == char, hex(code)
        if char not in OWN:
            assert typed(f"\x1b[{code}u") == char, hex(code)
    codes = ":".join(str(ord(char)) for char in TYPED)
    assert typed(f"\x1b[0;;{codes}u") == TYPED
    assert typed("\x1b[32;3;160u") == "\u00a0"  # Option and Space
    assert is_typed_text(TYPED)


def test_what_is_no_text_is_not_typed():
    for char in CONTROLS:
        assert not is_typed_text(char), hex(ord(char))
        assert not is_typed_text(f"a{char}")
        assert typed(f"\x1b[97;;{ord(char)}u") == "", hex(ord(char))
    for code in (57344, 57358, 57441, 57454, 57500, 63743, 1, 27, 128, 155, 55296, 8232):
        assert typed(f"\x1b[{code}u") == typed(f"\x1b[{code};5u") == "", code
    assert typed("\x1b[57399u") == "0"  # of the keypad
    assert not is_typed_text("")
    assert not events.Key("up", None).is_printable


@given(st.characters(exclude_categories=("Cc", "Cs", "Co", "Zl", "Zp")))
def test_any_other_letter_is_typed(char):
    if (
        char not in CONTROLS
        and not "\u202a" <= char <= "\u202e"
        and not "\u2066" <= char <= "\u2069"
    ):
        assert typed(char) == char
