"""What the screen shows of the window, counted by the server while nothing moves."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.context import needed_tokens, plan_context
from lmchat.domain.message import ChatMessage, Role, text_message
from lmchat.domain.path import MessagePath
from lmchat.domain.server import Target
from lmchat.services.asking import HowToAsk, request_for
from lmchat.services.context_meter import server_count
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.ports import Backend

_MOST_TOKENS = 100_000
"""What is longer stays an estimate where the window is unknown: there is nothing to compare it with."""


class AtRest(Struct, frozen=True, kw_only=True):
    """What could be counted; as long as it is the same, it need not be counted again."""

    target: Target
    """Where, and by which model."""
    session_id: str
    """Of which session."""
    length: int
    """How many messages."""
    last_id: str
    """The last of them."""
    draft: str
    """What stands in the prompt."""


class RestingCount:
    """Has the server count what the screen shows of the window, while no answer is on its way.

    Only a server of this machine: what is opened or typed is nobody else's business before it is sent.
    """

    def __init__(self, open_sessions: OpenSessions, backend: Backend) -> None:
        self._open_sessions = open_sessions
        self._backend = backend
        self._path_asked: AtRest | None = None

    def at_rest(self, draft: str) -> AtRest | None:
        """Return what could be counted now; None where something moves, or nothing is known of the model."""
        target, conversation = self._open_sessions.target, self._open_sessions.shown.conversation
        if target is None or target.model is None or target.is_loading or not target.endpoint.is_loopback:
            return None
        if self._open_sessions.asking or not conversation.is_whole:
            return None
        messages = conversation.messages
        return AtRest(
            target=target,
            session_id=conversation.header.session_id,
            length=len(messages),
            last_id=messages[-1].message_id if messages else "",
            draft=draft,
        )

    async def count(self, wanted: AtRest) -> None:
        """Count the conversation where it is estimated, and with it what stands in the prompt."""
        meter, how = self._open_sessions.meter, self._open_sessions.how_to_ask()
        path, said = self._open_sessions.shown.conversation.messages, self._with_draft(wanted.draft)
        without_draft = replace(wanted, draft="")
        if path and without_draft != self._path_asked and meter.use(wanted.target, path).is_estimated:
            self._path_asked = without_draft
            tokens = await self._ask(how, path)
            if tokens is not None:
                meter.note_count(wanted.target, path, tokens)
        if wanted.draft:
            tokens = await self._ask(how, said)
            if tokens is not None:
                meter.note_draft(wanted.target, path, wanted.draft, tokens)

    def _with_draft(self, draft: str) -> MessagePath:
        conversation = self._open_sessions.shown.conversation
        said: list[ChatMessage] = [*conversation.opening, text_message(Role.USER, draft)]
        return conversation.messages.added(*said)

    async def _ask(self, how: HowToAsk, path: MessagePath) -> int | None:
        """Ask for the tokens of a path, where all of it may fit."""
        meter, target = self._open_sessions.meter, how.target
        factor, limit = meter.factor(target), target.model.context if target.model else None
        if needed_tokens(path, factor=factor) > (_MOST_TOKENS if limit is None else limit):
            return None  # before the plan, which takes 30 ms for 10 000 messages: it reads them all
        plan = plan_context(path, limit=None, factor=factor)
        if not plan.messages:
            return None
        tokens = await server_count(self._backend, request_for(how, plan, None))
        if tokens is not None:
            meter.weigh(target, plan.messages, tokens)
        return tokens
