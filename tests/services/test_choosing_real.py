"""Probabilities of a real llama.cpp server, and answers that take another word."""

from __future__ import annotations

import json

import httpx
import pytest

from lmchat.domain.request import Sampling
from lmchat.domain.token_choice import choices_json
from lmchat.proxy.client import ProxyClient
from lmchat.services.answer_stream import TurnSettings
from lmchat.services.choosing import AnswerChoices
from lmchat.storage.store import SqliteStore
from tests.services.test_conversation import begin
from tests.support.real_sessions import target_at
from tests.support.scripted_backend import read

pytestmark = pytest.mark.timeout(120)  # where others compute too, each answer takes its time
PROMPT = "Translate to French: The café is naïve. 🎉"
REPEATING_PROMPT = "Say hello with an emoji, then name the days of the week."
"""The model answers it with one emoji, over and over."""
TOKENS = 50


class Talk:
    """Answers of one server at temperature 0, with probabilities."""

    def __init__(self, client: ProxyClient, store: SqliteStore, url: str) -> None:
        self.client = client
        self.store = store
        self.url = url

    async def settings(self, tokens: int) -> TurnSettings:
        sampling = Sampling(temperature=0, seed=1, max_tokens=tokens, more={"logprobs": 5})
        return TurnSettings(target=await target_at(self.client, self.url), sampling=sampling)

    async def answer(self, prompt: str = PROMPT):
        """Return a session with an answer, and the stored choices of that."""
        conversation = begin(self.client, self.store)
        await read(conversation.send(prompt, await self.settings(TOKENS)))
        answer = conversation.messages[-1]
        return conversation, AnswerChoices(
            answer, await self.store.token_choices(answer.message_id)
        )

    async def taken(self, conversation, answer: AnswerChoices, index: int, token: str):
        """Return the answer that continues behind another token at an index."""
        begun = answer.begun_with(index, token)
        settings = await self.settings(TOKENS - index - 1)
        shown_id = conversation.messages[-1].message_id
        await read(conversation.resume(shown_id, settings, begun))
        return conversation.messages[-1]


@pytest.fixture
def talk_to(client, store):
    return lambda server: Talk(client, store, server.url)


def raw_entries(url: str, field: str) -> list[dict]:
    """Return what the server itself says of the tokens of an answer, or of its thought."""
    body = {
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "temperature": 0,
        "seed": 1,
        "max_tokens": TOKENS,
        "logprobs": True,
        "top_logprobs": 5,
    }
    entries: list[dict] = []
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as reply:
        for line in reply.iter_lines():
            if not line.startswith("data: {"):
                continue
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                if choice["delta"].get(field):
                    entries += (choice.get("logprobs") or {}).get("content", [])
    return entries


def expected_json(entries: list[dict]) -> list[dict]:
    """Return raw entries in the form of `ask --json`, in which empty tokens are left out."""

    def pair(entry: dict) -> dict:
        token = bytes(entry["bytes"]).decode("utf-8", "replace")
        return {"token": token, "logprob": entry["logprob"]}

    return [
        pair(entry) | {"top": [pair(top) for top in entry["top_logprobs"] if top["bytes"]]}
        for entry in entries
    ]


async def test_the_figures_are_those_of_the_raw_stream(real_server, talk_to):
    conversation, answer = await talk_to(real_server).answer()
    raw = expected_json(raw_entries(real_server.url, "content"))
    assert len(raw) > 10
    assert choices_json(conversation.token_choices) == raw
    stored = choices_json(answer.choices)
    for stored_choice, raw_choice in zip(stored, raw, strict=True):
        assert stored_choice["token"] == raw_choice["token"]
        assert stored_choice["logprob"] == pytest.approx(raw_choice["logprob"], abs=0.0006)
        assert stored_choice["top"] == [
            {"token": top["token"], "logprob": pytest.approx(top["logprob"], abs=0.0006)}
            for top in raw_choice["top"]
        ]


async def test_the_greedy_token_of_a_word_gives_the_same_text(real_server, talk_to):
    talk = talk_to(real_server)
    conversation, answer = await talk.answer()
    for index in (0, 3, len(answer.choices) // 2, len(answer.choices) - 1):
        greedy = answer.choices[index].token
        again = await talk.taken(conversation, answer, index, greedy)
        assert again.text == answer.answer.text
        assert again.receipt.is_edited
        choices = await talk.store.token_choices(again.message_id)
        assert "".join(choice.text for choice in choices) == again.text


async def test_a_token_that_the_model_repeats_is_not_dropped(real_server, talk_to):
    talk = talk_to(real_server)
    conversation, answer = await talk.answer(REPEATING_PROMPT)
    first, second, third = (choice.text for choice in answer.choices[:3])
    assert second == third
    again = await talk.taken(conversation, answer, 0, second)
    assert again.text.startswith(second * 2)
    again = await talk.taken(conversation, answer, 1, second)
    assert again.text.startswith(first + second * 3)
    choices = await talk.store.token_choices(again.message_id)
    assert "".join(choice.text for choice in choices) == again.text


async def test_another_token_begins_a_version_that_the_model_continues(real_server, talk_to):
    talk = talk_to(real_server)
    conversation, answer = await talk.answer()
    index = 4
    chosen = answer.choices[index]
    other = next(top for top in chosen.top if top.token not in (chosen.token, "\ufffd"))
    before = "".join(choice.text for choice in answer.choices[:index])
    version = await talk.taken(conversation, answer, index, other.token)
    assert version.text.startswith(before + chosen.text_before + other.token)
    assert len(version.text) > len(before) + len(other.token)
    assert version.version == 2


async def test_a_token_of_a_thought_is_taken_within_the_thought(start_real_server, talk_to):
    talk = talk_to(start_real_server(reasoning=24))
    conversation, answer = await talk.answer()
    assert answer.choices[2].is_thought
    version = await talk.taken(conversation, answer, 2, answer.choices[2].token)
    assert version.reasoning.startswith(answer.answer.reasoning[: answer.thought_start + 40])
