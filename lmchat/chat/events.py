"""Events of the turns of a conversation, besides those of the stream and of tool calls."""

from __future__ import annotations

from msgspec import Struct

from lmchat.chat.context import ContextPlan
from lmchat.chat.tool_rounds import ToolEvent
from lmchat.errors import RequestInvalid
from lmchat.servers.events import StreamEvent
from lmchat.sessions.message import ChatMessage


class MessageAdded(Struct, frozen=True, kw_only=True):
    """A prompt, which is not on the disk yet, or the message of a tool call was added."""

    message: ChatMessage


class AnswerBegun(Struct, frozen=True, kw_only=True):
    """An answer without any new text was added to the path; `plan` is about to be sent for it."""

    message: ChatMessage
    plan: ContextPlan
    is_replay: bool = False  # whether the answer was on the path before, and is fetched now


class SummaryAsked(Struct, frozen=True, kw_only=True):
    """A summary was asked for, with this prompt; neither is on the disk yet."""

    message: ChatMessage


ConversationEvent = MessageAdded | AnswerBegun | SummaryAsked | ToolEvent | StreamEvent


def still_answering_error() -> RequestInvalid:
    """Return the error for a second turn in one session."""
    return RequestInvalid("An answer is still streaming.", hint="Press Esc to stop it, or wait.")
