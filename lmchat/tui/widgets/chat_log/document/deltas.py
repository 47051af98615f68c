"""What arrives of an answer, piece by piece."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.domain.event import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta

Delta = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta
"""Events that the log shows as text."""


def text_of(delta: Delta) -> str:
    """Return what arrives with one."""
    return delta.arguments if isinstance(delta, ToolCallDelta) else delta.text


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
