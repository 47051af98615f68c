"""Formatted answers in the scrollback of the terminal, for `lmchat --inline`.

Printed text cannot be changed, so a line is printed when no later text can change its words: all
rows of closed blocks; of an open paragraph, list or fence all but the last, up to a mark whose end
may follow (`open_marks.settled_end`). The terminal wraps each line itself, and copies it as one.
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
from lmchat.markdown.commonmark import last_block_type, parse_blocks, span
from lmchat.markdown.highlighter import Colours, Highlighter
from lmchat.markdown.incremental import IncrementalMarkdown
from lmchat.markdown.layout import Layout
from lmchat.markdown.open_marks import settled_end, with_last_emphasis
from lmchat.markdown.page import Page
from lmchat.markdown.wrap import split_spans, text_of
from lmchat.safe_text import safe_text

_FRAME_S = 1 / 15
_FRAME_CHARS = 10_000  # in one frame: Ctrl+C waits for its end
_NARROWEST = 40  # columns; on fewer, the terminal wraps tables, too
_WIDEST = 92  # columns of tables, as on the screen
# printed when complete: their lines depend on all of their text
_WAITING_TOKENS = ("table_open", "hr", "html_block", "math_block")
_WAITING_BEGINNING = r"[\s>]*(?:\||\$\$|\\\[|\\begin|<)"  # how most of these begin
# Cut only when very long. Others may be cut anywhere in the second half of a piece, so only the
# first half is printed while they are open.
_LISTS = ("bullet_list_open", "ordered_list_open")
_MOST_TRIES = 8  # in one frame, of a text whose end is a fence each time: more are hostile
_NULL = Style.null()
_UNCOUNTED = r"\s*_~"  # blanks, and marks of emphasis, which may be shown or not
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

    is_at_line_start = True  # for a note: `Output.before_notes` ends the line before it

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
        self._unread = ""  # came after the last frame
        self._is_line_open = False  # printed text is in the last line
        self._begin_text()

    def _begin_text(self) -> None:
        self._markdown = IncrementalMarkdown()
        self._is_complete = False  # no more text arrives
        self._closed: list[_Closed] = []  # not printed yet
        self._closed_count = 0  # with the printed ones
        self._line = ""  # the incomplete line
        self._references = 0  # link definitions above it
        self._printed_signs = 0  # of the blocks that follow
        self._is_cut = False  # the last of them is not the end of its line

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
        """Print the rest of the text; the next piece begins another text.

        Without `print_all`, as after Ctrl+C, code of the rest has no colours.
        """
        if self._printing is not None:
            self._printing.cancel()
        self._feed(self._unread, is_final=True)
        self._unread = ""
        self.end_line()
        self._colours.drop_requests()
        self._begin_text()

    def end_line(self) -> None:
        """Print what is complete and end its line, for something else.

        This cannot wait for the colours of new code.
        """
        self._feed(self._unread)
        self._unread = ""
        self._print_complete_lines()
        if self._is_line_open:
            self._write("\n")
            self._is_line_open = False

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
        """Parse text, and note the blocks that it closes.

        A link may have its definition in the lines above the one that closes its block. With later
        definitions, the words would depend on when the text arrived.
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
        """Get colours first: printed code cannot be coloured."""
        if not self._has_colours:
            return
        for block in (*self._closed, *self._open()):
            self._lay_out(block)  # requests the colours of its code
            while (request := self._colours.newest_request) is not None:
                colours = await self._highlighter.colours(*request)
                for waiting_block in self._colours.put(request, colours):
                    waiting_block.lines = None  # drops the lines without colours
                # The request may have been for longer code of another block, which begins with
                # this. Then this layout requests its own.
                self._lay_out(block)

    def _print_complete_lines(self) -> None:
        """Count printed signs: the open block may have been cut into closed ones since."""
        printed = ""
        for closed in self._closed:
            printed += self._unprinted(self._lay_out(closed))
        self._closed = []
        for block in self._open():  # one, or none
            before = self._printed_signs
            lines = [*self._lay_out(block)]
            # blank lines and rules at the end come with the line behind them
            while lines and not _sign_count(lines[-1].text):
                del lines[-1]
            count = sum(_sign_count(line.text) for line in lines)
            printed += self._unprinted(lines)
            if lines and count >= before:
                self._is_cut = lines[-1].is_wrapped
            self._printed_signs = max(before, count)
        if printed:
            self._write(printed)

    def _unprinted(self, lines: list[Line]) -> str:
        """Count down the signs that are printed already."""
        shown = ""
        for line in lines:
            count = self._printed_signs
            size = _sign_count(line.text) if count else 0
            self._printed_signs = max(count - size, 0)
            place = 0  # behind the printed beginning
            if count:
                if size < count or (size == count and not self._is_cut):
                    continue
                self._is_cut = False
                signs = re.finditer(f"[^{_UNCOUNTED}]", line.text)
                place = next(islice(signs, count - 1, None)).end()
                if not line.text[place:].strip():
                    continue
            if place and not self._is_line_open:  # a note has ended it
                place += len(line.text[place:]) - len(line.text[place:].lstrip())
            elif not place and self._is_line_open:
                shown += "\n"
            shown += self._painted(line, line.start + place if place else 1)
            self._is_line_open = True
        return shown

    def _open(self) -> list[_Closed]:
        return [_Closed(block, self._references) for block in self._markdown.open]

    def _lay_out(self, waiting: _Closed) -> list[Line]:
        """Lay a block out, with the blank line above."""
        block = waiting.block
        if block.lines is not None:
            return block.lines
        # by identity: a closed block may be equal
        is_open = any(block is other for other in self._markdown.open)
        if is_open:
            block.source = _settled(block.kind, block.source)
            if not block.source:
                block.lines = []
                return block.lines
        # A page is three cells wider than its text. Tables leave one column free, as some terminals
        # add a line end to a full line.
        columns = max(min(get_terminal_size().columns, _WIDEST), _NARROWEST)
        self._layout.page.width = columns + 2
        references = dict(islice(self._markdown.references.items(), waiting.references))
        rows = self._layout.lay_out(block, references)
        if is_open:
            del rows[-1:]  # it may still grow
        block.lines = _joined(rows)
        closed = self._markdown.closed
        is_first = not closed or block is closed[0]
        if block.lines and block.gap and not is_first:
            block.lines.insert(0, Line([]))
        return block.lines

    def _painted(self, line: Line, start: int) -> str:
        """Return the text from a column on, with control sequences."""
        text = "".join(segment.text for segment in line.segments)
        end = max(len(text.rstrip(" ")), line.start, start)  # without blanks at the end
        spans = [(segment.text, segment.style or _NULL) for segment in line.segments]
        _, shown = split_spans(spans, [0, start, end])
        painted = ""
        for style, same in groupby(shown, key=itemgetter(1)):
            look = style if self._has_colours else style.without_color
            painted += look.render(safe_text(text_of(same)), color_system=ColorSystem.STANDARD)
        return painted


