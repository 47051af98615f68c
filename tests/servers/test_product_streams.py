"""The whole form of an answer, product by product, as each writes its chunks."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from lmchat.servers.events import ModelNamed, PromptProgress, StreamFinished, UsageReported
from tests.support.client_calls import answered, ask, events_of, growing
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import DONE, sse


@dataclass(frozen=True)
class Form:
    """What a product sends, and what is to be made of it."""

    chunks: tuple[dict | bytes, ...]
    product: str
    text: str = "Hi!"
    thought: str = ""
    reason: str = "stop"
    usage: UsageReported | None = field(
        default_factory=lambda: UsageReported(prompt_tokens=9, completion_tokens=3)
    )


def chunk(
    delta: dict | None, reason: object = None, *, in_choice: dict | None = None, **top: object
) -> dict:
    choice = {"index": 0, "delta": delta, "finish_reason": reason, **(in_choice or {})}
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return base | {"choices": [] if delta is None else [choice]} | top


USED = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
TIMINGS = {
    "cache_n": 4,
    "prompt_n": 5,
    "prompt_per_second": 230.0,
    "predicted_n": 3,
    "predicted_per_second": 48.5,
}
TIMED = UsageReported(
    prompt_tokens=9,
    completion_tokens=3,
    cached_tokens=4,
    tokens_per_second=48.5,
    prompt_tokens_per_second=230.0,
)


def llama_cpp() -> Form:
    """The role is told again with each step of the prompt; figures with each chunk; usage alone."""
    role = {"role": "assistant", "content": None}
    steps = ({"total": 9, "cache": 4, "processed": done, "time_ms": 1} for done in (4, 6, 9))
    return Form(
        (
            *(chunk(role, prompt_progress=step) for step in steps),
            chunk({"content": "Hi"}, timings=TIMINGS | {"predicted_n": 1}),
            chunk({"content": "!"}, timings=TIMINGS | {"predicted_n": 2}),
            chunk({}, "stop", timings=TIMINGS),
            chunk(None, usage=USED, timings=TIMINGS),
            DONE,
        ),
        "llama.cpp",
        usage=TIMED,
    )


def llama_cpp_legacy() -> Form:
    """In a stream, `deepseek-legacy` leaves the thought between tags."""
    text = "<think>plan</think>\n\nHi!"
    pieces = [chunk({"content": piece}) for piece in (text[:3], text[3:])]
    return Form(
        (
            chunk({"role": "assistant", "content": None}),
            *pieces,
            chunk({}, "stop", timings=TIMINGS),
            DONE,
        ),
        "llama.cpp",
        thought="plan",
        usage=TIMED,
    )


def ollama() -> Form:
    """Role and text in the first chunk, an explicit empty text beside the thought."""
    more = {"system_fingerprint": "fp_ollama"}
    role = {"role": "assistant"}
    return Form(
        (
            chunk(role | {"content": "", "reasoning": "hm"}, **more),
            chunk(role | {"content": "Hi"}, **more),
            chunk(role | {"content": "!"}, **more),
            chunk(role | {"content": ""}, "stop", **more),
            chunk(None, usage=USED, **more),
            DONE,
        ),
        "Ollama",
        thought="hm",
    )


def vllm() -> Form:
    """The last piece of text and the reason in one chunk; continuous usage if requested."""
    extra = {"logprobs": None, "stop_reason": None, "token_ids": None}
    return Form(
        (
            chunk({"role": "assistant", "content": "", "reasoning_content": None}, in_choice=extra),
            chunk({"reasoning": "hm"}, in_choice=extra, usage=USED | {"completion_tokens": 1}),
            chunk({"content": "Hi"}, in_choice=extra, usage=USED | {"completion_tokens": 2}),
            chunk({"content": "!"}, "stop", in_choice=extra, usage=USED),
            chunk(None, usage=USED | {"prompt_tokens_details": {"cached_tokens": 4}}),
            DONE,
        ),
        "vLLM",
        thought="hm",
        usage=UsageReported(prompt_tokens=9, completion_tokens=3, cached_tokens=4),
    )


@pytest.mark.rule("R-18", "R-19")
async def test_each_product_is_read_as_it_writes(server, client):
    for form in (llama_cpp(), llama_cpp_legacy(), ollama(), vllm()):
        for every in (None, 5):
            server.on(CHAT, sse(*form.chunks, every=every))
            events = await answered(client, ask(server, product=form.product, model="m"))
            answer = growing(events)
            assert (answer.text("text"), answer.text("reasoning")) == (form.text, form.thought)
            assert events[-1] == StreamFinished(reason=form.reason)
            usage = [one for one in events if isinstance(one, UsageReported)]
            assert (usage[-1] if usage else None) == form.usage
            assert [one.model for one in events if isinstance(one, ModelNamed)] == ["m"]
    server.on(CHAT, sse(*llama_cpp().chunks))
    events, _ = await events_of(client, ask(server, product="llama.cpp", model="m"))
    assert [one.fraction for one in events if isinstance(one, PromptProgress)] == [0.0, 0.4, 1.0], (
        "progress counts what is still to be read"
    )
