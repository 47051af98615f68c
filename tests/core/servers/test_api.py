from __future__ import annotations

import re
from contextlib import aclosing

import pytest

import lmchat.api
from lmchat.api import (
    ChatMessage,
    Client,
    EndpointNotAllowed,
    LMChatError,
    Metrics,
    NoServerFound,
    Options,
    Repetition,
    RequestInvalid,
    ServerUnavailable,
    StreamInterrupted,
    WrongUse,
)
from lmchat.core.config.settings import Settings
from lmchat.core.config.state import State
from lmchat.core.servers.discovery.finder import ServerFinder
from lmchat.core.servers.request import Sampling
from tests.support.client_calls import PortMap
from tests.support.programs import PYTHON, ROOT, run
from tests.support.scripted_products import (
    CHAT,
    llama_cpp,
    plain,
    router,
)
from tests.support.scripted_server import (
    DONE,
    Cut,
    ScriptedServer,
    delta,
    finish,
    sse,
    usage,
)


@pytest.fixture
async def client(server):
    plain(server, "tiny")
    async with Client(server.url) as one:
        yield one


@pytest.fixture
async def found(make_client):
    """A client that was told no address, and the servers that it may find."""
    ports = PortMap({})
    async with Client() as one:
        await one._backend.aclose()
        one._backend = make_client(transport=ports)
        one._finder = ServerFinder(one._backend.models, Settings(), State)
        yield one, ports


async def test_a_closed_client_says_so_and_asks_nothing(server):
    plain(server, "tiny")
    client = Client(server.url)
    await client.aclose()
    await client.aclose()
    for call in (lambda: client.chat("Hi"), client.models, client.health, client.detect):
        with pytest.raises(LMChatError, match="This client is closed"):
            await call()
    assert server.requests == []


async def test_a_chat_returns_the_whole_answer_with_its_stats(server, client):
    call = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": "{}"}}
    said = [
        *(delta(reasoning_content="Hm. "), delta("Hel"), delta("lo")),
        *(delta(tool_calls=[call]), finish("tool_calls"), usage(7, 3)),
    ]
    server.on(CHAT, sse(*said, DONE))
    answer = await client.chat("Hi")
    assert (answer.text, answer.reasoning, answer.model) == ("Hello", "Hm. ", "tiny")
    assert (answer.endpoint, answer.finish_reason) == (server.url, "tool_calls")
    assert [(one.name, one.arguments) for one in answer.tool_calls] == [("look", "{}")]
    assert (answer.stats.prompt_tokens, answer.stats.completion_tokens) == (7, 3)
    assert answer.stats.ttft_ms is not None
    assert answer.stats.product == (await client.health()).product
    assert (answer.message.role, answer.message.text) == ("assistant", "Hello")


async def test_messages_may_be_pairs_mappings_or_messages(server, client):
    first = await client.chat("Hi")
    await client.chat(
        [
            ("system", "Be brief."),
            {"role": "user", "content": "Hi"},
            first.message,
            ("user", "And?"),
        ]
    )
    sent = server.seen(CHAT)[-1].json["messages"]
    assert [(one["role"], one["content"]) for one in sent] == [
        *(("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello there."), ("user", "And?"))
    ]
    assert isinstance(first.message, ChatMessage)


async def test_what_is_no_chat_is_refused_unsent(server, client):
    for messages, words in (
        ([], "at least one message"),
        ("", "has no text"),
        (None, "pass a prompt or a list of messages"),
        ([("user", "one"), "two"], "entry 2 is not a message"),
        ([([], "Hi")], "Invalid message role"),
        ([("user", "How warm is it?"), ("tool", "21 C")], "message 2 must be of system"),
        ([("user", [{"type": "text", "text": "Hi"}])], "that of message 1 must be text"),
    ):
        server.requests.clear()
        with pytest.raises(RequestInvalid, match=words):
            await client.chat(messages)
        assert server.seen(CHAT) == []


async def test_a_wrong_option_is_refused_unsent(server, client):
    with pytest.raises(RequestInvalid, match="Invalid model parameter"):
        await client.chat("Hi", model=7)
    with pytest.raises(WrongUse, match="temperature must be a number from 0 to 2, not hot"):
        await client.chat("Hi", temperature="hot")
    with pytest.raises(WrongUse, match="top_k must be a whole number"):
        await client.chat("Hi", more={"top_k": 0.5})
    assert server.seen(CHAT) == []
    with pytest.raises(TypeError, match="'api_key'"):
        Client(server.url, api_key="which is named key")


def test_every_way_to_choose_words_is_an_option():
    assert set(Options.__annotations__) == set(Sampling.__struct_fields__)


