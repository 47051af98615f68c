from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.base.json_values import dicts_in
from lmchat.core.servers.stream.tool_calls import Calls
from lmchat.core.sessions.message import (
    ChatMessage,
    Role,
    ToolCallPart,
    ToolResultPart,
    text_message,
)
from tests.support.client_calls import (
    READ_TOOL,
    answered,
    ask,
    events_of,
    message_of,
    streamed,
)
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import DONE, delta, json_reply, sse


def put_together(*chunks, offered=()):
    """Return {index: [id, name, arguments]} of all fragments."""
    calls = Calls(offered)
    found = {}
    events = [event for chunk in chunks for one in dicts_in(chunk) for event in calls.read(one)]
    for one in events + calls.close():
        entry = found.setdefault(one.index, ["", "", ""])
        entry[0] += one.call_id
        entry[1] += one.name
        entry[2] += one.arguments
    return found


def fragment(index=None, call_id=None, name=None, arguments=None):
    told = {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in told.items() if value is not None}


FORTY = '{"grams": 40}'
FIFTY = '{"grams": 50}'
ONE = {0: ["a", "weigh", FORTY]}
TWO = {0: ["a", "weigh", FORTY], 1: ["b", "weigh", FIFTY]}
# The orders in which servers send calls, with reports of them as OWNER/REPOSITORY#NUMBER.
ORDERS = {
    "fragments of two calls in turn": (
        [
            [fragment(0, "a", "f")],
            [fragment(1, "b", "g", "{")],
            [fragment(0, "a", "", "1")],
            [fragment(1, arguments="}")],
            [fragment(0, arguments="2")],
        ],
        {0: ["a", "f", "12"], 1: ["b", "g", "{}"]},
    ),
    "LocalAI: the same call at several indices, mudler/LocalAI#9722": (
        [
            [fragment(0, "a", "weigh", "")],
            [fragment(0, "a", "", FORTY)],
            [fragment(1, "a", "weigh", "")],
            [fragment(1, "a", "weigh", FORTY)],
            [fragment(2, "a", "weigh", FORTY)],
        ],
        ONE,
    ),
    "the call once more, cut off": (
        [[fragment(0, "a", "weigh", FORTY)], [fragment(1, "a", "weigh", FORTY[:7])]],
        ONE,
    ),
    "the arguments once more, lidge-jun/opencodex#361": (
        [
            [fragment(0, "a", "weigh", "")],
            [fragment(1, "b", "weigh", "")],
            [fragment(0, None, None, FORTY)],
            [fragment(0, None, None, FORTY)],
            [fragment(1, None, None, FIFTY)],
            [fragment(1, None, None, FIFTY)],
        ],
        TWO,
    ),
    "the call in pieces, then as a whole, elizaOS/eliza#16973": (
        [
            [fragment(0, "a", "weigh", "")],
            [fragment(0, None, None, FORTY[:7])],
            [fragment(0, None, None, FORTY[7:])],
            [fragment(0, "a", "weigh", FORTY)],
        ],
        ONE,
    ),
    "all calls once more at the end, without ids": (
        [
            [fragment(None, None, "weigh", FORTY), fragment(None, None, "weigh", FIFTY)],
            [fragment(None, None, "weigh", FORTY), fragment(None, None, "weigh", FIFTY)],
        ],
        {0: ["", "weigh", FORTY], 1: ["", "weigh", FIFTY]},
    ),
    "one id for two tools": (
        [
            [fragment(0, "a", "weigh", "")],
            [fragment(1, "a", "cut", "")],
            [fragment(0, None, None, FORTY)],
            [fragment(1, None, None, FIFTY)],
        ],
        {0: ["a", "weigh", FORTY], 1: ["a", "cut", FIFTY]},
    ),
    "vLLM and LMDeploy: index 0 for each call, InternLM/lmdeploy#3412": (
        [
            [fragment(0, "a", "weigh", "")],
            [fragment(0, "", None, FORTY[:7])],
            [fragment(0, "", None, FORTY[7:])],
            [fragment(0, "b", "weigh", "")],
            [fragment(0, "", None, FIFTY)],
        ],
        TWO,
    ),
    "Ollama: index 0 for each call, each in one fragment, ollama/ollama#15457": (
        [[fragment(0, "a", "weigh", FORTY)], [fragment(0, "b", "weigh", FIFTY)]],
        TWO,
    ),
    "two equal calls with an id each": (
        [[fragment(0, "a", "weigh", FORTY)], [fragment(1, "b", "weigh", FORTY)]],
        {0: ["a", "weigh", FORTY], 1: ["b", "weigh", FORTY]},
    ),
    "Gemini: neither an index nor an id, AstrBotDevs/AstrBot#6661": (
        [
            [fragment(None, "", "weigh", "")],
            [fragment(None, "", None, FORTY)],
            [fragment(None, "", "cut", "")],
            [fragment(None, "", None, FIFTY)],
        ],
        {0: ["", "weigh", FORTY], 1: ["", "cut", FIFTY]},
    ),
    "Nebius, Cerebras: an index for each fragment, dirac-run/dirac#215": (
        [
            [fragment(0, "a", "weigh", FORTY[:3])],
            [fragment(1, None, None, FORTY[3:7])],
            [fragment(2, None, None, FORTY[7:])],
            [fragment(3, "b", "weigh", FIFTY[:7])],
            [fragment(4, None, None, FIFTY[7:])],
        ],
        TWO,
    ),
    "a call begins at the index of the one before and ends at its own, agno-agi/agno#8879": (
        [
            [fragment(0, "a", "weigh", FORTY)],
            [fragment(0, "b", "weigh", FIFTY[:7])],
            [fragment(1, None, None, FIFTY[7:])],
        ],
        TWO,
    ),
    "a call that begins twice, Avarok-Cybersecurity/atlas#33": (
        [
            [fragment(0, "a", "weigh", "")],
            [fragment(0, "b", "weigh", "")],
            [fragment(0, None, None, FORTY)],
        ],
        ONE,
    ),
    "Poolside: another id from the second fragment on, poolsideai/pool#9": (
        [
            [fragment(0, "a", "weigh", "")],
            [fragment(0, "b", None, FORTY[:7])],
            [fragment(0, "b", None, FORTY[7:])],
        ],
        ONE,
    ),
    "vLLM: the last fragment has id and name once more, vllm-project/vllm#44098": (
        [
            [fragment(0, "a", "weigh", FORTY[:7])],
            [fragment(0, "a", "weigh", FORTY[7:])],
            [fragment(0, None, None, "")],
        ],
        ONE,
    ),
    "Bedrock: {} before the arguments, openai/openai-agents-js#712": (
        [
            [fragment(0, "a", "weigh", "{}")],
            [fragment(0, None, None, FORTY[:7])],
            [fragment(0, None, None, FORTY[7:])],
        ],
        ONE,
    ),
    "llama-stack: {} and the arguments in one fragment, ogx-ai/ogx#5462": (
        [[fragment(0, "a", "weigh", "{}" + FORTY)]],
        ONE,
    ),
    "LM Studio: a call without an id, name and arguments, lmstudio-ai/lmstudio-bug-tracker#830": (
        [[fragment(0, "", None, None)]],
        {},
    ),
    "a name behind the id and the arguments": (
        [[fragment(0, "a")], [fragment(0, None, None, FORTY)], [fragment(0, None, "weigh")]],
        ONE,
    ),
    "MiniMax: arguments as an object, can1357/oh-my-pi#1779": (
        [[fragment(0, "a", "weigh", {"grams": 40})], [fragment(0, "a", "weigh", FORTY)]],
        {0: ["a", "weigh", '{"grams":40}']},
    ),
    **{
        f"no object: {words}": (
            [[fragment(0, "a", "weigh", words[:2])], [fragment(0, None, None, words[2:])]],
            {0: ["a", "weigh", words]},
        )
        for words in ("x {} {}", ' "{" "}"')
    },
}


