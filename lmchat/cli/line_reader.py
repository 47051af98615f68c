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

from lmchat.terminal.terminal_output import has_more_input

_BRACKETS_ON = "\x1b[?2004h"
_BRACKETS_OFF = "\x1b[?2004l"
_DUMB_TERMINALS = ("", "dumb", "unknown")  # they print escape sequences
_PASTE_S = 0.05  # between two lines of one paste


class LineReader:
    """Lines of stdin, edited with readline at a terminal."""

    def __init__(self, *, term: str) -> None:
        """Create it; `term` names the kind of the terminal."""
        self.is_terminal = sys.stdin is not None and sys.stdin.isatty()
        self._term = term
        self._readline: Any = None
        self._has_brackets = False

    def begin(self, history: Iterable[str]) -> None:
        """Let the user edit lines and recall earlier ones, newest first, and have pastes marked."""
        if "INSIDE_EMACS" in os.environ:  # which edits lines itself
            return
        try:
            import readline
        except ImportError:  # Windows, or Python without it
            return
        self._readline = readline
        is_gnu = "libedit" not in (readline.__doc__ or "")
        has_screen = sys.stdout is not None and sys.stdout.isatty()  # else readline is not used
        is_dumb = self._term in _DUMB_TERMINALS or bool(os.environ.get("NO_COLOR"))
        self._has_brackets = is_gnu and has_screen and not is_dumb

        # readline marks pastes unless TERM is dumb, as lmchat sets it to keep readline from colours
        readline.parse_and_bind("set enable-bracketed-paste off")
        readline.parse_and_bind(r'"\e[200~": bracketed-paste-begin')
        readline.set_auto_history(False)
        for text in reversed(list(history)):
            readline.add_history(text)

    def read(self, prompt: str = "", *, begun: str = "") -> str:
        """Return a line, or a paste; raises `EOFError`. The user edits `begun`."""
        self._set_brackets(is_on=True)  # again: a shell that suspended lmchat has switched it off
        if self._readline is not None:
            self._readline.set_startup_hook(lambda: self._readline.insert_text(begun))
        try:
            text = input(prompt)
        finally:
            if self._readline is not None:
                self._readline.set_startup_hook()
        with suppress(EOFError):  # Ctrl+D behind the last line
            while self.is_terminal and has_more_input(sys.stdin.fileno(), wait_s=_PASTE_S):
                text += "\n" + input()
        return text

    @property
    def can_edit(self) -> bool:
        """Whether the user can edit a text that is given to `read`."""
        return self._readline is not None

    def remember(self, text: str) -> None:
        if self._readline is not None and text:
            self._readline.add_history(text)

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._set_brackets(is_on=False)
        self._has_brackets = False

    def _set_brackets(self, *, is_on: bool) -> None:
        if self._has_brackets:
            with suppress(OSError, ValueError):  # the terminal is gone
                sys.stdout.write(_BRACKETS_ON if is_on else _BRACKETS_OFF)
                sys.stdout.flush()
