"""Probabilities of tokens, as they are read from the chunks of an answer."""

from __future__ import annotations

import json

from lmchat.base.errors import ServerRejected
from lmchat.core.answers.streamed_answer import StreamedAnswer
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import StreamEvent, TokensChosen
from lmchat.core.servers.stream.chunk_parser import ChunkParser
from lmchat.core.servers.stream.think_tags import ThoughtFilter
from lmchat.core.servers.target import Target
from lmchat.core.sessions.tokens import TokenProbabilities


def token(text: str) -> dict:
    """Return the entry of a token, as llama.cpp sends it."""
    return {"id": 1, "token": text, "logprob": -0.5}


def chunk(text: str, *entries: object, field: str = "content") -> bytes:
    logprobs = {"content": list(entries)} if entries else None
    choice = {"index": 0, "delta": {field: text}, "logprobs": logprobs}
    return json.dumps({"choices": [choice]}).encode()


def choices_of(*chunks: bytes) -> list[TokenProbabilities]:
    events: list[StreamEvent] = []
    reader = ChunkParser(ServerRejected, events.append, thought_filter=ThoughtFilter())
    for data in chunks:
        reader.read(data)
    reader.close()
    return [one for event in events if isinstance(event, TokensChosen) for one in event.choices]


def test_tokens_of_one_chunk_share_its_text_and_those_of_a_thought_are_told():
    first = chunk("hm", token("hm"), field="reasoning_content")
    choices = choices_of(first, chunk(" two words", token(" two"), token(" words")))
    found = [(choice.text, choice.is_thought) for choice in choices]
    assert found == [("hm", True), (" two", False), (" words", False)]
    assert choices_of(chunk("no", token("no")).replace(b'"index": 0', b'"index": 1')) == []
    call = [{"index": 0, "id": "a", "function": {"name": "weigh", "arguments": "{}"}}]
    logprobs = {"content": [token("{}")]}
    called = {"choices": [{"index": 0, "delta": {"tool_calls": call}, "logprobs": logprobs}]}
    (choice,) = choices_of(json.dumps(called).encode())
    assert choice.text == ""


def test_what_is_no_token_with_a_number_is_left_out():
    for entry in (
        7,
        {},
        {"token": 5, "logprob": -1},
        {"token": "No", "logprob": "-1"},
        {"token": "No", "logprob": True},
        {"token": "x" * 5000, "logprob": -1},
        {"token": "", "bytes": [], "logprob": -1},
    ):
        (choice,) = choices_of(chunk("No", entry), chunk("!", token("!")))
        assert choice.text == "No!"


def test_an_answer_keeps_no_more_than_300000_probabilities():
    answer = StreamedAnswer(Target(endpoint=Endpoint.parse("http://a:1"), product="vLLM"))
    first, second = (TokenProbabilities(token=word, logprob=-1, text=word) for word in "ab")
    for choices in ((first,) * 299_999, (second,), (second,)):
        answer.add(TokensChosen(choices=choices))
    assert (len(answer.tokens), answer.tokens[-1] is second) == (300_000, True)
