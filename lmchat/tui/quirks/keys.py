"""Keys from the bytes of a terminal: whole sequences, quick Escape, pastes without Enter."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Generator, Iterator
from time import monotonic
from types import SimpleNamespace
from typing import Any, cast

from textual import constants, events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser
from textual.keys import Keys
from textual.message import Message
from textual.widget import Widget

ESCAPE_DELAY_S = 0.03  # wait after a lone ESC: networks part sequences, people are slower
SEQUENCE_DELAY_S = 0.25  # wait after the second byte: half a mouse report must not be typed
BURST_DELAY_S = 0.05  # time within which more lines belong to a paste without brackets
BULK = 1000  # characters in one read that are a paste
BULK_OF_REPLY = 32  # characters in one read that continue a reply; fewer may be keys
ASK_BACKGROUND = "\x1b]11;?\x1b\\"
_BACKGROUND = re.compile(r"(?i)\x1b\]11;rgba?:([0-9a-f]{1,4})/([0-9a-f]{1,4})/([0-9a-f]{1,4})")
_BACKGROUND_CHARS = 64  # of a reply that are kept
_LIGHT_FROM = 0.5  # brightness of a light background
_PASTE_START = "\x1b[200~"
_PASTE_END = "\x1b[201~"
_REPLY_START = r"\x1b\][0-9lLI]|\x1b[P_^X][!-?G]"  # start of a reply (OSC, DCS …), and of no key
_REPLY_END = re.compile("[\x00-\x1f\x7f]")  # any control character
_UNIT = re.compile(
    rf"(?P<reply>{_REPLY_START})"
    r"|\x1b\x1b(?:\[(?:(?!20[01]~)\d+~|[ABCDFHPQRS])|O[A-DFHM-S])"  # Alt with a cursor key
    r"|\x1b\[(?:M...|\[[A-E]|(?![M\[])[0-?]*[ -/]*[@-~])"  # CSI, old mouse, Linux's F1 to F5
    r"|\x1bO[ -~]"  # SS3: F1 to F4, and cursor keys of some modes
    r"|\x1b[^\x1b\[O]"  # Alt with a key
    r"|[^\x1b]+"  # text
    r"|\x1b\[[0-?]*[ -/]*|\x1bO|\x1b",  # cut off by what follows
    re.DOTALL,
)
# at the end of a read: what may be the beginning of a sequence
_UNFINISHED = re.compile(r"\x1b\x1b?(?:\[(?:M.{0,2}|\[|[0-?]*[ -/]*)|O|[]P_^X])?\Z", re.DOTALL)
_CONTINUES_ESCAPE = re.compile(r"[\[O]|\][0-9lLI]|[P_^X][!-?G]")  # how sequences continue after ESC
_CONTROL = re.compile(r"\x1b\[[0-?]+[ -/]*[@-~]?\Z|\x1b\[[@-~]\Z")  # CSI, perhaps cut off
_DOUBLED = re.compile(r"\x1b\x1b[\[O](\d*)([A-Z~])\Z")  # Alt as a second ESC, with a key
_META = re.compile(r"\x1b\[1;9([A-Z])\Z")  # Meta with a key of this letter
_OTHER_KEY = re.compile(r"\x1b\[27;(\d+);(\d+)~\Z")  # modifyOtherKeys: modifiers, character
_TYPED = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z")  # text with tabs and line ends


async def run_own_binding(widget: Widget, key: str) -> bool:
    """Run the action of a key of the focused widget at once; return whether it has one.

    Textual first inserts what is typed after it: of `abc`, Backspace and `d` it deletes the `d`.
    """
    for binding in widget._bindings.key_to_bindings.get(key, ()):
        if not binding.priority and await widget.app.run_action(binding.action, widget):
            return True
    return False


def hand_over(event: events.Key | events.Paste, widget: Widget) -> None:
    """Send a key or a paste to another widget."""
    event.stop()
    event.prevent_default()
    if isinstance(event, events.Key):
        widget._forward_event(events.Key(event.key, event.character))
    else:
        widget._forward_event(events.Paste(event.text))


class BackgroundReported(Message):
    """The terminal has answered `ASK_BACKGROUND`."""

    def __init__(self, *, is_dark: bool) -> None:
        super().__init__()
        self.is_dark = is_dark


class KeyStream(XTermParser):
    """Textual's parser, fed with one complete sequence at a time.

    Textual's own stream delays Esc by 100 ms and takes the next key for Alt with that key, line
    ends of a paste without brackets for Enter, and replies of the terminal for text.
    """

    def __init__(self, debug: bool = False, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(debug)
        self._clock = clock
        self._held_back = ""  # the beginning of a sequence
        self._held_until_s = 0.0  # when `tick` ends the wait for the rest of it, or of a reply
        self._is_pasting = False
        self._paste_pieces: list[str] = []  # of the paste
        self._burst_until_s = 0.0  # until when text continues a paste without brackets
        self._is_in_reply = False
        self._reply = ""  # the beginning of the terminal's reply
        is_set = "ESCDELAY" in os.environ
        self._escape_delay_s = constants.ESCAPE_DELAY if is_set else ESCAPE_DELAY_S

    def wait_s(self) -> float | None:
        """Return the seconds until `tick` is due; None if it has nothing to do."""
        if self._is_pasting or not (self._held_back or self._is_in_reply):
            return None
        return max(self._held_until_s - self._clock(), 0)

    def tick(self) -> Iterator[Message]:
        """Yield what was held back long enough: no more of the sequence has come."""
        if self.wait_s() == 0:
            held = self._held_back
            self._held_back = ""
            self._is_in_reply = False
            if held:
                yield from self._sequence_events(held)

    def feed(self, data: str) -> Iterator[Message]:
        """Yield the events of one read; what may begin a sequence is held back until the next."""
        if not data:
            yield from super().feed("")  # the end of the input
            return
        # `tick` may be due: an ESC is a key then, unless this read continues it and only came late
        if self._held_back.strip("\x1b") == "" and not _CONTINUES_ESCAPE.match(data):
            yield from self.tick()
        text = self._held_back + data
        self._held_back = ""
        while text:
            if self._is_in_reply:
                text = yield from self._skip_reply(text)
            elif self._is_pasting:
                text = yield from self._collect_paste(text)
            else:
                text = yield from self._split_units(text)

    def _split_units(self, text: str) -> Generator[Message, None, str]:
        """Yield sequences and text; return what follows the start of a paste or a reply."""
        unfinished = _UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        for match in _UNIT.finditer(text, 0, end):
            if match["reply"]:
                self._is_in_reply = True
                self._held_until_s = self._clock() + SEQUENCE_DELAY_S
                self._reply = match[0]
                return text[match.end() :]
            if match[0] == _PASTE_START:
                self._is_pasting = True
                return text[match.end() :]
            if match[0].startswith("\x1b"):
                yield from self._sequence_events(match[0])
            else:
                yield from self._typed_or_pasted(match[0])
        self._hold(text[end:])
        return ""

    def _skip_reply(self, text: str) -> Generator[Message, None, str]:
        """Drop a reply of the terminal, or report the background in it; return what follows."""
        if len(text) >= BULK_OF_REPLY:  # fewer may be keys: then the wait is not extended
            self._held_until_s = self._clock() + SEQUENCE_DELAY_S
        end = _REPLY_END.search(text)
        self._reply = (self._reply + text[: end.start() if end else None])[:_BACKGROUND_CHARS]
        if end is None:
            return ""
        following = text[end.start() :]
        if following == "\x1b":  # perhaps the first half of its end, ESC and a backslash
            self._held_back = following
            return ""
        self._is_in_reply = False
        if match := _BACKGROUND.match(self._reply):
            shares = [int(digits, 16) / (16 ** len(digits) - 1) for digits in match.groups()]
            red, green, blue = shares  # each from 0 to 1
            brightness = 0.299 * red + 0.587 * green + 0.114 * blue
            yield BackgroundReported(is_dark=brightness < _LIGHT_FROM)
        return following[2:] if following.startswith("\x1b\\") else following.removeprefix("\x07")

    def _hold(self, held: str) -> None:
        """Hold the beginning of a sequence, for less time if it may be Esc or Alt with a key."""
        delay_s = SEQUENCE_DELAY_S if held.strip("\x1b]P_^X") else self._escape_delay_s
        self._held_back = held
        self._held_until_s = self._clock() + delay_s

    def _collect_paste(self, text: str) -> Generator[Message, None, str]:
        """Collect a paste up to its closing bracket; return what follows."""
        body, end, following = text.partition(_PASTE_END)
        if not end:
            beginning = _PASTE_END  # as much of it as the text ends with, perhaps nothing
            while not text.endswith(beginning):
                beginning = beginning[:-1]
            self._paste_pieces.append(text.removesuffix(beginning))
            self._held_back = beginning
            return ""
        yield _paste("".join([*self._paste_pieces, body]))
        self._paste_pieces.clear()
        self._is_pasting = False
        return following

    def _typed_or_pasted(self, run: str) -> Iterator[Message]:
        """Yield keys, or a paste for text of several lines or of more than people type at once."""
        is_text = bool(_TYPED.match(run))
        is_lines = "\r" in run[:-1] and not run.isspace()  # a line end at the end is Enter
        is_burst = len(run) >= BULK or self._clock() < self._burst_until_s
        if is_text and (is_lines or is_burst):
            self._burst_until_s = self._clock() + BURST_DELAY_S
            yield _paste(run)
        else:
            yield from super().feed(run)

    def _sequence_events(self, sequence: str) -> Iterator[Message]:
        """Yield the events of a complete sequence; an unknown control sequence gives none."""
        if plain := _shifted_letter(sequence):
            yield from super().feed(plain)
            return
        yield from super().feed(_usual_form(sequence))
        if self._timeout_time is None:  # Textual's parser waits for nothing: it knows the sequence
            return
        self._timeout_time = 0  # it takes the sequence for text at once
        unknown = list(super().tick())
        if not _CONTROL.match(sequence):  # a reply of the terminal is no text
            yield from unknown

    def _parse_extended_key(  # type: ignore[override]  # cached there
        self, sequence: str
    ) -> list[events.Key] | None:
        """Ignore impossible numbers; Textual's error would end the app."""
        try:
            return super()._parse_extended_key(sequence)
        except (ValueError, OverflowError):
            return None


