"""How much of the context window a session and its draft take, and what of them is sent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from lmchat.base.errors import RequestInvalid
from lmchat.base.token_estimate import estimate_tokens
from lmchat.core.chat.compacting import COMPACT_FROM, compacting_start
from lmchat.core.chat.context import ContextSelection, ContextUse, TokenEstimator, tools_tokens
from lmchat.core.chat.session import OpenSession
from lmchat.core.chat.settings import TurnOptions
from lmchat.core.chat.turn_starts import TurnStart
from lmchat.core.servers.products import sent_thoughts_to
from lmchat.core.servers.products.server_api import ModelMemory
from lmchat.core.servers.request import Tool
from lmchat.core.servers.target import Target
from lmchat.core.sessions.prompts import Prompt, split_draft
from lmchat.core.sessions.session import MessagePath


class ContextWindow:
    """Context window of the next turn, with the estimator of all sessions."""

    def __init__(
        self, turn_options: TurnOptions, memory_of: Callable[[Target], ModelMemory]
    ) -> None:
        self._turn_options = turn_options
        self.estimator = TokenEstimator(memory_of)
        self._counted_tools: tuple[Sequence[Tool], int] = ((), 0)

    def draft_tokens(self, draft: str) -> int:
        text, files = split_draft(draft)
        factor = self.estimator.factor(self._turn_options.target)
        # no factor applies to images
        file_tokens = sum(part.tokens * (1 if part.is_image else factor) for part in files)
        return estimate_tokens(text, factor=factor) + round(file_tokens)

    def context_use(self, session: OpenSession, before_id: str = "") -> ContextUse | None:
        """Leave out message `before_id` and all behind it; None while older ones are unread."""
        if not session.has_all_messages:
            return None
        path = session.messages
        use = self.estimator.use(
            self._turn_options.target,
            path,
            end=path.index_of(before_id) if before_id else None,
            tool_tokens=self._tool_tokens(session),
        )
        if before_id or session.stats is None or not session.stats.is_running:
            return use
        return replace(
            use, tokens=use.tokens + (session.stats.completion_tokens or 0), is_estimated=True
        )

    def select(
        self, session: OpenSession, draft: str, before_id: str = ""
    ) -> ContextSelection | None:
        """Select what would be sent now, with the draft as a prompt.

        Message `before_id` and all behind it are not. Tools are counted once they are known. None
        without a known window, or while older messages are not read.
        """
        target = self._turn_options.target
        estimator = self.estimator
        if target is None or not session.has_all_messages:
            return None
        if estimator.window(target) is None and estimator.room(target) == math.inf:
            return None
        path = session.messages
        if before_id:
            path = path.before(path.index_of(before_id) or 0)
        if draft:
            start = self._turn_options.prompt_start(Prompt.of(draft), session.prefill_text)(path)
            path = start.sent_path
            if start.prefill is not None:
                path = path.added(start.prefill.message)
        return estimator.select(
            path,
            target,
            max_tokens=self._turn_options.sampling(session.session_sampling).max_tokens,
            tool_tokens=self._tool_tokens(session),
            sent_thoughts=sent_thoughts_to(target),
        )

    def _tool_tokens(self, session: OpenSession) -> int:
        tools = self._turn_options.tools(session.session_id)
        if tools != self._counted_tools[0]:  # the screen asks often
            self._counted_tools = tools, tools_tokens(tools)
        return self._counted_tools[1]

    def can_compact(self, session: OpenSession, draft: str, *, left_out: int) -> bool:
        """Whether the window is nearly full, and a summary would make room.

        Only messages in memory are counted. `left_out` is how many the next request leaves out: the
        server's count of an earlier one is not of these.
        """
        use = self.estimator.use(
            self._turn_options.target, session.messages, tool_tokens=self._tool_tokens(session)
        )
        tokens = use.tokens + self.draft_tokens(draft)
        if use.limit is None or (tokens < COMPACT_FROM * use.limit and not left_out):
            return False
        try:
            self.summary_start(session.messages, self._turn_options.target, left_out=left_out)
        except RequestInvalid:
            return False
        return True

    def left_out(self, session: OpenSession, draft: str) -> int:
        """Return how many messages the next request leaves out."""
        selection = self.select(session, draft)
        return 0 if selection is None else selection.left_out

    def summary_start(
        self, path: MessagePath, target: Target | None, *, left_out: int
    ) -> TurnStart:
        """Raises `RequestInvalid`."""
        use = self.estimator.use(target, path)
        # what leaves messages out has more than the window
        tokens = max(use.tokens, use.limit or 0) if left_out else use.tokens
        return compacting_start(
            path,
            prompt=self._turn_options.compact_prompt,
            tokens=tokens,
            sent_thoughts=sent_thoughts_to(target),
        )