@pytest.mark.rule("R-20")
def test_fragments_are_put_together_so_that_each_call_is_there_once():
    for name, (chunks, found) in ORDERS.items():
        assert put_together(*chunks) == found, name


def test_a_name_may_come_in_pieces_unless_it_is_that_of_a_tool_so_far():
    """sigoden/aichat#1213."""
    for offered, *names, found in (
        (["python__weigh"], "pyt", "hon__wei", "gh", ["python__weigh"]),
        (["weigh", "weigh_all"], "weigh", "_all", ["weigh", "_all"]),
        (["weigh", "cut"], "weigh", "cut", ["weigh", "cut"]),
        (["cut"], "weigh", "weigh", ["weigh"]),
    ):
        fragments = [fragment(0, "a", names[0]), *(fragment(0, None, one) for one in names[1:])]
        calls = put_together(
            *([one] for one in fragments), [fragment(0, None, None, FORTY)], offered=offered
        )
        assert [name for _, name, _ in calls.values()] == found
        assert calls[len(found) - 1][2] == FORTY


def test_a_call_has_at_most_64_objects():
    objects = "".join(f'{{"n": {number}}}' for number in range(65))
    assert len(put_together([fragment(0, "a", "f", objects)])) == 64


def test_rubbish_is_no_call():
    assert put_together(None, "x", [None, 7], {}) == {}
    assert put_together([{"index": "x", "id": 7, "function": "f"}]) == {}


