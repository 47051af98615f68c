"""While a text comes, no word goes from the page and comes back, and none is seen that will not stay."""

from __future__ import annotations

import re
from collections import Counter
from itertools import accumulate

import pytest

from lmchat.app.markdown_lines.incremental import IncrementalMarkdown
from lmchat.app.markdown_lines.layout import Layout
from tests.support.chat_log_app import pictures, plain_page
from tests.support.markdown_corpus import CORPUS

PAGE = plain_page(90)
pytestmark = pytest.mark.timeout(120)
WORD = re.compile(r"[^\W\d_]{2,}")
STREAMED = {
    name: re.sub(
        r"(?m)^\[ref\]: .*", "", CORPUS[name]
    )  # a link definition goes when it is complete
    for name in ("mixed", "nested", "tables", "fences", "texts", "signs")
}
"""In none of these does a sign stand for anything but itself, once it has been seen."""

COMMON = (
    '- **`code`**: what it does\n- **[link](https://example.org "title")**, and **more**.',
    "Pass `**kwargs`, or `*args`, **not both**: 2**n is *no* call of `f(**{})`.",
    "A ***very strong*** word, and *one* more.",
    "这是**粗体**和*斜体*。日本語では**「強調」**が続く。",
    "| Name | Port |\n|:--|--:|\n| one | 1 |\n| **two** | `2` |",
)


def frames(text):
    """How often each word is on the page after each character."""
    tail = IncrementalMarkdown()
    layout = Layout(PAGE)
    known = {}
    for char in text:
        tail.feed(char)
        for block in tail.open:
            block.has_cursor = True
        for block in tail.closed[len(known) :]:
            known[len(known)] = words(layout.lay_out(block, tail.references))
        yield sum(known.values(), Counter()) + words(
            line for block in tail.open for line in layout.lay_out(block, tail.references)
        )


def words(lines):
    return Counter(
        WORD.findall("".join(line.text + ("" if line.is_wrapped else "\n") for line in lines))
    )


@pytest.mark.parametrize("name", STREAMED)
def test_no_word_goes_from_the_page_and_none_is_seen_that_will_not_stay(name):
    text = STREAMED[name] + "\n\nend\n"
    marks = {"half", "copy", "http", "png"}  # addresses, entities and titles of links are not shown
    said = set(WORD.findall(text))
    history = list(frames(text))
    for word in said:
        if any(other != word and other.startswith(word) for other in said):
            continue  # while the longer one is written it is not told from this one
        counts = [frame[word] for frame in history]
        before = list(accumulate(counts, max))
        after = list(accumulate(reversed(counts), max))[::-1]
        assert all(
            count >= min(most) for count, *most in zip(counts, before, after, strict=True)
        ), word
        assert word in marks or max(counts) == counts[-1], word


def test_no_mark_is_seen_that_will_not_stay():
    for text in COMMON:
        seen = [last for _, last in pictures(text, PAGE)]
        for mark in '*`|-"':
            assert max(last.count(mark) for last in seen) == seen[-1].count(mark), (text, mark)


def test_the_head_of_a_table_stays_while_the_line_below_it_comes():
    text = "| Name | Port |\n|:--|--:|\n"
    seen = {last for source, last in pictures(text, PAGE) if "Port |" in source}
    assert seen == {" Name    Port\n ────────────"}
