"""How much of the context window a session and its draft take, and what of them will be sent.

The tokens of a draft are always estimated; those of messages may be counts of the server.
"""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.chat.compacting import COMPACT_FROM, compacting_start
from lmchat.chat.context import ContextMeter, ContextPlan, ContextUse, plan_context
from lmchat.chat.session import OpenSession
from lmchat.chat.settings import TurnChoices
from lmchat.chat.turn_starts import TurnStart
from lmchat.errors import RequestInvalid
from lmchat.servers.products import sent_thoughts_to
from lmchat.sessions.attached_files import Prompt, split_draft
from lmchat.sessions.session import MessagePath
from lmchat.token_estimate import estimate_tokens


class ContextWindow:
    """Context window of the next turn, for the model that `TurnChoices` has for it.

    It owns the meter, which learns from the answers of all sessions how a model counts tokens.
    """

    def __init__(self, turn_choices: TurnChoices) -> None:
        self._turn_choices = turn_choices
        self.meter = ContextMeter()

    def draft_tokens(self, draft: str) -> int:
        """Estimate the tokens of a draft with its files."""
        text, files = split_draft(draft)
        factor = self.meter.factor(self._turn_choices.target)
        # no factor applies to images
        file_tokens = sum(part.tokens * (1 if part.is_image else factor) for part in files)
        return estimate_tokens(text, factor=factor) + round(file_tokens)

    def context_use(self, opened: OpenSession) -> ContextUse | None:
        """Return how much of the context window the messages of a session take.

        A running answer is included with the tokens that have arrived. Return None while the older
        messages of a long session are not read yet.
        """
        if not opened.has_all_messages:
            return None
        use = self.meter.use(self._turn_choices.target, opened.messages)
        if opened.figures is None or not opened.figures.is_running:
            return use
        return replace(use, tokens=use.tokens + opened.figures.tokens, is_estimated=True)

    def plan(self, opened: OpenSession, draft: str) -> ContextPlan | None:
        """Return the plan of the messages that would be sent now, with the draft as a prompt.

        The tools are not counted, as they may not be known before the request. Return None if there
        is no server, if the context window is unknown, or while older messages are not read yet.
        """
        target = self._turn_choices.target
        limit = self.meter.window(target)
        if target is None or limit is None or not opened.has_all_messages:
            return None
        path = opened.messages
        if draft:
            start = self._turn_choices.prompt_start(Prompt.of(draft), opened.first_words)(path)
            path = start.sent_path
            if start.beginning is not None:  # the first words of the answer, which are sent too
                path = path.added(start.beginning.message)
        return plan_context(
            path,
            limit=limit,
            max_tokens=self._turn_choices.sampling(opened.own_sampling).max_tokens,
            factor=self.meter.factor(target),
            sent_thoughts=sent_thoughts_to(target),
        )

    def can_compact(self, opened: OpenSession, draft: str = "") -> bool:
        """Whether messages and draft nearly fill the window, and a summary would make room.

        Only messages in memory are counted. Once `OpenSession.load_older` has read the others, the
        result is exact.
        """
        use = self.meter.use(self._turn_choices.target, opened.messages)
        tokens = use.tokens + self.draft_tokens(draft)
        if use.limit is None or tokens < COMPACT_FROM * use.limit:
            return False
        try:  # a summary that would make no room cannot begin
            self.summary_start(opened.messages)
        except RequestInvalid:
            return False
        return True

    def summary_start(self, path: MessagePath) -> TurnStart:
        """Return the start of the turn that summarises a path; raises `RequestInvalid`."""
        target = self._turn_choices.target
        return compacting_start(
            path,
            prompt=self._turn_choices.compact_prompt,
            tokens=self.meter.use(target, path).tokens,
            sent_thoughts=sent_thoughts_to(target),
        )
