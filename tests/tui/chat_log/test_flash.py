"""While a text comes, no word goes from the page and comes back, and none is seen that will not stay."""

from __future__ import annotations

import re
from collections import Counter
from itertools import accumulate

import pytest

from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.markdown.tail import MarkdownTail
from tests.support.chat_log_app import picture, pictures, plain_page, tail_of
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

AS_THEY_STAND = [
    "matrix[i][j] = 3, a[i] = b[j]*c[k]",
    "see [1][2] and ![this][that].",
    "5 * 3 * 2 and x_1 and y_2",
    "in \\(a_q\\{b\\} * c*\\) and \\[x_q\\] or $$y_q\\$$",
    "$a_q$, $\\{b_q\\}$ costs $5 or $\\{c\\}",
    "<tag of ~50 ~60 <b c",
    "**bold \\(x\\{y",
    "| a \\(b_q\\) | c[i][j] |\n|---|---|\n| d[i][j] | e |\n",
]
"""In none of these does a sign stand for anything but itself, once it has been seen."""


def frames(text):
    """How often each word is on the page after each character."""
    tail, layout, known = MarkdownTail(), Layout(PAGE), {}
    for char in text:
        tail.feed(char)
        for block in tail.open:
            block.has_cursor = True
        for block in tail.closed[len(known) :]:
            known[len(known)] = words(layout.lines(block, tail.references))
        yield sum(known.values(), Counter()) + words(
            line for block in tail.open for line in layout.lines(block, tail.references)
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


@pytest.mark.parametrize("text", AS_THEY_STAND)
def test_a_sign_that_was_seen_stays(text):
    before: Counter[str] = Counter()
    for so_far, seen in pictures(text, PAGE):
        signs = Counter(re.sub(r"[\s\u2500]", "", seen))
        assert not before - signs, so_far
        before = signs


SENTENCES = [
    "Some **bold words** here.",
    "*Soft*, ***both*** and __more__ of _it_.",
    "`code`, ``with ` in it`` and ~~gone words~~.",
    "A [link to it](https://example.org/a_b) and ![a picture](http://example.org/p.png).",
    "Sums like 2 * 3, 2*3*4, x**2 and snake_case_name.",
    "**这是重点**内容。",
    "- one\n- two **strong**\n  - three `x`\n",
    "1. one\n2. *two*\n\n   more **of it**\n",
    "- [ ] open\n- [x] **done**\n",
    "# Head *of it*",
    "> quoted **words**\n> and `code`\n",
    "| a | **b** |\n|---|---:|\n| c | `d` |\n| *e* | f |\n",
    "These:\n- a\n- b\n",
    "```py\nx = a ** b\n```\n",
    "1. in it:\n   ```\n   a | `b\n   ```\n",
    "Above\n\n---\n\nbelow",
]
MARKS = re.compile(r"\*\*|`|\]\(|~~|__|\|")


@pytest.mark.parametrize("sentence", SENTENCES)
def test_no_mark_is_seen_that_will_be_gone(sentence):
    final = MARKS.findall(picture(tail_of(sentence), PAGE))
    for so_far, seen in pictures(sentence, PAGE):
        assert len(MARKS.findall(seen)) <= len(final), so_far
