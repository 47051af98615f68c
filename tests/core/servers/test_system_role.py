"""Models whose chat template has no system role: the system prompt goes into the first prompt."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.core.servers.request import AnyObject
from lmchat.core.sessions.message import Role, ToolResultPart, text_message
from tests.support.client_calls import READ_TOOL, answered, ask, failure_of, message_of
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import Reply, Seen, error_reply
from tests.support.strict_templates import ALTERNATE, NO_SYSTEM, ONLY_TWO, strict, without_system

# llama.cpp quotes a piece of the template first
JINJA = (
    "\n------------\nWhile executing CallExpression at line 85, column 32 in source:\n...first %}↵"
    "            {{- raise_exception('System message must be at the begin...\n"
    "                                           ^\nError: Jinja Exception: "
)
REFUSALS = (
    error_reply(400, ONLY_TWO),
    error_reply(500, f"{JINJA}System message must be at the beginning."),
)
# With a system prompt in the request, too: they are about something else.
OTHERS = {
    "turns": (
        400,
        f"After the optional system message, conversation roles {ALTERNATE[19:]}",
    ),
    "another role": (400, "Unexpected role 'user' after role 'tool'"),
    "roles of a newer template": (
        400,
        "Only user, system, assistant and tool roles are supported, got custom.",
    ),
    "jinja": (500, f"{JINJA}Unknown test: sequence"),
    "memory": (500, "model requires more system memory (11.2 GiB) than is available (7.4 GiB)"),
    "another system": (400, "Your operating system is not supported"),
    "its length": (400, "The system prompt is too long"),
    "its content": (422, "System message must be a string"),
    "key": (401, NO_SYSTEM),
}


def talk(*texts: str, system: str = "Be brief."):
    roles = (Role.USER, Role.ASSISTANT)
    said = [text_message(roles[n % 2], text) for n, text in enumerate(texts)]
    return (text_message(Role.SYSTEM, system), *said)


def request(server, *texts: str, **more):
    return replace(ask(server, **more), messages=talk(*(texts or ("Hello",))))


def bodies(server) -> list[list[tuple[str, str]]]:
    messages = [seen.json["messages"] for seen in server.seen(CHAT)]
    return [[(one["role"], one["content"]) for one in sent] for sent in messages]


def without_response_format(seen: Seen) -> Reply:
    """Refuse `response_format`, so that the words for JSON become a system prompt."""
    if "response_format" in seen.json:
        return error_reply(400, "response_format is not supported")
    return strict(without_system)(seen)


@pytest.mark.rule("R-13")
async def test_a_template_without_the_role_takes_the_request_with_tools_and_with_words_for_json(
    server, make_client
):
    result = message_of(Role.TOOL, ToolResultPart(text="found"))
    for more in (
        {"tools": (READ_TOOL,)},
        {"output": AnyObject()},
        {"messages": (*talk("a"), result, *talk("b")[1:])},
    ):
        server.requests.clear()
        server.on(CHAT, without_response_format)
        await answered(make_client(), replace(request(server), **more))
        (role, text), *_ = bodies(server)[-1]
        assert role == "user"
        assert text.startswith("Be brief.\n\n")


async def test_if_the_moved_prompt_is_refused_too_the_error_names_it_and_says_how_to_leave_it_out(
    server, make_client
):
    for refusal in (error_reply(400, ONLY_TWO), error_reply(500, ALTERNATE)):
        server.requests.clear()
        server.on(CHAT, refusal)
        error = await failure_of(make_client(), request(server))
        assert error.message.startswith("tiny takes no system prompt. The server says: ")
        assert error.next_step.startswith('Leave the system prompt out: /system ""')
        assert len(server.seen(CHAT)) == 2
    # what comes second may be about something else
    server.on(CHAT, error_reply(400, NO_SYSTEM), error_reply(500, "Compute error."))
    error = await failure_of(make_client(), request(server))
    assert error.message == "The server says: Compute error."
    # nothing is remembered of what was refused
    client = make_client()
    server.on(CHAT, error_reply(400, NO_SYSTEM))
    await failure_of(client, request(server))
    server.requests.clear()
    server.on(CHAT, chat_reply())
    await answered(client, request(server))
    assert bodies(server)[0][0] == ("system", "Be brief.")


async def test_a_refusal_of_something_else_moves_no_system_prompt(server, make_client):
    for name, (status, words) in OTHERS.items():
        server.requests.clear()
        server.on(CHAT, error_reply(status, words))
        error = await failure_of(make_client(), request(server))
        assert {sent[0][0] for sent in bodies(server)} == {"system"}, name
        assert "Leave the system prompt out" not in error.next_step, name
    # without a system prompt, there is nothing to move
    for refusal in REFUSALS:
        server.requests.clear()
        server.on(CHAT, refusal)
        await failure_of(make_client(), ask(server))
        assert len(server.seen(CHAT)) == 1
