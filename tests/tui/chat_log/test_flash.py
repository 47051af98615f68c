"""While a text comes, no word goes from the page and comes back, and none is seen that will not stay."""

from __future__ import annotations

import re
from collections import Counter
from itertools import accumulate

import pytest

from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.markdown.tail import MarkdownTail
from tests.support.chat_log_app import laid_out, plain_page, shown
from tests.support.markdown_corpus import CORPUS

PAGE = plain_page(90)
pytestmark = pytest.mark.timeout(120)
WORD = re.compile(r"[^\W\d_]{2,}")
STREAMED = ("mixed", "nested", "definitions", "tables", "fences", "texts", "signs")
MARKED = (
    'Some **bold words** and *it* with `code`, ~~gone~~ and [link *em*](http://hidden.example/x_y "Title") '
    "and ![pic](http://hidden.example) __under__ and ***both*** end.\n\n"
    "- **Item**: text `a_b` snake_case_word\n\n> **in** a _quote_\n\n## Head **b**\n\n"
    "| a | **b** |\n|---|---|\n| `x` | [t](http://hidden.example) |\n\n"
    "1. `one`\n   - [l](<http://hidden.example>)\n"
)


def grow(tail, text):
    tail.feed(text)
    for block in tail.open:
        block.has_cursor = True


def frames(text):
    """How often each word is on the page after each character."""
    tail, layout, known = MarkdownTail(), Layout(PAGE), {}
    for char in text:
        grow(tail, char)
        for block in tail.closed[len(known) :]:
            known[len(known)] = words(layout.lines(block, tail.references))
        yield sum(known.values(), Counter()) + words(
            line for block in tail.open for line in layout.lines(block, tail.references)
        )


def words(lines):
    return Counter(WORD.findall("".join(line.text + ("" if line.is_wrapped else "\n") for line in lines)))


@pytest.mark.parametrize("name", STREAMED)
def test_no_word_goes_from_the_page_and_comes_back(name):
    text = CORPUS[name]
    said = set(WORD.findall(text))
    history = list(frames(text))
    for word in said:
        if any(other != word and other.startswith(word) for other in said):
            continue  # while the longer one is written it is not told from this one
        counts = [frame[word] for frame in history]
        before = list(accumulate(counts, max))
        after = list(accumulate(reversed(counts), max))[::-1]
        assert all(count >= min(most) for count, *most in zip(counts, before, after, strict=True)), word


@pytest.mark.parametrize("name", STREAMED)
def test_what_was_shown_of_a_text_that_is_closed_is_shown_at_the_end(name):
    history = list(frames(CORPUS[name] + "\n\nend\n"))
    marks = {"half", "copy", "http", "png"}  # addresses, entities and titles of links are not shown
    said = set(WORD.findall(CORPUS[name])) - marks
    gone = {
        word
        for word in said
        if not any(other != word and other.startswith(word) for other in said)
        and max(frame[word] for frame in history) > history[-1][word]
    }
    assert not gone


def test_no_mark_of_what_will_be_closed_is_ever_seen():
    tail = MarkdownTail()
    for char in MARKED:
        grow(tail, char)
        page = "\n".join(shown(line) for line in laid_out(tail, PAGE))
        assert not re.search(r"\*\*|\*\w|`|~~|__|\]\(|hidden|Title|http", page), page