def _paste(text: str) -> events.Paste:
    return events.Paste(text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n"))


def _shifted_letter(sequence: str) -> str:
    """Return the letter that Shift and a key give under modifyOtherKeys; empty for other keys."""
    match = _OTHER_KEY.match(sequence)
    if match is None or match[1] != "2" or int(match[2]) > sys.maxunicode:  # 2: Shift
        return ""
    char = chr(int(match[2]))
    return char if char.isprintable() else ""


def _usual_form(sequence: str) -> str:
    """Rewrite a doubled ESC, xterm's Meta (9) and modifyOtherKeys into what Textual knows.

    https://invisible-island.net/xterm/modified-keys.html
    """
    if match := _DOUBLED.match(sequence):
        return f"\x1b[{match[1] or 1};3{match[2]}"
    if match := _META.match(sequence):
        return f"\x1b[1;3{match[1]}"
    if not constants.DISABLE_KITTY_KEY and (match := _OTHER_KEY.match(sequence)):
        return f"\x1b[{match[2]};{match[1]}u"
    return sequence


def mend_keys() -> None:
    """Correct Textual's table: Alt+Enter is Enter there, Alt+1 a letter, Alt+↑ Escape and ↑.

    https://github.com/Textualize/textual/pull/6577
    """
    # of enumeration members, of which only the `value` is used
    table = cast("dict[str, Any]", ANSI_SEQUENCES_KEYS)
    for sequence, keys in list(table.items()):
        if isinstance(keys, tuple) and keys[:-1] == (Keys.Escape,):
            table[sequence] = (SimpleNamespace(value=f"alt+{keys[1].value}"),)
    table |= {f"\x1b{digit}": (SimpleNamespace(value=f"alt+{digit}"),) for digit in range(10)}
    for sequence in ("\x1b\r", "\x1b\n", "\x1b[27;3;13~"):
        table[sequence] = (SimpleNamespace(value="alt+enter"),)
    table["\x1b[27;2;13~"] = (SimpleNamespace(value="shift+enter"),)
