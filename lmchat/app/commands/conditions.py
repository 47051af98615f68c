"""Reasons why a command cannot act on a message.

If a turn would be refused for the same reason, the words are those of `chat/turn_starts.py`.
"""

from __future__ import annotations

from lmchat.base.errors import StillAnswering
from lmchat.core.chat.session import OpenSession
from lmchat.core.chat.turn_starts import IMPORTED_CALL, why_not_rewritten
from lmchat.core.sessions.message import (
    AnswerState,
    ChatMessage,
    Role,
    is_continuable,
    is_imported_call,
    readable_text,
)

NOTHING_YET = "This session is empty."
NO_CODE = "This message has no code block."


def reason_against(command_id: str, session: OpenSession, message: ChatMessage | None) -> str:
    """Return why a command cannot act on a message as it is now; "" if it can."""
    if message is None:
        return NOTHING_YET
    name = command_id.removeprefix("message.")
    # a front end may still have the message as it was when it started to stream
    return unavailable_reason(name, session.current(message), is_busy=session.is_running)


def unavailable_reason(name: str, message: ChatMessage, *, is_busy: bool) -> str:
    """Return "" if there is no reason; `name` is the id of the command without `message.`.

    The first case that fits gives the reason; later cases rely on the earlier ones. `is_busy`: a
    turn of the session runs, so no other can start.
    """
    role = message.role
    is_answer = role is Role.ASSISTANT
    is_streaming = message.state is AnswerState.STREAMING
    match name:
        case "regenerate" | "another_model" | "resume" if is_busy:
            return StillAnswering().message_with_next_step
        case "copy" if message.failure is not None:  # the words of the failure are copied
            return ""
        case "pager" if message.files:  # the files are shown, also without a text
            return ""
        case "copy" | "save" | "pager" if not readable_text(message):
            return "This message has no text yet."
        # a fence, or lines that start with four blanks
        case "copy_code" if not any(
            mark in f"\n{message.text}" for mark in ("```", "~~~", "\n    ")
        ):
            return NO_CODE
        # a cheap test, without parsing links
        case "links" if not any(mark in message.text.lower() for mark in ("http://", "https://")):
            return "This message has no links."
        # these unfold: tool messages and system prompts to their whole text, reasoning, files
        case "fold" if not (role in (Role.SYSTEM, Role.TOOL) or message.reasoning or message.files):
            return "This message has nothing to unfold."
        case "edit" if role in (Role.SYSTEM, Role.TOOL):  # for an answer, its prompt is edited
            return "Only prompts can be edited; /system sets a new system prompt."
        case "source" | "probabilities" | "details" | "resume" if not is_answer:
            return "Only answers have this command."
        case "resume" | "rewrite" | "probabilities" | "details" if is_streaming:
            return StillAnswering().message_with_next_step
        case "rewrite":
            return why_not_rewritten(message)
        case "resume" if not is_continuable(message):
            return "This answer is complete; it can be retried."
        case "another_model" | "regenerate" if role is Role.SYSTEM:
            return "Only prompts and answers can be retried."
        case "another_model" if role is Role.TOOL:
            return "Only prompts and answers can be retried."
        case "regenerate" if role is Role.TOOL and message.state is AnswerState.COMPLETE:
            return "Only calls that failed or were stopped can be run again."
        case "regenerate" if is_imported_call(message):
            return IMPORTED_CALL
        case "previous_version" | "next_version" if message.versions <= 1:
            return (
                "This message has only one version. Retry an answer or edit a prompt for another."
            )
    return ""
