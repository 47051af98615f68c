"""Reader of the plain chat's lines; a paste of several lines is one text.

A terminal with bracketed paste marks what is pasted; there, Enter sends it. On other terminals,
lines that arrive at the same moment count as a paste, since nothing tells them from typed ones.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from lmchat.terminal.tty import drop_typed, has_more_input

_PASTE_MARKS_ON = "\x1b[?2004h"  # the terminal marks pastes from now on: bracketed paste
_PASTE_MARKS_OFF = "\x1b[?2004l"
_DUMB_TERMINALS = ("", "dumb", "unknown")  # kinds that print escape sequences as text
_PASTE_S = 0.05  # two lines of one paste arrive within this time


class LineReader:
    """Lines of stdin, edited with readline at a terminal."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdin is not None and sys.stdin.isatty()
        self.has_paste_marks = False  # whether the terminal marks what is pasted
        self._readline: Any = None  # the module, if lines can be edited

    def begin(self, history: Iterable[str]) -> None:
        """Load readline, so that the user can edit lines and recall those of `history`.

        `history` has the newest line first. If the terminal can mark pastes, it does so from now
        on. In Emacs and without readline, nothing is done: lines are read as the terminal sends
        them.
        """
        if "INSIDE_EMACS" in os.environ:  # Emacs edits lines itself
            return
        try:
            import readline  # noqa: PLC0415 - Windows has none
        except ImportError:  # Windows, or Python without it
            return
        self._readline = readline
        readline.set_auto_history(False)
        for text in reversed(list(history)):
            readline.add_history(text)

        # Readline would switch the marks off after each line, so it only reads them: a paste while
        # an answer arrives is marked, too. libedit cannot read them.
        if self.can_redraw and "libedit" not in (readline.__doc__ or ""):
            readline.parse_and_bind("set enable-bracketed-paste off")
            readline.parse_and_bind(r'"\e[200~": bracketed-paste-begin')
            self.has_paste_marks = True
            _write(_PASTE_MARKS_ON)
            drop_typed(sys.stdin.fileno())  # a paste before this has no marks

    def read(self, prompt: str = "", *, initial_text: str = "") -> str:
        """Print the prompt, wait for a line or a paste, and return its text without the line end.

        With readline, the line begins with `initial_text`, which the user can edit. At a terminal,
        lines that arrive right after the first belong to the paste; line breaks separate them.
        Raises `EOFError` at the end of the input.
        """
        if self._readline is not None:  # it calls the hook before it prints the prompt
            self._readline.set_startup_hook(lambda: self._readline.insert_text(initial_text))
        try:
            text = input(prompt)
        finally:
            if self._readline is not None:
                self._readline.set_startup_hook()
        with suppress(EOFError):  # Ctrl+D after the last line of a paste
            while self.is_terminal and has_more_input(sys.stdin.fileno(), wait_s=_PASTE_S):
                text += "\n" + input()
        return text

    @property
    def can_redraw(self) -> bool:
        """Whether input and output are a terminal on which lines can be drawn again."""
        has_screen = sys.stdout is not None and sys.stdout.isatty()
        return self.is_terminal and has_screen and os.environ.get("TERM", "") not in _DUMB_TERMINALS

    @property
    def can_edit(self) -> bool:
        """Whether the user can edit a text that is given to `read`."""
        return self._readline is not None

    def remember(self, text: str) -> None:
        """Add a text to the lines that the user can recall with the key ↑."""
        if self._readline is not None and text:
            self._readline.add_history(text)

    def close(self) -> None:
        """Let the terminal paste without marks from now on, as other programs expect it."""
        if self.has_paste_marks:
            _write(_PASTE_MARKS_OFF)


def _write(control_sequence: str) -> None:
    with suppress(OSError, ValueError):  # the terminal is gone
        sys.stdout.write(control_sequence)
        sys.stdout.flush()
