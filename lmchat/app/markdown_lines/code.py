"""Lines of code in fences: their tint, their colours, and long lines broken into rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.style import Style

from lmchat.app.cells import without_middle
from lmchat.app.markdown_lines.block import Line, Span
from lmchat.app.markdown_lines.lexer_child import COLOUR_NAMES
from lmchat.app.markdown_lines.page import MIN_WIDTH, Page
from lmchat.app.markdown_lines.wrap import cut_points, harmless, split_spans, text_of, width_of
from lmchat.base.markdown.fences import indent_of
from lmchat.base.safe_text import safe_line
from lmchat.base.units import SIGNS

_INFO_CHARS = 1_000  # of a fence's info that are shown
_LEAST_WORDS = 8  # cells for the language beside the name of a file, and for a cut name
_NAME_GAP = "  "
# as in `python:main.py`, `js title="a/b.js"`, `{.c file=a.c}`
_LANGUAGE_AND_FILE = (
    r"[{.\s]*(?P<language>[\w#+.-]{1,40})[\s,:]+(?:(?:title|filename|file|name|path)=)?"
    r"([\"']?)(?P<file>[^\s\"'={}]*[./][^\s\"'={}]*)\2[\s}]*"
)
_MORE_INDENT = 2  # cells, of the further rows of a long line
_PAD_CELLS = 3  # two of `_pad` before a line, one behind it
_NULL = Style.null()
_ONE_COLOUR = re.compile(rb"(.)\1*", re.DOTALL)  # neighbouring characters in one colour


def code_lines(
    page: Page,
    code: str,
    info: str,
    prefixes: tuple[Sequence[Span], Sequence[Span]] = ((), ()),
    *,
    is_first: bool = True,
    is_end: bool = False,
) -> Iterator[Line]:
    """Yield the lines of code, or of a piece of it.

    `prefixes` are those of the first line and of the others. `is_first` adds a row with language
    and file name above, `is_end` half a row below.
    """
    prefix, next_prefix = prefixes
    if is_first:
        yield head_line(page, *language_and_file(info), prefix)
        prefix = next_prefix
    if code or not is_first:  # else a fence that has just started, or an empty one
        yield from _text_lines(page, code, info, (prefix, next_prefix))
    if is_end and page.has_tints:
        yield _half_row(page, next_prefix)


def _text_lines(
    page: Page, code: str, info: str, prefixes: tuple[Sequence[Span], Sequence[Span]]
) -> Iterator[Line]:
    prefix, next_prefix = prefixes
    if page.is_scrollback:  # code is copied there with all before it in the row
        prefix = next_prefix = ()
    width = max(page.text_width - _PAD_CELLS - width_of(next_prefix), MIN_WIDTH)
    code = harmless(code)
    for spans in _coloured_lines(page, code, page.colours.of(language_of(info), code)):
        text = text_of(spans)
        # below its first word, but with at least half of the width
        indent = min(indent_of(text), width // 2) + _MORE_INDENT
        cuts: list[int] = []
        if cell_len(text) > width:
            cuts = cut_points(text, width, max(width - indent, MIN_WIDTH // 2))
        for number, row in enumerate(split_spans(spans, [0, *cuts, len(text)])):
            pad = _pad(page)
            if number:
                pad = [*_pad(page, SIGNS.cut), (" " * indent, _NULL)]
            line = page.line([*pad, *row], prefix=prefix, tint="panel")
            line.text = text_of(row)
            # the pad is among the spans for its tint, but a selection does not copy it
            line.start += len(text_of(pad))
            line.is_wrapped = number < len(cuts)
            yield line
            prefix = next_prefix


def _coloured_lines(page: Page, code: str, colours: bytes) -> Iterator[list[Span]]:
    """`colours` has a byte for each character, an index in `COLOUR_NAMES`; it may be shorter."""
    styles = [page.styles[name] if name else _NULL for name in COLOUR_NAMES]
    start = 0
    for line in code.split("\n"):
        line_colours = colours[start : start + len(line)]
        start += len(line) + 1
        spans = [
            (line[run.start() : run.end()], styles[line_colours[run.start()]])
            for run in _ONE_COLOUR.finditer(line_colours)
        ]
        if len(line_colours) < len(line):
            spans.append((line[len(line_colours) :], _NULL))
        yield spans


def language_of(info: str) -> str:
    """Return the language, as in `python:main.py` or `{.python}`."""
    match = re.match(r"[{.\s]*([\w#+.-]{1,40})", info)
    return match[1] if match else ""


def language_and_file(info: str) -> tuple[str, str]:
    """Return what the first row of code shows, at its left and at its right.

    Other words, such as `python {1,3}`, are shown in place of the language.
    """
    shown = safe_line(info, limit=_INFO_CHARS)
    match = re.fullmatch(_LANGUAGE_AND_FILE, shown)
    return (match["language"], match["file"]) if match else (shown or "code", "")


def head_line(
    page: Page,
    text: str,
    file: str = "",
    prefix: Sequence[Span] = (),
    *,
    has_copy_key: bool = True,
) -> Line:
    """With `has_copy_key`, its `hint` has the key that copies the code."""
    muted = page.muted
    left = [*_pad(page), (text, muted)]
    pad = width_of(_pad(page))
    room = page.text_width - width_of(prefix)
    room_right = room - pad - min(cell_len(text), _LEAST_WORDS)

    def line(*key: Span) -> Line:
        name = _without_middle(file, room_right - width_of(key) - len(_NAME_GAP))
        right = [*([(_NAME_GAP + name, muted)] if name else []), *key]
        shown = page.fit(left, max(room - width_of(right), pad + 1))
        return page.line(shown, right=right, prefix=prefix, tint="label")

    head = line()
    if has_copy_key:
        key = page.key_hint("c", "copy", "message.copy_code")
        key[0] = (f" {key[0][0]}", key[0][1])  # a wider gap than within the words
        head.hint = line(*key).segments
    return head


def _without_middle(path: str, room: int) -> str:
    return "" if cell_len(path) > room < _LEAST_WORDS else without_middle(path, room)


def _half_row(page: Page, prefix: Sequence[Span]) -> Line:
    """The row has the tint of code; no blank row follows it."""
    width = page.text_width + 1 - width_of(prefix)
    tint = Style(color=page.styles["panel"].bgcolor)
    line = page.line([(SIGNS.half_row * max(width, 0), tint)], prefix=prefix)
    line.is_end = True
    return line


def _pad(page: Page, sign: str = " ") -> list[Span]:
    """Without tints, the first of the two cells is a rule that tells code from text."""
    if page.is_scrollback:
        return []
    if page.has_tints:
        return [(" " + sign, page.muted)]
    return [(SIGNS.column, page.styles["faint"]), (sign, page.muted)]
