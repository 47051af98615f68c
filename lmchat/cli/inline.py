"""Formatted answers in the scrollback of the terminal, for `lmchat --inline`.

The last block of an answer is drawn in place until it is closed. Then its rows are final: ordinary
text that the terminal keeps, searches and copies.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress

from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style

from lmchat.cli.live_area import DrawnRow, LiveArea, live_height, terminal_size
from lmchat.cli.printed_start import fitting_start, text_size, without_start
from lmchat.markdown.block import Block, Kind, Line
from lmchat.markdown.code import language_of
from lmchat.markdown.colours import Colours
from lmchat.markdown.highlighter import Highlighter
from lmchat.markdown.incremental import IncrementalMarkdown
from lmchat.markdown.layout import Layout
from lmchat.markdown.wrap import Page, harmless
from lmchat.safe_text import safe_text
from lmchat.terminal.tty import echo

_FRAME_S = 1 / 15  # least time between two frames
_FRAME_CHARS = 10_000  # of new text in one frame at most: Ctrl+C waits for its end
_MOST_AT_END = 50_000  # characters that are formatted after Ctrl+C; they take up to 2 s
_LOAD = 0.25  # share of a core that drawing may take
_COLOURS_S = 1.0  # time that the end of an answer waits for the colours of code
_WIDEST_PAGE = 94  # columns, as on the screen; longer lines are hard to read
_NULL = Style.null()
# the colours of the terminal itself, since what is printed stays when its theme changes
_STYLES = {
    "base": "none",
    "panel": "none",
    "muted": "dim",
    "faint": "bright_black",
    "strong": "bold",
    "em": "italic",
    "s": "strike",
    "link": "bright_blue underline",
    "code": "cyan",
    "quote": "dim",
    "h1": "bold",
    "h2": "bold",
    "h3": "bold dim",
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
    """Writer of Markdown that arrives in pieces; has the methods of `SafeStream`.

    Call its methods while an event loop runs.
    """

    is_at_line_start = True  # every row is drawn with its line end

    def __init__(self, write: Callable[[str], None], environ: Mapping[str, str]) -> None:
        """Create it; `write` writes to the terminal. With `NO_COLOR`, there are no colours."""
        self._write = write
        self._area = LiveArea(write, environ=environ)
        self._has_colours = not environ.get("NO_COLOR")
        self._styles = {name: Style.parse(words) for name, words in _STYLES.items()}
        self._colours = Colours()
        self._highlighter = Highlighter()
        self._highlighting: asyncio.Task[None] | None = None
        self._layout = Layout(self._page(terminal_size()[0]))
        self._tail = IncrementalMarkdown()
        self._final_count = 0  # blocks of the tail whose rows are final
        self._printed_size = 0  # size of the rows below them that are final, too
        self._unread = ""  # text that is not parsed yet
        self._timer: asyncio.TimerHandle | None = None  # runs to the next frame
        self._next_frame_s = 0.0  # on the clock of the event loop

    def drawing(self) -> AbstractContextManager[None]:
        """Do not show what is typed while the block runs: it would get between the rows."""
        return echo(sys.stdin.fileno(), is_on=False)

    def hidden(self) -> AbstractContextManager[None]:
        """Take what is not final off the terminal for a block, which may print something else."""
        return self._area.hidden()

    def write(self, piece: str) -> None:
        """Add a piece of the text; it is drawn with the next frame."""
        self._unread += piece
        self._draw_soon()

    async def settle(self) -> None:
        """Draw all text, and wait a moment for the colours of the code at its end.

        Then the caller calls `end`, which draws the rows for good, with the colours known by then.
        """
        while self._unread:
            self._draw()
            await asyncio.sleep(0)
        self._draw(is_complete=True)
        if self._highlighting is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_COLOURS_S):
                    await asyncio.shield(self._highlighting)  # `end` cancels it

    def end(self) -> None:
        """Print the rest of the text for good; the next piece begins another text.

        If very much was not drawn yet, as after Ctrl+C, its end is printed as it is.
        """
        rest = self._take_unformatted()
        while self._unread:
            self._draw()
        self._draw(is_complete=True)
        self._draw_blocks(self._tail.closed, [])  # all for good, also code without its colours
        if self._highlighting is not None:
            self._highlighting.cancel()
            self._highlighting = None
        self._colours.drop_requests()
        self._tail = IncrementalMarkdown()
        self._final_count = 0
        self._printed_size = 0
        if rest:
            self._write(f"{safe_text(rest)}\n")

    async def aclose(self) -> None:
        """End the child process that colours code."""
        await self._highlighter.aclose()

    def _take_unformatted(self) -> str:
        """Remove lines from the end of the unread text that would take too long to format.

        Return these lines. The text keeps whole lines with at most `_MOST_AT_END` characters; if
        its first line is longer, or nothing has to be removed, return an empty text.
        """
        line_end = self._unread.rfind("\n", 0, _MOST_AT_END)
        if len(self._unread) <= _MOST_AT_END or line_end < 0:
            return ""
        rest = self._unread[line_end + 1 :]
        self._unread = self._unread[:line_end]
        return rest.removesuffix("\n")

    def _draw_soon(self) -> None:
        """Draw a frame when its time has come, if none is to be drawn already."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._next_frame_s, self._draw)

    def _draw(self, *, is_complete: bool = False) -> None:
        """Draw a frame with more of the text; `is_complete` says that no more text arrives.

        The pause to the next frame grows with the time that this one took.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        begun_s = time.perf_counter()
        text = self._unread[:_FRAME_CHARS]
        self._unread = self._unread[_FRAME_CHARS:]
        if text or is_complete:
            self._tail.feed(text, is_final=is_complete)
        self._adopt_width()
        waiting_from = self._first_without_colours()
        self._draw_blocks(self._tail.closed[:waiting_from], self._tail.closed[waiting_from:])
        if self._colours.newest_request is not None and self._highlighting is None:
            self._highlighting = asyncio.ensure_future(self._highlight())
        cost_s = time.perf_counter() - begun_s
        now_s = asyncio.get_running_loop().time()
        self._next_frame_s = now_s + max(_FRAME_S, cost_s / _LOAD)
        if self._unread:
            self._draw_soon()

    def _adopt_width(self) -> None:
        """If the terminal has another width, lay out again what is not final."""
        page = self._page(terminal_size()[0])
        if page.width != self._layout.page.width:
            self._layout = Layout(page)
            for block in (*self._tail.closed[self._final_count :], *self._tail.open):
                block.forget()

    def _first_without_colours(self) -> int:
        """Return the index of the first closed block that waits for colours.

        If none waits, return the number of closed blocks. Those that are not final are laid out,
        and so request their colours.
        """
        closed = self._tail.closed
        for index in range(self._final_count, len(closed)):
            self._lines(closed[index])
            if self._colours.is_waiting(closed[index]):
                return index
        return len(closed)

    def _draw_blocks(self, final: list[Block], waiting: list[Block]) -> None:
        """Draw the first closed blocks, `final`, for good, and below them what may still change.

        That is the other closed blocks, `waiting`, and the open ones. If their rows do not fit into
        the live area, those above it are drawn for good, too, as far as they are certain.
        """
        new_final = final[self._final_count :]  # the blocks before are drawn for good already
        may_change = [*waiting, *self._tail.open]
        # the first `_printed_size` characters of these blocks are drawn for good already, too
        final_lines, printed_size = without_start(self._all_lines(new_final), self._printed_size)
        live_lines, _ = without_start(self._all_lines(may_change), printed_size)
        above = live_lines[: max(len(live_lines) - live_height(), 0)]
        if above:
            certain_size = self._certain_size(may_change) - printed_size
            certain_lines = above[: fitting_start(above, certain_size)]
            final_lines += certain_lines
            live_lines = live_lines[len(certain_lines) :]
            printed_size += sum(map(text_size, certain_lines))
        self._area.draw(
            [self._row(line) for line in final_lines], [self._row(line) for line in live_lines]
        )
        for block in new_final:
            block.forget()  # its lines are not needed again
        self._final_count = max(self._final_count, len(final))
        self._printed_size = printed_size

    def _certain_size(self, blocks: list[Block]) -> int:
        """Return how many characters at the start of blocks will not change any more.

        The first block that may change has the last of them. They are counted as in `text_size`.
        """
        size = 0
        for block in blocks:
            uncertain_size = self._uncertain_size(block)
            size += sum(map(text_size, self._lines(block))) - uncertain_size
            if uncertain_size:
                break
        return size

    def _uncertain_size(self, block: Block) -> int:
        """Return how many characters at the end of a block may change, in text or colour.

        Of code that waits for colours, these are the characters without a known colour. Any other
        block is certain as a whole or not at all.
        """
        is_waiting = self._colours.is_waiting(block)
        if is_waiting and block.kind is Kind.FENCE:
            code = harmless(block.source)
            coloured_chars = self._colours.known_chars(language_of(block.info), code)
            return len("".join(code[coloured_chars:].split()))  # without blanks, as `text_size`
        is_certain = not is_waiting
        if block.has_cursor:  # the block is open
            is_certain = self._layout.is_certain(block)
        return 0 if is_certain else sum(map(text_size, self._lines(block)))

    async def _highlight(self) -> None:
        """Get the colours of all code that waits for them; draw the rows with them."""
        while (request := self._colours.newest_request) is not None:
            colours = await self._highlighter.colours(*request)
            for block in self._colours.put(request, colours):
                block.forget()
            self._draw_soon()
        self._highlighting = None

    def _all_lines(self, blocks: list[Block]) -> list[Line]:
        """Return the lines of blocks, with the blank ones between them."""
        lines: list[Line] = []
        for block in blocks:
            has_closed_above = bool(self._tail.closed) and block is not self._tail.closed[0]
            if block.gap and has_closed_above:
                lines.append(Line([]))
            lines += self._lines(block)
        return lines

    def _lines(self, block: Block) -> list[Line]:
        """Return the lines of a block on the present page; those of a closed one are kept."""
        if block.lines is None:
            # it says that the block may grow: then the layout completes marks such as `**`
            block.has_cursor = any(block is other for other in self._tail.open)
            block.lines = self._layout.lines(block, self._tail.references)
        return block.lines

    def _row(self, line: Line) -> DrawnRow:
        """Return a line without the empty cell at its left and the padding at its right."""
        segments = list(line.segments[1:])
        while segments and not segments[-1].text.strip(" "):
            segments.pop()
        if segments:
            last = segments[-1]
            segments[-1] = Segment(last.text.rstrip(" "), last.style)
        text = "".join(self._painted(segment) for segment in segments)
        return DrawnRow(text, sum(segment.cell_length for segment in segments))

    def _painted(self, segment: Segment) -> str:
        """Return the text of a segment with the control sequences of its style."""
        style = segment.style or _NULL
        if not self._has_colours:
            style = style.without_color
        return style.render(segment.text, color_system=ColorSystem.STANDARD)

    def _page(self, columns: int) -> Page:
        """Return a page for a width of the terminal.

        It is one cell wider, as `_row` drops the first cell of each line, which is empty. The last
        cell of a line is empty, too: some terminals begin a new line after a character in their
        last column.
        """
        return Page(
            min(columns, _WIDEST_PAGE) + 1, self._styles, has_tints=False, colours=self._colours
        )
