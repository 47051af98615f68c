"""Session titles written by the model."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing, suppress

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import LMChatError
from lmchat.core.answers.streamed_answer import StreamedAnswer
from lmchat.core.chat.events import Reporter, TitleChanged
from lmchat.core.chat.session import OpenSession
from lmchat.core.chat.settings import TurnOptions
from lmchat.core.servers.protocols import AnswerSource
from lmchat.core.servers.request import ChatRequest, Sampling
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import AnswerState, Role, is_whole_end, text_message
from lmchat.core.sessions.session import title_from, title_of
from lmchat.core.storage.store import Store

_TIMEOUT_S = 60.0
_MAX_TOKENS = 1000  # for a model that thinks first
_QUOTED_CHARS = 2000  # of the prompt, and of the answer
_TITLE_REQUEST = (
    "Write a title of at most six words, in the language of the prompt, "
    "for a chat that begins as follows. "
    "Answer with the title alone.\n\nPrompt: {prompt}\n\nAnswer: {answer}"
)
_MARKS = r"^#+ |(?<!\w)\*\*(.+?)\*\*(?!\w)"  # of Markdown
_AROUND_TITLE = "\"'“”„*. \n"  # models put these around a title


class TitleWriter(Struct, eq=False):
    """Writer of titles: the model names a session after its first answer, unless the user has."""

    _turn_options: TurnOptions
    _backend: AnswerSource
    _store: Store
    _reporter: Reporter
    _task: asyncio.Task[None] | None = None

    def start(self, session: OpenSession, target: Target) -> None:
        """`target` is that of the turn: no other model gets to read the chat."""
        if self._turn_options.chat_settings.auto_title:
            self._task = asyncio.create_task(self._rename(session, target), name="title")

    def give_up(self) -> None:
        """Give up the title: it keeps the server busy."""
        if self._task is not None:
            self._task.cancel()

    async def _rename(self, session: OpenSession, target: Target) -> None:
        """Name a session with one prompt and its complete answer, unless that fails."""
        prompts = [message for message in session.messages if message.role is Role.USER]
        if len(prompts) != 1:
            return
        prompt = prompts[0]
        answer = session.messages[-1]
        first_title = title_of(prompt.text, prompt.files)
        is_complete = answer.role is Role.ASSISTANT and answer.state is AnswerState.COMPLETE
        if not is_complete or session.header.title != first_title:
            return
        text = _TITLE_REQUEST.format(
            prompt=prompt.text[:_QUOTED_CHARS], answer=answer.text[:_QUOTED_CHARS]
        )
        # the session's options are for its answers
        options = self._turn_options.layers.values({}, target.model_id)
        sampling = Sampling().with_options(options)
        request = ChatRequest(
            target=target,
            messages=(text_message(Role.USER, text),),
            sampling=replace(sampling.without_limits(), max_tokens=_MAX_TOKENS),
        )
        streamed = StreamedAnswer(target)
        with suppress(LMChatError, TimeoutError):
            async with asyncio.timeout(_TIMEOUT_S):
                async with aclosing(self._backend.stream(request)) as events:
                    async for event in events:
                        streamed.add(event)
            # "**Title:** Lettuce in pots." becomes "Lettuce in pots"
            text = re.sub(_MARKS, r"\1", streamed.content.text("text").strip())
            written = text.strip(_AROUND_TITLE).removeprefix("Title:").strip(_AROUND_TITLE)
            # cut if the answer is cut and has no further line
            is_whole = is_whole_end(streamed.stats.finish_reason) or "\n" in written
            is_data = written.startswith(("{", "[", "```"))
            if not written or is_data or not is_whole:  # perhaps only a thought
                return
            title = title_from(written)
            stored = await self._store.update_session(
                session.session_id, {"title": title}, old_title=first_title
            )
            if stored.title == title:  # else the user has changed it since
                session.update_header(stored)
                self._reporter.report(session, TitleChanged())
