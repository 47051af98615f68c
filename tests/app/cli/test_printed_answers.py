"""What `ask` prints of an answer in its three forms, what it says beside it, and its exit code."""

from __future__ import annotations

import json
from typing import NamedTuple

from tests.support.programs import Inside
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import DONE, Cut, Reply, delta, finish, sse

Cli = Inside


class Printed(NamedTuple):
    reply: Reply
    stdout: str
    says: str  # on stderr, behind "lmchat: "
    fields: dict[str, object]  # of the document
    lines: list[dict[str, object]]  # of JSON but the last one, which says `done`
    last: dict[str, object] = {"finish_reason": "stop"}  # noqa: RUF012 - it is not changed


ARGUMENTS = '{"city":"a\x1bb"}'
CALL = {"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": ARGUMENTS}}
CALLED = {"id": "call_1", "name": "weather", "arguments": ARGUMENTS}
REFUSAL = "I can\x1b[1mnot."
EMPTY = "the answer is empty.\n"
PARTLY_COUNTED = {
    "prompt_tokens": 5,
    "completion_tokens": 2,
    "total_tokens": 7,
    "estimated": True,
}
MISSING = "A part of the answer may be missing."
ANSWERS = (
    Printed(
        sse(delta(reasoning_content="Hm."), delta(""), finish(), DONE),
        "",
        "the model thought and wrote no answer; ask again with the effort none.\n",
        {"state": "complete", "reasoning": "Hm."},
        [],
    ),
    Printed(
        sse(delta(reasoning_content="Hm."), finish("length"), DONE),
        "",
        "the model thought and wrote no answer: the token limit of the server; "
        "set a larger max_tokens, or the effort none.\n",
        {"reasoning": "Hm.", "reply": ""},
        [],
        {"finish_reason": "length"},
    ),
    Printed(sse(delta(""), finish(), DONE), "", EMPTY, {"reply": ""}, []),
    Printed(sse(" \n\n ", finish(), DONE), " \n\n \n", EMPTY, {}, [{"chunk": " \n\n "}]),
    Printed(
        sse("Half an", finish("length"), {"choices": [], "usage": {"completion_tokens": 2}}, DONE),
        "Half an\n",
        "the answer was cut short: the server's token limit.\n",
        {"reply": "Half an", "finish_reason": "length", "usage": PARTLY_COUNTED},
        [{"chunk": "Half an"}],
        {"finish_reason": "length"},
    ),
    Printed(
        sse("Look:", delta(tool_calls=[CALL]), finish("tool_calls"), DONE),
        "Look:\n",
        'the model called a tool (not run): weather({"city":"a␛b"})\n',
        {"reply": "Look:", "finish_reason": "tool_calls", "tool_calls": [CALLED]},
        [{"chunk": "Look:"}, {"tool_call": CALLED}],
        {"finish_reason": "tool_calls"},
    ),
    Printed(
        sse(delta(refusal=REFUSAL), finish(), DONE),
        f"{REFUSAL}\n",
        "the model refused to answer.\n",
        {"reply": REFUSAL, "refused": True},
        [{"chunk": REFUSAL}, {"refused": True}],
    ),
    Printed(
        sse("Good ", b'09:41 data: {"choices": []}\n', "day.", finish(), DONE),
        "Good day.\n",
        f"\nlmchat: {MISSING}\n",
        {"reply": "Good day.", "state": "complete", "part_missing": True},
        [{"chunk": "Good "}, {"chunk": "day."}],
        {"finish_reason": "stop", "part_missing": True, "notes": [MISSING]},
    ),
)


def test_an_answer_is_printed_in_each_form_with_what_is_to_be_said_of_it(cli, server):
    for answer in ANSWERS:
        server.on(CHAT, answer.reply)
        done = cli("ask", "Hi")
        assert (done.returncode, done.stdout) == (0, answer.stdout)
        assert done.stderr.removeprefix("lmchat: ") == answer.says
        value = cli.json("ask", "--json", "Hi")
        assert value.items() >= answer.fields.items()
        *lines, last = map(json.loads, cli("ask", "--stream-json", "Hi").stdout.splitlines())
        assert (lines, last) == (answer.lines, {"done": True} | answer.last)


def test_of_an_answer_that_breaks_off_no_form_says_that_it_is_done(cli, server):
    for part, stdout, says in (
        (delta(role="assistant"), "", "\nNo text has arrived."),
        (delta(tool_calls=[CALL]), "", ""),
        ("Half an", "Half an\n", "\nThe text so far is not saved. "),
    ):
        server.on(CHAT, sse(part, Cut()))
        done = cli("ask", "Hi")
        assert (done.returncode, done.stdout) == (1, stdout)
        assert done.stderr.startswith("lmchat: Streaming failed: ")
        assert says in done.stderr
        *_, last = map(json.loads, cli("ask", "--stream-json", "Hi").stdout.splitlines())
        assert [*last] == ["detail"]
        assert cli.json("ask", "--json", "Hi", code=1)["detail"]["error"] == "interrupted"
