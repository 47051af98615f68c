"""Formatted answers in the scrollback of the terminal, for `lmchat --inline`.

What is printed stays as it is: a word when it is complete, a line of code at its end, a table when
it is whole. The terminal keeps, searches and copies it as any other text.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from itertools import chain, groupby
from operator import itemgetter

from rich.color import ColorSystem
from rich.style import Style

from lmchat.markdown.block import Block, Kind, Line, Span
from lmchat.markdown.colours import Colours
from lmchat.markdown.commonmark import parse_blocks
from lmchat.markdown.highlighter import Highlighter
from lmchat.markdown.incremental import IncrementalMarkdown
from lmchat.markdown.layout import Layout
from lmchat.markdown.wrap import Page, split_spans, width_of, word_starts
from lmchat.safe_text import safe_text
from lmchat.terminal.tty import echo
from lmchat.units import UNICODE

_FRAME_S = 1 / 15  # least time between two frames
_FRAME_CHARS = 10_000  # of new text in one frame at most: Ctrl+C waits for its end
_MOST_AT_END = 50_000  # characters that are formatted after Ctrl+C; they take up to 2 s
_IDLE = 3  # times as long as printing a frame has taken, nothing is printed
_WIDEST_LINE = 92  # columns, as on the screen; longer lines are hard to read
_ENDLESS = 10_000  # columns of a page on which no paragraph is wrapped
# blocks that are printed when they are complete: their lines depend on all of their text
_WHOLE = ("table_open", "hr", "html_block", "math_block")
_MAY_BE_WHOLE = r"[\s>]*(?:\||\$\$|\\\[|\\begin|<)"  # how most of them begin
_NULL = Style.null()
_LINE_END: Span = ("\n", _NULL)
_OPEN_FORMULA = r"(?<![\w$\\])\$(?=[^\s$])[^$\n]{0,200}$"
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

    is_at_line_start = True  # notes get a line of their own: see `end_line`

    def __init__(self, write: Callable[[str], None], environ: Mapping[str, str]) -> None:
        """Create it; `write` writes to the terminal. With `NO_COLOR`, there are no colours."""
        self._write = write
        self._has_colours = not environ.get("NO_COLOR")
        self._styles = {name: Style.parse(words) for name, words in _STYLES.items()}
        self._colours = Colours()
        self._highlighter = Highlighter()
        self._unwrapped = Layout(self._page(_ENDLESS))
        self._fitted = Layout(self._page(_ENDLESS))  # of the width of the terminal
        self._printing: asyncio.Task[None] | None = None
        self._unread = ""  # text that is not parsed yet
        self._column = 0  # cells that are used in the last line of the terminal
        self._begin_text()

    def _begin_text(self) -> None:
        self._markdown = IncrementalMarkdown()
        self._is_complete = False  # whether no more text arrives
        self._blocks = 0  # how many blocks are printed
        # Of the lines of the other blocks, each as long as its paragraph:
        self._lines = 0  # how many are printed
        self._words = 0  # how many words of the next one are printed

    def drawing(self) -> AbstractContextManager[None]:
        """Do not show what is typed while the block runs: it would get between the words."""
        return echo(sys.stdin.fileno(), is_on=False)

    def write(self, piece: str) -> None:
        """Add a piece of the text; what it completes is printed with the next frame."""
        self._unread += piece
        if self._printing is None or self._printing.done():
            self._printing = asyncio.ensure_future(self._print_frames())

    async def settle(self) -> None:
        """Print all text, with the colours of its code; then `end` has nothing left to print."""
        self._is_complete = True
        if self._printing is not None:
            await self._printing
        self._markdown.feed("", is_final=True)
        await self._fetch_colours()
        self._print()

    def end(self) -> None:
        """Print the rest of the text, code without colours; the next piece begins another text.

        If very much is left, as after Ctrl+C, its end is printed as it is.
        """
        if self._printing is not None:
            self._printing.cancel()
        size = len(self._unread)
        if size > _MOST_AT_END:
            size = self._unread.rfind("\n", 0, _MOST_AT_END) + 1 or size
        rest = self._unread[size:].removesuffix("\n")
        self._markdown.feed(self._unread[:size], is_final=True)
        self._unread = ""
        self._print()
        self.end_line()
        if rest:
            self._write(f"{safe_text(rest)}\n")
        self._colours.drop_requests()
        self._begin_text()

    def end_line(self) -> None:
        """End the line, so that something else can be printed; the words go on below it."""
        if self._column:
            self._write("\n")
            self._column = 0

    async def aclose(self) -> None:
        """End the child process that colours code."""
        await self._highlighter.aclose()

    async def _print_frames(self) -> None:
        """Print what arrives; the pause after a frame grows with the time that it took."""
        while self._unread:
            begun_s = time.perf_counter()
            self._markdown.feed(self._unread[:_FRAME_CHARS])
            self._unread = self._unread[_FRAME_CHARS:]
            await self._fetch_colours()
            self._print()
            pause_s = max(_FRAME_S, _IDLE * (time.perf_counter() - begun_s))
            await asyncio.sleep(0 if self._is_complete else pause_s)

    async def _fetch_colours(self) -> None:
        """Get the colours of the code that is not printed."""
        for block in (*self._markdown.closed[self._blocks :], *self._markdown.open):
            self._block_lines(block)
            while (request := self._colours.newest_request) is not None:
                for waiting in self._colours.put(
                    request, await self._highlighter.colours(*request)
                ):
                    waiting.forget()
                self._block_lines(block)

    def _print(self) -> None:
        """Print what is complete and not printed yet."""
        width = min(_columns() - 1, _WIDEST_LINE)  # some terminals begin a line after a full one
        closed = self._markdown.closed
        new_closed = closed[self._blocks :]
        lines = [line for block in new_closed for line in self._block_lines(block)]
        closed_lines = len(lines)
        may_go_on = False  # whether the last line is open
        for block in self._markdown.open:
            lines += self._block_lines(block)
            may_go_on = len(lines) > closed_lines and block.kind is not Kind.FENCE
        printed: list[Span] = []
        for number, line in enumerate(lines[self._lines :], self._lines + 1):
            if may_go_on and number == len(lines):
                printed += self._new_words(line, width, is_open=True)
                break
            printed += self._new_words(line, width, is_open=False)
            printed.append(_LINE_END)
            self._column = 0
            self._words = 0
            self._lines = number
        if printed:
            self._write(self._painted(printed))
        for block in new_closed:
            block.forget()
        self._blocks = len(closed)
        self._lines = max(min(self._lines, len(lines)) - closed_lines, 0)

    def _block_lines(self, block: Block) -> list[Line]:
        """Return the lines of a block that may be printed, with the blank one above it."""
        if block.lines is not None:
            return block.lines
        is_open = any(block is other for other in self._markdown.open)
        is_whole = _is_whole(block, is_open=is_open)
        block.lines = []
        if not (is_open and is_whole):
            if is_open and block.kind is Kind.MARKDOWN:
                block.source = re.sub(_OPEN_FORMULA, "", block.source)
            block.has_cursor = is_open  # then the layout completes marks such as `**`
            width = min(_columns(), _WIDEST_LINE) + 2
            if self._fitted.page.width != width:
                self._fitted = Layout(self._page(width))
            layout = self._fitted if is_whole else self._unwrapped
            block.lines = layout.lines(block, self._markdown.references)
        if is_open and block.kind is Kind.FENCE:
            del block.lines[-1:]  # its line has not ended
        is_first = block is (self._markdown.closed or [block])[0]
        if block.lines and block.gap and not is_first:
            block.lines.insert(0, Line([]))
        return block.lines

    def _new_words(self, line: Line, width: int, *, is_open: bool) -> list[Span]:
        """Return the words of a line that are not printed, with the line ends between them.

        The last word of an open line may not be complete, so it is left out.
        """
        if not line.segments:
            return []
        shown = "".join(segment.text for segment in line.segments).rstrip(" ")
        starts = [line.start + place for place in word_starts(shown[line.start :]) or [0]]
        ends = [len(shown[:start].rstrip(" ")) for start in starts[1:]]
        ends.append(max(len(shown), line.start))  # an item without words has its mark alone
        # the first cell is empty; then the prefix and the first word, and a blank before each other
        bounds = [0, 1, *chain.from_iterable(zip(starts, ends, strict=True))]
        spans = [(segment.text, segment.style or _NULL) for segment in line.segments]
        _, prefix, *words = split_spans(spans, bounds)
        if width_of(prefix) > width // 2:  # of lists in lists: the last mark remains
            prefix = prefix[-1:]
        next_prefix = [(re.sub(rf"[^ {UNICODE.column}]", " ", mark), look) for mark, look in prefix]
        printed: list[Span] = []
        for index in range(self._words, len(starts) - is_open):
            word = words[2 * index]
            before = words[2 * index - 1] if index else prefix
            if index and self._column + width_of([*before, *word]) > width:
                printed.append(_LINE_END)
                self._column = 0
            if index and not self._column:
                before = next_prefix
            printed += [*before, *word]
            self._column += width_of([*before, *word])
            self._words = index + 1
        return printed

    def _painted(self, spans: list[Span]) -> str:
        """Return spans with the control sequences of their styles."""
        painted = ""
        for style, same in groupby(spans, key=itemgetter(1)):
            look = style if self._has_colours else style.without_color
            text = "".join(words for words, _ in same)
            painted += look.render(text, color_system=ColorSystem.STANDARD)
        return painted

    def _page(self, width: int) -> Page:
        return Page(width, self._styles, has_tints=False, colours=self._colours, has_padding=False)


def _is_whole(block: Block, *, is_open: bool) -> bool:
    """Return whether a block is printed when it is complete, in lines that fit the terminal."""
    if block.kind is not Kind.MARKDOWN:
        return block.kind is Kind.TABLE
    if is_open and re.match(_MAY_BE_WHOLE, block.source):
        return True
    return any(token.type in _WHOLE for token in parse_blocks(block.source, {}))


def _columns() -> int:
    """Return the columns of the terminal now."""
    with suppress(OSError):
        return max(os.get_terminal_size(1).columns, 1)
    return shutil.get_terminal_size().columns  # `$COLUMNS`, which may be old
