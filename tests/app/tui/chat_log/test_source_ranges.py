"""Each block knows where its source is in the text."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from lmchat.app.markdown_lines.block import Block, Kind
from lmchat.app.markdown_lines.incremental import IncrementalMarkdown
from lmchat.app.tui.chat_log.anchor import anchor_in_text
from lmchat.app.tui.chat_log.copying import copied
from lmchat.app.tui.chat_log.entry import Entry
from lmchat.app.tui.chat_log.selection import SelectedRange
from lmchat.base.safe_text import safe_text, with_line_feeds
from tests.support.chat_log_app import answer, document_with, tail_of
from tests.support.markdown_corpus import CORPUS, GIANTS

TEXTS = {**CORPUS, **{name: giant(5_000) for name, giant in GIANTS.items()}}
NOT_SHOWN = r"(?m)(?:\s|^ {0,3}\[.*\n)*"
"""Blank lines and definitions of links."""


def pieces_of(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def assert_in_order(blocks: list[Block], text: str, name: str) -> None:
    end = 0
    for block in blocks:
        between = text[end : block.start]
        assert re.fullmatch(NOT_SHOWN, between), (name, between)
        assert block.start < block.end, name
        written = safe_text(text[block.start : block.end])
        if block.kind is not Kind.FENCE:
            assert written.rstrip("\n") == safe_text(block.source).rstrip("\n"), name
        else:
            code = [line.strip() for line in safe_text(block.source).split("\n")]
            assert all(line in written for line in code), name
        end = block.end
    assert re.fullmatch(NOT_SHOWN, text[end:]), (name, text[end:])


@given(st.sampled_from(sorted(TEXTS)), st.integers(20, 5_000))
@settings(max_examples=40, deadline=None)
def test_the_ranges_of_all_blocks_follow_each_other_and_are_their_sources(name, size):
    text = re.sub("\r\n", "\n", TEXTS[name])
    assert_in_order(tail_of(*pieces_of(TEXTS[name], size)).closed, text, name)


@given(st.sampled_from(sorted(TEXTS)), st.integers(1, 400))
@settings(max_examples=20, deadline=None)
def test_a_carriage_return_ends_a_line_however_the_text_is_cut(name, size):
    text = with_line_feeds(TEXTS[name])[:1_500]
    with_cr = text.replace("\n", "\r")
    assert tail_of(*pieces_of(with_cr, size)).closed == tail_of(*pieces_of(text, size)).closed


@given(st.sampled_from(sorted(TEXTS)), st.integers(1, 400))
@settings(max_examples=20, deadline=None)
def test_what_is_open_ends_where_the_text_ends(name, size):
    parser = IncrementalMarkdown()
    text = ""
    for piece in pieces_of(TEXTS[name], size)[:100]:
        parser.feed(piece)
        text += piece
        arrived = text.removesuffix("\r").replace("\r\n", "\n")
        if parser.open:
            assert parser.open[-1].end == len(arrived), name


def test_what_was_cut_into_pieces_is_copied_as_it_was_written():
    rows = "".join(f"|{number}|`x` |\r\n" for number in range(60))
    table = f"| a | b |\r\n|:--|---|\r\n{rows}"
    fence = "".join(f"  \tcall({number})\n" for number in range(300))
    for written in (
        table,
        f"  ~~~~ py title=x\n{fence}  ~~~~\n",
        "```\n" + "x" * 9_000 + "\n```\n",
        *("```py\n```", "~~~\n~~~", "```\n\n```"),
    ):
        document = document_with(Entry(answer(f"Above *this*.\n\n{written}\n\nBelow.")))
        last = max(number for number, block in enumerate(document.lay_out(0)) if block.source)
        start = anchor_in_text(document, 0, 1, 3)
        end = anchor_in_text(document, 0, last, 3)
        told = copied(document, SelectedRange((start, start), (end, end)))
        as_written = written.replace("\r\n", "\n").strip("\n")
        assert told == f"ve this.\n\n{as_written}\n\nBel"


def test_code_that_was_cut_into_pieces_is_copied_alone_with_the_lines_that_it_has():
    for code in (
        "x" * 9_000 + "\ny",
        "x;\n" * 300 + "y" * 4_500 + "\n\nz",
        "\tx\n" * 90 + "y" * 4_100,
    ):
        document = document_with(Entry(answer(f"Above.\n\n```\n{code}\n```\n\nBelow.")))
        blocks = document.lay_out(0)
        found = [number for number, block in enumerate(blocks) if block.kind is Kind.FENCE]
        assert len(found) > 1
        start = anchor_in_text(document, 0, found[0], 0)
        end = anchor_in_text(document, 0, found[-1], len(blocks[found[-1]].source))
        assert copied(document, SelectedRange((start, start), (end, end))) == code
