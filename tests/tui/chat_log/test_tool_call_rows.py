"""A call of a tool: the card that asks for it, and what it unfolds to."""

from __future__ import annotations

import json
import re

from lmchat.tui.widgets.chat_log.entry import ASKS, Entry
from tests.support.chat_log_app import call, document_with, plain_page

HIDDEN = re.compile(r"([\d,]+)(\+?) more lines?")


def card(arguments, *, is_folded):
    entry = Entry(call(arguments), call_state=ASKS, is_folded=is_folded)
    document = document_with(entry, plain_page(60))
    return lines_of(document)


def lines_of(document):
    document.build(0)
    document.lay_out_from(0, 0, 1, 1_000_000)
    return [line for block in document.entries[0].blocks for line in block.lines]


def words_of(line):
    return "".join(segment.text for segment in line.segments)


def test_a_folded_card_tells_how_many_rows_it_hides():
    for arguments, is_exact in [
        (json.dumps({"path": "a.md", "rows": list(range(20))}), True),
        (json.dumps({"text": "word " * 700}), True),
        (json.dumps({"text": "word " * 2_000}), False),
        ("a\n" * 900, False),
        ("[" * 500 + "]" * 500, True),
    ]:
        folded, unfolded = card(arguments, is_folded=True), card(arguments, is_folded=False)
        row = next(index for index, line in enumerate(folded) if HIDDEN.search(words_of(line)))
        assert [words_of(line) for line in folded[:row]] == [
            words_of(line) for line in unfolded[:row]
        ]
        found = HIDDEN.search(words_of(folded[row]))
        told, hidden = int(found[1].replace(",", "")), len(unfolded) - row - 1
        assert found[2] == ("" if is_exact else "+")
        assert told == hidden if is_exact else 40 < told <= hidden


def test_an_unfolded_card_shows_the_whole_text():
    shown = card(json.dumps({"text": "word " * 20_000 + "END"}), is_folded=False)
    text = "".join(line.text for line in shown)
    assert text.count("word ") == 20_000
    assert "END" in text
    assert "wants to run" in words_of(shown[0])
    assert "files/read" in words_of(shown[-1])


def test_json_is_indented_unless_it_would_become_much_longer():
    for result, is_indented in [
        ('{"a": [1, {"b": null}]}', True),
        (json.dumps([{"path": "a", "rows": [[1, 2], [3, 4]]}] * 500), True),
        ("[" * 20 + "]" * 20, True),
        ("[" * 500 + "]" * 500, False),
        (json.dumps(["word"] * 20_000), False),
        ("[" + "1" * 5_000 + "]", False),
        ('"text"', False),
    ]:
        document = document_with(Entry(call(result=result), is_folded=False), plain_page(60))
        texts = [line.text for line in lines_of(document)]
        rest = texts[texts.index("result") + 1 :]
        shown = json.dumps(json.loads(result), indent=2).split("\n") if is_indented else [result]
        assert "".join(rest) == "".join(shown)
        assert len(rest) > 1 or not is_indented
