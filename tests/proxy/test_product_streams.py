"""The whole form of an answer, product by product, as each writes its chunks."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from lmchat.domain.event import ModelNamed, PromptProgress, StreamFinished, UsageReported
from lmchat.domain.message import ToolCallPart
from lmchat.domain.product import Product
from tests.support.proxy_calls import ask, events_of, growing
from tests.support.scripted_products import CHAT, PROVIDERS
from tests.support.scripted_server import DONE, sse


@dataclass(frozen=True)
class Form:
    """What a product sends, and what is to be made of it."""

    chunks: tuple[dict | bytes, ...]
    product: Product
    text: str = "Hi!"
    thought: str = ""
    calls: tuple[tuple[str, str, str], ...] = ()  # (id, name, arguments) of each
    reason: str = "stop"
    usage: UsageReported | None = field(
        default_factory=lambda: UsageReported(prompt_tokens=9, completion_tokens=3)
    )
    headers: dict[str, str] = field(default_factory=dict)


def chunk(
    delta: dict | None, reason: object = None, *, in_choice: dict | None = None, **top: object
) -> dict:
    choice = {"index": 0, "delta": delta, "finish_reason": reason, **(in_choice or {})}
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return base | {"choices": [] if delta is None else [choice]} | top


USED = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
CALL = {"type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
CALLED = ("weather", '{"city":"Oslo"}')
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
        Product.LLAMA_CPP,
        usage=TIMED,
    )


def llama_cpp_legacy() -> Form:
    """`deepseek-legacy` sends the thought as a field and leaves it between tags."""
    told = [("reasoning_content", "plan"), ("content", "<think>plan</think>\n\nHi!")]
    pieces = [chunk({name: piece}) for name, text in told for piece in (text[:3], text[3:])]
    return Form(
        (
            chunk({"role": "assistant", "content": None}),
            *pieces,
            chunk({}, "stop", timings=TIMINGS),
            DONE,
        ),
        Product.LLAMA_CPP,
        thought="plan",
        usage=TIMED,
    )


def jan() -> Form:
    """What its engine sends, passed on as it is, with the engine's name in the headers."""
    form = llama_cpp()
    return Form(form.chunks, Product.JAN, usage=form.usage, headers={"Server": "llama.cpp"})


def lm_studio() -> Form:
    """The role in every chunk, and a fingerprint that is the model's name."""
    more = {"system_fingerprint": "m"}
    logs = {"logprobs": None}
    return Form(
        (
            chunk({"role": "assistant", "content": "Hi"}, in_choice=logs, **more),
            chunk({"role": "assistant", "content": "!"}, in_choice=logs, **more),
            chunk({}, "stop", in_choice=logs, **more),
            chunk(None, usage=USED, **more),
            DONE,
        ),
        Product.LM_STUDIO,
    )


def lm_studio_v0() -> Form:
    """Its own figures stand beside the usage."""
    stats = {"tokens_per_second": 51.4, "time_to_first_token": 0.11, "generation_time": 0.9}
    return Form(
        (
            chunk({"role": "assistant", "content": "Hi!"}),
            chunk(
                {},
                "stop",
                usage=USED,
                stats=stats | {"stop_reason": "eosFound"},
                model_info={"arch": "granite", "context_length": 4096},
                runtime={"name": "llama.cpp-linux-x86_64"},
            ),
            DONE,
        ),
        Product.LM_STUDIO,
        usage=UsageReported(prompt_tokens=9, completion_tokens=3, tokens_per_second=51.4),
    )


def lm_studio_tools() -> Form:
    """Older builds repeat an empty name with each fragment."""
    first, *rest = ('{"ci', 'ty":', '"Oslo"}')
    fragments = [
        {
            "index": 0,
            "id": "c1",
            "type": "function",
            "function": {"name": "weather", "arguments": first},
        },
        *(
            {"index": 0, "type": "function", "function": {"name": "", "arguments": one}}
            for one in rest
        ),
    ]
    return Form(
        (
            *(chunk({"role": "assistant", "tool_calls": [one]}) for one in fragments),
            chunk({}, "tool_calls"),
            DONE,
        ),
        Product.LM_STUDIO,
        text="",
        calls=(("c1", *CALLED),),
        reason="tool_calls",
        usage=None,
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
        Product.OLLAMA,
        thought="hm",
    )


def ollama_tools() -> Form:
    """Each call is complete; several stand in one chunk."""
    calls = [{"id": f"call_{number}", "index": number, **CALL} for number in range(2)]
    return Form(
        (
            chunk({"role": "assistant", "content": "", "tool_calls": calls}),
            chunk({"role": "assistant", "content": ""}, "tool_calls"),
            chunk(None, usage=USED),
            DONE,
        ),
        Product.OLLAMA,
        text="",
        calls=(("call_0", *CALLED), ("call_1", *CALLED)),
        reason="tool_calls",
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
        Product.VLLM,
        thought="hm",
        usage=UsageReported(prompt_tokens=9, completion_tokens=3, cached_tokens=4),
    )


