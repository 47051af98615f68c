from __future__ import annotations

import gc
import threading

import pytest

from lmchat.api import (
    Client,
    Home,
    StreamFinished,
    SyncClient,
    SyncHome,
    TextDelta,
)
from lmchat.api.home import Sessions, Tools
from lmchat.api.sync import SyncSessions, SyncTools
from lmchat.base.errors import WrongUse
from tests.support.scripted_products import CHAT, chat_reply, lm_studio, plain
from tests.support.scripted_server import Hold, sse


@pytest.fixture
def client(server):
    plain(server, "tiny")
    with SyncClient(server.url) as one:
        yield one


def test_it_does_what_the_other_does_and_a_stream_is_a_loop_over_events(server, client):
    assert client.health().word == "ready"
    assert client.detect()[0].endpoint.url == server.url
    assert [one.model_id for one in client.models()] == ["tiny"]
    assert client.chat("Hi", temperature=0).text == "Hello there."
    assert server.seen(CHAT)[0].json["temperature"] == 0
    assert client.metrics().successful_requests == 1
    model = client.model()
    assert client.slots(model) == 1
    assert client.beside(model)("tiny") == model
    client.reset_metrics()
    assert client.metrics().total_requests == 0
    events = list(client.stream("Hi"))
    assert "".join(one.text for one in events if isinstance(one, TextDelta)) == "Hello there."
    assert isinstance(events[-1], StreamFinished)


@pytest.mark.parametrize(
    ("blocking", "source"),
    [(SyncClient, Client), (SyncHome, Home), (SyncSessions, Sessions), (SyncTools, Tools)],
)
def test_each_public_method_can_be_called_without_an_event_loop(blocking, source):
    methods = {
        name
        for name, member in vars(source).items()
        if callable(member) and not name.startswith("_")
    }
    assert methods - {"aclose"} <= vars(blocking).keys()


def test_leaving_the_loop_closes_the_connection(server, client):
    server.on(CHAT, sse("one", Hold()))
    stream = client.stream("Hi")
    for event in stream:
        if isinstance(event, TextDelta):
            break
    stream.close()
    assert server.seen(CHAT)[0].client_left.wait(5)
    assert client.metrics().stopped_requests == 1


class LeftStream:
    """Holder of a stream that only the garbage collector finds: it refers to itself."""

    def __init__(self, client: SyncClient) -> None:
        self.itself = self
        self.events = client.stream("Hi")
        next(event for event in self.events if isinstance(event, TextDelta))


class CollectingMessage(dict[str, str]):
    """A message whose reading collects garbage, in the thread of the client."""

    def get(self, key, default=None):
        gc.collect()
        return super().get(key, default)


def test_a_stream_that_the_garbage_collector_closes_does_not_hold_up_the_client(server):
    lm_studio(server)  # which answers several requests at once
    server.on(CHAT, sse("one", Hold()), chat_reply("Fine."))
    client = SyncClient(server.url)  # without `with`, whose end would wait for a client that hangs
    messages = [CollectingMessage(role="user", content="Hi")]
    gc.disable()
    try:
        LeftStream(client)
        chatting = threading.Thread(target=lambda: client.chat(messages), daemon=True)
        chatting.start()
        chatting.join(5)
    finally:
        gc.enable()
    assert not chatting.is_alive()
    assert server.seen(CHAT)[0].client_left.wait(5)
    client.close()


def test_closing_stops_what_runs_in_other_threads(server, client):
    server.on(CHAT, sse("one", Hold()))
    errors = []

    def chat():
        try:
            client.chat("Hi")
        except WrongUse as error:
            errors.append(error.message)

    thread = threading.Thread(target=chat)
    thread.start()
    seen = server.wait_for(CHAT)
    client.close()
    thread.join()
    assert seen.client_left.wait(5)
    assert errors == ["This client is closed."]
    client.close()
    for call in (client.health, lambda: next(client.stream("Hi"))):
        with pytest.raises(WrongUse):
            call()
