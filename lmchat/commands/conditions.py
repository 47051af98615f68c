"""Facts about a message, and what commands need of the message that they act on."""

from __future__ import annotations

from collections.abc import Callable

from lmchat.sessions.attached_files import may_hold_files
from lmchat.sessions.message import AnswerState, ChatMessage, Role, is_imported_call

MessageNeed = tuple[Callable[[ChatMessage], bool], str]
"""A condition for a message, and the words for the user where it is not met."""

NOTHING_YET = "This session is empty."
STILL_STREAMING = "An answer is still streaming. Press Esc to stop it, or wait."
_CODE_MARKS = ("```", "~~~")


def is_resumable(message: ChatMessage) -> bool:
    """Return whether a message is an answer that can be continued or retried.

    That is one that was stopped, interrupted or failed, and a complete one with text that the
    server has cut, or whose end the user has written. A streaming answer is not resumable.
    """
    if message.role is not Role.ASSISTANT:
        return False
    if message.state is AnswerState.COMPLETE:
        return bool(message.text) and message.stats is not None and message.stats.is_unfinished
    return message.state is not AnswerState.STREAMING


def has_text_to_continue(message: ChatMessage) -> bool:
    """Return whether an unfinished answer has text or reasoning that the model can continue.

    Return False for a failed answer, which is regenerated instead.
    """
    return bool(message.text or message.reasoning) and message.state is not AnswerState.FAILED


def words_of(message: ChatMessage) -> str:
    """Return the text of a message for copying and reading: its text, else its result or reasoning.

    Without any of these, return the arguments of its tool calls, one a line; empty without calls.
    """
    words = message.text or message.tool_result or message.reasoning
    return words or "\n".join(call.arguments for call in message.tool_calls)


def _is_not_system(message: ChatMessage) -> bool:
    return message.role is not Role.SYSTEM


def _is_prompt_or_answer(message: ChatMessage) -> bool:
    return message.role in (Role.USER, Role.ASSISTANT)


def _is_answer(message: ChatMessage) -> bool:
    return message.role is Role.ASSISTANT


def _has_ended(message: ChatMessage) -> bool:
    return message.state is not AnswerState.STREAMING


def _calls_no_tool(message: ChatMessage) -> bool:
    return not message.tool_calls


def _can_copy(message: ChatMessage) -> bool:
    """Return whether a message has words to copy, or an error, whose details are copied then."""
    has_details = message.failure is not None and message.state is not AnswerState.COMPLETE
    return has_details or bool(words_of(message))


def _has_code(message: ChatMessage) -> bool:
    """Return whether a message may have a code block, fenced or indented."""
    has_fence = any(mark in message.text for mark in _CODE_MARKS)
    return has_fence or "\n    " in f"\n{message.text}"


def _can_fold(message: ChatMessage) -> bool:
    """Return whether a message has something to fold or unfold.

    That is the whole text of a tool message or a system prompt, reasoning, attached files, or the
    texts of files in a prompt.
    """
    if message.role in (Role.SYSTEM, Role.TOOL) or message.reasoning or message.files:
        return True
    return message.role is Role.USER and may_hold_files(message.text)


def _can_run_again(message: ChatMessage) -> bool:
    """Return False for a tool call that is running or has a result, True for all else.

    A prompt or an answer can always be regenerated.
    """
    is_done_or_running = message.state in (AnswerState.COMPLETE, AnswerState.STREAMING)
    return message.role is not Role.TOOL or not is_done_or_running


def _is_not_imported_call(message: ChatMessage) -> bool:
    return not is_imported_call(message)


def _has_versions(message: ChatMessage) -> bool:
    return message.versions > 1


def _is_no_single_prompt(message: ChatMessage) -> bool:
    """Return False for a prompt that has only one version, True for all else."""
    return _has_versions(message) or message.role is not Role.USER


def _has_link(message: ChatMessage) -> bool:
    """Return whether a message may have a web address; its Markdown is parsed only for the list."""
    return "http" in message.text.lower()


def _can_page(message: ChatMessage) -> bool:
    return bool(message.files or words_of(message))


def _can_save(message: ChatMessage) -> bool:
    return bool(words_of(message))


# What each command needs. The first need that is not met is shown.
TO_COPY: tuple[MessageNeed, ...] = ((_can_copy, "This message has nothing to copy yet."),)
TO_SAVE: tuple[MessageNeed, ...] = ((_can_save, "This message has nothing to save yet."),)
TO_COPY_CODE: tuple[MessageNeed, ...] = ((_has_code, "This message has no code block."),)
TO_EDIT: tuple[MessageNeed, ...] = (
    (
        _is_not_system,
        "System prompts cannot be edited; /system sets a new one from here on.",
    ),
    # with an answer, the prompt before it is edited
    (_is_prompt_or_answer, "Only a prompt can be edited."),
)
TO_REWRITE: tuple[MessageNeed, ...] = (
    (_is_answer, "Only answers can be rewritten; e edits a prompt."),
    (_has_ended, STILL_STREAMING),
    (_calls_no_tool, "This answer calls tools. Rewrite the answer after them."),
)
TO_REGENERATE: tuple[MessageNeed, ...] = (
    (_is_not_system, "Only prompts and answers can be regenerated."),
    (_can_run_again, "Only calls that failed or were stopped can be run again."),
    (
        _is_not_imported_call,
        "This call came with an imported chat and cannot be run; r on the answer above asks again.",
    ),
)
TO_ASK_ANOTHER: tuple[MessageNeed, ...] = (
    (_is_prompt_or_answer, "Only prompts and answers can be answered by another model."),
)
TO_RESUME: tuple[MessageNeed, ...] = (
    (_is_answer, "Only answers can be continued."),
    (_has_ended, "This answer is still streaming."),
    (is_resumable, "This answer is complete; r regenerates it."),
)
TO_SHOW_CHOICES: tuple[MessageNeed, ...] = (
    (_is_answer, "Only answers have probabilities."),
    (_has_ended, STILL_STREAMING),
)
# two needs, as other keys make another version of a prompt than of an answer
TO_CHANGE_VERSION: tuple[MessageNeed, ...] = (
    (_is_no_single_prompt, "Only one version. e edits the prompt and makes another."),
    (
        _has_versions,
        "Only one version. r regenerates the answer, R asks another model for one.",
    ),
)
TO_SHOW_DETAILS: tuple[MessageNeed, ...] = (
    (_is_answer, "Only answers have details."),
    (_has_ended, STILL_STREAMING),
)
TO_SHOW_SOURCE: tuple[MessageNeed, ...] = ((_is_answer, "Only answers have a source view."),)
TO_LIST_LINKS: tuple[MessageNeed, ...] = ((_has_link, "This message has no links."),)
TO_FOLD: tuple[MessageNeed, ...] = ((_can_fold, "This message has nothing to unfold."),)
TO_PAGE: tuple[MessageNeed, ...] = ((_can_page, "This message has nothing to read yet."),)
