from __future__ import annotations

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lmchat.base.token_estimate import TEMPLATE_TOKENS, estimate_tokens
from lmchat.core.chat.context import TokenEstimator, select_context
from lmchat.core.servers.products import product_named
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    text_message,
)
from tests.support.counted_prompts import counted_prompts
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend, model


def talk(*sizes: int, system: str = ""):
    messages = [text_message(Role.SYSTEM, system)] if system else []
    return messages + [
        text_message(Role.ASSISTANT if n % 2 else Role.USER, "abcd " * size)
        for n, size in enumerate(sizes)
    ]


def test_the_oldest_whole_exchanges_go_first_and_the_system_prompt_stays():
    messages = talk(100, 100, 100, 100, 100, system="be brief")
    plan = select_context(messages, limit=400, max_tokens=50)
    assert plan.messages[0].role is Role.SYSTEM
    assert plan.left_out == 2
    assert plan.messages[1:] == tuple(messages[3:])
    assert plan.tokens + plan.reserve <= 400
    assert not plan.fits
    whole = select_context(messages, limit=400, max_tokens=50, may_leave_out=False)
    assert (whole.messages, whole.left_out, whole.fits) == (tuple(messages), 0, False)
    assert whole.tokens == select_context(messages, limit=None).tokens


def test_an_answer_without_a_prompt_is_continued_in_the_smallest_window():
    answers = [text_message(Role.ASSISTANT, "abcd " * 100)]
    plan = select_context(answers, limit=50, is_continued=True)
    assert (plan.messages, plan.left_out, plan.fits) == (tuple(answers), 0, False)


@pytest.mark.parametrize(
    ("limit", "max_tokens", "reserve"),
    [(8192, 300, 300), (8192, None, 1000), (2048, None, 512), (None, None, 0)],
)
def test_the_reserve_is_max_tokens_else_a_thousand_or_a_quarter(limit, max_tokens, reserve):
    assert select_context([], limit=limit, max_tokens=max_tokens).reserve == reserve


def test_an_estimate_is_between_half_and_twice_of_what_tokenizers_count():
    for counts in counted_prompts():
        if counts.kind in ("blank lines", "name of a country", "emoji"):
            continue  # 0.2, 3.5 and 0.3
        share = estimate_tokens(counts.text) / median(counts.tokens.values())
        assert 0.49 < share < 2.02, counts.kind


@given(st.lists(st.integers(1, 300), min_size=1, max_size=12), st.integers(50, 3000))
def test_what_is_kept_begins_with_a_prompt_and_has_the_last_one(sizes: list[int], limit: int):
    messages = talk(*sizes)
    plan = select_context(messages, limit=limit)
    assert plan.messages == tuple(messages[plan.left_out :])
    assert plan.messages[0].role is Role.USER
    if len(plan.messages) > 2:  # there was no other exchange to leave out
        assert plan.tokens + plan.reserve <= limit


THOUGHT = "abcd " * 2000  # 2000 tokens by our estimate


def loop() -> list[ChatMessage]:
    """An exchange with a thought, and a prompt whose answer called a tool after another."""
    call = ToolCallPart(call_id="c0", name="files__read", arguments="{}")
    prompt = text_message(Role.USER, "abcd " * 100)
    told = text_message(Role.ASSISTANT, "")
    thought = ReasoningPart(text=THOUGHT)
    return [
        prompt,
        replace(told, parts=(thought, TextPart(text="abcd " * 100))),
        replace(prompt, message_id="second"),
        replace(told, message_id="calling", parts=(thought, call)),
        replace(told, message_id="result", role=Role.TOOL, parts=(call, ToolResultPart(text="ok"))),
    ]


def thinking_target(product: str = "llama.cpp", **more) -> Target:
    info = replace(model(**more), product=product)
    return Target(endpoint=ENDPOINT, product=product, model=info)


@pytest.mark.rule("R-45")
@pytest.mark.parametrize(
    ("target", "thoughts"),
    [
        (thinking_target("OpenAI-compatible"), 0),
        (thinking_target(), 1),
        (thinking_target(keeps_thoughts=True), 2),
    ],
)
def test_the_thoughts_that_are_sent_count_and_no_others(target, thoughts):
    messages = loop()
    least = 2000 * thoughts + 300
    sent_thoughts = product_named(target.product).chat.sent_thoughts(target.model)
    plan = select_context(messages, limit=8192, sent_thoughts=sent_thoughts)
    assert least <= plan.tokens < least + 100
    used = TokenEstimator(ScriptedBackend().memory).use(target, messages)
    assert (used.tokens, used.is_estimated) == (plan.tokens, True)


def test_a_short_prompt_does_not_teach_the_system_prompt_that_a_template_adds():
    estimator = TokenEstimator(ScriptedBackend().memory)
    target = thinking_target()
    for sizes, factor in (((4, 30, 5), 1.0), ((100, 100), 1.1)):
        plan = select_context(talk(*sizes), limit=8192)
        estimator.learn(target, plan, plan.tokens + 20)  # Qwen2.5's template has a prompt of 20
        assert estimator.factor(target) == pytest.approx(factor)
    for keeps_thoughts in (True, False):  # else the template may leave them out
        estimator = TokenEstimator(ScriptedBackend().memory)
        thinking = thinking_target(keeps_thoughts=keeps_thoughts)
        sent_thoughts = product_named(thinking.product).chat.sent_thoughts(thinking.model)
        plan = select_context(loop(), limit=8192, sent_thoughts=sent_thoughts)
        estimator.learn(thinking, plan, plan.tokens * 2)
        assert (estimator.factor(thinking) != 1.0) is keeps_thoughts


def test_a_stopped_answer_takes_as_many_tokens_as_the_row_below_it_tells():
    prompt, _ = talk(40, 40)
    stats = AnswerStats(completion_tokens=2320)  # chunks: the server counts no stopped answer
    answer = text_message(Role.ASSISTANT, "word " * 1600)
    stopped = replace(answer, state=AnswerState.STOPPED, stats=stats)
    estimator = TokenEstimator(ScriptedBackend().memory)
    target = thinking_target()
    used = estimator.use(target, [prompt, stopped])
    assert used.is_estimated
    assert used.tokens == estimator.use(target, [prompt]).tokens + 2320 + TEMPLATE_TOKENS
    edited = replace(stopped, stats=replace(stats, is_edited=True))
    assert (
        estimator.use(target, [prompt, edited]).tokens < 2320
    )  # what the user wrote is not counted
