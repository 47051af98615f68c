"""Of a very long text, the beginning and the end are shown; nothing of it is lost elsewhere."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.app.tui.chat_log.anchor import anchor_in_text
from lmchat.app.tui.chat_log.copying import code_number, copied
from lmchat.app.tui.chat_log.document import LogPosition
from lmchat.app.tui.chat_log.entry import CARD_STATES, Entry
from lmchat.app.tui.chat_log.excerpt import excerpt_of, is_long, layout_cost
from lmchat.app.tui.chat_log.selection import SelectedRange, message_ends
from lmchat.core.servers.events import ReasoningDelta, TextDelta
from lmchat.core.sessions.message import ReasoningPart, TextPart, ToolCallPart
from tests.support.chat_log_app import (
    answer,
    call,
    document_with,
    load_focused,
    plain_page,
    question,
    screen_text,
    streaming,
)
from tests.support.markdown_corpus import DEAR, ENDLESS, GIANTS

pytestmark = pytest.mark.timeout(120)
CHARS = 600_000
COUNT = 6_000  # of lines
LINES = {
    "lines of a word": "ok\n",
    "a list": "- item of a list\n",
    "lists and quotes": "- a\n  - b\n    > c\n",
    "a log": "2026-11-20 12:00:59,123 INFO [main] served /a/b?c=1 in 3 ms\n",
    "headings": "# a\n",
    "rules": "---\n\n",
    "a word of base64": "TWFueSBoYW5kcyBtYWtl",
    "ideographs in lines": "漢字\n",
}
TEXTS = {
    **{
        name: lambda chars, piece=piece: piece * (chars // len(piece))
        for name, piece in LINES.items()
    },
    **GIANTS,
    **DEAR,
    **ENDLESS,
}
NUMBERED = "".join(f"Line {number}.\n" for number in range(COUNT))
CODE = "".join(f"let a{number} = {number};\n" for number in range(COUNT))


def shown_lines(entry):
    document = document_with(entry, plain_page(90))
    document.lay_out(0)
    return [line for block in entry.blocks for line in block.lines]


@pytest.mark.slow  # every kind
def test_a_large_text_of_any_kind_is_cut_to_what_is_laid_out_at_once():
    for name, text in TEXTS.items():
        whole = text(CHARS)
        if not is_long(whole):
            assert not whole.strip(), name  # blank lines
            continue
        excerpt = excerpt_of(whole)
        assert excerpt.beginning + excerpt.middle + excerpt.end == whole, name
        assert layout_cost(excerpt.beginning) + layout_cost(excerpt.end) <= 2_500, name
        assert excerpt.beginning, name
        assert excerpt.end, name


def test_an_address_is_as_much_work_without_a_scheme_as_with_one():
    with_scheme, without, words = (
        layout_cost(word * 1_000) for word in ("http://a.b ", "www.a.b ", "wwwwa.b ")
    )
    assert with_scheme >= without > 5 * words


def test_each_kind_of_text_shows_its_beginning_its_end_and_how_much_is_between():
    for entry in (
        Entry(answer(NUMBERED)),
        Entry(answer(NUMBERED), is_source=True),
        Entry(answer("Yes.", thought=NUMBERED), is_collapsed=False),
        Entry(question(NUMBERED)),
        Entry(call(result=NUMBERED), is_collapsed=False),
        Entry(call(arguments=NUMBERED), call_state=CARD_STATES[0]),
    ):
        texts = [line.text for line in shown_lines(entry)]
        assert len(texts) <= 2_500
        for number in (0, 300, COUNT - 300, COUNT - 1):
            assert f"Line {number}." in texts
        gap = next(text for text in texts if "lines" in text)
        hidden = int("".join(filter(str.isdigit, gap)))
        assert gap.startswith("…")
        assert gap.endswith("lines")
        assert hidden == COUNT - sum(text.startswith("Line") for text in texts)
    one_line = [line.text for line in shown_lines(Entry(answer("word " * 200_000)))]
    assert any(text.startswith("…") and text.endswith("characters") for text in one_line)
    asked = ToolCallPart(call_id="", name="plant", arguments="*a*\n" * COUNT)
    texts = [line.text for line in shown_lines(Entry(replace(answer(""), parts=(asked,))))]
    assert {"*a*"} < set(texts)  # code, also at its end
    assert "a" not in texts


def test_the_end_of_a_long_table_or_fence_is_still_one():
    table = "| n | twice |\n|---|---:|\n" + "".join(f"| {n} | {2 * n} |\n" for n in range(COUNT))
    texts = [line.text for line in shown_lines(Entry(answer(f"Here:\n\n{table}\nDone.")))]
    assert not any("|" in text for text in texts)
    assert any(text.split() == ["5999", "11998"] for text in texts)
    entry = Entry(answer(f"```js\n{CODE}# no title\n```\nDone."))
    texts = [line.text for line in shown_lines(entry) if line.text]
    assert texts[texts.index("Done.") - 2 :][:3] == ["let a5999 = 5999;", "# no title", "Done."]


def test_an_answer_that_streams_is_shown_as_a_whole_until_it_is_laid_out_again():
    entry = Entry(streaming(), is_streaming=True)
    document = document_with(entry, plain_page(90))
    entry.feed(ReasoningDelta(text="Count."))
    for start in range(0, len(NUMBERED), 5_000):
        entry.feed(TextDelta(text=NUMBERED[start : start + 5_000]))
        document.grow(0)
    assert document.total > COUNT
    document.set_page(plain_page(60))
    document.lay_out(0)
    assert document.total < 2_500
    entry.feed(TextDelta(text="And the end."))
    document.grow(0)
    texts = [line.text for block in entry.blocks for line in block.lines]
    assert any(text.endswith("And the end.") for text in texts)
    assert entry.source == NUMBERED + "And the end."


def test_what_is_not_shown_is_copied():
    for message in (answer(NUMBERED), question(NUMBERED)):
        document = document_with(Entry(message))
        blocks = document.lay_out(0)
        whole = message_ends(0)
        assert copied(document, SelectedRange(whole, whole)) == NUMBERED.strip("\n")
        last = max(number for number, block in enumerate(blocks) if block.source)
        from_second = anchor_in_text(document, 0, 1, 0)
        to_last = anchor_in_text(document, 0, last, 0)
        part = copied(document, SelectedRange((from_second, from_second), (to_last, to_last)))
        left_out = len(blocks[0].source) + len(blocks[last].source)
        assert len(NUMBERED) - left_out - 10 <= len(part) <= len(NUMBERED)
        assert "Line 2999." in part


async def test_a_hit_that_is_not_shown_is_counted_and_leads_to_the_row_in_its_place(pilot, log):
    await load_focused(pilot, answer(NUMBERED))
    log.finder.seek("Line 2999.")
    assert log.finder.number_and_count == (1, 1)
    assert "o opens all" in screen_text(log)  # the message has the focus
    log.finder.seek("Line 5999.")
    assert "Line 5999." in screen_text(log)


def test_code_behind_the_gap_is_counted_from_the_last_block():
    text = "".join(f"```js\nlet a = {number};\n```\n\n" for number in range(1_500))
    document = document_with(Entry(answer(text)))
    blocks = [*enumerate(document.lay_out(0))]
    codes = [(number, block) for number, block in blocks if block.source.startswith("let")]
    for number, block in (*codes[::20], codes[-1]):  # each is counted from one end of the message
        position = LogPosition(0, number, document.blank_rows(LogPosition(0, number, 0)))
        shown = int(block.source.split(" = ")[1].strip(";"))
        assert code_number(document, position) % 1_500 == shown


def test_code_behind_another_thought_is_counted_with_that_before_it():
    one, two = (TextPart(text=f"```js\nlet a = {number};\n```\n") for number in range(2))
    thought = ReasoningPart(text="```js\nlet b;\n```")
    document = document_with(Entry(replace(answer(""), parts=(one, thought, two))))
    blocks = document.lay_out(0)
    number = next(number for number, block in enumerate(blocks) if block.source == "let a = 1;")
    position = LogPosition(0, number, document.blank_rows(LogPosition(0, number, 0)))
    assert code_number(document, position) == 1
