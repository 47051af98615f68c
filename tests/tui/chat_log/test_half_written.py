"""What is half written looks as it will: no mark is seen and then taken away, and no word is swallowed."""

from __future__ import annotations

import re

import pytest

from lmchat.tui.widgets.chat_log.markdown.inline import completed
from tests.support.chat_log_app import picture, pictures, plain_page, tail_of
from tests.support.markdown_corpus import CORPUS

PAGE = plain_page(70)
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


@pytest.mark.parametrize("name", ["mixed", "hostile"])
def test_of_half_a_text_no_letter_is_missing_but_in_its_last_line(name):
    text = CORPUS[name]
    for end in range(1, min(len(text), 1_500), 7):
        before, line_end, last = text[:end].rpartition("\n")
        changed = completed(text[:end])
        assert changed.startswith(before)
        letters = re.sub(r"\]\([^)]*$", "", last)
        assert re.findall(r"\w", changed[len(before + line_end) :]) == re.findall(r"\w", letters)


@pytest.mark.parametrize(
    ("half", "whole"),
    [
        ("a **b", "a **b**"),
        ("a **b ", "a **b**"),
        ("a **b*", "a **b**"),
        ("a **", "a "),
        ("***a*", "***a***"),
        ("**a *b", "**a *b***"),
        ("*a* b", "*a* b"),
        ("`a", "`a`"),
        ("`a` `", "`a` "),
        ("``a `b", "``a `b``"),
        ("[a", "[a"),
        ("[a](htt", "a"),
        ("see ![a](", "see a"),
        ("- ~~a", "- ~~a~~"),
        ("- ", "- "),
        ("a\n-", "a"),
        ("a\n==", "a"),
        ("a\n``", "a"),
        ("| a | b", "| a | b|\n|---|---|"),
        ("| a | b |\n", "| a | b |\n|---|---|"),
        ("| a | b |\n|:-", "| a | b |\n|:-|---|"),
        ("| e-mail | name", "| e-mail | name|\n|---|---|"),
        ("| a |\n|---|\n| **b", "| a |\n|---|\n| **b**"),
        ("2 * 3", "2 * 3"),
        ("2*3", "2*3"),
        ("f(**k", "f(**k**"),
        ("https://x.y/_a", "https://x.y/_a"),
        (r"\*a", r"\*a"),
        ("a\\", "a"),
        (r"**a \\\ ".rstrip(), r"**a \\**"),
        ("x[i][j", "x[i][j"),
        ("f[i](x, y", "f[i](x, y"),
        (r"\(a_1 *b", r"\\\(a\_1 \*b"),
        (r"\(a *b\) **c", r"\(a *b\) **c**"),
        (r"\(a" + " long" * 90, r"\(a" + " long" * 90),
        (r"$\{a", r"$\\\{a"),
        (r"$5, $\{a", r"$5, $\\\{a"),
        (r"$5 **a", r"$5 **a**"),
        (r"5$ or \{a", r"5$ or \{a"),
        ("snake_case", "snake_case"),
        ("**a" + " long" * 90, "**a" + " long" * 90),
        ("", ""),
    ],
)
def test_what_lacks_is_added(half, whole):
    assert completed(half) == whole
