"""Answers of llama.cpp and vLLM: progress, figures and thought between the pieces of the text."""

from __future__ import annotations

import pytest

from lmchat.core.answers.live_stats import Stage
from lmchat.core.servers.events import ModelNamed, PromptProgress, StreamFinished, UsageReported
from tests.support.client_calls import answered, ask, events_of, streamed
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import DONE, Cut, delta, finish, sse, usage

TIMINGS = {
    "cache_n": 4,
    "prompt_n": 5,
    "prompt_per_second": 230.0,
    "predicted_n": 3,
    "predicted_per_second": 48.5,
}
STEPS = ({"total": 9, "cache": 4, "processed": done, "time_ms": 1} for done in (4, 6, 9))
# The role comes again with each step of the prompt, figures with each chunk, usage alone.
LLAMA_CPP = (
    *(delta(content=None, role="assistant") | {"prompt_progress": step} for step in STEPS),
    delta("Hi") | {"timings": TIMINGS | {"predicted_n": 1}},
    delta("!") | {"timings": TIMINGS | {"predicted_n": 2}},
    finish() | {"timings": TIMINGS},
    usage(9, 3) | {"timings": TIMINGS},
    DONE,
)
TIMED = UsageReported(
    prompt_tokens=9,
    completion_tokens=3,
    cached_tokens=4,
    tokens_per_second=48.5,
    prompt_tokens_per_second=230.0,
)


# A chunk while the prompt is read, before its end.
READING = delta(content=None, role="assistant") | {
    "timings": TIMINGS | {"prompt_n": 0, "predicted_n": 0},
    "prompt_progress": {"total": 9, "cache": 4, "processed": 4},
}


def used(completion: int, **more: object) -> dict:
    return {"usage": {"prompt_tokens": 9, "completion_tokens": completion, **more}}


# The usage grows with each chunk.
VLLM = (
    delta("", role="assistant", reasoning_content=None),
    delta(reasoning="hm") | used(1),
    delta("Hi") | used(2),
    delta("!") | used(3),
    finish() | used(3, prompt_tokens_details={"cached_tokens": 4}),
    DONE,
)
COUNTED = UsageReported(prompt_tokens=9, completion_tokens=3, cached_tokens=4)


async def test_a_prompt_that_is_not_read_to_its_end_is_not_counted(server, client):
    server.on(CHAT, sse(READING))
    events, error = await events_of(client, ask(server, product="llama.cpp"))
    assert error is not None
    counts = [one.prompt_tokens for one in events if isinstance(one, UsageReported)]
    assert set(counts) == {None}


@pytest.mark.rule("R-18", "R-19")
async def test_each_product_is_read_as_it_writes(server, client):
    for product, chunks, thought, progress, figures in (
        ("llama.cpp", LLAMA_CPP, "", [0.0, 0.4, 1.0], TIMED),
        ("llama.cpp", (*LLAMA_CPP[:-2], DONE), "", [0.0, 0.4, 1.0], TIMED),
        ("vLLM", VLLM, "hm", [], COUNTED),
    ):
        server.on(CHAT, sse(*chunks, every=5))
        events = await answered(client, ask(server, product=product))
        answer = streamed(events).content
        assert (answer.text("text"), answer.text("reasoning")) == ("Hi!", thought)
        assert events[-1] == StreamFinished(reason="stop")
        assert [one for one in events if isinstance(one, UsageReported)] == [figures], "at the end"
        assert [one.model for one in events if isinstance(one, ModelNamed)] == ["tiny"]
        fractions = [one.fraction for one in events if isinstance(one, PromptProgress)]
        assert fractions == progress, "it counts what is still to be read"


# As llama.cpp sends it if the template has the first words of the thought.
OF_TEMPLATE = {
    "timings": TIMINGS | {"prompt_n": 0, "predicted_n": 0},
    "prompt_progress": {"total": 9, "cache": 4, "processed": 4},
}


@pytest.mark.rule("R-18")
async def test_words_that_the_template_has_written_are_shown_and_no_first_token(server, client):
    first = delta(reasoning_content="I think: ") | OF_TEMPLATE
    thought = delta(reasoning_content="hm") | {"timings": TIMINGS | {"predicted_n": 1}}
    server.on(CHAT, sse(delta(content=None, role="assistant"), first, READING, thought, *LLAMA_CPP))
    answer = streamed([])
    stages = []
    firsts = []
    for event in await answered(client, ask(server, product="llama.cpp")):
        answer.add(event)
        stages.append(answer.stats.stage)
        firsts.append((answer.content.text("reasoning"), answer.stats.first_token_s))
    assert ("I think: ", None) in firsts
    assert ("I think: ", 0.0) not in firsts
    assert stages.index(Stage.READING) < stages.index(Stage.THINKING)
    assert stages[firsts.index(("I think: ", None))] is not Stage.THINKING
    assert (answer.content.text("reasoning"), answer.stats.thought_chunks) == ("I think: hm", 1)
    # an answer that fails then keeps what was shown, and is not asked for again
    server.on(CHAT, sse(first, Cut()))
    events, error = await events_of(client, ask(server, product="llama.cpp"))
    assert (error.kind, streamed(events).content.text("reasoning")) == ("interrupted", "I think: ")
