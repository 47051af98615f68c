"""Actions on a message: availability, and the reason where one is not available."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lmchat.domain.imported import is_imported_call
from lmchat.domain.message import AnswerState, ChatMessage, Role, has_files

NOTHING_YET = "This session is empty."
_BUSY = "An answer is still streaming. Press Esc to stop it, or wait."
_MARKS_OF_CODE = ("```", "~~~")


def unavailable_reason(name: str, message: ChatMessage, *, is_busy: bool) -> str:
    """Return why an act, as `edit`, makes no sense for a message; empty where it does.

    `is_busy` says that an answer of its session is on its way.
    """
    if is_busy and name in ("regenerate", "another_model", "resume"):
        return _BUSY
    return next((reason for is_right, reason in _NEEDS.get(name, ()) if not is_right(message)), "")


def is_resumable(message: ChatMessage) -> bool:
    """Return whether an answer is incomplete, and can be continued or retried."""
    if message.role is not Role.ASSISTANT:
        return False
    if message.state is AnswerState.COMPLETE:
        return bool(message.text) and message.receipt is not None and message.receipt.is_cut
    return message.state is not AnswerState.STREAMING


def has_words(message: ChatMessage) -> bool:
    """Return whether an unfinished answer has something to continue."""
    return bool(message.text or message.reasoning) and message.state is not AnswerState.FAILED


def words_of(message: ChatMessage) -> str:
    """Return the text of a message, the result of a call; else its reasoning, else its tool calls."""
    said = message.text or message.tool_result or message.reasoning
    return said or "\n".join(call.arguments for call in message.tool_calls)


def _is_talk(message: ChatMessage) -> bool:
    return message.role in (Role.USER, Role.ASSISTANT)


def _is_answer(message: ChatMessage) -> bool:
    return message.role is Role.ASSISTANT


def _can_copy(message: ChatMessage) -> bool:
    has_details = message.failure is not None and message.state is not AnswerState.COMPLETE
    return has_details or bool(words_of(message))


def _has_code(message: ChatMessage) -> bool:
    return any(marks in message.text for marks in _MARKS_OF_CODE) or "\n    " in f"\n{message.text}"


def _can_fold(message: ChatMessage) -> bool:
    has_file = message.role is Role.USER and has_files(message.text)
    return (
        has_file
        or bool(message.files or message.reasoning)
        or message.role in (Role.SYSTEM, Role.TOOL)
    )


def _can_run_again(message: ChatMessage) -> bool:
    return message.role is not Role.TOOL or message.state not in (
        AnswerState.COMPLETE,
        AnswerState.STREAMING,
    )


def _has_version(message: ChatMessage) -> bool:
    return message.versions > 1


_OTHER_VERSIONS = (
    (
        lambda message: _has_version(message) or message.role is not Role.USER,
        "Only one version. e edits the prompt and makes another.",
    ),
    (_has_version, "Only one version. r regenerates the answer, R asks another model for one."),
)
_NEEDS: Mapping[str, Sequence[tuple[Callable[[ChatMessage], bool], str]]] = {
    "copy": ((_can_copy, "This message has nothing to copy yet."),),
    "copy_code": ((_has_code, "This message has no code block."),),
    "edit": (
        (
            lambda message: message.role is not Role.SYSTEM,
            "System prompts cannot be edited; /system sets a new one from here on.",
        ),
        (_is_talk, "Only a prompt can be edited."),
    ),
    "another_model": ((_is_talk, "Only prompts and answers can be answered by another model."),),
    "regenerate": (
        (
            lambda message: message.role is not Role.SYSTEM,
            "Only prompts and answers can be regenerated.",
        ),
        (_can_run_again, "Only calls that failed or were stopped can be run again."),
        (
            lambda message: not is_imported_call(message),
            "This call came with an imported chat and cannot be run; r on the answer above asks again.",
        ),
    ),
    "resume": (
        (_is_answer, "Only answers can be continued."),
        (
            lambda message: message.state is not AnswerState.STREAMING,
            "This answer is still streaming.",
        ),
        (is_resumable, "This answer is complete; r regenerates it."),
    ),
    "previous_version": _OTHER_VERSIONS,
    "next_version": _OTHER_VERSIONS,
    "compare": _OTHER_VERSIONS,
    "source": ((_is_answer, "Only answers have a source view."),),
    "links": ((lambda message: "http" in message.text.lower(), "This message has no links."),),
    "fold": ((_can_fold, "This message has nothing to unfold."),),
    "pager": (
        (
            lambda message: bool(message.files or words_of(message)),
            "This message has nothing to read yet.",
        ),
    ),
}
"""What an act needs, and the words where it lacks that; the first of them is told."""
