"""Lines of code in fences: their tint, their colours, and long lines broken into rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rich.style import Style

from lmchat.markdown.block import Block, Line, Span
from lmchat.markdown.lexer_program import COLOUR_NAMES
from lmchat.markdown.wrap import MIN_WIDTH, Page, break_code, harmless, width_of
from lmchat.safe_text import safe_line

_INFO_CHARS = 1_000  # of the language of a fence
_MORE_INDENT = 2  # cells by which further rows of a long line are indented more than its start
_PAD_CELLS = 3  # beside the code of a line
_NULL = Style.null()


def coloured(code: str, colours: bytes) -> Iterator[tuple[str, str]]:
    """Yield pieces of code of one colour, each after the name of its colour.

    `colours` has a byte for each character, an index in `COLOUR_NAMES`. Code behind its end has no
    colour: its name is empty. Empty code is one empty piece.
    """
    for run in re.finditer(rb"(?s)(.)\1*", colours[: len(code)]):  # equal bytes
        colour = run[1][0]
        yield COLOUR_NAMES[colour], code[run.start() : run.end()]
    if len(colours) < len(code) or not code:
        yield "", code[len(colours) :]


def code_lines(
    page: Page,
    code: str,
    info: str,
    prefixes: tuple[Sequence[Span], Sequence[Span]] = ((), ()),
    *,
    is_first: bool = True,
) -> Iterator[Line]:
    """Yield the lines of a code or of a piece of it; those that are too long are broken.

    `prefixes` are those of the first line and of the following ones. With `is_first`, a row with
    the language is above.
    """
    prefix, next_prefix = prefixes
    if is_first:
        yield head_line(page, safe_line(info, limit=_INFO_CHARS) or "code", prefix)
        prefix = next_prefix
        if not code:  # a fence that has just begun, or an empty one
            return
    width = max(page.text_width - _PAD_CELLS - width_of(next_prefix), MIN_WIDTH)
    code = harmless(code)
    colours = page.colours.of(language_of(info), code)
    for spans in _styled_lines(page, coloured(code, colours)):
        yield from _broken_lines(page, spans, (prefix, next_prefix), width)
        prefix = next_prefix


def _broken_lines(
    page: Page,
    spans: list[Span],
    prefixes: tuple[Sequence[Span], Sequence[Span]],
    width: int,
) -> Iterator[Line]:
    """Yield the rows of a line of code; those after the first are indented more than its start."""
    prefix, next_prefix = prefixes
    text = "".join(words for words, _ in spans)
    rest_indent = min(len(text) - len(text.lstrip(" ")), width // 2) + _MORE_INDENT
    rest_width = max(width - rest_indent, MIN_WIDTH // 2)
    rows = list(break_code(spans, width, rest_width))
    for number, row in enumerate(rows):
        line = _code_line(page, row, prefix, indent=rest_indent if number else 0)
        line.is_wrapped = number < len(rows) - 1
        yield line
        prefix = next_prefix


def piece_lines(page: Page, block: Block, prefix: Sequence[Span]) -> list[Line]:
    """Return the lines of a block that is a piece of a fence."""
    return list(
        code_lines(page, block.source, block.info, (prefix, prefix), is_first=block.is_first)
    )


def language_of(info: str) -> str:
    """Return the language in the info of a fence, as `python` in `python:main.py` or `{.python}`.

    Return an empty text if it names none.
    """
    match = re.match(r"[{.\s]*([\w#+.-]{1,40})", info)
    return match[1] if match else ""


def head_line(page: Page, words: str, prefix: Sequence[Span] = (), *, has_key: bool = True) -> Line:
    """Return the row above code; unless `has_key` is False, its `hint` has the key that copies it.

    The hint replaces the row while the message has the focus.
    """
    muted = page.styles["muted"]
    room = max(page.text_width - _PAD_CELLS - width_of(prefix), MIN_WIDTH)
    line = page.line([*_pad(page), *page.fit([(words, muted)], room)], prefix=prefix, tint="panel")
    if has_key:
        key = page.key_hint("c", "copy", "copy_code")
        left = page.fit([(words, muted)], max(room - width_of(key), 1))
        line.hint = page.line([*_pad(page), *left, *key], prefix=prefix, tint="panel").segments
    return line


def _code_line(page: Page, spans: list[Span], prefix: Sequence[Span], *, indent: int) -> Line:
    """Return a row of code. With an `indent`, it continues a line, and has the sign for that."""
    sign = page.icons.cut[0] if indent else " "  # one cell: in ASCII, the icon is `...`
    pad = [*_pad(page, sign), (" " * indent, _NULL)]
    line = page.line([*pad, *spans], prefix=prefix, tint="panel")
    line.text = "".join(text for text, _ in spans)
    line.start += sum(len(text) for text, _ in pad)
    return line


def _pad(page: Page, sign: str = " ") -> list[Span]:
    """Return the two cells before the code in a row; the second one shows `sign`.

    Where the page has no tints, the first one is a rule, which tells code from text.
    """
    if page.has_tints:
        return [(" " + sign, page.styles["muted"])]
    return [(page.icons.column, page.styles["faint"]), (sign, page.styles["muted"])]


def _styled_lines(page: Page, runs: Iterable[tuple[str, str]]) -> Iterator[list[Span]]:
    """Yield the spans of each line of code, given runs of a colour's name and the text in it."""
    spans: list[Span] = []
    for colour, text in runs:
        style = page.styles[colour] if colour else _NULL
        for index, words in enumerate(text.split("\n")):
            if index:
                yield spans
                spans = []
            if words:
                spans.append((words, style))
    yield spans
