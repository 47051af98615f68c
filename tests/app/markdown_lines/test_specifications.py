"""Each example of the CommonMark and GFM specifications has its words on the page, in order."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from lmchat.base.markdown.commonmark import parse_blocks, parse_inline
from lmchat.base.markdown.links import can_be_opened, is_honest_link
from tests.support.chat_log_app import coloured_page, laid_out, painted, plain_page, tail_of

DATA = Path(__file__).with_name("data")
WITHIN_LINES = ("a", "code", "em", "strong", "del")
# what lmchat shows on purpose in another way, by suite and number: the words of the page, and why
EXCEPTIONS = {
    # `\\[` starts a formula: models write them more often than escaped brackets
    ("commonmark", 12): r"""!"#$%&'()*+,-./:;<=>?@\[\\\]^_`{|}~""",
    # asterisks between digits are signs of arithmetic
    ("commonmark", 356): "5*6*78",
    # what is too much for the columns of a table is shown in the last one
    ("gfm", 204): "abc def bar bar baz | boo",
}


class Reference(HTMLParser):
    """What lmchat shows of the HTML of a specification, without the marks of lists and quotes."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._target = ""
        self._link_start = 0

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "a":
            self._target = values["href"]
            self._link_start = len(self.text)
        elif tag == "img":
            words = values["alt"]
            source = values["src"]
            self.text += f"image: {words or source or 'unnamed'}"
            if words and source and not can_be_opened(source):
                self.text += f" ({source})"
        elif tag not in WITHIN_LINES:
            self.text += " "

    def handle_endtag(self, tag):
        if tag == "a":
            words = self.text[self._link_start :].strip()
            if not words:
                self.text += self._target
            elif unquote(self._target) not in ("", words) and not is_honest_link(
                self._target, words
            ):
                self.text += f" ({self._target})"
        elif tag not in WITHIN_LINES:
            self.text += " "

    def handle_data(self, data):
        self.text += data


def words_of(reference):
    parser = Reference()
    parser.feed(reference)
    parser.close()
    return parser.text.split()


def has_tags(source):
    """Whether a text has HTML, which the page shows as its source."""
    return any(
        block.type == "html_block"
        or (
            block.type == "inline"
            and any(token.type == "html_inline" for token in parse_inline(block.content, {}))
        )
        for block in parse_blocks(source, {})
    )


def outside_of_tags(text):
    """What is between tags: first those of the reference, then those that it shows as text."""
    for _ in range(2):
        text = html.unescape(re.sub(r"(?s)<!--(?:-?>|.*?-->)|<[^>]*>", "", text))
    return "".join(text.split())


def examples(suite):
    return map(json.loads, (DATA / f"{suite}.jsonl").read_text(encoding="utf-8").splitlines())


def test_each_example_of_the_specifications_shows_the_words_of_its_reference_in_order():
    for suite in ("commonmark", "gfm"):
        for number, _, source, reference in examples(suite):
            page = " ".join(line.text for line in laid_out(tail_of(source), plain_page(1_000)))
            if (suite, number) in EXCEPTIONS:
                assert page.split() == EXCEPTIONS[suite, number].split()
            elif has_tags(source):
                assert outside_of_tags(page) == outside_of_tags(reference), source
            else:
                assert page.split() == words_of(reference), source


def test_each_example_that_arrives_letter_by_letter_looks_as_it_does_at_once():
    page = coloured_page()
    for suite in ("commonmark", "gfm"):
        for _, _, source, _ in examples(suite):
            at_once = painted(laid_out(tail_of(source), page))
            assert painted(laid_out(tail_of(*source), page)) == at_once, source


def test_each_page_of_the_web_that_a_reference_links_to_is_a_link():
    for suite in ("commonmark", "gfm"):
        for _, _, source, reference in examples(suite):
            lines = laid_out(tail_of(source), plain_page(1_000))
            styles = [segment.style for line in lines for segment in line.segments]
            shown = {style.meta["link"] for style in styles if "link" in style.meta}
            wanted = re.findall(r"<(?:a href|img src)=\"([^\"]*)\"", reference)
            wanted = set(filter(can_be_opened, map(html.unescape, wanted)))
            assert shown >= wanted or has_tags(source), source