class _Closed(Struct):
    """A block, and the number of first link definitions that it may use."""

    block: Block
    references: int


def _sign_count(text: str) -> int:
    return len(re.sub(f"[{_UNCOUNTED}]+", "", text))


def _joined(rows: list[Line]) -> list[Line]:
    """Join rows to lines, as a terminal wraps them itself.

    A line of which further rows may follow is cut behind its last sign: marks behind that may be
    shown or not.
    """
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
        line.text += row.text
        line.is_wrapped = row.is_wrapped
        if is_first:
            lines.append(line)
    if lines and lines[-1].is_wrapped:
        last = lines[-1]
        while re.match(f"[{_UNCOUNTED}]", last.text[-1:]):
            last.text = last.text[:-1]
        spans = [(segment.text, segment.style or _NULL) for segment in last.segments]
        (kept,) = split_spans(spans, [0, last.start + len(last.text)])
        last.segments = [Segment(*span) for span in kept]
    return lines


def _settled(kind: Kind, source: str, tries: int = _MOST_TRIES) -> str:
    """Return the beginning of an open block that may be printed, but for its last line.

    Tables, formulas, rules and HTML wait until they are complete.
    """
    if kind is not Kind.MARKDOWN:  # rows of a table wait; code is printed line by line
        return "" if kind is Kind.MORE_ROWS else source
    # the parser may not see yet what it becomes, as the first row of a table
    if re.match(_WAITING_BEGINNING, source):
        return ""
    tokens = parse_blocks(source, {})
    if any(token.type in _WAITING_TOKENS for token in tokens):
        return ""
    is_list = bool(tokens) and tokens[0].type in _LISTS
    if not is_list and len(source) > PIECE_CHARS // 2:
        source = source[: PIECE_CHARS // 2]
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
            source = "".join(lines[: first + number]) + line[: start + column]
            break
    else:
        # the last line, in which emphasis is completed, must not be empty
        source = source.rstrip("\n") if has_text_last else source
    lines = source.split("\n")
    end = count = len(lines) - (not lines[-1])
    # the start of a fence, or code if another mark follows in this line
    while end > 1 and re.fullmatch("[ >]*```[^`]*", lines[end - 1]):
        end -= 1
    if end < count:
        return _settled(kind, "\n".join(lines[:end]) + "\n", tries - 1) if tries else ""
    is_code = last_block_type(parse_blocks(source, {})) in ("fence", "code_block")
    return source if is_code else with_last_emphasis(source)
