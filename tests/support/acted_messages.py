"""A message of every kind, and which acts make sense for it."""

from __future__ import annotations

from lmchat.domain.message import (
    AnswerState,
    ChatMessage,
    Failure,
    Limit,
    ReasoningPart,
    Receipt,
    Role,
    TextPart,
    ToolCallPart,
    new_id,
    now,
    text_message,
)
from lmchat.tui.commands import COMMANDS

ACTS = [one.command_id.partition(".")[2] for one in COMMANDS if one.action.startswith("message(")]
TEXT = TextPart(text="See https://example.org\n\n```py\n1\n```\n")
THOUGHT = ReasoningPart(text="They ask.")
FAILURE = Failure(kind="dropped", message="The connection broke off.")


def reply(*parts, state: AnswerState = AnswerState.COMPLETE, **more) -> ChatMessage:
    return ChatMessage(
        message_id=new_id(), role=Role.ASSISTANT, parts=parts, created_at=now(), state=state, **more
    )


MESSAGES = {
    "prompt": text_message(Role.USER, "Hello"),
    "system": text_message(Role.SYSTEM, "Be brief."),
    "result of a tool": text_message(Role.TOOL, "42"),
    "answer": reply(TEXT, receipt=Receipt(finish_reason="stop")),
    "cut short": reply(TEXT, receipt=Receipt(finish_reason="length", limit=Limit.MAX_TOKENS)),
    "second version": reply(TEXT, version=2, versions=2),
    "thought only": reply(THOUGHT, state=AnswerState.STOPPED),
    "stopped": reply(THOUGHT, TEXT, state=AnswerState.STOPPED),
    "interrupted": reply(TEXT, state=AnswerState.INTERRUPTED, failure=FAILURE),
    "failed": reply(state=AnswerState.FAILED, failure=FAILURE),
    "stopped before a word": reply(state=AnswerState.STOPPED),
    "streaming": reply(TEXT, state=AnswerState.STREAMING),
    "call of a tool": reply(ToolCallPart(call_id="1", name="add", arguments='{"a": 1}')),
}
UNFINISHED = {"cut short", "thought only", "stopped", "interrupted", "failed", "stopped before a word"}
SENSIBLE = {
    "copy": set(MESSAGES) - {"stopped before a word"},
    "copy_code": {"answer", "cut short", "second version", "stopped", "interrupted", "streaming"},
    "edit": set(MESSAGES) - {"system", "result of a tool"},
    "regenerate": set(MESSAGES) - {"system", "result of a tool"},
    "resume": UNFINISHED,
    "fork": set(MESSAGES),
    "previous_version": {"second version"},
    "next_version": {"second version"},
    "tree": set(MESSAGES),
    "source": set(MESSAGES) - {"prompt", "system", "result of a tool"},
    "links": {"answer", "cut short", "second version", "stopped", "interrupted", "streaming"},
    "fold": {"system", "thought only", "stopped"},
    "pager": set(MESSAGES) - {"failed", "stopped before a word"},
    "delete": set(MESSAGES),
    "undo": set(MESSAGES),
}
