from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    FilePart,
    Limit,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    answered_calls,
    has_text_to_continue,
    interrupted,
    is_continuable,
    readable_text,
    text_message,
)

CALL = ToolCallPart(call_id="a", name="files/read", arguments='{"path": "beds.md"}')
BEDS = FilePart(name="beds.md", media_type="text/plain", digest="0" * 64, size=3)


def message(*parts, role=Role.ASSISTANT, **values) -> ChatMessage:
    return replace(text_message(role, ""), parts=parts, **values)


def test_each_kind_of_part_is_found_by_its_own_name():
    whole = message(
        *(ReasoningPart(text="Beds?"), TextPart(text="Peas. "), RefusalPart(text="No kale.")),
        *(CALL, ToolResultPart(text="3 beds"), BEDS),
    )
    assert (whole.text, whole.refusal, whole.reasoning) == ("Peas. No kale.", "No kale.", "Beds?")
    assert (whole.tool_calls, whole.tool_result, whole.files) == ((CALL,), "3 beds", (BEDS,))


@pytest.mark.parametrize(
    ("parts", "copied"),
    [
        ((TextPart(text="Peas."), ReasoningPart(text="Beds?")), "Peas."),
        ((CALL, ToolResultPart(text="3 beds")), "3 beds"),
        ((ReasoningPart(text="Beds?"), CALL), "Beds?"),
        ((CALL,), CALL.arguments),
    ],
)
def test_what_is_copied_of_a_message_is_what_is_read_of_it(parts, copied):
    assert readable_text(message(*parts)) == copied


def test_a_call_is_sent_once_for_each_result_right_behind_it():
    nameless = replace(CALL, name="")
    asked = message(CALL, nameless, CALL, CALL)
    ran = message(CALL, ToolResultPart(text="3 beds"), role=Role.TOOL)
    assert answered_calls([asked, ran, ran, message(), ran], 0) == [CALL, CALL]
    assert answered_calls([message(), ran], 0) == []


@pytest.mark.parametrize(
    ("parts", "role", "state", "step"),
    [
        ((TextPart(text="Peas"),), Role.ASSISTANT, AnswerState.INTERRUPTED, "Continue it"),
        ((CALL,), Role.ASSISTANT, AnswerState.INTERRUPTED, "Continue it"),
        ((), Role.ASSISTANT, AnswerState.FAILED, "Ask again"),
        ((CALL,), Role.TOOL, AnswerState.INTERRUPTED, "Run it again"),
    ],
)
def test_what_was_interrupted_says_how_one_goes_on(parts, role, state, step):
    ended = interrupted(message(*parts, role=role), "lmchat ended")
    assert (ended.state, ended.failure.hint.startswith(step)) == (state, True)


WORDS = TextPart(text="Peas and")
CUT = AnswerStats(finish_reason="length")
FULL = replace(CUT, limit=Limit.CONTEXT, prompt_tokens=9, completion_tokens=4)


@pytest.mark.parametrize(
    ("said", "can_be_continued", "has_text"),
    [
        (message(WORDS, stats=AnswerStats(finish_reason="stop")), False, True),
        (message(WORDS, stats=CUT), True, True),
        (message(stats=CUT), False, False),
        (message(WORDS, stats=FULL), True, True),
        (message(WORDS, stats=replace(FULL, prompt_tokens=4)), True, False),
        (message(WORDS, state=AnswerState.STREAMING), False, True),
        (message(WORDS, state=AnswerState.STOPPED), True, True),
        (message(WORDS, state=AnswerState.FAILED), True, False),
        (message(WORDS, role=Role.USER), False, True),
    ],
)
def test_an_answer_without_its_end_can_be_continued(said, can_be_continued, has_text):
    assert (is_continuable(said), has_text_to_continue(said)) == (can_be_continued, has_text)
