"""What a refusal leads to: another form of the request, a wait, or an error in the server's words."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from lmchat.core.servers.events import ModelLoading, RequestAdapted, RetryScheduled
from lmchat.core.servers.sending import exchange
from lmchat.core.sessions.message import (
    FilePart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    text_message,
)
from tests.support.client_calls import (
    READ_TOOL,
    answered,
    ask,
    endpoint_of,
    events_of,
    failure_of,
    message_of,
    replay,
    text_of,
)
from tests.support.scripted_products import CHAT, chat_reply, model_list, router_rows
from tests.support.scripted_server import (
    DONE,
    Cut,
    Seen,
    body_reply,
    error_reply,
    finish,
    json_reply,
    raw_reply,
    sse,
    text_reply,
    usage,
)

IMAGE = FilePart(name="leaf.png", media_type="image/png", digest="a", size=3)
LONG_FILE = FilePart(name="a.md", media_type="text/markdown", digest="b", size=9, tokens=900)
PAGE = b"<!DOCTYPE html>\n<html><head>\n<title>box.example | 522: Timed out</title></head></html>\n"


def notes(events) -> list[str]:
    return [event.note for event in events if isinstance(event, RequestAdapted)]


def with_image(request):
    message = message_of(Role.USER, IMAGE, TextPart(text="What grows here?"))
    return replace(request, messages=(message,), files={"a": b"png"})


# Frames as users of the servers report them (openclaw #76444, OmniRoute #4937, 9router #3051,
# mlxstudio #7).
FRAMES = {
    "words behind data:": sse("Half of it", b"data: overloaded, try later\n\n"),
    "words without a blank line": sse("Half of it", b"data: overloaded, try later\n"),
    "a line without data:": sse("Half of it", b'{"error": {"message": "overloaded, try later"}}\n'),
    "a line in the middle": sse(
        "Half of it", b'{"error": {"message": "overloaded, try later"}}\n\n', usage()
    ),
    "the whole body": sse(b'{"error": {"message": "overloaded, try later"}}'),
    "over several lines": sse(b'{\n  "error": {\n    "message": "overloaded, try later"\n  }\n}\n'),
    "a plain body": sse(b"overloaded, try later"),
    "the text of an error": json_reply(
        {
            "provider": "Garden Cloud",  # as OpenRouter
            "choices": [
                {
                    "finish_reason": "error",
                    "message": {"role": "assistant", "content": "overloaded, try later"},
                }
            ],
        }
    ),
    "a list": json_reply({"errors": ["overloaded, try later"]}),
    "a refused stream": body_reply(
        b'data: {"error": {"message": "overloaded, try later"}}\n\n', status=500
    ),
}


@pytest.mark.rule("R-26")
async def test_the_words_of_a_server_are_told_in_whatever_frame_they_come(server, make_client):
    for name, reply in FRAMES.items():
        server.on(CHAT, reply)
        events, error = await events_of(make_client(), ask(server))
        assert error is not None, name
        assert error.message == "The server says: overloaded, try later", name
        has_text = name.startswith(("words", "a line"))
        assert text_of(events) == ("Half of it" if has_text else ""), name
        assert not notes(events), name
    server.on(CHAT, sse("Half of it", PAGE))
    events, error = await events_of(make_client(), ask(server))
    assert text_of(events) == "Half of it"
    assert "box.example | 522: Timed out" in error.message
    server.on(CHAT, sse(b'data: {"error": {"code": 1}}\n\n'))
    error = await failure_of(make_client(), ask(server))
    assert error.message == "The server sent an error without a message."


async def test_a_prompt_that_fills_the_window_and_gets_no_answer_was_too_long(server, make_client):
    """As LM Studio does (lmstudio-bug-tracker #2339)."""
    server.on("GET /v1/models", model_list("tiny", owned_by="vllm", max_model_len=8192))
    for reply in (
        sse(finish(), usage(9100, 0), DONE),
        sse(finish("length"), usage(8192, 0), DONE),
    ):
        server.on(CHAT, reply)
        client = make_client()
        await client.models.check(endpoint_of(server))
        error = await failure_of(client, ask(server, product="vLLM"))
        assert (error.kind, error.room_tokens) == ("context_overflow", 8192)
        assert error.message == "The request fills the model's context window."
    server.on(CHAT, sse(finish("model_context_window_exceeded"), DONE))  # z.ai
    assert (await failure_of(client, ask(server))).kind == "context_overflow"
    for reply in (sse(finish(), usage(8191, 0), DONE), sse("Hi", finish(), usage(9100, 1), DONE)):
        server.on(CHAT, reply)
        assert not notes(await answered(client, ask(server, product="vLLM")))


async def test_the_largest_part_of_a_request_that_is_too_long_is_named(server, client):
    prompt = text_message(Role.USER, "Hi")
    long = text_message(Role.USER, "bed " * 90)
    answer = text_message(Role.ASSISTANT, "bed " * 60)
    call = ToolCallPart(call_id="c0", name="files__read", arguments="{}")
    read = message_of(Role.TOOL, call, ToolResultPart(text="bed " * 200))
    one = replace(ask(server), messages=(long,))
    window = ", or load the model with a larger context window."
    tools = tuple(replace(READ_TOOL, description="bed " * 9) for _ in range(60))
    for request, part, step in (
        (one, "the prompt, about 90", f"Shorten the prompt or attach less{window}"),
        (
            replace(one, messages=(text_message(Role.SYSTEM, "bed " * 99), prompt)),
            "the system prompt, about 99",
            f"Shorten the system prompt{window}",
        ),
        (
            replace(one, messages=(long, answer, prompt)),
            "the earlier messages, about 150",
            f"Start a new session{window}",
        ),
        (
            replace(one, messages=(long, message_of(Role.ASSISTANT, call), read)),
            "the results of tools, about 200",
            f"Ask for less at once{window}",
        ),
        (replace(one, tools=tools), "60 tools, about", "Use fewer tools: /tools"),
        (ask(server, max_tokens=5000), "max_tokens, about 5000", "Lower max_tokens."),
        (
            replace(one, messages=(prompt, message_of(Role.USER, TextPart(text="Sum"), LONG_FILE))),
            "the prompt, about 901",
            f"Shorten the prompt or attach less{window}",
        ),
    ):
        server.on(CHAT, error_reply(400, "too long", code="context_length_exceeded"))
        error = await failure_of(client, request)
        assert error.kind == "context_overflow"
        assert error.next_step.startswith(f"The largest part is {part}"), error.next_step
        assert f" tokens. {step}" in error.next_step
        server.on(CHAT, error_reply(413, "too large"))
        error = await failure_of(client, request)
        assert error.next_step.startswith(f"The largest part is {part}")
        assert error.kind == "too_large"
        assert f" tokens. {step.removesuffix(window)}" in error.next_step


@pytest.mark.rule("R-13")
async def test_tools_that_are_refused_twice_in_a_row_are_left_out_and_that_is_shown(
    server, make_client
):
    for status, words in (
        (400, "registry.ollama.ai/library/x:latest does not support tools"),
        (501, "function calling is not supported"),
    ):
        server.requests.clear()

        def play(seen: Seen, status=status, words=words):
            return error_reply(status, words) if "tools" in seen.json else chat_reply()

        server.on(CHAT, play)
        client = make_client()
        request = replace(ask(server), tools=(READ_TOOL,), must_call=True)
        for _ in range(2):
            (note,) = notes(await answered(client, request))
            assert note == f"The server says: {words}. Sending the request again without tools."
        for _ in range(2):
            (note,) = notes(await answered(client, request))
            assert note == "The server has refused the tools twice. They are not sent."
        sent = [{"tools", "tool_choice"} & seen.json.keys() for seen in server.seen(CHAT)]
        assert [len(fields) for fields in sent] == [2, 0, 2, 0, 0, 0]


@pytest.mark.rule("R-13")
async def test_one_refusal_does_not_cost_the_session_its_tools(server, client):
    refusal = error_reply(400, "tiny does not support tools")
    answers = [chat_reply()] * 2
    server.on(CHAT, refusal, *answers, refusal, *answers, refusal, chat_reply())
    for _ in range(5):
        await answered(client, replace(ask(server), tools=(READ_TOOL,)))
    sent = ["tools" in seen.json for seen in server.seen(CHAT)]
    assert sent == [True, False, True, True, False, True, True, False], "none in a row"


@pytest.mark.rule("R-13")
async def test_behind_a_result_of_a_tool_the_same_is_sent_once_more_and_never_without_tools(
    server, make_client
):
    call = ToolCallPart(call_id="c0", name="files__read", arguments="{}")
    messages = (
        text_message(Role.USER, "Read it"),
        message_of(Role.ASSISTANT, call),
        message_of(Role.TOOL, call, ToolResultPart(text="found")),
    )
    request = replace(ask(server), messages=messages, tools=(READ_TOOL,))
    for status, error in (
        (422, {"message": "The model wrote a tool call that does not fit", "code": "invalid"}),
        (400, {"message": "tiny does not support tools"}),
    ):
        server.requests.clear()
        refusal = json_reply({"error": error}, status=status)
        client = make_client()
        server.on(CHAT, refusal)
        failure = await failure_of(client, request)
        assert failure.message == f"The server says: {error['message']}"
        server.on(CHAT, refusal, chat_reply())
        (note,) = notes(await answered(client, request))
        assert note == f"The server says: {error['message']}. Sending the same request again."
        first, *others = [seen.json for seen in server.seen(CHAT)]
        assert ("tools" in first, others) == (True, [first] * 3)


async def test_the_step_after_an_unknown_refusal_follows_what_the_request_has(server, client):
    server.on(CHAT, json_reply({"message": "Worker pool is draining"}, status=400))
    plain_request = ask(server)
    for request, step in (
        (plain_request, "Check the server's log, then try again."),
        (ask(server, temperature=0.5), "Check the server's log, then try again."),
        (replace(plain_request, tools=(READ_TOOL,)), "Try it without tools: "),
        (with_image(plain_request), "Check the images: "),
    ):
        error = await failure_of(client, request)
        assert error.next_step.startswith(step)


@pytest.mark.rule("R-32")
async def test_a_server_that_loads_is_asked_again_when_it_says(server, client, monkeypatch):
    slept = []
    sleep = asyncio.sleep

    async def note_sleep(seconds, result=None):
        if seconds in (3.25, 7, 60):
            slept.append(seconds)
            seconds = 0
        return await sleep(seconds, result)

    monkeypatch.setattr(exchange.asyncio, "sleep", note_sleep)
    monkeypatch.setattr(exchange, "LOADING_PAUSE_S", 3.25)
    loads = [
        error_reply(503, "Loading model", headers={"Retry-After": after})
        for after in ("0", "7", "600")
    ]
    server.on(CHAT, *loads, chat_reply())
    events = await answered(client, ask(server))
    assert slept == [3.25, 7, 60]
    told = [event.wait_s for event in events if isinstance(event, ModelLoading) and event.wait_s]
    assert told == [7, 60], "the user is told of a wait that the server asks for"


@pytest.mark.rule("R-32")
async def test_words_about_loading_alone_are_tried_three_times_and_told(server, make_client):
    for words, product in (
        ("The engine is starting: weights file not found", "OpenAI-compatible"),
        ("Loading model", "LM Studio"),
        ("model is being loaded, try again later", "TabbyAPI"),
        ("The server is still warming up", "llama.cpp"),
        ("Loading model", "llama.cpp"),
        ("Loading model", "llama-cpp-python"),
    ):
        server.requests.clear()
        others = router_rows(alder="loaded", birch="loading")
        server.on("GET /v1/models", others if product == "llama.cpp" else model_list("alder"))
        server.on("GET /health", json_reply({"status": "ok"}))
        server.on(CHAT, error_reply(503, words))
        events, error = await events_of(make_client(), ask(server, product=product, model="alder"))
        told = [event.attempt for event in events if isinstance(event, RetryScheduled)]
        assert (told, len(server.seen(CHAT))) == ([2, 3], 3), words
        assert error.kind in ("loading", "busy"), words
        assert error.message.endswith(f" says: {words}")
        assert not any(isinstance(event, ModelLoading) for event in events)
    assert not server.seen("GET /v1/models"), "that would end an answer of llama-cpp-python"


@pytest.mark.rule("R-32")
async def test_a_model_is_waited_for_while_list_or_health_says_that_it_loads(
    server, make_client, monkeypatch
):
    monkeypatch.setattr(exchange, "LOADING_PAUSE_S", 0.01)
    loads = error_reply(503, "Loading model")
    for product, path, reply in (
        ("llama.cpp", "GET /health", loads),
        ("llama.cpp", "GET /v1/models", router_rows(alder="loading")),
        ("OpenAI-compatible", "GET /v1/models", loads),
    ):
        server.forget()
        server.on(path, reply)
        server.on(CHAT, replay("loading-chat"), *[loads] * 6, chat_reply())
        client = make_client()
        events = await answered(client, ask(server, product=product, model="alder"))
        assert (len(server.seen(CHAT)), client.counters.metrics.retries) == (8, 0)
        assert ModelLoading() in events
        assert not any(isinstance(event, RetryScheduled) for event in events)
        server.requests.clear()


@pytest.mark.rule("R-32")
async def test_a_model_that_never_ends_to_load_is_an_error_in_the_words_of_the_server(
    server, make_client, monkeypatch
):
    monkeypatch.setattr(exchange, "LOADING_PAUSE_S", 0.01)
    monkeypatch.setattr(exchange, "LOADING_S", 0.2)
    server.on("GET /health", error_reply(503, "Loading model"))
    server.on(CHAT, error_reply(503, "Loading model, 3 % for an hour"))
    error = await failure_of(make_client(), ask(server, product="llama.cpp"))
    assert (error.kind, error.message) == (
        "loading",
        "llama.cpp says: Loading model, 3 % for an hour",
    )
    assert 1 < len(server.seen(CHAT)) < 22


async def test_a_stream_that_has_begun_is_not_loading(server, make_client):
    for code in (503, None):
        server.requests.clear()
        server.on(CHAT, sse({"error": {"message": "Loading model", "code": code}}))
        error = await failure_of(make_client(), ask(server, product="llama.cpp"))
        assert error.kind in ("busy", "server_error")
        assert len(server.seen(CHAT)) == 1


async def test_a_server_that_answers_one_at_a_time_is_asked_again_later_than_a_gateway(
    server, make_client
):
    """KoboldCpp refuses a second request in these words."""
    busy = json_reply({"detail": {"msg": "Server is busy; please try again later."}}, status=503)
    server.on(CHAT, busy)
    events, error = await events_of(make_client(), ask(server))
    waits = [event.wait_s for event in events if isinstance(event, RetryScheduled)]
    assert (error.kind, len(waits)) == ("busy", 2)
    usual_s = 0.01 + 0.02
    assert sum(waits) > usual_s * (1 + exchange.JITTER), "usually, three attempts take 3 s"


async def test_a_server_without_a_model_in_memory_is_not_asked_again_and_the_step_is_its_own(
    server, client
):
    words = "No models are currently loaded."
    server.on(CHAT, json_reply({"detail": words}, status=503))
    error = await failure_of(client, ask(server, product="LiteLLM", model="alder"))
    assert (error.kind, len(server.seen(CHAT))) == ("model_not_loaded", 1)
    assert error.next_step.startswith("Load it on the server behind LiteLLM.")
    # recorded with TabbyAPI e632af4: it breaks if the request names a model
    server.on("GET /v1/models", model_list("alder", owned_by="tabbyAPI"))
    server.on("GET /v1/model", json_reply({"detail": words}, status=503))
    await client.models.check(endpoint_of(server))
    server.on(CHAT, text_reply("Internal Server Error", status=500))
    for model, step in (("alder", "Load it in TabbyAPI"), ("oak", "Check the server's log")):
        error = await failure_of(client, ask(server, product="TabbyAPI", model=model))
        assert error.message == "TabbyAPI says: Internal Server Error"
        assert error.next_step.startswith(step)
    for words in ("The model is loaded, but busy", "The model loaded its weights: queue is full"):
        server.on(CHAT, json_reply({"detail": words}, status=503))
        _, error = await events_of(client, ask(server, model="alder"))
        assert error.kind == "busy", words


async def test_what_the_list_of_a_server_shows_is_said_where_its_refusal_names_no_cause(
    server, make_client
):
    missing = json_reply(
        {"detail": "The model `x` does not exist. Available model: `y`"}, status=404
    )
    broken = text_reply("Internal Server Error", status=500)
    locked = text_reply("Internal Server Error", status=500)
    for product, models, reply, kind, step in (
        ("vllm-mlx", model_list("y"), missing, "model_missing", "Choose another model"),
        ("vllm-mlx", model_list("x"), missing, "server_error", "Check the server's log"),
        ("vllm-mlx", error_reply(500, "no"), missing, "server_error", "Check the server's log"),
        ("LiteLLM", locked, broken, "auth", "Use a virtual key"),
        ("LiteLLM", model_list("y"), broken, "server_error", "Check the server's log"),
        ("TabbyAPI", model_list(), broken, "server_error", "No model is loaded. Load it in Tabby"),
    ):
        server.on("GET /v1/models", models).on(CHAT, reply)
        client = make_client()
        await client.models.check(endpoint_of(server))
        error = await failure_of(client, ask(server, product=product, model="x"))
        assert (error.kind, error.next_step.startswith(step)) == (kind, True), (
            product,
            error.next_step,
        )


async def test_https_is_no_guess_where_the_server_has_answered_over_http(server, make_client):
    server.on("GET /v1/models", model_list("tiny")).on(CHAT, raw_reply(Cut(is_reset=True)))
    for is_known in (False, True):
        client = make_client()
        if is_known:
            await client.models.check(endpoint_of(server))
        error = await failure_of(client, ask(server))
        assert (error.kind, "https" in error.next_step) == ("dropped", not is_known)
