"""Reader of the plain chat's lines; a paste of several lines is one text.

With bracketed paste, the terminal marks what is pasted, and Enter sends it. On other terminals,
lines that arrive at the same moment count as a paste.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from io import BufferedReader, TextIOWrapper
from typing import Any

from lmchat.app.terminal.output import is_terminal, stdin_unreadable
from lmchat.app.terminal.tty import PASTE_START, has_more_input, read_paste, take_typed
from lmchat.base.errors import FileRefused, WrongUse
from lmchat.base.safe_text import safe_text, with_line_feeds
from lmchat.core.attachments.attachment import text_of

# where the terminal keeps a line until Enter, it drops the rest
MOST_LINE_BYTES = 1_023 if sys.platform == "darwin" else 4_095
QUOTES = '"""'  # around several lines, as in Ollama
_PASTE_MARKS_ON = "\x1b[?2004h"  # bracketed paste
_PASTE_MARKS_OFF = "\x1b[?2004l"
_DUMB_TERMINALS = ("", "dumb", "unknown")  # print escape sequences as text
_MENU_COMPLETE = ord("%")  # type of a completion, as readline tells it
_PASTE_S = 0.05  # two lines of one paste arrive within this time


class LineReader:
    """Lines of stdin, edited with readline at a terminal."""

    def __init__(self) -> None:
        self.is_terminal = is_terminal(sys.stdin)
        self.can_redraw = (
            self.is_terminal
            and is_terminal(sys.stdout)
            and os.environ.get("TERM", "") not in _DUMB_TERMINALS
        )
        self.has_paste_marks = False  # the terminal marks what is pasted
        self.has_cut_line = False  # the terminal has dropped the end; reset it
        self._readline: Any = None  # the module; None if lines cannot be edited
        self._next_text = ""  # what the next line starts with
        self._has_left = False  # by Ctrl+D alone, which is a NUL if no line is being read
        self._is_interrupted = False  # by Ctrl+C in a paste
        self._has_started = False  # to read a pipe
        if isinstance(sys.stdin, TextIOWrapper) and self.is_terminal:
            # else a byte that is not UTF-8 raises an error
            sys.stdin.reconfigure(errors="replace")

    def start(self, history: Iterable[str]) -> None:
        """`history` has the newest first. Pastes are marked from now on, if possible.

        What was typed before is the beginning of the first line.
        """
        if not self.can_redraw:
            return
        try:
            import readline  # noqa: PLC0415 - Windows has none

            readline.set_auto_history(False)
        except (ImportError, AttributeError):  # the latter with pyreadline3
            return
        self._readline = readline
        for text in reversed(list(history)):
            readline.add_history(text)
        readline.set_startup_hook(self._insert_next_text)

        # Readline would switch the marks off after each line, but a paste while an answer arrives
        # needs them, too. So they stay on until `close`. A paste is a completion here, as readline
        # would wait for its end without a limit, even after Ctrl+C. libedit cannot.
        if "libedit" not in (readline.__doc__ or ""):
            readline.parse_and_bind("set enable-bracketed-paste off")
            # readline never sees these two keys, which the terminal turns into signals
            readline.parse_and_bind(f'"{PASTE_START}": "\x1a\x1c"')
            readline.parse_and_bind('"\x1a": menu-complete')
            readline.parse_and_bind("tab: tab-insert")  # nothing else is completed
            readline.set_completer_delims("")  # the completed text is all before the cursor
            readline.set_completer(self._with_paste)
            self.has_paste_marks = True
            sys.stdout.write(_PASTE_MARKS_ON)
            sys.stdout.flush()
            # a paste before this has no marks, so a line of it would run without Enter
            typed = take_typed(sys.stdin.fileno()).decode(sys.stdin.encoding, "replace")
            text = typed.replace("\0", "")
            self._has_left = bool(typed) and not text
            self._next_text = safe_text(text).rstrip("\n")

    def set_next_text(self, text: str) -> bool:
        """Return False where lines cannot be edited."""
        self._next_text = text
        return self._readline is not None

    def _insert_next_text(self) -> None:
        """Readline calls this before each line."""
        self._readline.insert_text(self._next_text)
        self._next_text = ""

    def _with_paste(self, text: str, match: int) -> str | None:
        """Return the one completion of a line, in which a paste starts."""
        readline = self._readline
        if match or readline.get_completion_type() != _MENU_COMPLETE:
            return None
        pasted = ""
        key = b""
        try:
            for data, key in read_paste(sys.stdin.fileno()):
                shown = len(pasted)
                pasted = data.decode(sys.stdin.encoding, "replace").replace("\0", "")
                pasted = with_line_feeds(pasted)
                if key:
                    break
                readline.insert_text(pasted[shown:])
                readline.redisplay()
        except KeyboardInterrupt:  # readline drops what is raised here
            self._is_interrupted = True
        text += pasted
        is_command = text.lstrip("\n").startswith("!")  # needs another Enter
        if self._is_interrupted or (key == b"\r" and not is_command):
            readline.parse_and_bind('"\x1c": accept-line')
        return text

    def read(self, prompt: str = "You:\n") -> str | None:
        """Wait for a line or a paste; return its text without the line end, None at the end.

        If pastes are marked, a line that waits already was typed during an answer. Raises
        `WrongUse` for what is no text, on a pipe.
        """
        if self._has_left:
            return None
        is_typed_ahead = self.has_paste_marks and has_more_input(sys.stdin.fileno(), wait_s=0)
        may_be_paste = self.is_terminal and not is_typed_ahead
        if self.has_paste_marks:
            left_key = r'"\C-d"' if is_typed_ahead else "set-mark"
            self._readline.parse_and_bind(rf'"\C-@": {left_key}')
            self._readline.parse_and_bind('"\x1c": set-mark')
        try:
            self._choose_encoding()
            text = input(prompt) if self.is_terminal else input()  # "" would be written
        except (EOFError, RuntimeError):  # `RuntimeError` for a closed stdin
            return None
        except OSError as error:  # stdin is open for writing alone, or its terminal is gone
            if self.is_terminal:
                raise
            raise stdin_unreadable(error) from error
        if self._is_interrupted:
            self._is_interrupted = False
            raise KeyboardInterrupt
        if not self.is_terminal:
            try:
                return text_of("stdin", text.encode(errors="surrogateescape"))
            except FileRefused as error:
                raise WrongUse(error.message, next_step=error.next_step) from error
        with suppress(EOFError):  # Ctrl+D after a paste
            while may_be_paste and has_more_input(sys.stdin.fileno(), wait_s=_PASTE_S):
                text += "\n" + input()
        if self._readline is None or is_typed_ahead:  # the terminal has kept it until Enter
            sizes = (len(line.encode("utf-8", "replace")) for line in text.split("\n"))
            self.has_cut_line |= max(sizes) >= MOST_LINE_BYTES
        return text

    def _choose_encoding(self) -> None:
        """Have a pipe read as UTF-16 if it starts with its mark; this may wait for its beginning.

        Other bytes than UTF-8 are decoded by `read`.
        """
        if self.is_terminal or self._has_started or not isinstance(sys.stdin, TextIOWrapper):
            return
        self._has_started = True
        buffer = sys.stdin.buffer
        head = buffer.peek(2)[:2] if isinstance(buffer, BufferedReader) else b""
        if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            encoding, errors = "utf-16", "replace"  # it may be damaged
        else:
            encoding, errors = "utf-8-sig", "surrogateescape"
        sys.stdin.reconfigure(encoding=encoding, errors=errors, newline=None)

    def read_block(self, text: str) -> str:
        """Read lines until one ends with three quotes, or to the end of the input.

        Return one text, without the quotes and empty lines at its ends. `text` is the first line,
        which starts with quotes and may end with them.
        """
        text = text.removeprefix(QUOTES)
        while not text.rstrip().endswith(QUOTES) and (line := self.read("... ")) is not None:
            text += f"\n{line}"
        return text.rstrip().removesuffix(QUOTES).strip("\n")

    def remember(self, text: str) -> None:
        if self._readline is not None and text:
            self._readline.add_history(text)

    def close(self) -> None:
        """Switch the marks of pastes off, as other programs expect."""
        if self.has_paste_marks:
            with suppress(OSError, ValueError):  # the terminal is gone
                sys.stdout.write(_PASTE_MARKS_OFF)
                sys.stdout.flush()
