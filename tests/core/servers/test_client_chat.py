from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import httpx
import pytest

from lmchat.base.errors import ServerUnavailable
from lmchat.core.config.settings import LimitSettings, Settings, TimeoutSettings
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.servers.endpoint import loopback
from lmchat.core.servers.events import (
    RequestSent,
    RetryScheduled,
    StreamFinished,
    StreamStalled,
    TextDelta,
)
from lmchat.core.servers.model import ModelInfo
from lmchat.core.servers.request import CHAT_PATH, ForwardedRequest
from lmchat.core.servers.sending import exchange
from lmchat.core.servers.stream import end as answer_end
from lmchat.core.sessions.message import AnswerState
from tests.support.client_calls import (
    answered,
    ask,
    endpoint_of,
    events_of,
    failure_of,
    streamed,
    text_of,
)
from tests.support.scripted_products import CHAT, chat_reply, plain
from tests.support.scripted_server import (
    DONE,
    Cut,
    Gate,
    Hold,
    ScriptedServer,
    error_reply,
    finish,
    json_reply,
    raw_reply,
    sse,
    text_reply,
    usage,
)

BUSY = {"error": {"message": "server busy, please try again", "type": "overloaded"}}


def retries(events) -> list[RetryScheduled]:
    return [one for one in events if isinstance(one, RetryScheduled)]


async def wait_for_requests(server: ScriptedServer, route: str = CHAT, count: int = 1):
    return await asyncio.to_thread(server.wait_for, route, count=count)


@pytest.mark.parametrize("content_type", ["text/event-stream", "text/plain"])
async def test_a_token_is_handed_on_before_the_next_one_is_sent(server, client, content_type):
    gate = Gate()
    server.on(CHAT, sse("one", gate, "two", finish(), DONE, content_type=content_type))
    async with aclosing(client.stream(ask(server))) as stream:
        async for event in stream:
            if event == TextDelta(text="one"):
                gate.open()
    assert event == StreamFinished(reason="stop")


@pytest.mark.rule("R-7", "R-31", "R-34")
async def test_a_request_says_what_was_set_and_nothing_else(server, make_client):
    plain(server)
    request = ask(server, "Hi \ud83d", temperature=0.5, stop=("END",))
    await events_of(make_client(key="secret-key"), request)
    sent = server.seen(CHAT)[0]
    assert sent.json == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi \ufffd"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "stop": ["END"],
    }
    assert sent.headers["authorization"] == "Bearer secret-key"
    assert sent.headers["accept-encoding"] == "identity"
    assert sent.headers["accept"] == "text/event-stream, application/json"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["host"] == f"localhost:{server.port}"
    assert "x-conversation-id" not in sent.headers
    await events_of(make_client(), request)
    assert "authorization" not in server.seen(CHAT)[1].headers


@pytest.mark.rule("R-11", "R-12", "R-14")
async def test_fields_of_a_product_go_to_that_product_only(server, client):
    plain(server)
    common = {"model", "messages", "stream", "stream_options"}
    progress = {"return_progress", "timings_per_token", "reasoning_control"}
    near = ("LM Studio", "Jan", "Ollama", "vLLM", "SGLang", "LiteLLM")
    for more, products in (
        (progress | {"seed"}, ("llama.cpp", "built-in")),
        ({"seed"}, near),
        (set(), ("OpenAI-compatible",)),
    ):
        for product in products:
            await events_of(client, ask(server, product=product, seed=7))
            sent = server.seen(CHAT)[-1].json
            assert (sent["stream"], sent.keys()) == (True, common | more), product


async def test_a_refused_field_is_left_out_whatever_signs_its_name_has(server, make_client):
    for name, refusal in (
        ("a(.b", error_reply(400, "Unsupported parameter: 'a(.b'")),
        # of a server in Python that passes all fields to a function
        ("stream_options", error_reply(500, "unexpected keyword argument 'stream_options'")),
    ):
        server.on(CHAT, refusal, chat_reply())
        await answered(make_client(), ask(server, more={"extra.a(.b": 1}))
        refused, accepted = server.seen(CHAT)[-2:]
        assert (name in refused.json, name in accepted.json) == (True, False)


async def test_a_failure_that_may_pass_is_tried_again(server, make_client):
    gateway = sse({"error": {"message": "overloaded", "code": "529"}}, DONE)
    for failure in (json_reply(BUSY, status=503), json_reply(BUSY, status=429), gateway):
        client = make_client()
        server.on(CHAT, failure, chat_reply())
        events, error = await events_of(client, ask(server, product="LiteLLM"))
        assert (error, text_of(events)) == (None, "Hello there.")
        assert [(one.attempt, one.attempts) for one in retries(events)] == [(2, 3)]
        assert streamed(events).stats.retries == 1
        assert (client.counters.metrics.retries, client.counters.metrics.total_requests) == (1, 1)
    server.on(CHAT, gateway, chat_reply())
    assert (await failure_of(make_client(), ask(server))).kind == "busy", "no gateway is before it"


