"""Reading ahead (R-41): the server caches the active session while the user types."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from msgspec import Struct

from lmchat.base.errors import LMChatError
from lmchat.core.chat.context_window import ContextWindow
from lmchat.core.chat.session import OpenSession
from lmchat.core.chat.sessions import OpenSessions
from lmchat.core.chat.settings import TurnOptions
from lmchat.core.servers.products import product_named
from lmchat.core.servers.protocols import AnswerSource
from lmchat.core.servers.request import ChatRequest
from lmchat.core.servers.target import Target
from lmchat.core.sessions.prompts import Prompt

LEAST_TOKENS = 500  # fewer are not worth a request
_logger = logging.getLogger(__name__)


class ReadAhead(Struct, eq=False):
    """Reader of the active session on the server of the next turn."""

    _backend: AnswerSource
    _turn_options: TurnOptions
    _sessions: OpenSessions
    _context_window: ContextWindow
    _next_request: Callable[[OpenSession, Prompt], Awaitable[ChatRequest]]
    fraction: float | None = None  # 0 to 1, while something is read
    on_change: Callable[[], None] = lambda: None  # when reading starts and ends
    _task: asyncio.Task[None] | None = None
    _followed: object = None
    """Server, model and messages that are or were read; None after `cancel`."""

    def follow(self, draft: str) -> None:
        """Call this after each change of the draft.

        Reading starts again if what is read has changed. An empty draft ends it.
        """
        target = self._turn_options.target
        if not draft or target is None:
            self.cancel()
            return
        followed = (target.endpoint, target.model_id, self._sessions.active.messages)
        if followed == self._followed:
            return
        self.cancel()
        if self._may_read(target):  # else the next letter tries again
            self._followed = followed
            self._task = asyncio.create_task(self._read(), name="read ahead")

    def cancel(self) -> None:
        """What the server has read stays in its cache."""
        self._followed = None
        self.fraction = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _may_read(self, target: Target) -> bool:
        """False while any session has a turn, which may need the server."""
        if (
            not self._turn_options.is_ready
            or not product_named(target.product).chat.read_ahead_fields
        ):
            return False
        if not self._sessions.active.has_all_messages or self._sessions.running:
            return False
        toolbox = self._turn_options.toolbox
        # tools start their servers, which only a sent prompt may do
        if toolbox is not None and toolbox.must_start(target):
            return False
        wanted = self._turn_options.chat_settings.read_ahead
        return wanted == "always" or (wanted == "local" and target.endpoint.is_loopback)

    async def _read(self) -> None:
        """An error only ends the reading."""
        session = self._sessions.active
        use = self._context_window.context_use(session)
        if use is None or use.tokens < LEAST_TOKENS:
            return
        try:
            # what the user types is not known yet
            request = await self._next_request(session, Prompt(""))
            self.fraction = 0.0
            self.on_change()
            async with aclosing(self._backend.read_ahead(request)) as reports:
                async for progress in reports:
                    self.fraction = progress.fraction
        except LMChatError as error:
            _logger.info("reading ahead: %s", error.kind)
        finally:
            # else `cancel` has ended this task, and `fraction` may be that of the next
            if self._task is asyncio.current_task():
                self.fraction = None
            self.on_change()
