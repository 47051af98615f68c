from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.config.settings import EndpointSettings, LimitSettings, TimeoutSettings
from lmchat.domain.event import (
    RequestAdapted,
    RequestSent,
    RetryScheduled,
    StreamFinished,
    StreamStalled,
    TextDelta,
)
from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint, Verdict
from tests.support.proxy_calls import ask, endpoint_of, events_of, replay, text_of
from tests.support.scripted_products import CHAT, chat_reply, plain
from tests.support.scripted_server import (
    DONE,
    Cut,
    Gate,
    Hold,
    Pause,
    ScriptedServer,
    delta,
    error_reply,
    finish,
    free_port,
    json_reply,
    raw_reply,
    sse,
    text_reply,
    usage,
)

BUSY = {"error": {"message": "server busy, please try again", "type": "overloaded"}}
REMOTE = Endpoint.parse("http://models.example:8000")


def retries(events) -> list[RetryScheduled]:
    return [one for one in events if isinstance(one, RetryScheduled)]


async def wait_for_requests(server: ScriptedServer, route: str = CHAT, count: int = 1):
    return await asyncio.to_thread(server.wait_for, route, count=count)


async def test_a_token_is_handed_on_before_the_next_one_is_sent(server, client):
    gate = Gate()
    server.on(CHAT, sse("one", gate, "two", finish(), DONE))
    async with aclosing(client.stream(ask(server))) as stream:
        async for event in stream:
            if event == TextDelta(text="one"):
                gate.open()
    assert event == StreamFinished(reason="stop")


@pytest.mark.rule("R-7", "R-12", "R-31", "R-34")
async def test_a_request_says_what_was_set_and_nothing_else(server, make_client):
    plain(server)
    client = make_client(key="secret-key")
    await events_of(client, ask(server, "Hi \ud83d", temperature=0.5, stop=("END",)))
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
    assert sent.headers["host"] == f"127.0.0.1:{server.port}"
    assert "x-conversation-id" not in sent.headers


@pytest.mark.rule("R-10")
async def test_without_a_key_there_is_no_authorization_header(server, client):
    plain(server)
    await events_of(client, ask(server))
    assert "authorization" not in server.seen(CHAT)[0].headers


@pytest.mark.rule("R-11", "R-12", "R-14", "R-42")
@pytest.mark.parametrize(
    ("product", "has_progress", "has_seed"),
    [
        (Product.LLAMA_CPP, True, True),
        (Product.BUILT_IN, True, True),
        (Product.LM_STUDIO, False, True),
        (Product.JAN, False, True),
        (Product.OLLAMA, False, True),
        (Product.VLLM, False, True),
        (Product.SGLANG, False, True),
        (Product.LITELLM, False, True),
        (Product.OPENAI_COMPATIBLE, False, False),
    ],
)
async def test_fields_of_a_product_go_to_that_product_only(
    server, client, product, has_progress, has_seed
):
    plain(server)
    await events_of(client, ask(server, product=product, seed=7))
    (seen_one,) = server.seen()
    body = seen_one.json
    assert (f"{seen_one.method} {seen_one.path}", body["stream"]) == (CHAT, True)
    assert body["stream_options"] == {"include_usage": True}
    assert "x-conversation-id" not in seen_one.headers
    progress = set()
    if has_progress:
        progress = {"return_progress", "timings_per_token", "reasoning_control"}
    seed = {"seed"} if has_seed else set()
    assert body.keys() == {"model", "messages", "stream", "stream_options"} | progress | seed


@pytest.mark.rule("R-13")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "Unsupported parameter: 'max_tokens'", "code": 400}}),
        (
            422,
            {
                "object": "error",
                "message": {"detail": [{"loc": ["body", "max_tokens"], "msg": "Extra"}]},
            },
        ),
    ],
)
async def test_a_refused_max_tokens_is_sent_once_more_under_its_other_name_and_remembered(
    server, client, status, body
):
    server.on(CHAT, json_reply(body, status=status), chat_reply())
    _, error = await events_of(client, ask(server, max_tokens=9))
    await events_of(client, ask(server, max_tokens=9))
    bodies = [one.json for one in server.seen(CHAT)]
    assert error is None
    assert [("max_tokens" in one, one.get("max_completion_tokens")) for one in bodies] == [
        (True, None),
        (False, 9),
        (False, 9),
    ]


@pytest.mark.rule("R-13")
async def test_refused_stream_options_are_left_out(server, client):
    refused = json_reply(
        {"detail": [{"loc": ["body", "stream_options"], "msg": "extra"}]}, status=422
    )
    server.on(CHAT, refused, chat_reply())
    _, error = await events_of(client, ask(server))
    assert error is None
    assert "stream_options" not in server.seen(CHAT)[1].json


