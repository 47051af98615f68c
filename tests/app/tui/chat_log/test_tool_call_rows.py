"""A call of a tool: the card that asks for it, and what its row unfolds to."""

from __future__ import annotations

import json

from msgspec.structs import replace

from lmchat.app.tui.chat_log.entry import CARD_STATES, Entry
from lmchat.core.sessions.message import AnswerState
from tests.support.chat_log_app import call, document_with, plain_page


def lines_of(document):
    document.lay_out(0)
    document.lay_out_from(0, 1, 1_000_000)
    return [line for block in document.entries[0].blocks for line in block.lines]


def words_of(line):
    return "".join(segment.text for segment in line.segments)


def test_a_card_asks_above_all_arguments():
    arguments = json.dumps({"text": "word " * 20_000 + "END"})
    shown = lines_of(
        document_with(Entry(call(arguments), call_state=CARD_STATES[0]), plain_page(60))
    )
    text = "".join(line.text for line in shown)
    assert text.count("word ") == 20_000
    assert "END" in text
    assert "files/read_text wants to run" in words_of(shown[0])


def test_a_long_reason_of_a_failure_leaves_half_of_the_row_to_the_call():
    failed = replace(call(result="no such file " * 20), state=AnswerState.FAILED)
    [row] = map(words_of, lines_of(document_with(Entry(failed), plain_page(60))))
    assert "files/read_text()" in row
    assert "no such file" in row


def test_a_card_marks_runs_of_blanks_and_letters_without_a_look():
    arguments = json.dumps({"run": "ls" + "\u2800 \u200b" * 500 + "rm"}, ensure_ascii=False)
    for given, shown in [
        (arguments, ["{", '  "run": "ls␣rm"', "}"]),
        ('{"run":' + " " * 50_000 + "0}", ['{"run":␣0}']),  # too long to be indented
    ]:
        asked = document_with(Entry(call(given), call_state=CARD_STATES[0]), plain_page(60))
        assert [line.text for line in lines_of(asked)][-len(shown) :] == shown


def test_a_card_in_a_narrow_terminal_keeps_a_yes_and_the_no_and_cuts_no_key():
    for width, keys in (
        (60, "F6 no  F7 once  F8 this session  F9 always"),
        (36, "F6 no  F7 once  F8 this session"),
        (20, "F6 no  F7 once"),
    ):
        shown = lines_of(
            document_with(Entry(call("{}"), call_state=CARD_STATES[0]), plain_page(width))
        )
        assert keys in map(str.strip, map(words_of, shown)), width


def test_json_is_indented_unless_it_would_become_much_longer():
    for result, is_indented in [
        ('{"a": [1, {"b": null}]}', True),
        (json.dumps([{"path": "a", "rows": [[1, 2], [3, 4]]}] * 300), True),
        ("[" * 20 + "]" * 20, True),
        ("[" * 500 + "]" * 500, False),
        (json.dumps(["word"] * 20_000), False),
        ("[" + "1" * 5_000 + "]", False),
        ('"text"', False),
    ]:
        document = document_with(Entry(call(result=result), is_collapsed=False), plain_page(60))
        texts = [line.text for line in lines_of(document)]
        rest = texts[texts.index("result") + 1 :]
        shown = json.dumps(json.loads(result), indent=2).split("\n") if is_indented else [result]
        assert "".join(rest) == "".join(shown)
        assert len(rest) > 1 or not is_indented
