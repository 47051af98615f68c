"""Actions on a message: availability, and the reason where one is not available."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lmchat.domain.message import AnswerState, ChatMessage, Role, has_files

NOTHING_YET = "Nothing was said in this session yet."
_BUSY = "An answer is still on its way. Stop it with Esc, or wait."
_MARKS_OF_CODE = ("```", "~~~")


def why_not(name: str, message: ChatMessage, *, is_busy: bool) -> str:
    """Return why an act makes no sense for a message; empty where it does.

    Args:
        name: The last part of the command's id, as `edit`.
        message: The message as it is now.
        is_busy: Whether an answer of its session is on its way.
    """
    if is_busy and name in ("regenerate", "resume"):
        return _BUSY
    find_reason = _REASONS.get(name)
    return find_reason(message) if find_reason else ""


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
    """Return the text of a message; else its reasoning, else its tool calls."""
    return message.text or message.reasoning or "\n".join(call.arguments for call in message.tool_calls)


def _copy(message: ChatMessage) -> str:
    has_details = message.failure is not None and message.state is not AnswerState.COMPLETE
    return "" if has_details or words_of(message) else "There is nothing in it to copy yet."


def _copy_code(message: ChatMessage) -> str:
    has_code = any(marks in message.text for marks in _MARKS_OF_CODE) or "\n    " in f"\n{message.text}"
    return "" if has_code else "This message has no code block."


def _edit(message: ChatMessage) -> str:
    if message.role is Role.SYSTEM:
        return "A system prompt is not edited; /system sets another one from here on."
    return "" if message.role in (Role.USER, Role.ASSISTANT) else "Only a prompt can be edited."


def _regenerate(message: ChatMessage) -> str:
    is_talk = message.role in (Role.USER, Role.ASSISTANT)
    return (
        "" if is_talk else "Only an answer, or the answer to a prompt, can be regenerated; this is neither."
    )


def _resume(message: ChatMessage) -> str:
    if message.role is not Role.ASSISTANT:
        return "Only an answer can be continued; this is none."
    if message.state is AnswerState.STREAMING:
        return "This answer is still on its way."
    return (
        ""
        if is_resumable(message)
        else "This answer is complete; r, or Ctrl+R for the last one, answers anew."
    )


def _version(message: ChatMessage) -> str:
    another = "e makes one of a prompt" if message.role is Role.USER else "r makes one of an answer"
    return "" if message.versions > 1 else f"There is no other version of it; {another}."


def _source(message: ChatMessage) -> str:
    return "" if message.role is Role.ASSISTANT else "Only an answer has a source that looks different."


def _links(message: ChatMessage) -> str:
    return "" if "http" in message.text.lower() else "This message has no links."


def _fold(message: ChatMessage) -> str:
    has_file = message.role is Role.USER and has_files(message.text)
    can_fold = has_file or message.reasoning or message.role is Role.SYSTEM
    return "" if can_fold else "There is nothing to unfold in it."


def _pager(message: ChatMessage) -> str:
    return "" if words_of(message) else "There is nothing in it to read yet."


_REASONS: Mapping[str, Callable[[ChatMessage], str]] = {
    "copy": _copy,
    "copy_code": _copy_code,
    "edit": _edit,
    "regenerate": _regenerate,
    "resume": _resume,
    "previous_version": _version,
    "next_version": _version,
    "source": _source,
    "links": _links,
    "fold": _fold,
    "pager": _pager,
}