def drawn(server, seed: int):
    request = ask(server, product=Product.LLAMA_CPP, seed=seed)
    return replace(request, has_drawn_seed=True)


@pytest.mark.rule("R-13")
async def test_a_drawn_seed_that_is_refused_is_left_out_without_a_word_and_not_sent_again(
    server, client
):
    refused = error_reply(400, "Unsupported parameter: 'seed'")
    server.on(CHAT, refused, chat_reply())
    events, error = await events_of(client, drawn(server, 5))
    assert error is None
    assert not [event for event in events if isinstance(event, RequestAdapted)]
    await events_of(client, drawn(server, 6))
    await events_of(client, ask(server, product=Product.LLAMA_CPP, seed=7))
    assert [one.json.get("seed") for one in server.seen(CHAT)] == [5, None, None, 7]


async def test_another_attempt_has_the_same_seed(server, client):
    server.on(CHAT, error_reply(503, "busy"), chat_reply())
    _, error = await events_of(client, drawn(server, 5))
    assert error is None
    assert [one.json["seed"] for one in server.seen(CHAT)] == [5, 5]


@pytest.mark.rule("R-13")
@pytest.mark.parametrize("words", ["Unsupported parameter: 'max_tokens'", "Unsupported: {0} = {1}"])
async def test_a_refusal_that_stays_is_sent_twice_at_most(server, client, words):
    """Also where the server refuses both names."""

    def refuse(seen):
        name = next(one for one in ("max_tokens", "max_completion_tokens") if one in seen.json)
        return error_reply(400, words.format(name, 9))

    server.on(CHAT, refuse)
    _, error = await events_of(client, ask(server, max_tokens=9))
    assert (error.kind, len(server.seen(CHAT))) == ("bad_request", 2)


@pytest.mark.rule("R-13")
@pytest.mark.parametrize(
    ("message", "limit"),
    [
        (
            "'max_tokens' is too large: 9000. This model's maximum context length is 4096 tokens",
            9000,
        ),
        ("max_tokens must be at least 1", 9),
        ("Unsupported parameter: 'max_tokens'", None),
        ("Extra inputs are not permitted: temperature", 9),
    ],
)
async def test_what_no_other_name_would_change_is_sent_once(server, client, message, limit):
    server.on(CHAT, json_reply({"error": {"message": message}}, status=400))
    _, error = await events_of(client, ask(server, max_tokens=limit))
    assert (error.status, len(server.seen(CHAT))) == (400, 1)


@pytest.mark.rule("R-13")
async def test_what_was_learnt_is_unlearnt_where_the_server_changes(server, client):
    def only(name):
        def play(seen):
            refused = error_reply(400, f"Unsupported; use {name} instead", param=other)
            return chat_reply() if name in seen.json else refused

        other = {"max_tokens": "max_completion_tokens"}.get(name, "max_tokens")
        return play

    for name in ("max_completion_tokens", "max_tokens"):
        server.on(CHAT, only(name))
        for _ in range(2):
            assert (await events_of(client, ask(server, max_tokens=9)))[1] is None
    assert len(server.seen(CHAT)) == 3 + 3


@pytest.mark.parametrize("status", [429, 502, 503, 504, 408])
async def test_a_failure_that_may_pass_is_tried_again(server, client, status):
    server.on(CHAT, json_reply(BUSY, status=status), chat_reply())
    events, error = await events_of(client, ask(server))
    assert (error, text_of(events)) == (None, "Hello there.")
    assert [(one.attempt, one.attempts) for one in retries(events)] == [(2, 3)]
    assert (client.metrics().retries, client.metrics().total_requests) == (1, 1)


async def test_tries_end_with_the_last_error(server, client):
    server.on(CHAT, json_reply(BUSY, status=503))
    events, error = await events_of(client, ask(server))
    assert (error.kind, len(server.seen(CHAT)), len(retries(events))) == ("busy", 3, 2)
    assert client.metrics().failed_requests == 1


@pytest.mark.parametrize(
    "code",
    [
        "insufficient_quota",
        "billing_hard_limit_reached",
        "credit_balance_exhausted",
        "credits_exhausted",
    ],
)
async def test_a_used_up_account_is_never_tried_again(server, client, code):
    server.on(CHAT, error_reply(429, "no money", code=code))
    events, error = await events_of(client, ask(server))
    assert (error.kind, retries(events)) == ("billing", [])


async def test_the_wait_that_a_server_asks_for_is_obeyed(server, make_client):
    client = make_client(limits=LimitSettings(retry_base_s=30))
    server.on(CHAT, json_reply(BUSY, status=429, headers={"Retry-After": "0.02"}), chat_reply())
    events, error = await events_of(client, ask(server))
    assert error is None
    assert retries(events)[0].wait_s == 0.02


