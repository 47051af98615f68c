"""Keys from the bytes of a terminal: corrections of Textual's parser, and keys of widgets."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from textual import constants, events
from textual._xterm_parser import XTermParser
from textual.keys import Keys
from textual.message import Message
from textual.widget import Widget

from lmchat.tui.quirks.layouts import key_at_place

ESCAPE_DELAY_S = 0.03  # after a lone ESC: networks split sequences, people are slower
ASK_BACKGROUND = "\x1b]11;?\x1b\\"
_COLOUR = r"([0-9a-f])\w*/([0-9a-f])\w*/([0-9a-f])\w*"
_BACKGROUND = re.compile(rf"(?i)\x1b\]11;rgba?:{_COLOUR}[^\x07\x1b]*(?:\x07|\x1b\\)")
_LIGHT_FROM = 24  # sum of the first hexadecimal digits, of at most 45
_PASTE_START = "\x1b[200~"
_PASTE_END = "\x1b[201~"
# at the end of a read: a control sequence begins, or the answer to `ASK_BACKGROUND`
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*|\]1{0,2}|\]11;[^\x07\x1b]*\x1b?)\Z")
# Alt with arrows, Home, End, Delete, as rxvt, PuTTY and others send it
_ALT_ARROW = re.compile(r"\x1b\x1b[\[O]([A-DFH])")
_ALT_DELETE = re.compile(r"\x1b\x1b\[(\d{1,2})~")
_KEYPAD_OF_VT = {"\x1bOX": "\x1b[61u", "\x1bOl": "\x1b[44u", "\x1bOE": "\x1b[E"}  # = , and 5
# A sequence with a parameter is whole. Mouse events and reports of modes are no keys.
_WHOLE = re.compile(r"\x1b\[[0-?]+[ -/]*(?!(?<=\$)y)[@-LN-ln-~]")
# an answer to another program, such as an ended editor
_REPLY = re.compile(r"\x1b[P\]_][^\x00-\x1f\x7f]{2,}(?:\x07|\x1b\\)")
_ALT_KEY = re.compile(r"\x1b([^\x1b\[\]O])", re.DOTALL)  # these begin other sequences
# of kitty: text of several code points; Textual gives up after 32 bytes
_LONG_TEXT = re.compile(r"\x1b\[([\d:]*;\d*);(\d+(?::\d+)+)u")
# of kitty: code, with Shift, at the place on a US keyboard; modifiers; text
_KITTY_KEY = re.compile(r"\x1b\[(\d{1,7})(?::(\d{0,7}))?(?::(\d{0,7}))?(?:;(\d{0,3}))?(?:;(\d*))?u")
_XTERM_KEY = re.compile(r"\x1b\[27;(\d{1,3});(\d{1,7})~")  # modifiers, code: modifyOtherKeys
_SHIFT, _ALT, _CTRL, _CAPS, _LOCKS = 1, 2, 4, 64, 192  # bits of the modifiers
_ENTER, _BACKSPACE = 13, 127
_WITHOUT_TEXT = (9, _ENTER, 27, _BACKSPACE)  # Tab, Enter, Esc, Backspace
_KEYPAD = dict(zip(range(57399, 57417), b"0123456789./*-+\r=,", strict=True))
_PRIVATE = range(0xE000, 0xF900)  # kitty's keys without a character
_KITTY_KEYS = "".join(map(chr, range(0xE000, 0xE06F)))  # those that are in use
_REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_NO_TEXT = ("Cc", "Cs", "Zl", "Zp")  # categories of Unicode
TEXTUAL_IS_PRINTABLE = events.Key.is_printable  # before `mend_typing`


def hand_over(event: events.Key | events.Paste, widget: Widget) -> None:
    """Send a key or a paste to another widget than the one that has got it."""
    event.stop()
    event.prevent_default()
    # after `prevent_default`, no widget handles the old event
    if isinstance(event, events.Key):
        widget._forward_event(events.Key(event.key, event.character))
    else:
        widget._forward_event(events.Paste(event.text))


def is_typed_text(text: str) -> bool:
    """Whether the text of a key is typed: letters, blanks, joiners, marks, new emoji.

    `str.isprintable` is false for the blanks of many languages, joiners and selectors, and letters
    newer than Python's tables. No text: controls, lone surrogates, line separators, what reorders a
    line, and what kitty sends for keys such as Shift.
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
    """Textual's parser, which knows other layouts, and never cuts a sequence or paste in two.

    For a key with a modifier, the place on the keyboard decides, and locks do not. Alt+Enter is
    Enter for Textual, and Alt+1 is `¡`: https://github.com/Textualize/textual/pull/6577

    Textual would type the rest of a sequence that comes late, and the text after an ESC in a paste,
    in which a line end would send the prompt.
    """

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._held = ""  # of a paste or sequence, whose end comes later

    @property
    def wait_s(self) -> float | None:
        """Seconds after which `tick` takes an ESC for a key."""
        return None if self._timeout_time is None else constants.ESCAPE_DELAY

    def feed(self, data: str) -> Iterator[Message]:
        # An ESC that was read before begins a sequence with `[` or `O`, even if they come late.
        # Else `tick` makes a key of it in time.
        if not data.startswith(("[", "O")):
            yield from self.tick()
        text = self._held + data
        self._held = ""
        while text:  # what was typed, and the paste behind it
            typed, start, rest = text.partition(_PASTE_START)
            pasted, end, text = rest.partition(_PASTE_END)
            if start and not end:  # its end is not there yet
                self._held = start + pasted
            elif not start and (unfinished := _UNFINISHED.search(typed)):
                self._held = unfinished[0]
                typed = typed.removesuffix(self._held)
            if match := _BACKGROUND.search(typed):
                brightness = sum(int(digit, 16) for digit in match.groups())
                yield BackgroundReported(is_dark=brightness < _LIGHT_FROM)
                typed = typed.replace(match[0], "")
            typed = _REPLY.sub("", typed)
            if typed:  # empty data would end Textual's parser
                typed = _ALT_DELETE.sub("\x1b[\\1;3~", _ALT_ARROW.sub("\x1b[1;3\\1", typed))
                yield from super().feed(_LONG_TEXT.sub(_one_by_one, typed))
            if end:  # terminals send line ends as CR
                lines = pasted.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")
                yield events.Paste(lines)

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        """Return the keys of a sequence, none if it is unfinished.

        ESC and a character become Alt with this key at once: Textual would take the next letters
        for a part of the sequence.
        """
        sequence = _KEYPAD_OF_VT.get(sequence, sequence)
        kitty_form = _XTERM_KEY.sub("\x1b[\\2;\\1u", _ALT_KEY.sub(_with_alt, sequence))
        key = _KITTY_KEY.fullmatch(kitty_form)
        try:
            usual_form = _usual_form(key) if key else kitty_form
            keys = list(super()._sequence_to_key_events(usual_form, alt))
        except (ValueError, OverflowError):  # an impossible number would end the app
            return [events.Key(Keys.Ignore, sequence)]
        if key:
            is_unknown = bool(not key[5] and keys and ord(keys[0].key[-1]) in _PRIVATE)
        else:  # Textual would type its characters, or that with the code in it
            is_typed = bool(keys and keys[0].character)
            is_unknown = (is_typed or not keys) and bool(_WHOLE.fullmatch(sequence))
        if is_unknown:
            return [events.Key(Keys.Ignore, sequence)]
        return [events.Key(key.key, None) for key in keys] if alt else keys  # Alt types nothing


