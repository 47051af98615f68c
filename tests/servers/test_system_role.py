"""Models whose chat template has no system role: the system prompt goes into the first prompt.

The refusals are those that users of the servers report, word for word.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.servers.events import RequestAdapted
from lmchat.servers.request import AnyObject
from lmchat.sessions.message import Role, ToolResultPart, text_message
from tests.support.client_calls import READ_TOOL, answered, ask, failure_of, message_of
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import Reply, Seen, error_reply, json_reply, sse, text_reply
from tests.support.strict_templates import ALTERNATE, NO_SYSTEM, ONLY_TWO, strict, without_system

# Reported for LM Studio (lmstudio-bug-tracker #1054), vLLM (#2964, autogen #1037, ragflow #11021), llama.cpp
# (moltis #317, ollama #18241), mistral.rs (#45), LiteLLM (#4377), OpenAI (forgecode #1177), programs in Rust
# (claudian #701) and with pydantic (ogx #5982). llama-cpp-python and mlx_lm.server pass on the exception of
# the template, the one with 500, the other with 404.
JINJA = (
    "\n------------\nWhile executing CallExpression at line 85, column 32 in source:\n...first %}↵"
    "            {{- raise_exception('System message must be at the begin...\n"
    "                                           ^\nError: Jinja Exception: "
)
OLD_VLLM = {"object": "error", "type": "BadRequestError", "param": None, "code": 400}
NEW_VLLM = {"type": "BadRequestError", "param": None, "code": 400}
REFUSALS = {
    "LM Studio": error_reply(
        400,
        f'Error rendering prompt with jinja template: "{ONLY_TWO}".\n\nThis is usually an issue',
    ),
    "LM Studio, in the stream": sse(
        b'event: error\ndata: {"error":{"message":"Error rendering prompt with jinja template: '
        b'\\"Only user and assistant roles are supported!\\"."}}\n\n'
    ),
    "vLLM 0.3": json_reply(OLD_VLLM | {"message": NO_SYSTEM}, status=400),
    "vLLM 0.2 and Mistral": json_reply(OLD_VLLM | {"message": ALTERNATE}, status=400),
    "vLLM, newer": error_reply(400, f"{ALTERNATE} {ALTERNATE}", **NEW_VLLM),
    "llama-cpp-python": error_reply(500, NO_SYSTEM, type="internal_server_error"),
    "LiteLLM": error_reply(
        400,
        "litellm.BadRequestError: OpenAIException - Error code: 400 - {'object': 'error', 'message': "
        f"'{NO_SYSTEM}', 'type': 'BadRequestError', 'param': None, 'code': 400}}",
        type="invalid_request_error",
        code="400",
    ),
    "mistral.rs": error_reply(500, f"invalid operation: {ALTERNATE} (in chat_template:1)"),
    "serde": error_reply(
        400,
        "Failed to deserialize the JSON body into the target type: messages[0].role: unknown variant "
        "`system`, expected `user` or `assistant` at line 1 column 79",
    ),
    "mlx_lm.server": json_reply({"error": NO_SYSTEM}, status=404),
    "llama.cpp": error_reply(
        500, f"{JINJA}System message must be at the beginning.", code=500, type="server_error"
    ),
    "text": text_reply(f"jinja2.exceptions.TemplateError: {NO_SYSTEM}", status=500),
    "Gemini": json_reply(
        [
            {
                "error": {
                    "code": 400,
                    "message": "Developer instruction is not enabled for models/gemma-3-27b-it",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        status=400,
    ),
    "OpenAI": error_reply(
        400,
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        type="invalid_request_error",
        param="messages[0].role",
        code="unsupported_value",
    ),
    "in other words": error_reply(400, "This model doesn't support system prompts."),
    "by its name": error_reply(400, "The role 'system' is not supported."),
    "several": error_reply(400, "messages with role `system` are unsupported"),
    "the others": error_reply(400, "role must be one of user, assistant"),
    "the first": error_reply(400, "Expected first message with role 'user', got 'system'"),
    "its place": error_reply(400, "System messages are only allowed at the beginning."),
    "the first message": error_reply(400, "Conversation must start with a user message"),
    "FastAPI": json_reply(
        {
            "detail": [
                {
                    "loc": ["body", "messages", 0, "role"],
                    "msg": "Input should be 'user' or 'assistant'",
                    "type": "literal_error",
                }
            ]
        },
        status=422,
    ),
}
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
    "an image": (400, "The first message must be shorter than 10 MB"),
    "its form": (400, "system message should be a string or a list of parts"),
    "a file": (500, "file system is not writable; the system role of the disk is unknown"),
    "no prompt": (
        400,
        'Error rendering prompt with jinja template: "No user query found in messages."',
    ),
    "jinja": (500, f"{JINJA}Unknown test: sequence"),
    "memory": (500, "model requires more system memory (11.2 GiB) than is available (7.4 GiB)"),
    "another system": (400, "Your operating system is not supported"),
    "its length": (400, "The system prompt is too long"),
    "its content": (422, "System message must be a string"),
    "key": (401, "The system role is not allowed for this key"),
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


def notes(events) -> list[str]:
    return [event.note for event in events if isinstance(event, RequestAdapted)]


def only_with_system(refusal: Reply):
    """Refuse any system message in this way."""

    def play(seen: Seen) -> Reply:
        roles = [message["role"] for message in seen.json["messages"]]
        return refusal if "system" in roles else chat_reply()

    return play


def without_response_format(seen: Seen) -> Reply:
    """Refuse `response_format`, so that the words for JSON become a system prompt."""
    if "response_format" in seen.json:
        return error_reply(400, "response_format is not supported")
    return strict(without_system)(seen)


@pytest.mark.rule("R-13")
async def test_a_refused_system_prompt_goes_into_the_first_prompt_and_that_is_remembered(
    server, make_client
):
    for name, refusal in REFUSALS.items():
        server.requests.clear()
        client = make_client()
        server.on(CHAT, only_with_system(refusal))
        (note,) = notes(await answered(client, request(server)))
        assert note.endswith(". Sending the system prompt in front of the first prompt."), name
        assert notes(await answered(client, request(server, "Hello", "Hi.", "And?"))) == []
        begun = ("user", "Be brief.\n\nHello")
        assert bodies(server) == [
            [("system", "Be brief."), ("user", "Hello")],
            [begun],
            [begun, ("assistant", "Hi."), ("user", "And?")],
        ], name
        # another model of the server may know the role
        server.on(CHAT, chat_reply())
        await answered(client, request(server, model="other"))
        assert bodies(server)[-1][0] == ("system", "Be brief."), name


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
        assert error.hint.startswith('Leave the system prompt out: /system ""')
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
        assert "system prompt" not in error.hint, name
    # without a system prompt, there is nothing to move
    for refusal in REFUSALS.values():
        server.requests.clear()
        server.on(CHAT, refusal)
        await failure_of(make_client(), ask(server))
        assert len(server.seen(CHAT)) == 1