@pytest.mark.rule("R-32")
async def test_a_wait_of_more_than_a_minute_is_told_and_not_waited_for(server, client):
    server.on(CHAT, json_reply(BUSY, status=429, headers={"Retry-After": "61"}), chat_reply())
    events, error = await events_of(client, ask(server))
    assert (error.kind, error.retry_after_s, retries(events)) == ("rate_limited", 61.0, [])


async def test_a_wait_before_the_next_try_can_be_stopped(server, make_client):
    client = make_client(limits=LimitSettings(retry_base_s=3600, retry_max_s=3600))
    server.on(CHAT, json_reply(BUSY, status=503))
    async with aclosing(client.stream(ask(server))) as stream:
        async for event in stream:
            if isinstance(event, RetryScheduled):
                break
    assert (client.metrics().stopped_requests, len(server.seen(CHAT))) == (1, 1)


@pytest.mark.rule("R-27")
@pytest.mark.parametrize(
    "end", [Cut(is_reset=True), b'data: {"error": {"message": "busy", "code": 503}}\n\n']
)
async def test_nothing_is_tried_again_after_the_first_token(server, client, end):
    server.on(CHAT, sse("Hel", end), chat_reply())
    events, error = await events_of(client, ask(server, product=Product.LITELLM))
    assert error is not None
    assert (text_of(events), len(server.seen(CHAT)), retries(events)) == ("Hel", 1, [])


async def test_a_gateway_that_passes_on_a_busy_server_before_any_token_is_tried_again(
    server, client
):
    server.on(CHAT, sse({"error": {"message": "overloaded", "code": "529"}}, DONE), chat_reply())
    events, error = await events_of(client, ask(server, product=Product.LITELLM))
    assert (error, text_of(events), len(retries(events))) == (None, "Hello there.", 1)


async def test_where_nothing_listens_it_is_tried_once_more_and_told_with_the_step_that_helps(
    client,
):
    with free_port() as port:
        request = ask(Endpoint.parse(f"127.0.0.1:{port}"), product=Product.OLLAMA)
        events, error = await events_of(client, request)
    assert (error.kind, error.message) == ("offline", f"Nothing answers at 127.0.0.1:{port}.")
    assert "ollama serve" in error.hint
    assert [(one.attempt, one.attempts, one.wait_s) for one in retries(events)] == [(2, 2, 0.3)]


async def test_a_stale_connection_is_replaced_without_a_word(server, client):
    server.on(CHAT, chat_reply("one"), raw_reply(Cut()), chat_reply("two"))
    await events_of(client, ask(server))
    events, error = await events_of(client, ask(server))
    assert (error, text_of(events), retries(events)) == (None, "two", [])
    assert [one.connection for one in server.seen(CHAT)] == [1, 1, 2]


async def test_a_fresh_connection_that_drops_is_not_tried_again(server, client):
    server.on(CHAT, raw_reply(Cut()), chat_reply("two"))
    _, error = await events_of(client, ask(server))
    assert (error.kind, len(server.seen(CHAT))) == ("dropped", 1)


async def test_a_server_that_dies_while_it_loads_is_told(server, client):
    server.on(CHAT, replay("loading-chat"))
    server.on("GET /health", raw_reply(Cut()))
    _, error = await events_of(client, ask(server, product=Product.LLAMA_CPP))
    assert error.kind == "dropped"


@pytest.mark.rule("R-28")
@pytest.mark.parametrize("before", [(), ("some", " text")])
async def test_closing_the_stream_closes_the_connection(server, client, before):
    server.on(CHAT, sse(*before, Hold()) if before else raw_reply(Hold()))
    stream = client.stream(ask(server))
    assert isinstance(await anext(stream), RequestSent)
    request = await wait_for_requests(server)
    if before:
        while not isinstance(await anext(stream), TextDelta):
            pass
    await stream.aclose()
    assert await asyncio.to_thread(request.client_left.wait, 5)
    assert client.metrics().stopped_requests == 1


async def test_a_slow_reader_holds_the_server_back_and_loses_nothing(server, client):
    pieces = [f"{number} " for number in range(3000)]
    server.on(CHAT, sse(*pieces, finish(), DONE))
    got = ""
    async with aclosing(client.stream(ask(server))) as stream:
        async for event in stream:
            await asyncio.sleep(0)
            got += event.text if isinstance(event, TextDelta) else ""
    assert got == "".join(pieces)


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


