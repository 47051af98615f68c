"""Early end of a thought ("answer now"): asked of the server, or by a request that continues."""

from __future__ import annotations

from enum import Enum, auto

from lmchat.chat.ports import ServerClient
from lmchat.servers.events import ReasoningDelta, StreamEvent
from lmchat.sessions.message import ChatMessage, ReasoningPart, Role, new_id, now


class _ThoughtState(Enum):
    """How far the end of the thought has come."""

    NOT_WANTED = auto()
    WANTED = auto()  # the server is asked for it with the next piece of the thought
    REFUSED = auto()  # the server cannot end it: the stream is closed with the next piece
    DONE = auto()  # the server has agreed, or the stream is to be closed; nothing more is tried


class ThoughtEnd:
    """Early end of the thought of one answer; the server is asked to end it at most once."""

    def __init__(self, backend: ServerClient, prefix: ChatMessage | None) -> None:
        """Create the end of a thought, which is not wanted yet.

        `prefix` is the beginning of the answer that the model continues; None without one.
        """
        self._backend = backend
        self._state = _ThoughtState.NOT_WANTED
        self._pieces: list[str] = [prefix.reasoning] if prefix is not None else []
        # in a request, the thought of an answer comes before its text, so no thought can follow one
        self._can_continue = prefix is None or not prefix.text

    @property
    def is_wanted(self) -> bool:
        """Whether `want` was called."""
        return self._state is not _ThoughtState.NOT_WANTED

    def want(self) -> None:
        """End the thought that streams, or else the first one that comes."""
        if self._state is _ThoughtState.NOT_WANTED:
            self._state = _ThoughtState.WANTED

    async def must_leave(self, event: StreamEvent, request_id: str) -> bool:
        """Note an event; return whether to close its stream, and to continue behind `message`.

        After `want`, the next piece of the thought shows that the model thinks: the server is asked
        to end the thought. If it refuses, return True for the piece after that one, unless the
        answer continues a text. If no such piece comes, the thought has ended without help.
        """
        if not isinstance(event, ReasoningDelta):
            return False
        self._pieces.append(event.text)
        if self._state is _ThoughtState.REFUSED:
            self._state = _ThoughtState.DONE
            return self._can_continue
        if self._state is _ThoughtState.WANTED:
            has_ended = await self._backend.end_thought(request_id)
            self._state = _ThoughtState.DONE if has_ended else _ThoughtState.REFUSED
        return False

    @property
    def message(self) -> ChatMessage:
        """The answer so far: nothing but its thought."""
        thought = ReasoningPart(text="".join(self._pieces))
        return ChatMessage(
            message_id=new_id(), role=Role.ASSISTANT, parts=(thought,), created_at=now()
        )