def _talk() -> tuple[ChatMessage, ...]:
    """A prompt, two calls of which one was stopped, a result, and an answer."""
    made = [
        ToolCallPart(call_id=f"c{n}", name="files__read", arguments="{}{"[: n + 2])
        for n in range(2)
    ]
    ran = replace(made[0], name="files/read")
    return (
        text_message(Role.USER, "Read it"),
        message_of(Role.ASSISTANT, *made),
        message_of(Role.TOOL, ran, ToolResultPart(text="found")),
        text_message(Role.ASSISTANT, "It says found."),
        text_message(Role.USER, "And?"),
    )


async def test_calls_are_sent_with_their_results_and_without_one_not_at_all(server, client):
    server.on(CHAT, chat_reply("Hi"))
    await events_of(
        client, replace(ask(server), messages=_talk(), tools=(READ_TOOL,), must_call=True)
    )
    body = server.seen(CHAT)[-1].json
    schema = {"type": "object", "properties": {}}
    function = {"name": "files__read", "description": "", "parameters": schema}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == "required"
    call = {"id": "c0", "type": "function", "function": {"name": "files__read", "arguments": "{}"}}
    assert body["messages"][1:3] == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c0", "content": "found"},
    ]
    prompt, called, ran, _, more = _talk()
    looks = text_message(Role.ASSISTANT, "I look.")
    talk = (prompt, message_of(Role.ASSISTANT, *called.tool_calls), more, looks, called, ran)
    await events_of(client, replace(ask(server), messages=(*talk, more), tools=(READ_TOOL,)))
    assert server.seen(CHAT)[-1].json["messages"] == [
        {"role": "user", "content": "Read it\n\nAnd?"},  # no answer: none of its calls has a result
        {"role": "assistant", "content": "I look.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c0", "content": "found"},
        {"role": "assistant", "content": "(no answer)"},
        {"role": "user", "content": "And?"},
    ]


