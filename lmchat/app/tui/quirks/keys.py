"""Keys from the bytes of a terminal: corrections of Textual's parser, and keys of widgets."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from io import StringIO
from itertools import groupby
from time import monotonic

from textual import constants, events
from textual._xterm_parser import XTermParser
from textual.keys import Keys
from textual.message import Message

from lmchat.app.terminal.tty import LONGEST_WAIT_S, PASTE_END, PASTE_START
from lmchat.app.tui.quirks.layouts import key_at_place
from lmchat.base.safe_text import with_line_feeds

# after a lone ESC: networks split sequences, people are slower
ESCAPE_DELAY_S = constants.ESCAPE_DELAY if "ESCDELAY" in os.environ else 0.03
MOST_PASTED = 8_000_000  # characters of a paste; the next ones are another
ASK_BACKGROUND = "\x1b]11;?\x1b\\"
ASK_KITTY = "\x1b[?u"
_COLOUR = r"([0-9a-f])\w*/([0-9a-f])\w*/([0-9a-f])\w*"
_BACKGROUND = rf"(?i)\x1b\]11;rgba?:{_COLOUR}[^\x07\x1b]*(?:\x07|\x1b\\)"
_LOOKS_REPORT = "\x1b[?997;"  # of mode 2031; the background may still be another
_LIGHT_FROM = 24  # sum of the first hexadecimal digits, of at most 45
_MARKS = (PASTE_START, PASTE_END)
_ESCAPE = "\x1b"
_AFTER_ESCAPE = ("[", "O", "]", "P", "_")  # these start a sequence
_STOPS = ("ctrl+c", "escape")
_LONGEST_KEY = 32  # characters that Esc, Ctrl+C or Enter may have
# at the end of a read: ESC, or the beginning of a sequence or of the answer to `ASK_BACKGROUND`
_UNFINISHED = (
    r"\x1b(?:\[(?:\[?[0-?]{0,4096}|\?[\d;]{0,9}\$|M.{0,2})"
    r"|O|\]1{0,2}|\]11;[A-Ga-gr\d:/]{0,40}\x1b?)?\Z"
)
# what is behind it is a key of its own
_BROKEN_OFF = r"\x1b\[[0-?]*(?=[\x00-\x1f\x7f])|\x1b\]11;[A-Ga-gr\d:/]*(?![A-Ga-gr\d:/\x07\x1b])"
# Alt with arrows, Home, End, Delete, as rxvt, PuTTY and others send it
_ALT_ARROW = r"\x1b\x1b[\[O]([A-DFH])"
_ALT_DELETE = r"\x1b\x1b\[(\d{1,2})~"
_KEYPAD_OF_VT = {"\x1bOX": "\x1b[61u", "\x1bOl": "\x1b[44u", "\x1bOE": "\x1b[E"}  # = , and 5
# A whole sequence; `ESC [ [` starts one on the Linux console. Mouse events and reports of modes are
# no keys.
_WHOLE = r"\x1b\[(?!\[)[0-?]*[ -/]*(?!(?<=\$)y)[@-LN-ln-~]"
# all of a sequence but its ESC, of a form that no word has, and nothing else but another sequence
_LATE_REST = (
    r"\A(?:\[\[?[A-IO-SZ]|\[[<?]?\d[\d;:]*[ -/]*[A-Za-z~]|[]P_][^\x00-\x1f\x7f]*(?:\x07|\x1b\\))"
    r"(?=\x1b|\Z)"
)
# Esc, and text behind it that begins no sequence; behind ESC, one character is Alt with it
_ESCAPE_AND_TEXT = r"\x1b(?![][]|O[A-FHMP-SXl]|P[\d>!]|_G)(?=[^\x00-\x1f\x7f]{2})"
_BLANK_KEYS = {"enter": "\r", "ctrl+j": "\n", "tab": "\t"}  # keys that may be text
_BLANKS = "".join(_BLANK_KEYS.values())
_TEXT = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+"  # without controls, but with these
_CUT_AT = 1000  # characters of a read, from which a system may have cut a paste in pieces
_KITTY_FLAGS = r"\x1b\[\?(\d{1,3})u"  # the answer to `ASK_KITTY`
# an answer to another program, such as an ended editor
_REPLY = r"\x1b[P\]_][^\x00-\x1f\x7f]{2,}(?:\x07|\x1b\\)"
_ALT_KEY = r"(?s)\x1b([^\x1b\[\]O])"  # these start other sequences
# of kitty: text of several code points; Textual gives up after 32 bytes
_LONG_TEXT = r"\x1b\[([\d:]*;\d*);(\d+(?::\d+)+)u"
# of kitty: code, with Shift, at the place on a US keyboard; modifiers; text
_KITTY_KEY = r"\x1b\[(\d{1,7})(?::(\d{0,7}))?(?::(\d{0,7}))?(?:;(\d{0,3}))?(?:;(\d*))?u"
_XTERM_KEY = r"\x1b\[27;(\d{1,3});(\d{1,7})~"  # modifiers, code: modifyOtherKeys
_SHIFT, _ALT, _CTRL, _CAPS, _LOCKS = 1, 2, 4, 64, 192  # bits of the modifiers
_ENTER = 13
_BACKSPACE = 127
_WITHOUT_TEXT = (9, _ENTER, 27, _BACKSPACE)  # Tab, Enter, Esc, Backspace
_KEYPAD = dict(zip(range(57399, 57417), b"0123456789./*-+\r=,", strict=True))
_PRIVATE = range(0xE000, 0xF900)  # kitty's keys without a character
_KITTY_KEYS = "".join(map(chr, range(0xE000, 0xE06F)))  # those that are in use
_REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_NO_TEXT = ("Cc", "Cs", "Zl", "Zp")  # categories of Unicode
TEXTUAL_IS_PRINTABLE = events.Key.is_printable  # before `mend_typing`


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


class Paste(events.Paste):
    """Text that came together; Textual finds handlers by the name of this class."""

    def __init__(self, text: str, *, is_marked: bool = True, is_whole: bool = True) -> None:
        """Line ends are CR, as from a terminal; `is_marked` is whether it called this a paste."""
        super().__init__(with_line_feeds(text.replace("\x00", "")))
        self.is_marked = is_marked
        self.is_whole = is_whole  # the mark of its end has come, if it has marks


class BackgroundReported(Message):
    """The terminal has answered `ASK_BACKGROUND`."""

    def __init__(self, *, is_dark: bool) -> None:
        super().__init__()
        self.is_dark = is_dark


class LooksReported(Message):
    """The terminal has become light or dark."""


class KeyParser(XTermParser):
    """Textual's parser, which knows other layouts, and waits for the end of a sequence or paste.

    For a key with a modifier, the place on the keyboard decides, and locks do not. Alt+Enter is
    Enter for Textual, and Alt+1 is `¡`: https://github.com/Textualize/textual/pull/6577

    Textual would type the rest of a sequence that comes late, and the text after an ESC in a paste,
    in which a line end would send the prompt. Each wait is limited, and Esc or Ctrl+C in a read of
    its own ends it. Until the mark at the end of a paste comes, all text is part of it, and Enter,
    too, unless it comes alone and nothing follows in time. A lone ESC is no key in the protocol of
    kitty, where Esc is `ESC [27u`; elsewhere, what has the form of its rest is dropped if nothing
    else came between.

    Characters that come in one read are a piece of text, with the Enter and Tab in front of and
    between them: a paste without marks, or what was typed over a slow network. A character that
    comes alone is a key, and so are Enter and Tab at the end of one line.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._now = now
        self.wait_s: float | None = None  # from the last read on, until `tick` ends the wait
        self._read_s = 0.0
        self._held = ""  # of a sequence, or of the mark that ends the paste
        self._paste: StringIO | None = None  # the paste that arrives
        self._lacks_mark = False  # the mark at the end of the last paste has not come
        self._is_escape = False  # the end of `_held` is Esc, if nothing follows it at once
        self._has_kitty = False  # the terminal has told that it uses the protocol of kitty
        self._late = ""  # ESC, or the beginning of a mark, for whose rest the wait has ended
        self._is_cut = False  # the last read may have been a part of a paste without marks

    def tick(self) -> Iterator[Message]:
        """End a wait that has been too long: an ESC is a key, a paste is text, all else nothing."""
        if self.wait_s is not None and self._now() >= self._read_s + self.wait_s:
            yield from self.end_wait()

    def end_wait(self) -> Iterator[Message]:
        held = self._held
        paste = self._paste
        self.wait_s = None
        self._held = ""
        self._paste = None
        begun = "".join(held.rpartition(_ESCAPE)[1:])
        self._late = begun if any(mark.startswith(begun) for mark in _MARKS) else ""
        if paste is not None:
            self._lacks_mark = True
            paste.write(held.removesuffix(self._late))
            yield Paste(paste.getvalue(), is_whole=False)
        elif held == "\r":
            self._lacks_mark = False
            yield events.Key("enter", "\r")
        elif held == "\x1bO" and not self._has_kitty:
            yield from self._sequence_to_key_events("\x1b[111;4u")
        if self._is_escape:
            yield events.Key("escape", _ESCAPE)

    def feed(self, data: str) -> Iterator[Message]:
        found = [*self._fed(data)]
        chars = sum(len(_text_of(one).strip(_BLANKS + "\ufffd")) for one in found)
        for is_text, group in groupby(found, lambda one: bool(_text_of(one))):
            run: list[Message | str] = [*group]
            text = "".join(map(_text_of, run)) if is_text else ""
            line = text.rstrip(_BLANKS)
            is_rest = is_text and self._lacks_mark
            if is_rest or (line and (self._is_cut or re.search("[\r\n]", line))):
                line = text
            if is_rest or (line and max(chars, len(line)) > 1):
                yield Paste(line, is_marked=False)
                run = [text[len(line) :]]
            for one in run:
                if isinstance(one, Message):
                    yield one
                elif one:  # "" would end Textual's parser
                    yield from super().feed(one)
        self._is_cut = len(data) >= _CUT_AT

    def _fed(self, data: str) -> Iterator[Message | str]:
        """Yield characters that are no part of a sequence as texts."""
        # An ESC that was read before starts a sequence with `[` or `O`, even if they come late.
        # Else `tick` makes a key of it in time.
        if not data.startswith(("[", "O")):
            yield from self.tick()
        late = self._late
        self._late = ""
        has_begun = self._lacks_mark and not self._is_escape and PASTE_END.startswith(late + data)
        if has_begun or (late + data).startswith(_MARKS):
            data = late + data
        elif late == _ESCAPE:
            data = re.sub(_LATE_REST, "", data)
        if self._held == _ESCAPE and self._paste is None and self._has_kitty:
            self._held = _ESCAPE if data.startswith(_AFTER_ESCAPE) else ""
        alone = data.removeprefix("\ufffd")  # half a character before it
        is_enter_held = self._paste is None and self._held == "\r"
        if self.wait_s is not None and not is_enter_held and self._keys_in(alone) in _STOPS:
            yield from self.end_wait()
        text = self._held + data
        self._held = ""
        if self._lacks_mark:
            pasted, end, rest = text.partition(PASTE_END)
            if end:
                self._lacks_mark = False
                yield Paste(pasted.replace(PASTE_START, ""))
                text = rest
            elif self._keys_in(text.removeprefix("\ufffd")) == "enter":
                self._held, text = "\r", ""  # of the paste, or the user's, if nothing follows it
        while text:  # what was typed, and the paste behind it
            if self._paste is None:
                typed, start, text = text.partition(PASTE_START)
                if start:
                    self._paste = StringIO()
                    self._lacks_mark = False
                elif unfinished := re.search(_UNFINISHED, typed):
                    self._held = unfinished[0]
                    typed = typed.removesuffix(self._held)
                yield from self._keys_of(typed)
            else:
                pasted, end, text = text.partition(PASTE_END)
                if not end:
                    self._held = pasted[1 - len(PASTE_END) :]
                    pasted = pasted.removesuffix(self._held)
                self._paste.write(pasted)
                if end or self._paste.tell() > MOST_PASTED:
                    yield Paste(self._paste.getvalue())
                    self._paste = None if end else StringIO()
        self._read_s = self._now()
        is_waiting = self._held or self._paste is not None
        is_escape = alone == _ESCAPE or (self._paste is None and self._held == _ESCAPE)
        is_short = not self._has_kitty and (is_escape or self._held == "\x1bO")
        self._is_escape = is_escape and is_short
        delay_s = ESCAPE_DELAY_S if is_short else LONGEST_WAIT_S
        self.wait_s = delay_s if is_waiting else None

    def _keys_in(self, data: str) -> str:
        """Return the names of the keys of a short sequence; ESC alone may also start one."""
        if data == _ESCAPE or len(data) > _LONGEST_KEY:
            return ""
        return " ".join(key.key for key in self._sequence_to_key_events(data))

    def _keys_of(self, typed: str) -> Iterator[Message | str]:
        """Yield keys and answers of the terminal; what is unfinished is typed."""
        if match := re.search(_BACKGROUND, typed):
            brightness = sum(int(digit, 16) for digit in match.groups())
            yield BackgroundReported(is_dark=brightness < _LIGHT_FROM)
        if flags := re.search(_KITTY_FLAGS, typed):
            self._has_kitty = bool(int(flags[1]) & 1)
        if _LOOKS_REPORT in typed:
            yield LooksReported()
        # what is before and behind an answer is no sequence; "" would end Textual's parser
        for part in filter(None, re.split(_REPLY, re.sub(_BROKEN_OFF, "", typed))):
            for number, keys in enumerate(re.split(_ESCAPE_AND_TEXT, part)):
                if number:
                    yield events.Key("escape", _ESCAPE)
                yield from self._parsed(keys)

    def _parsed(self, keys: str) -> Iterator[Message | str]:
        if not keys or re.fullmatch(_TEXT, keys):
            yield keys
            return
        keys = re.sub(_ALT_DELETE, "\x1b[\\1;3~", re.sub(_ALT_ARROW, "\x1b[1;3\\1", keys))
        yield from super().feed(re.sub(_LONG_TEXT, _one_by_one, keys))
        if self._timeout_time is not None:  # no more of this sequence comes
            self._timeout_time = 0.0
            yield from super().tick()

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        """Return the keys of a sequence, none if it is unfinished.

        ESC and a character become Alt with this key at once: Textual would take the next letters
        for a part of the sequence.
        """
        sequence = _KEYPAD_OF_VT.get(sequence, sequence)
        kitty_form = re.sub(_XTERM_KEY, "\x1b[\\2;\\1u", re.sub(_ALT_KEY, _with_alt, sequence))
        key = re.fullmatch(_KITTY_KEY, kitty_form)
        try:
            usual_form = _usual_form(key) if key else kitty_form
            keys = list(super()._sequence_to_key_events(usual_form, alt))
        except (ValueError, OverflowError):  # an impossible number would end the app
            return [events.Key(Keys.Ignore, sequence)]
        if key:
            is_unknown = bool(not key[5] and keys and ord(keys[0].key[-1]) in _PRIVATE)
        else:  # Textual would type its characters, or that with the code in it
            is_typed = bool(keys and keys[0].character)
            is_unknown = (is_typed or not keys) and bool(re.fullmatch(_WHOLE, sequence))
        if is_unknown:
            return [events.Key(Keys.Ignore, sequence)]
        return [events.Key(key.key, None) for key in keys] if alt else keys  # Alt types nothing


def _text_of(found: Message | str) -> str:
    """Return the text that a part of a read may be, or ""."""
    if isinstance(found, str):
        return found
    if not isinstance(found, events.Key):
        return ""
    return _BLANK_KEYS.get(found.key) or (found.character or "" if found.is_printable else "")


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
    is_caps = bool(bits & _CAPS)
    bits = bits & ~_LOCKS
    has_shift = bool(bits & _SHIFT)
    chord = bits & ~_SHIFT
    char = chr(code)
    text = key[5] or ""
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
