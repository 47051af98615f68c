"""Mark characters of a row."""

from __future__ import annotations

from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from lmchat.tui.widgets.chat_log.line import Line


def mark(strip: Strip, line: Line, start: int, span: tuple[int, int], style: Style) -> Strip:
    """Return a row with some characters of its text in a style; `start` is the cell of the first one."""
    width = strip.cell_length
    left = min(start + cell_len(line.text[: span[0]]), width)
    right = min(start + cell_len(line.text[: span[1]]), width)
    if left >= right:
        return strip
    before, chosen, after = strip.crop(0, left), strip.crop(left, right), strip.crop(right, width)
    # the style comes last: it must win over the colours of the row
    painted = Strip(
        [type(segment)(segment.text, (segment.style or Style.null()) + style) for segment in chosen]
    )
    return Strip.join([before, painted, after])
