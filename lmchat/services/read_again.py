"""Tokens of a prompt that the server has read again: how many, and what has changed.

A server keeps the tokens of earlier requests in its prompt cache, and finds there the beginning
that a new prompt has in common with one of them. Everything behind it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from lmchat.domain.message import ChatMessage, Role, SentThoughts
from lmchat.domain.session import MessagePath
from lmchat.domain.tool import Tool
from lmchat.domain.turn import Turn
from lmchat.services.answer_stream import AnswerStream
from lmchat.services.context_meter import MessageSize

_LEAST_TOKENS = 32
"""Fewer are not counted: chat templates write the end of a prompt differently the next time."""
_UNSURE_SHARE = 0.25  # of an estimate for new messages, which may be too low by this
_LOST = "the server had them no longer"


class _SentPrompt(Struct, frozen=True, kw_only=True):
    """An answered request: with its answer, it is in the cache of the server."""

    server_id: str
    model_id: str
    tools: tuple[Tool, ...]
    messages: tuple[ChatMessage, ...]  # those of the prompt, and the answer as the last one
    left_out: int  # number of older messages that were not sent
    tokens: int | None  # of prompt and answer; None if the server has not counted both


class CachedSession:
    """Messages of one session that servers have read in this run of lmchat."""

    def __init__(self) -> None:
        self._last: _SentPrompt | None = None
        self._read_ids: set[str] = set()  # ids of all messages that some server has read

    def note(
        self, stream: AnswerStream, answer: ChatMessage, turn: Turn, factor: float
    ) -> dict[str, Any]:
        """Note an answered request; return what its receipt says about tokens read again.

        `factor` is the correction of the estimates for the model. The result is empty for the first
        request of a run, and where the server did not count its cached tokens. An answer that is
        fetched again was no new request: it changes nothing here.
        """
        usage = turn.usage
        if usage is None or usage.prompt_tokens is None or stream.replayed is not None:
            return {}
        fields: dict[str, Any] = {}
        if self._last is not None and usage.cached_tokens is not None:
            fields = self._reread_fields(
                self._last, stream, usage.prompt_tokens, usage.cached_tokens, factor
            )
        target = stream.settings.target
        tokens = None if turn.is_estimated else usage.prompt_tokens + turn.tokens
        self._last = _SentPrompt(
            server_id=target.server_id,
            model_id=target.model_id,
            tools=stream.tools,
            messages=(*stream.plan.messages, answer),
            left_out=stream.plan.left_out,
            tokens=tokens,
        )
        self._read_ids.update(message.message_id for message in self._last.messages)
        return fields

    def _reread_fields(
        self,
        last: _SentPrompt,
        stream: AnswerStream,
        prompt_tokens: int,
        cached_tokens: int,
        factor: float,
    ) -> dict[str, Any]:
        """Return how many tokens were read again, whether that is an estimate, and the cause.

        If the prompt continues or repeats the last request, the number is exact: that of the tokens
        that should be in the cache, less those that were. Otherwise it is estimated.
        """
        messages = stream.plan.messages
        cause = _changed_part(last, stream) or _changed_message(last, stream)
        should_be_cached = last.tokens  # if the prompt continues the last request
        if _ids(messages) == _ids(last.messages)[: len(messages)]:  # the prompt is repeated
            should_be_cached = prompt_tokens - 1  # the last token of a prompt is always read
        if not cause and should_be_cached is not None:
            reread = should_be_cached - cached_tokens
            if reread < _LEAST_TOKENS:
                reread = 0
            return {"reread_tokens": reread, "reread_cause": _LOST if reread else ""}
        read_tokens = prompt_tokens - cached_tokens
        return self._estimated_fields(last, stream, read_tokens, factor, cause)

    def _estimated_fields(
        self, last: _SentPrompt, stream: AnswerStream, read_tokens: int, factor: float, cause: str
    ) -> dict[str, Any]:
        """Return the fields of `_reread_fields` with an estimate.

        Of the tokens that the server has read, those of messages and tools that are new to it were
        not read again. These are estimated, so a small rest counts as none.
        """
        messages = stream.plan.messages
        new_messages = [message for message in messages if message.message_id not in self._read_ids]
        new_tokens = sum(MessageSize.of(message).tokens(factor) for message in new_messages)
        if last.tools != stream.tools:
            new_tokens += stream.tool_tokens
        reread = read_tokens - new_tokens
        if reread < _LEAST_TOKENS + _UNSURE_SHARE * new_tokens:
            return {"reread_tokens": 0, "is_reread_estimated": True}
        return {
            "reread_tokens": reread,
            "is_reread_estimated": True,
            "reread_cause": cause or _LOST,
        }


def _changed_part(last: _SentPrompt, stream: AnswerStream) -> str:
    """Return which of server, model, tools and system prompt has changed; empty if none has."""
    target = stream.settings.target
    if last.server_id != target.server_id:
        return "the server changed"
    if last.model_id != target.model_id:
        return "the model changed"
    if last.tools != stream.tools:
        return "the tools changed"
    if _system_id(last.messages) != _system_id(stream.plan.messages):
        return "the system prompt changed"
    return ""


def _changed_message(last: _SentPrompt, stream: AnswerStream) -> str:
    """Return the first change of the messages, place by place; empty without one.

    The messages of the last request are compared with those that are sent now. Its answer is one of
    them, and counts as changed if it is sent without its thought.
    """
    plan = stream.plan
    messages = plan.messages
    pairs = zip(last.messages, messages, strict=False)
    changed = [(old, new) for old, new in pairs if old.message_id != new.message_id]
    if not changed:
        answer = last.messages[-1]
        has_answer = len(messages) >= len(last.messages)
        drops_thoughts = stream.settings.target.sent_thoughts is not SentThoughts.ALL
        if has_answer and answer.reasoning and drops_thoughts:
            number = _number(stream.path, answer)
            return f"the thought of message {number} is not sent again"
        return ""
    old, new = changed[0]
    if plan.left_out > last.left_out:
        return "the oldest messages were left out"
    old_index = stream.path.index_of(old.message_id)
    if old_index is not None and stream.path[old_index].is_excluded:
        return f"message {_number(stream.path, old)} was taken out"
    is_old_sent_later = any(message.message_id == old.message_id for message in messages)
    if is_old_sent_later:  # behind `new`, which the last request did not have
        return f"message {_number(stream.path, new)} was put back"
    return f"message {_number(stream.path, new)} changed"


def _system_id(messages: Sequence[ChatMessage]) -> str:
    """Return the id of the system prompt, with which a request begins; empty without one."""
    first = messages[0]
    return first.message_id if first.role is Role.SYSTEM else ""


def _number(path: MessagePath, wanted: ChatMessage) -> int:
    """Return the number of a message in the session, from 1; system prompts are not counted."""
    number = 0
    for message in path:
        if message.role is not Role.SYSTEM:
            number += 1
        if message.message_id == wanted.message_id:
            break
    return number


def _ids(messages: Sequence[ChatMessage]) -> list[str]:
    return [message.message_id for message in messages]
