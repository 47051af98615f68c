from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lmchat.domain.context import needed_tokens, plan_context
from lmchat.domain.message import (
    AnswerState,
    ChatMessage,
    Failure,
    ReasoningPart,
    Receipt,
    Role,
    TextPart,
    ToolCallPart,
    text_message,
)
from lmchat.domain.path import STRETCH, MessagePath

SIZES = st.integers(0, 3 * STRETCH + 5)


def talk(count: int, *, begin: int = 0) -> list[ChatMessage]:
    return [
        replace(
            text_message(Role.ASSISTANT if n % 2 else Role.USER, f"text {n}\n" * (n % 3)),
            model=f"model {n // 50}" if n % 2 else "",
        )
        for n in range(begin, begin + count)
    ]


def full_message(**changes: object) -> ChatMessage:
    message = ChatMessage(
        message_id="m",
        role=Role.ASSISTANT,
        parts=(
            ReasoningPart(text="why"),
            TextPart(text="because 漢字 🙂"),
            ToolCallPart(call_id="c", name="tool", arguments='{"q": 1}'),
        ),
        created_at=datetime(2026, 11, 20, 8, 0, 1, 123456, tzinfo=UTC),
        parent_id="p",
        state=AnswerState.INTERRUPTED,
        model="qwen3-8b",
        endpoint="http://127.0.0.1:1234",
        receipt=Receipt(ttft_ms=12.5, prompt_tokens=3, completion_tokens=4, is_estimated=False),
        failure=Failure(kind="offline", message="gone"),
        version=2,
        versions=3,
    )
    return replace(message, **changes)


def test_a_packed_message_comes_out_as_it_went_in():
    path = MessagePath.packed([full_message()] * 3)
    assert list(path) == [full_message()] * 3
    assert path[1] == full_message()
    assert isinstance(path[1].role, Role)
    assert path[1].created_at.utcoffset() == timedelta(0)


def test_a_time_of_another_zone_stays_the_same_moment():
    moment = datetime(2026, 11, 20, 8, 0, tzinfo=timezone(timedelta(hours=5)))
    assert MessagePath.packed([full_message(created_at=moment)])[0].created_at == moment


def test_letters_without_a_form_in_utf_8_are_kept():
    odd = full_message(parts=(TextPart(text="\ud800"),))
    path = MessagePath.packed([full_message(), odd])
    assert list(path) == [full_message(), odd]


@given(SIZES, st.data())
@settings(max_examples=30, deadline=None)
def test_a_path_is_the_list_that_it_was_made_of(count, data):
    messages = talk(count)
    path = MessagePath(messages)
    assert path == messages
    assert len(path) == count
    assert list(reversed(path)) == messages[::-1]
    start, stop = data.draw(st.integers(-count, count)), data.draw(st.integers(-count, count + 3))
    assert path[start:stop] == messages[start:stop]
    assert path[::2] == messages[::2]
    for index in {0, count // 2, count - 1} & set(range(count)):
        assert path[index] == path[index - count] == messages[index]
        assert path.place(messages[index].message_id) == index
    assert path.place("nowhere") is None


@given(SIZES, SIZES, st.data())
@settings(max_examples=30, deadline=None)
def test_paths_are_joined_added_to_and_replaced_in_as_lists_are(first, second, data):
    earlier, later = talk(first), talk(second, begin=first)
    whole = [*earlier, *later]
    path = MessagePath(later).after(MessagePath.packed(earlier))
    assert path == whole
    more = talk(3, begin=first + second)
    assert path.added(*more) == [*whole, *more]
    assert path == whole  # a path never changes
    if whole:
        index = data.draw(st.integers(0, len(whole) - 1))
        fresh = replace(whole[index], parts=(TextPart(text="another"),))
        assert path.replaced(fresh) == [*whole[:index], fresh, *whole[index + 1 :]]
    assert path.replaced(full_message()) == whole
    names = [""]
    for message in whole:
        names.append(message.model or names[-1])
    assert [path.model_before(index) for index in range(len(whole) + 1)] == names


@given(SIZES, st.sampled_from([None, 20, 300, 5_000]), st.sampled_from([1.0, 0.7, 2.3]))
@settings(max_examples=30, deadline=None)
def test_what_is_sent_does_not_depend_on_how_messages_are_held(count, limit, factor):
    messages = talk(count)
    of_list = plan_context(messages, limit=limit, factor=factor)
    of_path = plan_context(MessagePath.packed(messages), limit=limit, factor=factor)
    assert of_list == of_path
    assert of_list.messages == tuple(m for m in messages if m.text)[of_list.left_out :]
    assert needed_tokens(MessagePath.packed(messages), factor=factor) == of_list.needed_tokens


def test_what_is_beyond_the_end_is_told_as_a_list_tells_it():
    with pytest.raises(IndexError):
        MessagePath(talk(2))[2]
    with pytest.raises(IndexError):
        MessagePath()[-1]


def test_a_session_that_grows_for_long_packs_what_is_old():
    path = MessagePath()
    for message in talk(4 * STRETCH):
        path = path.added(message)
    assert sum(stretch.is_packed for stretch in path._stretches) >= 2
    assert len(path) == 4 * STRETCH
