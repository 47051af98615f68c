"""Keys from the bytes of a terminal: corrections of Textual's parser, and keys of widgets."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any, cast

from textual import constants, events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser
from textual.keys import Keys
from textual.message import Message
from textual.widget import Widget

ESCAPE_DELAY_S = 0.03  # wait after a lone ESC: networks split sequences, people are slower
ASK_BACKGROUND = "\x1b]11;?\x1b\\"
_COLOUR = r"([0-9a-f])\w*/([0-9a-f])\w*/([0-9a-f])\w*"
_BACKGROUND = re.compile(rf"(?i)\x1b\]11;rgba?:{_COLOUR}[^\x07\x1b]*(?:\x07|\x1b\\)")
_LIGHT_FROM = 24  # sum of the first hexadecimal digits of a light background, of at most 45
_PASTE_START = "\x1b[200~"
_PASTE_END = "\x1b[201~"
# at the end of a read: the beginning of a control sequence, or of the answer to `ASK_BACKGROUND`
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*|\]1{0,2}|\]11;[^\x07\x1b]*\x1b?)\Z")
_OTHER_ENTER = re.compile(r"\x1b\[27;(\d);13~")  # with a modifier, under modifyOtherKeys
_ALT_ARROW = re.compile(r"\x1b\x1b[\[O]([A-D])")  # as rxvt, PuTTY and others send it
_ALT_LETTER = re.compile(r"\x1b[^\W\d_O]")  # ESC and O begin cursor keys


# of kitty: a key whose text has several code points. Textual gives up after 32 bytes of a sequence.
_LONG_TEXT = re.compile(r"\x1b\[([\d:]*;\d*);(\d+(?::\d+)+)u")
_PLAIN_KEY = re.compile(r"\x1b\[(\d{1,7})(?::[\d:]*)?(?:;1?)?u")  # of kitty, without modifiers
_PRIVATE = range(0xE000, 0xF900)  # codes that kitty uses for keys without a character
_KITTY_KEYS = "".join(map(chr, range(0xE000, 0xE06F)))  # those that are in use
_REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_NO_TEXT = ("Cc", "Cs", "Zl", "Zp")  # categories of Unicode
TEXTUAL_IS_PRINTABLE = events.Key.is_printable  # before `mend_typing`


def hand_over(event: events.Key | events.Paste, widget: Widget) -> None:
    """Send a key or a paste to another widget than the one that has got it.

    So a letter that is typed while the log or the welcome page has the keys goes into the prompt.
    """
    event.stop()
    event.prevent_default()
    # as a new event: after `prevent_default`, no widget handles the old one any more
    if isinstance(event, events.Key):
        widget._forward_event(events.Key(event.key, event.character))
    else:
        widget._forward_event(events.Paste(event.text))


def is_typed_text(text: str) -> bool:
    """Return whether the text of a key is typed: letters, blanks, joiners, marks, new emoji.

    `str.isprintable` is false for the blanks of many languages, for joiners and selectors, and for
    letters that are newer than Python's tables. Control characters are no text, nor are lone
    surrogates, line separators, what reorders a line, and what kitty sends for keys such as Shift.
    """
    return bool(text) and not any(
        unicodedata.category(char) in _NO_TEXT or char in _REORDERING or char in _KITTY_KEYS
        for char in text
    )


def mend_typing() -> None:
    """Let all widgets of Textual take for text what `is_typed_text` does; twice does no harm."""

    def is_printable(key: events.Key) -> bool:
        return key.character is not None and is_typed_text(key.character)

    setattr(events.Key, "is_printable", property(is_printable))  # noqa: B010 - for mypy


class BackgroundReported(Message):
    """The terminal has answered `ASK_BACKGROUND`."""

    def __init__(self, *, is_dark: bool) -> None:
        super().__init__()
        self.is_dark = is_dark


class KeyParser(XTermParser):
    """Textual's parser, for which pastes and control sequences are never cut between two reads.

    Textual's own parser would type the rest of a sequence that comes late, and the text after an
    ESC in a paste. A line end in such a text would send the prompt.
    """

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._held = ""  # the beginning of a paste or sequence, whose end comes with a later read

    @property
    def wait_s(self) -> float | None:
        """The seconds after which `tick` takes an ESC for a key; None if there is none."""
        return None if self._timeout_time is None else constants.ESCAPE_DELAY

    def feed(self, data: str) -> Iterator[Message]:
        """Yield the events of one read, which may be none.

        They are keys, pastes, and the answer of the terminal to the question for its background.
        """
        # An ESC that was read before may be a key, or begin a sequence. With `[` or `O` it is a
        # sequence, even if they come late. Otherwise `tick` makes a key of it, if its time is over.
        if not data.startswith(("[", "O")):
            yield from self.tick()
        text = self._held + data
        self._held = ""
        while text:  # each pass takes what was typed, and the paste behind it, if any
            typed, start, rest = text.partition(_PASTE_START)
            pasted, end, text = rest.partition(_PASTE_END)
            if start and not end:  # the end of the paste is not there yet
                self._held = start + pasted
            elif not start and (unfinished := _UNFINISHED.search(typed)):
                self._held = unfinished[0]
                typed = typed.removesuffix(self._held)
            if match := _BACKGROUND.search(typed):
                brightness = sum(int(digit, 16) for digit in match.groups())
                yield BackgroundReported(is_dark=brightness < _LIGHT_FROM)
                typed = typed.replace(match[0], "")
            if typed:  # empty data would end Textual's parser
                typed = _LONG_TEXT.sub(_one_by_one, _ALT_ARROW.sub("\x1b[1;3\\1", typed))
                yield from super().feed(typed)
            if end:  # terminals send line ends as CR
                lines = pasted.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")
                yield events.Paste(lines)

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        """Return the keys of a sequence, none if it is unfinished.

        ESC and a letter become Alt with this letter at once. Textual would wait, and take the next
        letters for a part of the sequence.
        """
        try:
            # Enter with a modifier comes in two forms; Textual knows only this one
            usual_form = _OTHER_ENTER.sub("\x1b[13;\\1u", sequence)
            keys = list(super()._sequence_to_key_events(usual_form, alt))
        except (ValueError, OverflowError):  # an impossible number; the error would end the app
            return [events.Key(Keys.Ignore, sequence)]
        if (match := _PLAIN_KEY.fullmatch(sequence)) and len(keys) == 1:
            return [_with_character(keys[0], int(match[1]))]
        if not keys and _ALT_LETTER.fullmatch(sequence):
            return super()._sequence_to_key_events(sequence[1], alt=True)
        return keys


def _one_by_one(key: re.Match[str]) -> str:
    """Return a key of kitty as one key for each code point of its text."""
    return "".join(f"\x1b[{key[1]};{code}u" for code in key[2].split(":"))


def _with_character(key: events.Key, code: int) -> events.Key:
    """Return a key of kitty with its character, which is its code, if it has one.

    A terminal that sends no text with its keys means this character. Textual gives a key its
    character only if that is its name, and then also if the code is one of `_PRIVATE`.
    """
    if code in _PRIVATE:
        return events.Key(Keys.Ignore, None) if key.key == chr(code) else key
    if key.character is None and code < sys.maxunicode and is_typed_text(chr(code)):
        return events.Key(key.key, chr(code))
    return key


def mend_keys() -> None:
    """Let Textual wait less after ESC, and correct its table: Alt+Enter is Enter there, Alt+1 `¡`.

    Both are global in Textual, so this is called once, before the app runs.

    https://github.com/Textualize/textual/pull/6577
    """
    if "ESCDELAY" not in os.environ:
        setattr(constants, "ESCAPE_DELAY", ESCAPE_DELAY_S)  # noqa: B010 - for mypy
    # its values are tuples of enumeration members, of which Textual uses only the `value`
    table = cast("dict[str, Any]", ANSI_SEQUENCES_KEYS)
    table |= {f"\x1b{digit}": (SimpleNamespace(value=f"alt+{digit}"),) for digit in range(10)}
    table |= {f"\x1b{end}": (SimpleNamespace(value="alt+enter"),) for end in "\r\n"}
