"""Going on with an answer of a real llama.cpp server, through the real client."""

from __future__ import annotations

import json
import urllib.request

import pytest

from lmchat.domain.request import Sampling
from lmchat.services.answer_stream import TurnSettings
from tests.services.test_conversation import begin
from tests.support.real_sessions import target_at
from tests.support.scripted_backend import read

pytestmark = pytest.mark.timeout(120)  # where others compute too, each answer takes its time
PROMPT = "Write a Python function that adds two numbers, with a short explanation."


class Talk:
    """Sessions with one server, whose answers are the same every time."""

    def __init__(self, client, store, url):
        self.client, self.store, self.url = client, store, url

    async def answer(self, tokens: int, *, then: int = 0):
        """Return an answer of so many tokens, gone on with for some more."""
        conversation = begin(self.client, self.store)
        await read(conversation.send(PROMPT, await self._how(tokens)))
        if then:
            first = conversation.messages[-1]
            await read(conversation.resume(first.message_id, await self._how(then)))
        return conversation.messages[-1]

    async def rewritten(self, text: str, *, then: int):
        """Return an answer that the user has rewritten, gone on with for some tokens."""
        conversation = begin(self.client, self.store)
        await read(conversation.send(PROMPT, await self._how(5)))
        version = await conversation.rewrite(conversation.messages[-1].message_id, text)
        await read(conversation.resume(version.message_id, await self._how(then)))
        return conversation.messages[-1]

    async def begun_with(self, first_words: str, tokens: int):
        """Return an answer of so many tokens behind the first words."""
        conversation = begin(self.client, self.store)
        conversation.first_words = first_words
        await read(conversation.send(PROMPT, await self._how(tokens)))
        return conversation.messages[-1]

    def sent_directly(self, text: str, tokens: int) -> str:
        """Return what the server itself writes behind a text, which its reply repeats."""
        said = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": text}]
        body = {"messages": said, "temperature": 0, "seed": 1, "max_tokens": tokens}
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}/v1/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - loopback
            return json.load(reply)["choices"][0]["message"]["content"].removeprefix(text)

    async def _how(self, tokens: int) -> TurnSettings:
        return TurnSettings(
            target=await target_at(self.client, self.url),
            sampling=Sampling(temperature=0, seed=1, max_tokens=tokens),
        )


@pytest.fixture
def talk_to(client, store):
    return lambda server: Talk(client, store, server.url)


async def test_an_answer_is_continued_as_if_it_had_never_been_cut(real_server, talk_to):
    talk = talk_to(real_server)
    whole = await talk.answer(50)
    for tokens in (
        1,
        3,
        20,
        33,
    ):  # in the line of a fence, in a word, in a line of code, in a comment
        joined = await talk.answer(tokens, then=50 - tokens)
        assert joined.text == whole.text
        assert joined.version == 2


async def test_a_thought_is_continued_as_if_it_had_never_been_cut(start_real_server, talk_to):
    talk = talk_to(start_real_server(reasoning=24))
    whole = await talk.answer(40)
    assert whole.reasoning
    cut = await talk.answer(3)
    assert (cut.text, cut.reasoning) == ("", whole.reasoning[: len(cut.reasoning)])
    joined = await talk.answer(3, then=37)
    assert joined.reasoning.startswith(cut.reasoning)
    assert joined.reasoning[: len(cut.reasoning) + 10] == whole.reasoning[: len(cut.reasoning) + 10]
    assert joined.text


@pytest.mark.rule("R-43")
@pytest.mark.parametrize("options", [{}, {"reasoning": 24}])
async def test_a_rewritten_answer_is_continued_as_its_text_is(start_real_server, talk_to, options):
    talk = talk_to(start_real_server(**options))
    written = "Adding numbers is easy:  first you tak"
    expected = talk.sent_directly(written, 20)
    continued = await talk.rewritten(f"{written} \n", then=20)
    assert continued.text == written + expected
    assert (continued.reasoning, continued.version) == ("", 3)
    assert continued.receipt.is_edited


@pytest.mark.rule("R-43")
async def test_an_answer_that_begins_with_first_words_goes_on_as_they_do(real_server, talk_to):
    talk = talk_to(real_server)
    expected = talk.sent_directly("Numbers are", 20)
    begun = await talk.begun_with("Numbers are", 20)
    assert begun.text == f"Numbers are{expected}"
