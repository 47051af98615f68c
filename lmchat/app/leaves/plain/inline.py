"""Formatted answers in the scrollback of the terminal, for `lmchat --inline`.

Printed text cannot be changed, so a block is printed when it is closed, and a line of a fence when
it is complete. The terminal wraps each line itself, and copies it as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import groupby, islice
from operator import itemgetter
from shutil import get_terminal_size
from time import monotonic

from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style

from lmchat.app.markdown_lines.block import Block, Kind, Line
from lmchat.app.markdown_lines.highlighter import Colours, Highlighter
from lmchat.app.markdown_lines.incremental import IncrementalMarkdown
from lmchat.app.markdown_lines.layout import Layout
from lmchat.app.markdown_lines.page import Page
from lmchat.app.markdown_lines.wrap import split_spans, text_of
from lmchat.base.safe_text import safe_text

_FRAME_S = 1 / 15
_FRAME_CHARS = 10_000  # in one frame: Ctrl+C waits for its end
_NARROWEST = 40  # columns; on fewer, the terminal wraps tables, too
_WIDEST = 92  # columns of tables, as on the screen
_QUIET_S = 2.0  # without a printed line, until the stage is shown
_NULL = Style.null()
# the terminal's own colours: printed text stays when its theme changes
_STYLES = {
    "base": "none",
    "panel": "none",
    "label": "none",
    "muted": "dim",
    "faint": "bright_black",
    "strong": "bold",
    "em": "italic",
    "s": "strike",
    "link": "bright_blue underline",
    "code": "cyan",
    "quote": "dim",
    "h1": "bold magenta",
    "h2": "bold magenta",
    "h3": "bold",
    "mark": "magenta",
    "warning": "yellow",
    "error": "red",
    "focus": "bright_blue",
    "cursor": "none",
    "keyword": "magenta",
    "string": "green",
    "number": "yellow",
    "comment": "italic dim",
    "function": "bright_blue",
    "builtin": "cyan",
}


class InlineText:
    """Writer of Markdown that arrives in pieces, with the methods of `SafeStream`.

    Call them while an event loop runs.
    """

    is_at_line_start = True  # each printed line has its end

    def __init__(self, write: Callable[[str], None], environ: Mapping[str, str]) -> None:
        """`write` writes to the terminal. `NO_COLOR` is followed."""
        self._write = write
        self._has_colours = not environ.get("NO_COLOR")
        styles = {name: Style.parse(words) for name, words in _STYLES.items()}
        self._colours = Colours()
        self._highlighter = Highlighter()
        # `_lay_out` sets the width for each block, as that of the terminal may change
        page = Page(
            _WIDEST,
            styles,
            has_tints=False,
            has_colours=False,
            colours=self._colours,
            is_scrollback=True,
        )
        self._layout = Layout(page)
        self._printing: asyncio.Task[None] | None = None
        self._printed_s = 0.0  # when the last line was printed
        self._unread = ""  # came after the last frame
        self._start_text()

    def _start_text(self) -> None:
        self._markdown = IncrementalMarkdown(is_printed=True)
        self._is_complete = False  # no more text arrives
        self._closed: list[Block] = []  # not printed yet
        self._closed_count = 0  # with the printed ones
        self._printed_lines = 0  # of the block that follows, an open fence

    @property
    def is_waiting(self) -> bool:
        return monotonic() - self._printed_s > _QUIET_S

    def write(self, piece: str) -> None:
        """Print what the piece completes with the next frame."""
        self._unread += piece
        if self._printing is None or self._printing.done():
            self._printing = asyncio.ensure_future(self._print_frames())

    async def print_all(self) -> None:
        """Print all text, when no more arrives."""
        self._is_complete = True
        if self._printing is not None:
            await self._printing
        self._feed("", is_final=True)
        await self._fetch_colours()
        self._print_complete_lines()

    def end(self) -> None:
        """Print the rest of the text; the next piece starts another text.

        Without `print_all`, as after Ctrl+C, code of the rest has no colours.
        """
        if self._printing is not None:
            self._printing.cancel()
        self._feed(self._unread, is_final=True)
        self._unread = ""
        self._print_complete_lines()
        self._colours.drop_requests()
        self._start_text()

    def print_closed(self) -> None:
        """Print what is complete, above something else.

        This cannot wait for the colours of new code.
        """
        self._feed(self._unread)
        self._unread = ""
        self._print_complete_lines()

    async def aclose(self) -> None:
        await self._highlighter.aclose()

    async def _print_frames(self) -> None:
        while self._unread:
            self._feed(self._unread[:_FRAME_CHARS])
            self._unread = self._unread[_FRAME_CHARS:]
            await self._fetch_colours()
            self._print_complete_lines()
            # `print_all` waits for this task
            await asyncio.sleep(0 if self._is_complete else _FRAME_S)

    def _feed(self, text: str, *, is_final: bool = False) -> None:
        """Parse text, and note the blocks that it closes."""
        self._markdown.feed(text, is_final=is_final)
        self._closed += islice(self._markdown.closed, self._closed_count, None)
        self._closed_count = len(self._markdown.closed)

    async def _fetch_colours(self) -> None:
        """Get colours first: printed code cannot be coloured."""
        if not self._has_colours:
            return
        for block in (*self._closed, *self._open()):
            self._lay_out(block)  # requests the colours of its code
            while (request := self._colours.newest_request) is not None:
                colours = await self._highlighter.colours(*request)
                for waiting_block in self._colours.put(request, colours):
                    waiting_block.lines = None  # drops the lines without colours
                # The request may have been for longer code of another block, which starts with
                # this. Then this layout requests its own.
                self._lay_out(block)

    def _print_complete_lines(self) -> None:
        lines = [line for block in self._closed for line in self._lay_out(block)]
        open_lines = [line for fence in self._open() for line in self._lay_out(fence)]
        printed = "".join(map(self._painted, [*lines, *open_lines][self._printed_lines :]))
        self._closed = []
        self._printed_lines = len(open_lines)
        if printed:
            self._write(printed)
            self._printed_s = monotonic()

    def _open(self) -> list[Block]:
        """Return the fence whose complete lines can be printed; other blocks may still change."""
        return [block for block in self._markdown.open if block.kind is Kind.FENCE]

    def _lay_out(self, block: Block) -> list[Line]:
        """Lay a block out, with the blank line above.

        Definitions of links in other blocks do not count: most come after the printed words.
        """
        if block.lines is not None:
            return block.lines
        # A page is three cells wider than its text. Tables leave one column free, as some terminals
        # add a line end to a full line.
        columns = max(min(get_terminal_size().columns, _WIDEST), _NARROWEST)
        self._layout.page.width = columns + 2
        block.lines = _joined(self._layout.lay_out(block, {}))
        closed = self._markdown.closed
        # by identity: a later block may be equal
        is_first = not closed or block is closed[0]
        if block.lines and block.gap and not is_first:
            block.lines.insert(0, Line([]))
        return block.lines

    def _painted(self, line: Line) -> str:
        """Return the line, its control sequences and its end."""
        text = "".join(segment.text for segment in line.segments)
        end = max(len(text.rstrip(" ")), line.start, 1)  # without blanks at the end
        spans = [(segment.text, segment.style or _NULL) for segment in line.segments]
        _, shown = split_spans(spans, [0, 1, end])  # without the cell for a bar
        painted = ""
        for style, same in groupby(shown, key=itemgetter(1)):
            look = style if self._has_colours else style.without_color
            painted += look.render(safe_text(text_of(same)), color_system=ColorSystem.STANDARD)
        return f"{painted}\n"


def _joined(rows: list[Line]) -> list[Line]:
    """Join rows to lines, as a terminal wraps them itself."""
    lines: list[Line] = []
    for row in rows:
        is_first = not lines or not lines[-1].is_wrapped
        line = Line([], start=row.start) if is_first else lines[-1]
        spans = [(segment.text, segment.style or _NULL) for segment in row.segments]
        size = len(text_of(spans))
        if row.is_wrapped:  # with the blanks for which it has no room
            size = row.start + len(row.text)
        prefix, text = split_spans(spans, [0, row.start, max(size, row.start)])
        shown = [*prefix, *text] if is_first else text
        line.segments += [Segment(*span) for span in shown]
        line.is_wrapped = row.is_wrapped
        if is_first:
            lines.append(line)
    return lines
