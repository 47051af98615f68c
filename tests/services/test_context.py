from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lmchat.domain.message import AnswerState, Role, text_message
from lmchat.services.context_meter import estimate_tokens, plan_context


def talk(*sizes: int, system: str = ""):
    messages = [text_message(Role.SYSTEM, system)] if system else []
    return messages + [
        text_message(Role.ASSISTANT if n % 2 else Role.USER, "abcd" * size) for n, size in enumerate(sizes)
    ]


def test_all_is_sent_where_it_fits_or_the_window_is_unknown():
    messages = talk(10, 10, 10)
    for limit in (None, 10_000):
        plan = plan_context(messages, limit=limit)
        assert plan.messages == tuple(messages)
        assert plan.left_out == 0
        assert plan.fits


def test_the_oldest_whole_messages_go_first_and_the_system_prompt_stays():
    messages = talk(100, 100, 100, 100, system="be brief")
    plan = plan_context(messages, limit=400, max_tokens=50)
    assert plan.messages[0].role is Role.SYSTEM
    assert plan.left_out == 1
    assert plan.messages[1:] == tuple(messages[2:])
    assert plan.tokens + plan.reserve <= 400
    assert not plan.fits


def test_the_last_two_messages_stay_however_long_they_are():
    messages = talk(10, 1000, 1000)
    assert plan_context(messages, limit=100).messages == tuple(messages[1:])


def test_only_the_newest_system_prompt_is_sent():
    messages = [text_message(Role.SYSTEM, "old"), *talk(5, 5), text_message(Role.SYSTEM, "new"), *talk(5)]
    plan = plan_context(messages, limit=None)
    assert [m.text for m in plan.messages if m.role is Role.SYSTEM] == ["new"]
    assert plan.messages[0].text == "new"


def test_an_answer_without_text_is_not_sent():
    messages = [*talk(5), replace(text_message(Role.ASSISTANT, ""), parts=(), state=AnswerState.FAILED)]
    assert len(plan_context(messages, limit=None).messages) == 1


@pytest.mark.parametrize(
    ("limit", "max_tokens", "reserve"),
    [(8192, 300, 300), (8192, None, 1000), (2048, None, 512), (None, None, 0)],
)
def test_the_reserve_is_max_tokens_else_a_thousand_or_a_quarter(limit, max_tokens, reserve):
    assert plan_context([], limit=limit, max_tokens=max_tokens).reserve == reserve


def test_cjk_takes_a_token_a_character():
    assert estimate_tokens("全文検索") == 4
    assert estimate_tokens("abcd" * 4) == 4


@given(st.lists(st.integers(1, 300), min_size=1, max_size=12), st.integers(50, 3000))
def test_what_is_kept_is_always_the_end_of_the_conversation(sizes: list[int], limit: int):
    messages = talk(*sizes)
    plan = plan_context(messages, limit=limit)
    assert plan.messages == tuple(messages[plan.left_out :])
    assert len(plan.messages) >= min(2, len(messages))
