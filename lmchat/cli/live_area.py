"""The last rows of a terminal, drawn in place again and again until they are final.

Everything above them is ordinary text of the terminal, which is never touched again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import ceil

from msgspec import Struct

# the terminal shows what is between these marks at once, if it knows them
_FRAME_BEGINS = "\x1b[?2026h"
_FRAME_ENDS = "\x1b[?2026l"
_CLEAR_BELOW = "\x1b[J"


class DrawnRow(Struct, frozen=True):
    """One line of text for the terminal."""

    text: str  # with its colours, and without a line end
    cells: int  # its width


class LiveArea:
    """Rows that are drawn in place at the end of what the terminal shows.

    After each call, the cursor is at the begin of the line below them.
    """

    def __init__(self, write: Callable[[str], None], *, environ: Mapping[str, str]) -> None:
        """Create an empty area; `write` writes to the terminal."""
        self._write = write
        self._rows: Sequence[DrawnRow] = ()  # the live rows that are drawn now
        self._drawn_columns = 0  # columns of the terminal when they were drawn
        self._wraps_again = _wraps_again(environ)

    def draw(self, final: Sequence[DrawnRow], live: Sequence[DrawnRow]) -> None:
        """Draw rows in place of the live rows drawn before: `final` for good, and `live` below.

        Of `live`, only the last ones are drawn, as many as `live_height` returns.
        """
        columns, _ = terminal_size()
        shown = [*final, *live[max(len(live) - live_height(), 0) :]]
        unchanged = self._count_unchanged(shown, columns)
        new_rows = "".join(f"{row.text}\n" for row in shown[unchanged:])
        erase = self._erase(self._rows[unchanged:], columns)
        self._rows = shown[len(final) :]
        self._drawn_columns = columns
        if new_rows or erase:
            self._write(f"{_FRAME_BEGINS}{erase}{new_rows}{_FRAME_ENDS}")

    def _count_unchanged(self, rows: Sequence[DrawnRow], columns: int) -> int:
        """Return how many rows at the start are the same as those drawn now, and can stay.

        After a change of the terminal's width, none can.
        """
        count = 0
        if columns == self._drawn_columns:
            for drawn, row in zip(self._rows, rows, strict=False):
                if drawn != row:
                    break
                count += 1
        return count

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the rows away for the block, in which something else may be printed."""
        rows = self._rows
        self.draw((), ())
        try:
            yield
        finally:
            self.draw((), rows)

    def _erase(self, rows: Sequence[DrawnRow], columns: int) -> str:
        """Return the control sequences that erase `rows`, the last ones that are drawn.

        They move the cursor up to the first of these rows. `columns` is the width of the terminal
        now, which may be less than when the rows were drawn.
        """
        if not rows:
            return ""
        height = len(rows)
        if self._wraps_again:  # a long row takes several lines of a terminal that became narrower
            height = sum(max(ceil(row.cells / columns), 1) for row in rows)
        return f"\r\x1b[{height}A{_CLEAR_BELOW}"


def live_height() -> int:
    """Return how many rows are drawn in place at most: a quarter of the height of the terminal.

    A terminal that is made smaller moves its upper rows into its history, where they could not be
    drawn again. In a narrower one, each row may take two lines. A quarter leaves room for both.
    """
    _, lines = terminal_size()
    return max(lines // 4, 2)


def terminal_size() -> tuple[int, int]:
    """Return columns and lines of the terminal now."""
    size = shutil.get_terminal_size()
    with suppress(OSError):
        size = os.get_terminal_size(1)  # the function above prefers $COLUMNS, which may be old
    return max(size.columns, 1), max(size.lines, 1)


def _wraps_again(environ: Mapping[str, str]) -> bool:
    """Return whether a terminal wraps its lines again when its width changes.

    Most terminals do, and so does tmux in any terminal. xterm and the Linux console cut the lines.
    """
    cuts_lines = "XTERM_VERSION" in environ or environ.get("TERM") == "linux"
    return not cuts_lines or "TMUX" in environ