async def test_no_token_within_the_set_time_is_a_request_timeout(server, make_client):
    client = make_client(timeouts=TimeoutSettings(first_token_s=0.3))
    server.on(CHAT, raw_reply(Hold()))
    events, error = await events_of(client, ask(server))
    assert (error.kind, error.message.startswith("Request timeout")) == ("timeout", True)
    assert retries(events) == [], "the server may be loading: the work is not doubled"
    request = await wait_for_requests(
        server
    )  # a busy server may read it only after the time is over
    assert await asyncio.to_thread(request.client_left.wait, 5)


@pytest.mark.rule("R-18")
@pytest.mark.parametrize(
    "chunk",
    [
        b": ping\n\n",
        delta(None, role="assistant", content=None),
        delta("", role="assistant", reasoning_content="", tool_calls=[]),
        {**delta(""), "prompt_progress": {"total": 9, "cache": 0, "processed": 4}},
        usage(),
    ],
)
async def test_a_chunk_without_a_piece_of_the_answer_is_no_token(server, make_client, chunk):
    client = make_client(timeouts=TimeoutSettings(first_token_s=0.1))
    server.on(CHAT, sse(*[chunk, Pause(0.02)] * 20, finish(), DONE))
    _, error = await events_of(client, ask(server))
    assert error.kind == "timeout"


async def test_a_silent_stream_is_called_stalled_and_then_interrupted(server, make_client):
    client = make_client(timeouts=TimeoutSettings(stalled_after_s=0.05, give_up_after_s=0.2))
    server.on(CHAT, sse("text", Hold()))
    events, error = await events_of(client, ask(server))
    stalled = [one for one in events if isinstance(one, StreamStalled)]
    assert stalled[0].silent_s >= 0.05
    assert (text_of(events), error.kind) == ("text", "interrupted")
    assert await asyncio.to_thread(server.seen(CHAT)[0].client_left.wait, 5)


async def test_a_server_that_says_nothing_before_its_first_byte_is_waited_for(server, make_client):
    client = make_client(timeouts=TimeoutSettings(stalled_after_s=0.3, give_up_after_s=0.3))
    server.on(CHAT, sse("late", finish(), DONE, before=[Pause(0.7)]))
    events, error = await events_of(client, ask(server))
    assert (error, text_of(events)) == (None, "late")
    assert not [one for one in events if isinstance(one, StreamStalled)]


async def test_an_endpoint_may_have_time_outs_of_its_own(server, make_client):
    """They hold for each name of this machine."""
    short = TimeoutSettings(first_token_s=0.05, health_s=0.05)
    url = server.url.replace("127.0.0.1", "localhost")
    client = make_client(endpoints=(EndpointSettings(name="own", url=url, timeouts=short),))
    server.unknown = raw_reply(Hold())
    _, error = await events_of(client, ask(server))
    assert error.kind == "timeout"
    async with asyncio.timeout(TimeoutSettings().health_s):
        found = await client.check(endpoint_of(server))
    assert found.verdict is Verdict.TIMED_OUT


@pytest.mark.rule("R-9")
@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("http://evil.example/v1/chat/completions", "not_allowed"),
        ("http://127.0.0.1:1/v1", "not_allowed"),
        ("//evil.example/", "not_allowed"),
        ("https://127.0.0.1/", "not_allowed"),
        ("/other/v1/chat/completions", "wrong_path"),
        ("", "wrong_path"),
        ("http://[", "not_allowed"),
    ],
)
async def test_no_redirect_is_followed(server, make_client, location, kind):
    client = make_client(key="secret-key")
    server.on(CHAT, text_reply("", status=307, headers={"Location": location}))
    _, error = await events_of(client, ask(server))
    assert error.kind == kind
    assert len(server.requests) == 1
    if kind == "not_allowed":
        assert error.message.startswith("Endpoint not allowed")


@pytest.mark.rule("R-9")
@pytest.mark.parametrize(
    "location",
    ["mailto:me@example.com", "http://[::1", "//\x7f", "http://xn--/", "//xn--n28h.de"],
)
async def test_a_redirect_to_what_is_no_address_is_still_a_redirect(server, client, location):
    server.on(CHAT, text_reply("", status=302, headers={"Location": location}))
    _, error = await events_of(client, ask(server))
    assert (error.kind, len(server.requests)) == ("wrong_path", 1)
    assert error.message == "The server redirects to another address."


@pytest.mark.rule("R-24")
async def test_words_of_a_server_reach_the_error_without_escapes(server, client):
    evil = "\x1b]52;c;aGk=\x07\x1b[2Jno\u202e " + "x" * 1000
    server.on(CHAT, error_reply(500, evil))
    _, error = await events_of(client, ask(server))
    shown = f"{error.message}{error.hint}{error.details}"
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert len(error.message) < 400


@pytest.mark.rule("R-8")
async def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    server, make_client, monkeypatch
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    plain(server)
    events, error = await events_of(make_client(), ask(server))
    assert (error, text_of(events)) == (None, "Hello there.")