@pytest.mark.rule("R-32")
async def test_the_wait_that_a_server_asks_for_is_obeyed_up_to_a_minute(server, make_client):
    client = make_client(limits=LimitSettings(retry_base_s=30))
    server.on(CHAT, json_reply(BUSY, status=429, headers={"Retry-After": "0.02"}), chat_reply())
    events = await answered(client, ask(server))
    assert retries(events)[0].wait_s == 0.02
    server.on(CHAT, json_reply(BUSY, status=429, headers={"Retry-After": "61"}), chat_reply())
    events, error = await events_of(client, ask(server))
    assert (error.kind, error.retry_after_s, retries(events)) == ("rate_limited", 61.0, [])


@pytest.mark.rule("R-27")
async def test_nothing_is_tried_again_after_the_first_token(server, client):
    refusal = b'data: {"error": {"message": "busy", "code": 503}}\n\n'
    for number, end in enumerate((Cut(is_reset=True), refusal)):
        server.on(CHAT, sse("Hel", end), chat_reply())
        events, error = await events_of(client, ask(server, product="LiteLLM"))
        assert error is not None
        assert (text_of(events), len(server.seen(CHAT))) == ("Hel", number + 1)
        assert retries(events) == []


@pytest.mark.rule("R-28")
async def test_closing_the_stream_closes_the_connection(server, client):
    for number, reply in enumerate((raw_reply(Hold()), sse("some", " text", Hold()))):
        server.on(CHAT, reply)
        stream = client.stream(ask(server))
        assert isinstance(await anext(stream), RequestSent)
        request = await wait_for_requests(server, count=number + 1)
        while number and not isinstance(await anext(stream), TextDelta):
            pass
        await stream.aclose()
        assert await asyncio.to_thread(request.client_left.wait, 5)
        assert client.counters.metrics.stopped_requests == number + 1


async def test_a_reader_that_pauses_for_long_is_not_taken_for_a_silent_server(server, make_client):
    client = make_client(timeouts=TimeoutSettings(stalled_after_s=0.2, give_up_after_s=0.4))
    server.on(CHAT, sse(*(f"{number} " for number in range(1000)), finish(), DONE))
    events = []
    async with aclosing(client.stream(ask(server))) as stream:
        async for event in stream:
            if isinstance(event, TextDelta) and not text_of(events):
                await asyncio.sleep(1)
            events.append(event)
    assert text_of(events) == "".join(f"{number} " for number in range(1000))
    assert not [event for event in events if isinstance(event, StreamStalled)]


async def forwarded(server, client, *, pause_s: float = 0.0):
    """Return the body of a reply that is passed on, and state and stats of the request."""
    model = ModelInfo(model_id="tiny", endpoint=endpoint_of(server), product="OpenAI-compatible")
    request = ForwardedRequest(model=model, path=CHAT_PATH, body=b"{}")
    body = b""
    ends = []
    async with client.forward(request, lambda *end: ends.append(end)) as reply:
        async for chunk in reply.chunks:
            if not body:
                await asyncio.sleep(pause_s)
            body += chunk
    return body, *ends[0]


async def test_a_program_that_pauses_for_long_is_not_taken_for_a_silent_server(server, make_client):
    client = make_client(timeouts=TimeoutSettings(give_up_after_s=0.2))
    server.on(CHAT, chat_reply())
    body, *_ = await forwarded(server, client, pause_s=1)
    assert body.endswith(b"data: [DONE]\n\n")
    assert client.counters.metrics.successful_requests == 1


async def test_a_reply_is_read_to_its_end_or_a_limit_before_a_program_takes_it():
    model = ModelInfo(model_id="tiny", endpoint=loopback(1), product="OpenAI-compatible")
    request = ForwardedRequest(model=model, path="/embeddings", body=b"{}")
    for part, count in ((b"x", 3), (bytes(64 * 1024 * 1024), 1)):
        read = []

        async def parts(part=part, read=read):
            for number in range(3):
                read.append(number)
                yield part

        reply_of = httpx.MockTransport(lambda _, parts=parts: httpx.Response(200, content=parts()))
        client = HttpServerClient(Settings(), transport=reply_of)
        async with client.forward(request, lambda *_: None) as reply:
            for _ in range(99):
                await asyncio.sleep(0)
            assert len(read) == count
            assert sum([len(chunk) async for chunk in reply.chunks]) == 3 * len(part)


