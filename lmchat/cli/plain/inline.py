"""Formatted answers in the scrollback of the terminal, for `lmchat --inline`.

Printed text cannot be changed. So a word, a line of code or a table is printed when it is complete.
The terminal keeps, searches and copies it as any other text.

A frame prints at once all that has become complete; there are at most 15 a second. The text of an
answer is cut into blocks: closed ones, which never change, and an open one at the end, which grows.
A word has the blanks and marks before it: `_block_words` says which.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from itertools import chain, groupby
from operator import itemgetter
from shutil import get_terminal_size

from rich.color import ColorSystem
from rich.style import Style

from lmchat.markdown.block import Block, Kind, Line, Span
from lmchat.markdown.colours import Colours
from lmchat.markdown.commonmark import parse_blocks
from lmchat.markdown.highlighter import Highlighter
from lmchat.markdown.incremental import IncrementalMarkdown
from lmchat.markdown.layout import Layout
from lmchat.markdown.page import Page
from lmchat.markdown.wrap import split_spans, text_of, word_starts
from lmchat.safe_text import safe_text

_FRAME_S = 1 / 15  # between two frames
_FRAME_CHARS = 10_000  # at most in one frame: Ctrl+C waits for the end of a frame
_ENDLESS = 10_000  # columns
_WIDEST_LINE = 92  # columns, as on the screen; longer lines are hard to read
# blocks that are printed when they are complete: their lines depend on all of their text
_WAITING_TOKENS = ("table_open", "hr", "html_block", "math_block")
_WAITING_BEGINNING = r"[\s>]*(?:\||\$\$|\\\[|\\begin|<)"  # how most of these blocks begin
_NULL = Style.null()
_LINE_END: Span = ("\n", _NULL)
_OPEN_FORMULA = r"(?<![\w$\\])\$(?=[^\s$])[^$\n]{0,200}$"  # begun at the end of a text
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

    is_at_line_start = True  # always, for a note: `Output.before_notes` ends the line before it

    def __init__(self, write: Callable[[str], None], environ: Mapping[str, str]) -> None:
        """Create it; `write` writes to the terminal. With `NO_COLOR`, there are no colours."""
        self._write = write
        self._has_colours = not environ.get("NO_COLOR")
        styles = {name: Style.parse(words) for name, words in _STYLES.items()}
        self._colours = Colours()
        self._highlighter = Highlighter()
        # `_block_lines` sets the width for each block, as the width of the terminal may change
        page = Page(_WIDEST_LINE, styles, has_tints=False, colours=self._colours, has_padding=False)
        self._layout = Layout(page)
        self._printing: asyncio.Task[None] | None = None
        self._unread = ""  # text that is not parsed yet, since it came after the last frame
        self._is_line_open = False  # whether printed text is in the last line of the terminal
        self._begin_text()

    def _begin_text(self) -> None:
        """Forget the printed text; the next piece begins another text, such as the next answer."""
        self._markdown = IncrementalMarkdown()
        self._is_complete = False  # whether no more text arrives
        self._printed_blocks = 0  # how many closed blocks are printed, from the first on
        self._printed_words = 0  # how many words of the blocks that follow are printed already

    def write(self, piece: str) -> None:
        """Add a piece of the text; what it completes is printed with the next frame."""
        self._unread += piece
        if self._printing is None or self._printing.done():
            self._printing = asyncio.ensure_future(self._print_frames())

    async def print_all(self) -> None:
        """Print all text, with the colours of its code, when no more arrives."""
        self._is_complete = True
        if self._printing is not None:
            await self._printing
        self._markdown.feed("", is_final=True)
        await self._fetch_colours()
        self._print_complete_words()

    def end(self) -> None:
        """Print the rest of the text; the next piece begins another text.

        After `print_all`, there is no rest. Without it, as after Ctrl+C, code of the rest has no
        colours: this method cannot wait for them.
        """
        if self._printing is not None:
            self._printing.cancel()
        self._markdown.feed(self._unread, is_final=True)
        self._unread = ""
        self._print_complete_words()
        self.end_line()
        self._colours.drop_requests()
        self._begin_text()

    def end_line(self) -> None:
        """End the line, so that something else can be printed; the words go on below it."""
        if self._is_line_open:
            self._write("\n")
            self._is_line_open = False

    async def aclose(self) -> None:
        """End the child process that colours code."""
        await self._highlighter.aclose()

    async def _print_frames(self) -> None:
        """Print one frame after the other until all text that has arrived is read."""
        while self._unread:
            self._markdown.feed(self._unread[:_FRAME_CHARS])
            self._unread = self._unread[_FRAME_CHARS:]
            await self._fetch_colours()
            self._print_complete_words()
            # no pause once no more text arrives: `print_all` waits for this task
            await asyncio.sleep(0 if self._is_complete else _FRAME_S)

    async def _fetch_colours(self) -> None:
        """Get the colours of code before it is printed: later, it cannot be coloured."""
        for block in (*self._markdown.closed[self._printed_blocks :], *self._markdown.open):
            self._block_lines(block)  # the layout requests the colours of the block's code
            while (request := self._colours.newest_request) is not None:
                colours = await self._highlighter.colours(*request)
                for waiting_block in self._colours.put(request, colours):
                    waiting_block.lines = None  # drops the lines without colours
                # The request may have been for longer code of another block, which begins with this
                # code. Then this layout requests the colours of this code.
                self._block_lines(block)

    def _print_complete_words(self) -> None:
        """Print the words that are complete and not printed yet.

        An open block is laid out again with each frame, and may then be cut into closed blocks. So
        the printed words are counted: they are the first `_printed_words` of the blocks that follow
        the first `_printed_blocks`.
        """
        spans: list[Span] = []
        closed = self._markdown.closed
        for block in closed[self._printed_blocks :]:
            words = self._block_words(block)
            spans += chain.from_iterable(words[self._printed_words :])
            # This block may be only the beginning of the block that was open, such as the first
            # item of a list. The rest of the count then belongs to the blocks after it.
            self._printed_words = max(self._printed_words - len(words), 0)
            block.lines = None  # the lines are not needed again
        self._printed_blocks = len(closed)
        for block in self._markdown.open:  # one block, or none
            words = self._block_words(block)
            if block.kind is not Kind.FENCE:
                del words[-1:]  # the last word may not be complete
            spans += chain.from_iterable(words[self._printed_words :])
            # what is printed stays so, even if the block has fewer words than in the last frame
            self._printed_words = max(self._printed_words, len(words))
        if spans:
            # in a new line, the first word needs no line end or blanks before it
            if not self._is_line_open:
                before_word, style = spans[0]
                spans[0] = (before_word.lstrip("\n "), style)
            self._write(self._painted(spans))
            self._is_line_open = True

    def _block_words(self, block: Block) -> list[list[Span]]:
        """Return the words of a block that may be printed, each with the blanks before it.

        The first word of a line begins with a line end and the marks of the line, such as those of
        quotes and items. A blank line is one such word.
        """
        words: list[list[Span]] = []
        for line in self._block_lines(block):
            text = "".join(segment.text for segment in line.segments).rstrip(" ")
            # a line is an empty cell at the edge of the page, then marks up to `line.start`, such
            # as that of an item, then words
            starts = [line.start + place for place in word_starts(text[line.start :])]
            # each word but the last ends before the blanks that precede the next one
            ends = [len(text[:next_start].rstrip(" ")) for next_start in starts[1:]]
            # the end of the last word; without words, the end of the marks or of the empty cell
            last_end = max(len(text), line.start, 1)
            spans = [(segment.text, segment.style or _NULL) for segment in line.segments]
            # ` - one two` becomes the empty cell, `- one` and ` two`
            _, first, *others = split_spans(spans, [0, 1, *ends, last_end])
            words += [[_LINE_END, *first], *others]
        return words

    def _block_lines(self, block: Block) -> list[Line]:
        """Return the lines of a block that may be printed, with the blank one above it.

        They are laid out when they are first needed, and kept in `block.lines`.
        """
        if block.lines is not None:
            return block.lines
        # by identity, as a closed block may be equal to the open one
        is_open = any(block is other for other in self._markdown.open)
        if is_open and _must_wait(block):
            block.lines = []
            return block.lines
        if is_open and block.kind is Kind.MARKDOWN:
            # the beginning of a formula is left out: once printed, it could not become a formula
            block.source = re.sub(_OPEN_FORMULA, "", block.source)
        block.has_cursor = is_open  # then the layout completes marks such as `**`
        # A page is three cells wider than its text. The text leaves one column of the terminal
        # free, as some terminals add a line end to a full line.
        width = min(get_terminal_size().columns, _WIDEST_LINE) + 2
        # lines of code are not wrapped: copied code has only its own line ends
        self._layout.page.width = _ENDLESS if block.kind is Kind.FENCE else width
        block.lines = self._layout.lay_out(block, self._markdown.references)
        if is_open and block.kind is Kind.FENCE:
            del block.lines[-1:]  # its line has not ended
        closed = self._markdown.closed
        is_first = not closed or block is closed[0]
        if block.lines and block.gap and not is_first:
            block.lines.insert(0, Line([]))
        return block.lines

    def _painted(self, spans: list[Span]) -> str:
        """Return the text of spans, with the control sequences of their styles."""
        painted = ""
        for style, same in groupby(spans, key=itemgetter(1)):
            look = style if self._has_colours else style.without_color
            painted += look.render(safe_text(text_of(same)), color_system=ColorSystem.STANDARD)
        return painted


def _must_wait(block: Block) -> bool:
    """Return whether a block is printed only when it is complete.

    This is so for tables, formulas, rules and HTML: how the first line looks depends on all of the
    text.
    """
    if block.kind is Kind.MORE_ROWS:  # of a table
        return True
    if block.kind is not Kind.MARKDOWN:  # code, which is printed line by line
        return False
    # the parser may not see yet what such a beginning becomes, as the first row of a table
    if re.match(_WAITING_BEGINNING, block.source):
        return True
    return any(token.type in _WAITING_TOKENS for token in parse_blocks(block.source, {}))
