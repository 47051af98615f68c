"""Fenced code: its tint, its colours, its long lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.style import Style

from lmchat.text import safe_line
from lmchat.tui.widgets.chat_log.blocks import SEGMENT_LINES, Block, Line, Span
from lmchat.tui.widgets.chat_log.layout.lexing import Kinds, known_kinds, piece_kinds
from lmchat.tui.widgets.chat_log.layout.page import MIN_WIDTH, Page, fold, width_of

_MORE = 2
"""Cells by which the rest of a long line is indented more than the line."""
_NULL = Style.null()


def code_lines(
    page: Page,
    code: str,
    info: str,
    *,
    first: Sequence[Span] = (),
    rest: Sequence[Span] = (),
    is_first: bool = True,
) -> Iterator[Line]:
    """Yield the lines of a piece of code; the first piece has a head with the language."""
    language = language_of(info)
    if is_first:
        yield head_line(page, _title(info), first)
        first = rest
        if not code:
            return
    lines = code.split("\n")
    for start in range(0, len(lines), SEGMENT_LINES):
        piece = "\n".join(lines[start : start + SEGMENT_LINES])
        for line in _folded(page, piece_kinds(piece, language), (first, rest)):
            yield line
            first = rest


def piece_lines(page: Page, block: Block, prefix: Sequence[Span]) -> Iterator[Line]:
    """Yield the lines of a piece of a fence that is a block of its own."""
    language = language_of(block.info)
    if block.is_first:
        yield head_line(page, _title(block.info), prefix)
        if not block.source:
            return
    line: Line | None = None
    if block.code is not None and block.code.colours:
        kinds: Kinds = known_kinds(block.source, block.code.colours[block.piece])
    else:
        kinds = piece_kinds(block.source, language)
    for line in _folded(page, kinds, (prefix, prefix), is_inner=bool(block.head)):
        yield line
    if line is not None and block.goes_on:
        line.is_wrapped = True


def _title(info: str) -> str:
    """Return what stands above code: its language, and what else its fence says, as a file name."""
    return safe_line(info, limit=1_000) or "code"


def language_of(info: str) -> str:
    """Return the language out of `python`, `python:main.py` or `{.python .numbered}`."""
    found = re.match(r"[{.\s]*([\w#+.-]{1,40})", info)
    return found[1] if found else ""


def _folded(
    page: Page,
    kinds: Kinds,
    prefixes: tuple[Sequence[Span], Sequence[Span]],
    *,
    is_inner: bool = False,
) -> Iterator[Line]:
    """Yield the lines of code, those that are too long folded; `is_inner` begins in the middle of a line."""
    first, rest = prefixes
    width = max(page.text_width - 3 - width_of(rest), MIN_WIDTH)
    for spans in _split(page, kinds):
        indent = min(_depth(spans), width // 2) + _MORE
        rest_width = max(width - indent, MIN_WIDTH // 2)
        parts = list(fold(spans, rest_width if is_inner else width, rest_width))
        for index, part in enumerate(parts):
            line = _code_line(page, part, first, indent=indent if index or is_inner else 0)
            line.is_wrapped = index < len(parts) - 1
            yield line
            first = rest
        is_inner = False


def head_line(page: Page, words: str, prefix: Sequence[Span] = (), hint: str = "copy") -> Line:
    """Return the row above code: what it is, and while the message has the focus, the key that copies it."""
    muted, strong = page.styles["muted"], page.styles["strong"]
    room = max(page.text_width - 3 - width_of(prefix), MIN_WIDTH)
    line = page.line([*_pad(page), *page.fit([(words, muted)], room)], prefix=prefix, tint="panel")
    act = Style(meta={"act": "copy_code"})
    keys: list[Span] = [("c", muted + strong + act), (" " + hint, muted + act)]
    left = page.fit([(words, muted)], max(room - width_of(keys) - 2, 1))
    line.hint = page.line([*_pad(page), *left, ("  ", _NULL), *keys], prefix=prefix, tint="panel").segments
    return line


def _depth(spans: list[Span]) -> int:
    """Return how many blanks a line of code begins with."""
    text = "".join(text for text, _ in spans)
    return len(text) - len(text.lstrip(" "))


def _code_line(page: Page, spans: list[Span], prefix: Sequence[Span], *, indent: int) -> Line:
    """Return a line of code; what continues one is indented, with a sign in the padding."""
    pad = [*_pad(page, page.signs.cut[0] if indent else " "), (" " * indent, _NULL)]
    line = page.line([*pad, *spans], prefix=prefix, tint="panel")
    line.text = "".join(text for text, _ in spans)
    line.start += sum(len(text) for text, _ in pad)
    return line


def _pad(page: Page, sign: str = " ") -> list[Span]:
    """Return the two cells between the edge of the block and its code."""
    if page.has_tints:
        return [(" " + sign, page.styles["muted"])]
    return [(page.signs.column, page.styles["faint"]), (sign, page.styles["muted"])]


def _split(page: Page, kinds: Kinds) -> Iterator[list[Span]]:
    """Yield the spans of each line of code."""
    spans: list[Span] = []
    for kind, text in kinds:
        style = page.styles[kind] if kind else _NULL
        for index, part in enumerate(text.split("\n")):
            if index:
                yield spans
                spans = []
            if part:
                spans.append((part, style))
    yield spans