def _one_by_one(key: re.Match[str]) -> str:
    return "".join(f"\x1b[{key[1]};{code}u" for code in key[2].split(":"))


def _with_alt(key: re.Match[str]) -> str:
    """Write a key behind ESC as kitty sends Alt with it."""
    char = key[1]
    code = ord(char.lower()) if len(char.lower()) == 1 else ord(char)
    bits = _ALT | (_SHIFT if char.isupper() else 0)
    if char in "\n\b":
        code = _ENTER if char == "\n" else _BACKSPACE
    elif char < " " and code not in _WITHOUT_TEXT:
        code, bits = ord(chr(code + 64).lower()), bits | _CTRL
    return f"\x1b[{code};{bits + 1}u"


def _usual_form(key: re.Match[str]) -> str:
    """Write a key of kitty as Textual expects it: with its text, or its place on a keyboard.

    Terminals may send no text, the code of a capital, or a text with Alt. Raises `ValueError` for
    codes of no character.
    """
    code, shifted, base, modifiers = (int(number or 0) for number in key.group(1, 2, 3, 4))
    code = _KEYPAD.get(code, code)
    bits = max(modifiers - 1, 0)
    is_caps, bits = bool(bits & _CAPS), bits & ~_LOCKS
    has_shift, chord = bool(bits & _SHIFT), bits & ~_SHIFT
    char, text = chr(code), key[5] or ""
    if char < " " and not text and code not in _WITHOUT_TEXT:
        raise ValueError(code)
    if text and chord and not (chord & _ALT and chord & _CTRL):  # AltGr may be Ctrl and Alt
        is_of_key = chr(int(text)).lower() == char.lower() or int(text) == shifted
        text = "" if chord != _ALT or is_of_key else text
    if text:
        bits &= _SHIFT  # the others made this text
    elif code in _PRIVATE or code in _WITHOUT_TEXT:
        pass
    elif not chord:
        if has_shift and shifted and not (is_caps and char.isalpha()):
            char = chr(shifted)
        elif has_shift != is_caps and len(char.upper()) == 1:
            char = char.upper()
        text = str(ord(char)) if is_typed_text(char) else ""
    elif has_shift and chr(shifted).isdecimal():  # as in France, where Shift types the figures
        code, bits = shifted, chord
    else:
        lower = char.lower()
        code = ord(key_at_place(lower if len(lower) == 1 else char, chr(base) if base else ""))
    return f"\x1b[{code};{bits + 1};{text}u" if bits or text else f"\x1b[{code}u"


# keys with Ctrl without a protocol of keys; they have no other meaning here
_CONTROLS = {
    "ctrl+h": "backspace",
    "ctrl+i": "tab",
    "ctrl+m": "enter",
    "ctrl+left_square_bracket": "escape",
    "ctrl+@": "space",
}
_PLAIN = {
    "backspace": "\x7f",
    "delete": None,
    "enter": "\r",
    "escape": "\x1b",
    "space": " ",
    "tab": "\t",
}


def without_idle_modifiers(event: events.Key, is_bound: Callable[[str], bool]) -> events.Key:
    """Drop the modifiers of a key if no command is bound to it with them."""
    key = event.key
    *modifiers, name = key.split("+")
    if is_bound(key) or not ((name in _PLAIN and modifiers) or key in _CONTROLS):
        return event
    with_one = (f"{modifier}+{name}" for modifier in modifiers)
    key = _CONTROLS.get(key) or next(filter(is_bound, with_one), name)
    plain = events.Key(key, _PLAIN.get(key))
    plain.time = event.time
    return plain


def patch_keys() -> None:
    """Let Textual wait less after ESC. This is global, so it is called once."""
    if "ESCDELAY" not in os.environ:
        setattr(constants, "ESCAPE_DELAY", ESCAPE_DELAY_S)  # noqa: B010 - for mypy
