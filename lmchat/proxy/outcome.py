"""How a stream ended: the decision table for everything that a server can leave out."""

from __future__ import annotations

from msgspec import Struct

from lmchat.domain.event import StreamFinished
from lmchat.errors import ServerRejected, StreamInterrupted

_KEPT = "What had arrived is kept; continue or regenerate it."


class Ending(Struct, frozen=True, kw_only=True):
    """What was seen of a stream when its bytes ended."""

    has_done: bool
    """Whether `[DONE]` came."""
    finish_reason: str
    """The server's word, empty where none came."""
    has_text: bool
    """Whether any text, thought or tool call came."""
    bad_events: int = 0
    """Events that were no JSON."""
    cut: str = ""
    """How the transport broke, empty where it ended cleanly."""


def conclude(ending: Ending) -> StreamFinished:
    """Decide what the end means.

    Raises:
        StreamInterrupted: the answer is not complete.
        ServerRejected: there was none.
    """
    if not ending.cut and (ending.finish_reason or (ending.has_done and ending.has_text)):
        return StreamFinished(reason=ending.finish_reason)
    if ending.cut or ending.has_text:
        words = "the connection broke" if ending.cut else "the server closed the connection"
        raise StreamInterrupted(
            f"Streaming failed: {words} before the answer was complete.", hint=_KEPT, details=ending.cut
        )
    if ending.bad_events:
        raise ServerRejected(
            "Streaming failed: the server sent nothing that can be read.",
            kind="malformed_stream",
            hint="Look at the server's log; is it an OpenAI-compatible server?",
        )
    if ending.has_done:
        raise ServerRejected(
            "Streaming failed: the server sent an empty answer.",
            kind="empty_answer",
            hint="Often the conversation is longer than the model's context: load it with a larger one.",
        )
    raise ServerRejected(
        "Streaming failed: the server closed the connection without an answer.",
        kind="empty_answer",
        hint="Look at the server's log, then try again.",
    )
