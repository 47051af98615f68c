"""Lines of code in fences: their tint, their colours, and long lines broken into rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.style import Style

from lmchat.markdown.block import Line, Span
from lmchat.markdown.commonmark import indent_of
from lmchat.markdown.lexer_child import COLOUR_NAMES
from lmchat.markdown.page import MIN_WIDTH, Page
from lmchat.markdown.wrap import cut_points, harmless, split_spans, text_of, width_of
from lmchat.safe_text import safe_line
from lmchat.units import SIGNS

_INFO_CHARS = 1_000  # characters of the language of a fence that are shown
_MORE_INDENT = 2  # cells by which further rows of a long line are indented more than its start
_PAD_CELLS = 3  # cells beside the code of a line: two of `_pad` before it, one behind it
_NULL = Style.null()
_ONE_COLOUR = re.compile(rb"(.)\1*", re.DOTALL)  # bytes of neighbouring characters in one colour


def code_lines(
    page: Page,
    code: str,
    info: str,
    prefixes: tuple[Sequence[Span], Sequence[Span]] = ((), ()),
    *,
    is_first: bool = True,
) -> Iterator[Line]:
    """Yield the lines of code, or of a piece of it; a line that is too long becomes several.

    `info` is what follows the opening marks of a fence, such as `python`. The first of `prefixes`
    is that of the first line, the second that of the others. With `is_first`, a row above the code
    shows its language.
    """
    prefix, next_prefix = prefixes
    if is_first:
        yield head_line(page, safe_line(info, limit=_INFO_CHARS) or "code", prefix)
        prefix = next_prefix
        if not code:  # a fence that has just begun, or an empty one
            return
    width = max(page.text_width - _PAD_CELLS - width_of(next_prefix), MIN_WIDTH)
    code = harmless(code)
    for spans in _coloured_lines(page, code, page.colours.of(language_of(info), code)):
        text = text_of(spans)
        # The further rows of a long line begin below its first word. They have at least half of the
        # width; on a narrow page, at least half of `MIN_WIDTH`.
        indent = min(indent_of(text), width // 2) + _MORE_INDENT
        cuts: list[int] = []
        if cell_len(text) > width:
            cuts = cut_points(text, width, max(width - indent, MIN_WIDTH // 2))
        for number, row in enumerate(split_spans(spans, [0, *cuts, len(text)])):
            pad = _pad(page)
            if number:  # a further row of a long line
                pad = [*_pad(page, SIGNS.cut), (" " * indent, _NULL)]
            line = page.line([*pad, *row], prefix=prefix, tint="panel")
            line.text = text_of(row)
            # the pad is among the spans, for its tint, but a selection does not copy it
            line.start += len(text_of(pad))
            line.is_wrapped = number < len(cuts)
            yield line
            prefix = next_prefix


def _coloured_lines(page: Page, code: str, colours: bytes) -> Iterator[list[Span]]:
    """Yield the spans of each line of code.

    `colours` has a byte for each character, an index in `COLOUR_NAMES`. If it is shorter than the
    code, the rest has no colour.
    """
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
    """Return the language in the info of a fence, as `python` in `python:main.py` or `{.python}`.

    Return an empty text if the info names none.
    """
    match = re.match(r"[{.\s]*([\w#+.-]{1,40})", info)
    return match[1] if match else ""


def head_line(
    page: Page, words: str, prefix: Sequence[Span] = (), *, has_copy_key: bool = True
) -> Line:
    """Return the row above code, which shows `words`, such as its language.

    With `has_copy_key`, the row has a `hint` with the key that copies the code. The hint replaces
    the row while the message has the focus.
    """
    muted = page.styles["muted"]
    room = max(page.text_width - _PAD_CELLS - width_of(prefix), MIN_WIDTH)
    line = page.line([*_pad(page), *page.fit([(words, muted)], room)], prefix=prefix, tint="panel")
    if has_copy_key:
        key = page.key_hint("c", "copy", "message.copy_code")
        left = page.fit([(words, muted)], max(room - width_of(key), 1))
        line.hint = page.line([*_pad(page), *left, *key], prefix=prefix, tint="panel").segments
    return line


def _pad(page: Page, sign: str = " ") -> list[Span]:
    """Return the two cells before the code in a row; the second one shows `sign`.

    Where the page has no tints, the first one is a rule, which tells code from text.
    """
    if page.has_tints:
        return [(" " + sign, page.styles["muted"])]
    return [(SIGNS.column, page.styles["faint"]), (sign, page.styles["muted"])]
