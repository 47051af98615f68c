"""What a real llama.cpp server sent, played again."""

from __future__ import annotations

from lmchat.servers.events import ModelNamed, StreamFinished
from tests.support.client_calls import ask, events_of, replay, text_of
from tests.support.scripted_products import CHAT

MODEL = "smollm2-135m-instruct"


async def play(server, client, name, *, every=None):
    server.on(CHAT, replay(name, every=every))
    return await events_of(client, ask(server, product="llama.cpp", model=MODEL))


async def test_a_recorded_answer_is_read_to_its_end(server, client):
    for name, reason in (
        ("stream", "length"),
        ("stream-usage-timings", "length"),
        ("stream-unicode", "length"),
        ("chat", "length"),
        ("context-filled", "length"),
        ("router-chat-loads", "stop"),
        ("json-schema-stream", "stop"),
    ):
        for every in (None, 7):
            events, error = await play(server, client, name, every=every)
            assert error is None
            assert text_of(events)
            assert MODEL in [event.model for event in events if isinstance(event, ModelNamed)]
            assert events[-1] == StreamFinished(reason=reason)


async def test_a_recorded_refusal_becomes_its_error_and_is_not_tried_again(server, client):
    overflow = "needs 631 tokens; the context window has 256"
    for number, (name, kind, words) in enumerate(
        (
            ("error-401", "auth", "Invalid API Key"),
            ("error-path", "wrong_path", "File Not Found"),
            ("error-bad-json", "bad_request", "parse error"),
            ("router-error-model", "model_missing", "'no-such-model' not found"),
            ("error-overflow-stream", "context_overflow", overflow),
        )
    ):
        events, error = await play(server, client, name)
        assert (error.kind, words in error.message, text_of(events)) == (kind, True, "")
        assert error.hint
        assert len(server.seen(CHAT)) == number + 1
    assert (error.needed_tokens, error.room_tokens) == (631, 256)
