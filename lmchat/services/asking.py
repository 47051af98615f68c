"""What a turn is asked with, and what comes of it before the first token."""

from __future__ import annotations

from dataclasses import dataclass, field

from lmchat.domain.context import ContextPlan
from lmchat.domain.event import StreamEvent
from lmchat.domain.message import ChatMessage
from lmchat.domain.request import Sampling
from lmchat.domain.server import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class HowToAsk:
    """What a turn uses; a change holds from the next turn on."""

    target: Target
    """Server and model."""
    sampling: Sampling = field(default_factory=Sampling)
    """How to choose words."""
    is_truncating: bool = True
    """Whether the oldest messages may be left out; else a full window is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAdded:
    """A prompt is on the disk (or, where nothing can be saved, in memory)."""

    message: ChatMessage
    """The prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerBegun:
    """An answer is about to come."""

    message: ChatMessage
    """Its still growing message."""
    plan: ContextPlan
    """What of the conversation is sent."""


ConversationEvent = MessageAdded | AnswerBegun | StreamEvent
