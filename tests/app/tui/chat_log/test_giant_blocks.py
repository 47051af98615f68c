"""What is open of an answer stays short."""

from __future__ import annotations

import pytest

from lmchat.app.markdown_lines.block import PIECE_CHARS, Kind
from lmchat.app.markdown_lines.incremental import IncrementalMarkdown
from tests.support.markdown_corpus import GIANTS

UNCUT = {
    *(
        "lazy quote",
        "quote of paragraphs",
        "quote of one line",
        "quotes of quotes",
        "table in a quote",
    ),
    *(
        "item",
        "item of lines",
        "item of paragraphs",
        "nested list",
        "fence in an item",
        "fence in a quote",
    ),
    *("html", "indented code"),
}
"""Quotes but for their long paragraphs, single items, HTML and indented code: they are one block."""
pytestmark = pytest.mark.timeout(120)


def test_what_is_open_stays_short_whatever_grows_without_an_end():
    for name, giant in GIANTS.items():
        most, size = (32_000, 4_000) if name in UNCUT else (1.5 * PIECE_CHARS, 200)
        text = giant(24_000 if name in UNCUT else PIECE_CHARS + 2_000)
        tail = IncrementalMarkdown()
        for start in range(0, len(text), size):
            tail.feed(text[start : start + size])
            assert sum(len(block.source) for block in tail.open) <= most, name


@pytest.mark.parametrize("rest", ["   b", "```"])
def test_the_rest_of_a_cut_line_in_a_fence_keeps_its_blanks_and_does_not_end_the_fence(rest):
    line = "a" * (PIECE_CHARS - 3) + rest  # with its indent, it is cut before the rest
    parser = IncrementalMarkdown()
    parser.feed(f"   ```\n   {line}\n   c\n   ```\n", is_final=True)
    assert {block.kind for block in parser.closed} == {Kind.FENCE}
    assert "\n".join(block.source for block in parser.closed).replace("\n", "") == line + "c"
