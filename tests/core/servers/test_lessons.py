"""One refusal, one more request in another form, and later ones in that form.

`lessons.jsonl` has texts of servers: recorded bytes, or those of a report; where that quotes the
sentence alone, the frame around it is the usual one of that server. `changes` are the parts of the
body in which the second request differs; `has` is what the first one has beside the usual parts.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from lmchat.core.servers.events import RequestAdapted
from lmchat.core.servers.request import FittingValue
from lmchat.core.servers.wire.lessons import LESSONS, SEND_AGAIN, Lesson, Refused, lessons_of
from lmchat.core.servers.wire.request_format import RequestFormat
from lmchat.core.sessions.message import (
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    text_message,
)
from tests.support.client_calls import READ_TOOL, answered, ask, failure_of, message_of
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import Reply, error_reply, json_reply, sse, text_reply

HERE = Path(__file__).parent


def records_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


RECORDS = records_of(HERE / "lessons.jsonl")
CALL = ToolCallPart(call_id="call_4c1f", name="files__read", arguments="{}")
TALK = (
    text_message(Role.SYSTEM, "Be brief."),
    text_message(Role.USER, "Read it"),
    message_of(Role.ASSISTANT, ReasoningPart(text="The file will tell."), CALL),
    message_of(Role.TOOL, CALL, ToolResultPart(text="found")),
    message_of(Role.ASSISTANT, ReasoningPart(text="So it is."), TextPart(text="Found.")),
    text_message(Role.USER, "And now?"),
)
PERSON = FittingValue(schema={"type": "object", "properties": {"age": {"type": "integer"}}})
OPTIONAL = {"reasoning_effort", "chat_template_kwargs", "tools"}


def request_for(server, record):
    has = record.get("has", "")
    asked = ask(server, product=record["product"], reasoning_effort="none", max_tokens=9)
    asked = replace(asked, messages=TALK[:4] if has == "result" else TALK, tools=(READ_TOOL,))
    return replace(asked, output=PERSON) if has == "json" else asked


def reply_of(record) -> Reply:
    if record.get("where") == "stream":
        return sse(record["body"])
    if isinstance(record["body"], str):
        return text_reply(record["body"], status=record["status"])
    return json_reply(record["body"], status=record["status"])


def parts_of(body) -> dict[str, object]:
    """Fields of a body, and what a lesson may change in the messages."""
    messages = body["messages"]
    calls = [message for message in messages if "tool_calls" in message]
    return {name: value for name, value in body.items() if name != "messages"} | {
        "system": messages[0]["role"],
        "thoughts": [
            {name: message[name] for name in message if name.startswith("reasoning")}
            for message in messages
        ][-4:],
        "ids": {
            *(message["tool_calls"][0]["id"] for message in calls),
            *(message["tool_call_id"] for message in messages if "tool_call_id" in message),
        },
        "empty texts": [message["content"] for message in calls],
    }


@pytest.mark.rule("R-13")
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["source"])
async def test_a_refusal_leads_to_one_more_request_that_differs_as_it_says_and_is_remembered(
    record, server, client
):
    server.on(CHAT, reply_of(record), chat_reply("{}"))
    events = await answered(client, request_for(server, record))
    await answered(client, request_for(server, record))
    first, second, third = [parts_of(seen.json) for seen in server.seen(CHAT)]
    changes = {name for name in first | second if first.get(name) != second.get(name)}
    if "tools" in changes:
        changes -= {"ids", "empty texts"}  # calls are texts without tools
    assert changes == set(record["changes"])
    if changes == {"ids"}:
        (call_id,) = second["ids"]
        assert (len(call_id), call_id.isalnum()) == (9, True)
        notes = [event.note for event in events if isinstance(event, RequestAdapted)]
        assert not any(" says: " in note for note in notes)
    if changes == {"system"}:
        moved = server.seen(CHAT)[1].json["messages"][0]
        assert moved == {"role": "user", "content": "Be brief.\n\nRead it"}
    if changes == {"empty texts"}:
        assert second["empty texts"] == [None]
    assert {second.get(name) for name in ("max_tokens", "max_completion_tokens")} == {9, None}
    # one refusal does not cost the session its tools
    assert third == (first if changes == {"tools"} else second)


async def test_a_server_that_refuses_all_is_asked_in_each_form_once(server, client):
    words = (
        "reasoning_content response_format system role not supported reasoning_effort tool_use.id "
        "non-empty stream_options unsupported parameter: 'max_tokens' enable_thinking 'stream' tools"
    )
    server.on(CHAT, error_reply(400, words))
    error = await failure_of(client, request_for(server, {"product": "vLLM", "has": "json"}))
    assert error.message.endswith(words)
    bodies = [seen.body for seen in server.seen(CHAT)]
    assert len(set(bodies)) == len(bodies) == 13


async def refused_request(record, server, client) -> Refused:
    """Return a request that a server never takes, and the error."""
    server.requests.clear()
    server.on(CHAT, reply_of(record))
    error = await failure_of(client, request_for(server, record))
    body = server.seen(CHAT)[0].json
    fields = {name: body[name] for name in OPTIONAL & body.keys()}
    return Refused(error=error, body=body, fields=fields)


def taught(refused: Refused, lessons=LESSONS) -> Lesson | None:
    form = RequestFormat()
    for lesson in lessons_of(refused, lessons):
        if lesson.change(form, refused) != form or lesson.change is SEND_AGAIN.change:
            return lesson
    return None


async def test_a_text_needs_each_alternative(server, make_client):
    refusals = [await refused_request(record, server, make_client()) for record in RECORDS]
    for position, lesson in enumerate(LESSONS):
        for one in lesson.alternatives:
            others = tuple(other for other in lesson.alternatives if other != one)
            rest = replace(lesson, alternatives=others or ("(?!)",))
            lessons = (*LESSONS[:position], rest, *LESSONS[position + 1 :])
            texts = [each for each in refusals if taught(each) is lesson]
            assert any(taught(each, lessons) is not rest for each in texts), one


async def test_a_refusal_for_another_reason_teaches_nothing(server, make_client):
    for path in (HERE / "refusals").glob("*.jsonl"):
        if path.stem in ("bad_request", "template", "unsupported", "server_error"):
            continue
        for record in records_of(path):
            if record["status"] in (200, 400, 404, 422, 500, 501):
                asked = record | {"has": "json"}
                refused = await refused_request(asked, server, make_client())
                assert taught(refused) is None, record["body"]