async def test_a_passing_reply_has_the_end_the_reason_and_the_counts_of_its_first_choice(
    server, make_client
):
    failed = {"error": {"message": "boom"}}
    other = {"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}
    whole = {"choices": [other, {"index": 0, "message": {}, "finish_reason": "stop"}]}
    last = b"data: " + json.dumps(usage(23, 4)).encode()  # without its blank line
    complete = AnswerState.COMPLETE
    interrupted = AnswerState.INTERRUPTED
    none = (None, None)
    for reply, state, reason, counts in (
        (sse("Hi", finish(), usage(23, 4), DONE, every=7), complete, "stop", (23, 4)),
        (sse("Hi", finish(), last), complete, "stop", (23, 4)),
        (sse("Hi", finish(), usage(23, 0), DONE), complete, "stop", (23, None)),
        (sse("Hi", finish(), usage(0, 0), DONE), complete, "stop", none),
        (sse("Hi", finish(), {"choices": [other]}, DONE), complete, "stop", none),
        (json_reply(whole), complete, "stop", none),
        (sse("Hi", {**finish(), **failed}, DONE), complete, "stop", none),
        (sse("Hi", failed, finish(), DONE), interrupted, "stop", none),
        (sse("Hi", b"event: error\ndata: boom\n\n"), interrupted, "", none),
        (json_reply(failed), interrupted, "", none),
    ):
        server.on(CHAT, reply)
        _, found, stats = await forwarded(server, make_client())
        assert (found, stats.finish_reason) == (state, reason), reply
        assert (stats.prompt_tokens, stats.completion_tokens) == counts, reply


async def test_a_passing_stream_ends_soon_behind_its_finish_reason(
    server, make_client, monkeypatch
):
    monkeypatch.setattr(answer_end, "END_WAIT_S", 0.1)
    for last in ((finish(), Hold()), (DONE, Hold()), (finish(), Cut(is_reset=True))):
        server.on(CHAT, sse("Hi", *last))
        client = make_client(timeouts=TimeoutSettings(give_up_after_s=5))
        body, state, _ = await forwarded(server, client)
        assert body.startswith(b"data: ")
        assert state is AnswerState.COMPLETE


async def test_what_may_begin_a_key_is_passed_on_also_if_the_reply_breaks_off(server, make_client):
    server.on(CHAT, sse("Hi", b"data: secret-", Cut()))
    model = ModelInfo(model_id="tiny", endpoint=endpoint_of(server), product="OpenAI-compatible")
    request = ForwardedRequest(model=model, path=CHAT_PATH, body=b"{}")
    body = bytearray()
    ends = []

    async def read() -> None:
        client = make_client(key="secret-key")
        async with client.forward(request, lambda *end: ends.append(end)) as reply:
            async for chunk in reply.chunks:
                body.extend(chunk)

    with pytest.raises(ServerUnavailable):
        await read()
    assert body.endswith(b"data: secret-")
    server.on(CHAT, error_reply(400, "No."))
    ends.append((await forwarded(server, make_client()))[1:])
    assert [(state, stats.ttft_ms is None) for state, stats in ends] == [
        (AnswerState.INTERRUPTED, False),
        (AnswerState.FAILED, True),
    ]


LOADS = error_reply(503, "Loading model", type="unavailable_error")


async def test_no_token_within_the_set_time_is_a_request_timeout(server, make_client, monkeypatch):
    monkeypatch.setattr(exchange, "LOADING_PAUSE_S", 0.01)
    client = make_client(timeouts=TimeoutSettings(first_token_s=0.3))
    server.on("GET /health", LOADS)
    for reply in (LOADS, raw_reply(Hold())):
        server.on(CHAT, reply)
        events, error = await events_of(client, ask(server, product="llama.cpp"))
        assert error.kind == "timeout"
        assert error.message == "Request timeout: no token arrived within 0.3 s."
        assert retries(events) == [], "the server may be loading: the work is not doubled"
    # a busy server may read the last request only after the time is over
    request = await wait_for_requests(server, count=len(server.seen(CHAT)))
    assert await asyncio.to_thread(request.client_left.wait, 5)


async def test_a_silent_stream_is_called_stalled_and_then_interrupted(server, make_client):
    client = make_client(timeouts=TimeoutSettings(stalled_after_s=0.05, give_up_after_s=0.2))
    server.on(CHAT, sse("text", Hold()))
    events, error = await events_of(client, ask(server))
    stalled = [one for one in events if isinstance(one, StreamStalled)]
    assert stalled[0].silent_s >= 0.05
    assert (text_of(events), error.kind) == ("text", "interrupted")
    assert await asyncio.to_thread(server.seen(CHAT)[0].client_left.wait, 5)


@pytest.mark.rule("R-9")
async def test_no_redirect_is_followed(server, make_client):
    client = make_client(key="secret-key")
    for location in ("http://evil.example/v1", "//127.0.0.1:1/", ""):
        server.requests.clear()
        server.on(CHAT, text_reply("", status=307, headers={"Location": location}))
        error = await failure_of(client, ask(server))
        assert (error.kind, len(server.requests)) == ("wrong_path", 1), location
        where = location or "another address"
        assert error.message == f"The server redirects to {where}."


@pytest.mark.rule("R-24")
async def test_words_of_a_server_reach_the_error_without_escapes(server, client):
    evil = "\x1b]52;c;aGk=\x07\x1b[2Jno\u202e " + "x" * 1000
    server.on(CHAT, error_reply(500, evil))
    error = await failure_of(client, ask(server))
    shown = f"{error.message}{error.next_step}{error.details}"
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert len(error.message) < 400