def sglang() -> Form:
    """A thought that is always named and nearly always null."""
    extra = {"logprobs": None, "matched_stop": None}
    none = {"reasoning_content": None, "tool_calls": None}
    return Form(
        (
            chunk({"role": "assistant", "content": "", **none}, in_choice=extra),
            chunk({"role": None, "content": None, "reasoning_content": "hm"}, in_choice=extra),
            chunk({"role": None, "content": "Hi!", **none}, in_choice=extra),
            chunk(
                {"role": None, "content": None, **none}, "stop", in_choice={"matched_stop": 151645}
            ),
            chunk(None, usage=USED | {"prompt_tokens_details": None}),
            DONE,
        ),
        Product.SGLANG,
        thought="hm",
    )


def litellm() -> Form:
    """Icons of life of its own around what the server behind it sends."""
    return Form(
        (
            b"event: ping\ndata: {}\n\n: keep-alive\n\n",
            chunk({"role": "assistant", "content": None, "reasoning_content": "hm"}),
            chunk({"content": "Hi!", "provider_specific_fields": None}),
            b"event: ping\n\n",
            chunk({}, "stop"),
            chunk(None, usage=USED),
            DONE,
        ),
        Product.LITELLM,
        thought="hm",
    )


def openrouter_details() -> Form:
    """The thought in parts alone, some of which are sealed."""
    parts = [
        {"type": "reasoning.summary", "summary": "not read"},
        {"type": "reasoning.text", "text": "hm"},
        {"type": "reasoning.encrypted", "data": "c2VjcmV0"},
    ]
    return Form(
        (
            *(
                chunk({"role": "assistant", "content": "", "reasoning_details": [one]})
                for one in parts
            ),
            chunk({"content": "Hi!"}),
            chunk({}, "stop", usage=USED),
            DONE,
        ),
        Product.OPENROUTER,
        thought="hm",
    )


def mistral_tools() -> Form:
    """Complete calls, with ids of nine characters and no type."""
    call = {"id": "D681PevKs", "index": 0, "function": CALL["function"]}
    return Form(
        (
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "", "tool_calls": [call]}, "tool_calls", usage=USED),
            DONE,
        ),
        Product.MISTRAL,
        text="",
        calls=(("D681PevKs", *CALLED),),
        reason="tool_calls",
    )


FORMS = (
    *(llama_cpp, llama_cpp_legacy, jan, lm_studio, lm_studio_v0, lm_studio_tools, ollama),
    *(ollama_tools, vllm, sglang, litellm, openrouter_details, mistral_tools),
)


@pytest.mark.rule("R-16", "R-17", "R-18", "R-19", "R-20")
@pytest.mark.parametrize("every", [None, 5])
@pytest.mark.parametrize("make", FORMS, ids=lambda make: make.__name__)
async def test_each_product_is_read_as_it_writes(server, client, make, every):
    form = make()
    server.on(CHAT, sse(*form.chunks, every=every, headers=form.headers))
    events, error = await events_of(client, ask(server, product=form.product, model="m"))
    assert error is None
    answer = growing(events)
    assert (answer.text("text"), answer.text("reasoning")) == (form.text, form.thought)
    calls = [part for part in answer.parts if isinstance(part, ToolCallPart)]
    assert tuple((one.call_id, one.name, one.arguments) for one in calls) == form.calls
    assert events[-1] == StreamFinished(reason=form.reason)
    usage = [one for one in events if isinstance(one, UsageReported)]
    assert (usage[-1] if usage else None) == form.usage
    assert [one.model for one in events if isinstance(one, ModelNamed)] == ["m"]
    assert len(server.seen()) == 1


def test_each_product_has_a_row_of_its_own():
    """The usual answers of the providers are in `test_hosted.py`."""
    told = {make().product for make in FORMS} | {one.product for one in PROVIDERS}
    ours = {Product.BUILT_IN: Product.LLAMA_CPP, Product.OPENAI_COMPATIBLE: Product.OPENAI}
    assert {ours.get(product, product) for product in Product} == told


@pytest.mark.rule("R-19")
async def test_progress_counts_what_is_still_to_be_read(server, client):
    server.on(CHAT, sse(*llama_cpp().chunks))
    events, _ = await events_of(client, ask(server, product=Product.LLAMA_CPP, model="m"))
    assert [one.fraction for one in events if isinstance(one, PromptProgress)] == [0.0, 0.4, 1.0]