async def test_an_answer_that_breaks_off_is_an_error(server, client):
    server.on(CHAT, sse("one", Cut()))
    with pytest.raises(StreamInterrupted):
        await client.chat("Hi")
    answer = await client.chat("Hi", may_fail=True)
    assert (answer.text, type(answer.error)) == ("one", StreamInterrupted)


async def test_an_answer_that_repeats_itself_is_told_and_has_its_tokens(server, client):
    chunk = delta("lettuce " * 100)
    chunk["choices"][0]["logprobs"] = {"content": [{"token": "lettuce ", "logprob": -0.5}]}
    server.on(CHAT, sse(chunk, finish("length"), DONE))
    for stuck in ("tell", "off"):
        async with aclosing(client.stream("Hi", stuck=stuck)) as events:
            told = [event async for event in events if isinstance(event, Repetition)]
        assert len(told) == (stuck == "tell")
    shown = []
    answer = await client.chat("Hi", show=shown.append)
    assert (answer.is_stuck, [one.token for one in answer.tokens]) == (False, ["lettuce "])
    assert isinstance(shown[-1], Repetition)


async def test_a_server_that_was_not_named_is_found_once_and_looked_for_anew_when_it_is_away(
    server, found
):
    client, ports = found
    with pytest.raises(NoServerFound):
        await client.chat("Hi")
    with pytest.raises(NoServerFound):
        await client.models()
    assert {one.word for one in await client.detect()} == {"refused"}
    ports.places["localhost", 8080] = llama_cpp(server)
    assert (await client.chat("Hi")).text == "Hello there."
    assert {1234, 1337, 8080} <= {port for _, port, _ in ports.asked}
    ports.asked.clear()
    await client.chat("Hi")
    assert {port for _, port, _ in ports.asked} == {8080}
    with pytest.raises(WrongUse, match="No server has a model elsewhere"):
        await client.chat("Hi", model="elsewhere")
    assert len(server.seen(CHAT)) == 2
    assert [one.product for one in await client.models()] == ["llama.cpp"]
    with ScriptedServer() as other:
        ports.places = {("localhost", 11434): plain(other, "elsewhere")}
        with pytest.raises(ServerUnavailable):
            await client.chat("Hi")
        assert (await client.chat("Hi")).model == "elsewhere"


async def test_a_server_that_was_only_detected_is_not_asked_in_place_of_the_named_one(
    server, make_client
):
    address = "http://localhost:9"
    async with Client(address) as client:
        await client.aclose()
        client._backend = make_client(
            transport=PortMap({("localhost", 8080): llama_cpp(server)}), endpoint=address
        )
        settings = Settings(endpoint=address)
        client._finder = ServerFinder(client._backend.models, settings, State)
        assert "ready" in {one.word for one in await client.detect()}
        with pytest.raises(NoServerFound):
            await client.chat("Hi")
    assert server.seen(CHAT) == []


async def test_a_model_that_was_loaded_after_a_refused_chat_is_found_by_the_next_one(server):
    router(server, small="unloaded", large="unloaded")
    async with Client(server.url) as client:
        with pytest.raises(RequestInvalid, match="No llama"):
            await client.chat("Hi")
        router(server, small="unloaded", large="loaded")
        assert (await client.chat("Hi")).model == "large"


async def test_a_model_that_a_found_server_has_got_since_is_used_at_once(server, found):
    client, ports = found
    ports.places["localhost", 8080] = plain(server, "tiny")
    await client.chat("Hi")
    plain(server, "tiny", "new")
    assert (await client.chat("Hi", model="new")).model == "new"
    with pytest.raises(WrongUse, match="No server has a model newer"):
        await client.chat("Hi", model="newer")


async def test_other_machines_have_to_be_allowed():
    async with Client("http://nas.example:1234") as client:
        with pytest.raises(EndpointNotAllowed):
            await client.chat("Hi")
    with pytest.raises(EndpointNotAllowed):
        Client("ftp://localhost")


async def test_each_client_counts_for_itself_and_can_begin_anew(client):
    await client.chat("Hi")
    with pytest.raises(RequestInvalid):
        await client.chat("")
    counted = client.metrics()
    requests = (counted.total_requests, counted.successful_requests, counted.refused_requests)
    assert (requests, counted.average_response_ms > 0) == ((1, 1, 1), True)
    client.reset_metrics()
    assert client.metrics() == Metrics()


def test_every_name_stands_in_the_reference():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = [name for name in vars(lmchat.api) if name[0].isupper()]
    assert len(names) > 50
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_the_api_needs_no_screen_and_makes_no_files(tmp_path):
    program = "import sys, lmchat.api; print(*sys.modules)"
    imported = run([PYTHON, "-c", program], home=tmp_path).stdout.split()
    unwanted = re.compile(r"(textual|mcp|lmchat\.(tui|cli|terminal|commands))\b")
    assert [name for name in imported if unwanted.match(name)] == []
    assert list(tmp_path.iterdir()) == []
