"""Reader of the plain chat's lines; a paste of several lines is one text.

A terminal with bracketed paste marks what is pasted; there, Enter sends it. On other terminals,
lines that arrive at the same moment count as a paste, since nothing tells them from typed ones.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lmchat.terminal.terminal_output import (
    attributes_of,
    changed_attributes,
    has_more_input,
    stoppable,
)
from lmchat.text import safe_text

_PASTE_MARKS_ON = "\x1b[?2004h"  # the terminal marks pastes from now on: bracketed paste
_PASTE_MARKS_OFF = "\x1b[?2004l"
_DUMB_TERMINALS = ("", "dumb", "unknown")  # kinds that print escape sequences as text
_PASTE_S = 0.05  # two lines of one paste arrive within this time


class LineReader:
    """Lines of stdin, edited with readline at a terminal."""

    def __init__(self, *, term: str) -> None:
        """Create it; `term` is the kind of the terminal, $TERM at the start of lmchat."""
        self.is_terminal = sys.stdin is not None and sys.stdin.isatty()
        self._term = term
        self._readline: Any = None  # the module, if lines can be edited
        self._has_paste_marks = False

    def begin(self, history: Iterable[str]) -> None:
        """Load readline, so that the user can edit lines and recall those of `history`.

        `history` has the newest line first. If the terminal can mark pastes, it does so from the
        next `read` on. In Emacs and without readline, nothing is done: lines are read as the
        terminal sends them.
        """
        if "INSIDE_EMACS" in os.environ:  # Emacs edits lines itself
            return
        try:
            import readline
        except ImportError:  # Windows, or Python without it
            return
        self._readline = readline
        is_gnu = "libedit" not in (readline.__doc__ or "")  # libedit cannot read the marks
        # `input` uses readline only if stdout is a terminal too
        uses_readline = sys.stdout is not None and sys.stdout.isatty()
        # NO_COLOR means no escape sequences at all here
        may_get_sequences = self._term not in _DUMB_TERMINALS and not os.environ.get("NO_COLOR")
        self._has_paste_marks = is_gnu and uses_readline and may_get_sequences

        # With TERM=dumb, which lmchat sets so that readline uses no colours, readline does not ask
        # the terminal to mark pastes. So this class asks for it, and readline only reads the marks.
        readline.parse_and_bind("set enable-bracketed-paste off")
        readline.parse_and_bind(r'"\e[200~": bracketed-paste-begin')
        readline.set_auto_history(False)
        for text in reversed(list(history)):
            readline.add_history(text)

    def read(self, prompt: str = "", *, initial_text: str = "") -> str:
        """Print the prompt, wait for a line or a paste, and return its text without the line end.

        With readline, the line begins with `initial_text`, which the user can edit. At a terminal,
        lines that arrive right after the first belong to the paste; line breaks separate them.
        Raises `EOFError` at the end of the input.
        """
        self._set_paste_marks(is_on=True)  # each time: a shell switches marks off during Ctrl+Z
        if self._readline is not None:  # it calls the hook before it prints the prompt
            self._readline.set_startup_hook(lambda: self._readline.insert_text(initial_text))
        try:
            with self._stoppable():
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
        return self.is_terminal and has_screen and self._term not in _DUMB_TERMINALS

    @property
    def can_edit(self) -> bool:
        """Whether the user can edit a text that is given to `read`."""
        return self._readline is not None

    def remember(self, text: str) -> None:
        """Add a text to the lines that the user can recall with the key ↑."""
        if self._readline is not None and text:
            self._readline.add_history(text)

    def close(self) -> None:
        """Let the terminal paste without marks from now on, as other programs expect it.

        A later `read` does not ask for marks again.
        """
        self._set_paste_marks(is_on=False)
        self._has_paste_marks = False

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Let Ctrl+Z stop lmchat in the block, and show the typed line when it is continued.

        Readline alone would continue in the mode in which the shell leaves the terminal, and would
        not show the line.
        """
        if self._readline is None:
            yield
            return
        fileno = sys.stdin.fileno()
        attributes = attributes_of(fileno)  # readline is about to change them

        def stop() -> None:
            self._set_paste_marks(is_on=False)
            with changed_attributes(fileno, attributes):  # after the block, readline's are set
                signal.raise_signal(signal.SIGSTOP)  # returns when the shell continues lmchat
            self._set_paste_marks(is_on=True)
            with suppress(OSError):  # the terminal is gone
                sys.stdout.write(safe_text(self._readline.get_line_buffer()))
                sys.stdout.flush()

        with stoppable(stop):
            yield

    def _set_paste_marks(self, *, is_on: bool) -> None:
        """Ask the terminal to mark pastes or not, if it can mark them."""
        if self._has_paste_marks:
            with suppress(OSError, ValueError):  # the terminal is gone
                sys.stdout.write(_PASTE_MARKS_ON if is_on else _PASTE_MARKS_OFF)
                sys.stdout.flush()