async def test_calls_in_a_message_count_once_beside_those_in_deltas(server, make_client):
    weigh = {"index": 0, "id": "a", "function": {"name": "weigh", "arguments": FORTY}}
    other = {"index": 1, "id": "b", "function": {"name": "weigh", "arguments": FIFTY}}
    no_id = {"type": "function", "function": {"name": "weigh", "arguments": {"grams": 40}}}
    again = [fragment(None, "c", "weigh", '{ "grams":40}'), fragment(None, "d", "weigh", FIFTY)]
    named = [delta(tool_calls=[fragment(n, one, "weigh", "")]) for n, one in enumerate("ab")]
    rewritten = fragment(None, "a", "weigh", FIFTY)
    twin = delta(tool_calls=[fragment(1, "b", "weigh", FORTY)])
    pieces = [fragment(0, "a", "weigh", FORTY[:7]), fragment(0, None, None, FORTY[7:])]
    both = [{"delta": {"tool_calls": [one]}, "message": {"tool_calls": [one]}} for one in pieces]

    def last(*calls):
        message = {"role": "assistant", "content": "", "tool_calls": list(calls)}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}

    call = delta(tool_calls=[weigh])
    for chunks, found in (
        ((call, last(no_id)), [FORTY]),
        ((call, last(weigh, other)), [FORTY, FIFTY]),
        ((call, last(fragment(None, "c", "weigh", '{"grams": 4e1}'))), [FORTY]),
        ((call, last(*reversed(again))), [FORTY, FIFTY]),
        ((call, last(rewritten)), [FORTY]),
        ((call, last(rewritten, weigh)), [FORTY, FIFTY]),
        ((call, last(weigh, fragment(None, "a", "count", FORTY))), [FORTY, FORTY]),
        ((delta(tool_calls=pieces[:1]), last(weigh)), [FORTY[:7], FORTY]),
        ((delta(tool_calls=[fragment(0, "a", "weigh", "{}")]), last(weigh)), ["{}", FORTY]),
        ((call, twin, last(again[0], again[0])), [FORTY, FORTY]),
        ((*named, last(no_id, again[1])), ['{"grams":40}', FIFTY]),
        ([{"choices": [one]} for one in both], [FORTY]),
        ((last(weigh, other),), [FORTY, FIFTY]),
    ):
        server.on(CHAT, sse(*chunks, DONE) if chunks[1:] else json_reply(*chunks))
        events = await answered(make_client(), ask(server))
        parts = [part for part in streamed(events).content.parts if isinstance(part, ToolCallPart)]
        assert [part.arguments for part in parts] == found, chunks


@pytest.mark.rule("R-20")
async def test_fields_of_a_call_that_are_not_known_go_back_as_they_came(server, make_client):
    data = {"provider_data": {"trace": "t-91"}}
    signed = {"extra_content": {"google": {"thought_signature": "Cs4B"}}, "cache": [1, None]}
    for chunks, fields, inner in (
        (
            (
                {"id": "a", "function": {"name": "weigh", "arguments": FORTY[:9]}, **data},
                {"function": {"arguments": FORTY[9:]}, **data},
            ),
            data,
            {},
        ),
        (
            (
                {"id": "a", "function": {"name": "weigh", "arguments": "", "sig": "x"}, **data},
                {"function": {"arguments": FORTY, "name": None}, "id": None, **signed},
            ),
            data | signed,
            {"sig": "x"},
        ),
        (
            ({"index": 0, **data}, {"id": "a", "function": {"name": "weigh", "arguments": FORTY}}),
            data,
            {},
        ),
    ):
        fragments = [{"index": 0, "type": "function", **one} for one in chunks]
        server.on(CHAT, sse(*(delta(tool_calls=[one]) for one in fragments), DONE))
        client = make_client()
        first = replace(ask(server), tools=(READ_TOOL,))
        (made,) = streamed(await answered(client, first)).content.parts
        assert isinstance(made, ToolCallPart)
        assert made.others.count("provider_data") == 1, "a repeated field is kept once"
        ran = message_of(Role.TOOL, made, ToolResultPart(text="40 g"))
        server.on(CHAT, chat_reply())
        messages = (*first.messages, message_of(Role.ASSISTANT, made), ran)
        await answered(client, replace(first, messages=messages))
        function = {**inner, "name": "weigh", "arguments": FORTY}
        assert server.seen(CHAT)[-1].json["messages"][1]["tool_calls"] == [
            {**fields, "id": "a", "type": "function", "function": function}
        ]
