"""Formatted answers in the scrollback of the terminal, for `lmchat --inline`.

Printed text cannot be changed. So a line is printed when no text that follows can change its words.
The terminal keeps, searches and copies it as any other text.

A frame prints at once all that has become complete; there are at most 15 a second. The text of an
answer is cut into blocks: closed ones, which never change, and an open one at the end, which grows.
Of closed blocks all lines are printed. Of an open paragraph, list or fence, all are but the last,
up to a mark whose end may follow (`open_marks.settled_end`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from itertools import groupby, islice
from operator import itemgetter
from shutil import get_terminal_size

from msgspec import Struct
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style

from lmchat.markdown.block import PIECE_CHARS, Block, Kind, Line
from lmchat.markdown.colours import Colours
from lmchat.markdown.commonmark import last_block_type, parse_blocks, span
from lmchat.markdown.highlighter import Highlighter
from lmchat.markdown.incremental import IncrementalMarkdown
from lmchat.markdown.layout import Layout
from lmchat.markdown.open_marks import settled_end
from lmchat.markdown.page import Page
from lmchat.markdown.wrap import split_spans, text_of
from lmchat.safe_text import safe_text

_FRAME_S = 1 / 15  # between two frames
_FRAME_CHARS = 10_000  # at most in one frame: Ctrl+C waits for the end of a frame
_ENDLESS = 10_000  # columns
_WIDEST_LINE = 92  # columns, as on the screen; longer lines are hard to read
# blocks that are printed when they are complete: their lines depend on all of their text
_WAITING_TOKENS = ("table_open", "hr", "html_block", "math_block")
_WAITING_BEGINNING = r"[\s>]*(?:\||\$\$|\\\[|\\begin|<)"  # how most of these blocks begin
# Blocks that are not cut until they are very long. Others may be cut anywhere in the second half of
# a piece, so that only the first half is printed while they are open.
_LISTS = ("bullet_list_open", "ordered_list_open")
_NULL = Style.null()
# signs that are not counted: marks of emphasis that may be shown or not, and blanks
_UNCOUNTED = r"[\s*_~]+"
# the colours of the terminal itself, since what is printed stays when its theme changes
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
        self._closed: list[_Closed] = []  # closed blocks that are not printed yet
        self._closed_count = 0  # how many blocks are closed
        self._line = ""  # the line of the text that is not complete
        self._references = 0  # how many link definitions are above that line
        self._printed_signs = 0  # how many signs of the blocks that follow are printed already

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
        self._feed("", is_final=True)
        await self._fetch_colours()
        self._print_complete_lines()

    def end(self) -> None:
        """Print the rest of the text; the next piece begins another text.

        After `print_all`, there is no rest. Without it, as after Ctrl+C, code of the rest has no
        colours: this method cannot wait for them.
        """
        if self._printing is not None:
            self._printing.cancel()
        self._feed(self._unread, is_final=True)
        self._unread = ""
        self._print_complete_lines()
        self.end_line()
        self._colours.drop_requests()
        self._begin_text()

    def end_line(self) -> None:
        """End the line, so that something else can be printed."""
        if self._is_line_open:
            self._write("\n")
            self._is_line_open = False

    async def aclose(self) -> None:
        """End the child process that colours code."""
        await self._highlighter.aclose()

    async def _print_frames(self) -> None:
        """Print one frame after the other until all text that has arrived is read."""
        while self._unread:
            self._feed(self._unread[:_FRAME_CHARS])
            self._unread = self._unread[_FRAME_CHARS:]
            await self._fetch_colours()
            self._print_complete_lines()
            # no pause once no more text arrives: `print_all` waits for this task
            await asyncio.sleep(0 if self._is_complete else _FRAME_S)

    def _feed(self, text: str, *, is_final: bool = False) -> None:
        """Parse text, and note the blocks that it closes.

        A link may have its definition in the lines above the one that closes its block. With later
        definitions, the words would depend on when the text has arrived.
        """
        pieces = [text]
        if "]:" in self._line + text:
            pieces = re.findall(r"[^\n]*\n|[^\n]+", text) or [text]
        for number, piece in enumerate(pieces, 1):
            self._markdown.feed(piece, is_final=is_final and number == len(pieces))
            blocks = islice(self._markdown.closed, self._closed_count, None)
            self._closed += [_Closed(block, self._references) for block in blocks]
            self._closed_count = len(self._markdown.closed)
            if "\n" in piece:
                self._references = len(self._markdown.references)
                self._line = ""
            self._line += piece[piece.rfind("\n") + 1 :]

    async def _fetch_colours(self) -> None:
        """Get the colours of code before it is printed: later, it cannot be coloured."""
        if not self._has_colours:
            return
        for block in (*self._closed, *self._open()):
            self._lay_out(block)  # the layout requests the colours of the block's code
            while (request := self._colours.newest_request) is not None:
                colours = await self._highlighter.colours(*request)
                for waiting_block in self._colours.put(request, colours):
                    waiting_block.lines = None  # drops the lines without colours
                # The request may have been for longer code of another block, which begins with this
                # code. Then this layout requests the colours of this code.
                self._lay_out(block)

    def _print_complete_lines(self) -> None:
        """Print the lines that are complete and not printed yet.

        An open block is laid out again with each frame, and may then be cut into closed blocks. So
        the printed signs are counted.
        """
        lines: list[Line] = []
        for closed in self._closed:
            lines += self._unprinted(self._lay_out(closed))
        self._closed = []
        for block in self._open():  # one block, or none
            before = self._printed_signs
            unprinted = self._unprinted(self._lay_out(block))
            # the last line with signs may still grow; rules and blank lines behind it come with it
            while unprinted and not _signs(unprinted[-1].text):
                del unprinted[-1]
            new_signs = sum(len(_signs(line.text)) for line in unprinted)
            self._printed_signs = before + new_signs
            lines += unprinted
        if lines:
            if self._is_line_open:
                self._write("\n")
            self._write("\n".join(map(self._painted, lines)))
            self._is_line_open = True

    def _unprinted(self, lines: list[Line]) -> list[Line]:
        """Return the lines of a block behind the printed signs, which are counted down."""
        for number, line in enumerate(lines):
            count = self._printed_signs
            if not count:
                return lines[number:]
            signs = _signs(line.text)
            self._printed_signs = max(count - len(signs), 0)
            if len(signs) > count:  # a part of the line is printed, which began in another place
                return [_rest(line, count), *lines[number + 1 :]]
        return []

    def _open(self) -> list[_Closed]:
        """Return the block that may still grow, with the definitions above its last line."""
        return [_Closed(block, self._references) for block in self._markdown.open]

    def _lay_out(self, waiting: _Closed) -> list[Line]:
        """Return the lines of a block that may be printed, with the blank one above it.

        They are laid out when they are first needed, and kept in `block.lines`.
        """
        block = waiting.block
        if block.lines is not None:
            return block.lines
        # by identity, as a closed block may be equal to the open one
        is_open = any(block is other for other in self._markdown.open)
        if is_open:
            block.source = _settled(block)
            block.has_cursor = True  # then the layout completes marks such as `**`
            if not block.source:
                block.lines = []
                return block.lines
        # A page is three cells wider than its text. The text leaves one column of the terminal
        # free, as some terminals add a line end to a full line.
        width = min(get_terminal_size().columns, _WIDEST_LINE) + 2
        # lines of code are not wrapped: copied code has only its own line ends
        self._layout.page.width = _ENDLESS if block.kind is Kind.FENCE else width
        references = dict(islice(self._markdown.references.items(), waiting.references))
        block.lines = self._layout.lay_out(block, references)
        if is_open:
            del block.lines[-1:]  # it may still grow
        closed = self._markdown.closed
        is_first = not closed or block is closed[0]
        if block.lines and block.gap and not is_first:
            block.lines.insert(0, Line([]))
        return block.lines

    def _painted(self, line: Line) -> str:
        """Return the text of a line, with the control sequences of its styles."""
        text = "".join(segment.text for segment in line.segments)
        # without the empty cell at the edge of the page, and without blanks at the end
        end = max(len(text.rstrip(" ")), line.start, 1)
        spans = [(segment.text, segment.style or _NULL) for segment in line.segments]
        *_, shown = split_spans(spans, [0, min(1, end), end])
        painted = ""
        for style, same in groupby(shown, key=itemgetter(1)):
            look = style if self._has_colours else style.without_color
            painted += look.render(safe_text(text_of(same)), color_system=ColorSystem.STANDARD)
        return painted


class _Closed(Struct):
    """A block with the number of the first link definitions of the text that it may use."""

    block: Block
    references: int


def _signs(text: str) -> str:
    return re.sub(_UNCOUNTED, "", text)


def _rest(line: Line, count: int) -> Line:
    """Return what follows the first `count` signs of a line, in the place of its text."""
    place = 0
    while count:
        count -= len(_signs(line.text[place]))
        place += 1
    place += len(line.text[place:]) - len(line.text[place:].lstrip())
    spans = [(segment.text, segment.style or _NULL) for segment in line.segments]
    size = sum(len(text) for text, _ in spans)
    before, _, rest = split_spans(spans, [0, line.start, line.start + place, size])
    return Line([Segment(*part) for part in [*before, *rest]], line.text[place:], line.start)


def _settled(block: Block) -> str:
    """Return the beginning of an open block that may be printed, but for its last line.

    Tables, formulas, rules and HTML wait until they are complete: how their first line looks
    depends on all of the text.
    """
    source = block.source
    if block.kind is not Kind.MARKDOWN:  # rows of a table wait; code is printed line by line
        return "" if block.kind is Kind.MORE_ROWS else source
    # the parser may not see yet what such a beginning becomes, as the first row of a table
    if re.match(_WAITING_BEGINNING, source):
        return ""
    tokens = parse_blocks(source, {})
    if any(token.type in _WAITING_TOKENS for token in tokens):
        return ""
    is_list = bool(tokens) and tokens[0].type in _LISTS
    if not is_list:
        source = source[: PIECE_CHARS // 2]
        if source != block.source:
            tokens = parse_blocks(source, {})
    texts = [token for token in tokens if token.type == "inline"]
    is_nested = bool(tokens) and tokens[0].type in (*_LISTS, "blockquote_open")
    has_text_last = last_block_type(tokens) not in ("fence", "code_block")
    lines = source.splitlines(keepends=True)
    for token in texts:
        is_last = token is texts[-1] and has_text_last
        end = settled_end(token.content, is_nested=is_nested, is_ended=not is_last)
        if end < len(token.content):
            number = token.content.count("\n", 0, end)
            text = token.content.split("\n")[number]
            column = end - (token.content.rfind("\n", 0, end) + 1)
            first, _ = span(token)
            line = lines[first + number]
            start = max(len(line.rstrip()) - len(text.rstrip()), 0)
            return "".join(lines[: first + number]) + line[: start + column]
    return source
