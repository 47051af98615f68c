"""Every act on every kind of message: it does something, or says in one sentence why not."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.app.commands.conditions import unavailable_reason
from lmchat.core.chat.turn_starts import IMPORTED_CALL
from lmchat.core.sessions.message import AnswerState, AnswerStats
from tests.support.chats import ACTS, MESSAGES, SENSIBLE, TEXT, acted_reply, tool_message


def test_an_act_makes_sense_or_says_in_one_sentence_why_not():
    for name in ACTS:
        for kind, message in MESSAGES.items():
            reason = unavailable_reason(name, message, is_busy=False)
            assert (not reason) == (kind in SENSIBLE[name]), (kind, reason)
            assert not reason or (
                reason.endswith(".") and "\n" not in reason and reason[0].isupper()
            )


def test_no_second_answer_is_asked_for_while_one_is_on_its_way():
    for kind in MESSAGES:
        for name in ACTS:
            was, is_now = (
                unavailable_reason(name, MESSAGES[kind], is_busy=one) for one in (False, True)
            )
            assert is_now if name in ("regenerate", "another_model", "resume") else is_now == was


def test_versions_of_prompts_are_versions_too():
    prompt = replace(MESSAGES["prompt"], version=1, versions=3)
    assert unavailable_reason("next_version", prompt, is_busy=False) == ""


def test_of_an_only_version_it_says_how_to_get_another():
    reason = unavailable_reason("next_version", MESSAGES["answer"], is_busy=False)
    assert (
        reason == "This message has only one version. Retry an answer or edit a prompt for another."
    )


def test_a_failed_call_that_came_with_an_imported_chat_is_not_run_again():
    call = tool_message("?", parent=MESSAGES["answer"], state=AnswerState.FAILED)
    for endpoint, reason in (("", IMPORTED_CALL), ("http://localhost:1234", "")):
        one = replace(call, endpoint=endpoint)
        assert unavailable_reason("regenerate", one, is_busy=False) == reason


def test_an_answer_whose_server_says_only_that_it_was_cut_short_can_be_continued():
    cut = acted_reply(TEXT, stats=AnswerStats(finish_reason="length"))
    assert unavailable_reason("resume", cut, is_busy=False) == ""
