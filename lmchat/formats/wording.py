"""What all readable formats say alike: names, times, why an answer is not complete."""

from __future__ import annotations

from datetime import datetime, tzinfo

from lmchat.domain.message import AnswerState, ChatMessage, Role
from lmchat.domain.session import Session
from lmchat.text import safe_line

_NAMES = {Role.USER: "You", Role.SYSTEM: "System", Role.TOOL: "Tool", Role.ASSISTANT: "Assistant"}
_STATES = {
    AnswerState.STREAMING: "Still arriving",
    AnswerState.STOPPED: "Stopped",
    AnswerState.INTERRUPTED: "Interrupted",
    AnswerState.FAILED: "Failed",
}

REFUSED = "Refused"
"""The head above the words in which a model refuses to answer."""


def speaker(message: ChatMessage) -> str:
    """Return who speaks: the model by its name."""
    if message.role is Role.ASSISTANT and message.model:
        return safe_line(message.model)
    return _NAMES[message.role]


def moment(time: datetime, zone: tzinfo | None) -> str:
    """Return a time as `2026-11-20 14:02:05 UTC`; no zone means that of this machine."""
    local = time.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"


def ending(message: ChatMessage) -> tuple[str, str] | None:
    """Return how an unfinished answer ended and why, None for a complete message."""
    if message.state is AnswerState.COMPLETE:
        return None
    failure = message.failure
    why = "" if failure is None else safe_line(f"{failure.message} {failure.hint}")
    return _STATES[message.state], why


def thought(message: ChatMessage) -> str:
    """Return the head above what a model thought."""
    thought_ms = message.receipt.whole.reasoning_ms if message.receipt else None
    return "Thought" if thought_ms is None else f"Thought for {thought_ms / 1e3:.1f} s"


def answer_tokens(session: Session) -> tuple[int, bool]:
    """Return the tokens of all answers, and whether any of them is an estimate."""
    receipts = [message.receipt.whole for message in session.messages if message.receipt is not None]
    counted = [receipt for receipt in receipts if receipt.completion_tokens is not None]
    total = sum(receipt.completion_tokens or 0 for receipt in counted)
    return total, any(receipt.is_estimated for receipt in counted)
