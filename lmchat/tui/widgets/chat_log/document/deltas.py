"""What arrives of an answer, piece by piece."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.domain.event import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from lmchat.domain.message import Part, ReasoningPart, RefusalPart, TextPart, ToolCallPart

Delta = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta
"""Events that the log shows as text."""


def text_of(delta: Delta) -> str:
    """Return what arrives with one."""
    return delta.arguments if isinstance(delta, ToolCallDelta) else delta.text


def since(before: Sequence[Part], now: Sequence[Part]) -> list[Delta] | None:
    """Return what came at the end of an answer; None where it has changed before its end."""
    known = len(before) - 1
    if list(now[: max(known, 0)]) != list(before[: max(known, 0)]) or len(now) < len(before):
        return None
    fresh: list[Delta] = []
    for number, part in enumerate(now[max(known, 0) :], max(known, 0)):
        old = before[known] if number == known else None
        text = _text_in(old) if old is not None else ""
        same_kind = old is None or (type(old) is type(part) and _name_of(old) in ("", _name_of(part)))
        if not (same_kind and _text_in(part).startswith(text)):
            return None
        more = _text_in(part)[len(text) :]
        match part:
            case TextPart():
                fresh.append(TextDelta(text=more))
            case ReasoningPart():
                fresh.append(ReasoningDelta(text=more))
            case RefusalPart():
                fresh.append(RefusalDelta(text=more))
            case ToolCallPart(name=name):
                index = sum(isinstance(one, ToolCallPart) for one in now[:number])
                fresh.append(ToolCallDelta(index=index, name=name, arguments=more))
    return fresh


def _text_in(part: Part) -> str:
    return part.arguments if isinstance(part, ToolCallPart) else part.text


def _name_of(part: Part) -> str:
    return part.name if isinstance(part, ToolCallPart) else ""


def merged(deltas: Sequence[Delta]) -> list[Delta]:
    """Return the same with neighbours of one kind joined: tokens come in hundreds."""
    result: list[Delta] = []
    texts: list[str] = []
    for index, delta in enumerate(deltas):
        if isinstance(delta, ToolCallDelta):
            result.append(delta)
            continue
        texts.append(delta.text)
        following = deltas[index + 1] if index + 1 < len(deltas) else None
        if type(following) is not type(delta):
            result.append(type(delta)(text="".join(texts)))
            texts.clear()
    return result
