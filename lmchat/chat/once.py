"""Answers that belong to no session: those of rows and comparisons, and titles of sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.chat.answering import TurnSettings
from lmchat.chat.open_session import OpenSession
from lmchat.chat.ports import ModelServer
from lmchat.errors import LMChatError
from lmchat.servers.answer import WholeAnswer
from lmchat.servers.events import StreamEvent
from lmchat.servers.model import ModelInfo
from lmchat.servers.products import drawn_seed
from lmchat.servers.request import AnyText, ChatRequest, Sampling, WantedOutput
from lmchat.sessions.message import AnswerState, AnswerStats, ChatMessage, Role, text_message
from lmchat.sessions.session import title_from, title_of
from lmchat.storage.store import Store
from lmchat.terminal.output import rounded

_TIMEOUT_S = 60.0
_MAX_TOKENS = 1000  # enough for a model that thinks first
_QUOTED_CHARS = 2000  # of the prompt, and of the answer, that the model sees
_TITLE_REQUEST = (
    "Write a title of at most six words, in the language of the prompt, "
    "for a chat that begins as follows. "
    "Answer with the title alone.\n\nPrompt: {prompt}\n\nAnswer: {answer}"
)
_AROUND_TITLE = "\"'“”„*. \n"  # quotes, bold and the final dot that models put around a title


class SingleAnswer(Struct, frozen=True, kw_only=True):
    """An answer to messages that belong to no session; incomplete if it ended with an error."""

    model: str  # that has answered, as the server names it
    reply: str = ""
    reasoning: str = ""
    stats: AnswerStats = AnswerStats()
    is_refusal: bool = False
    error: LMChatError | None = None

    @property
    def usage(self) -> dict[str, int | bool | None]:
        """Token counts as `--json` prints them; `prompt_tokens` is None if not reported."""
        prompt_tokens = self.stats.prompt_tokens
        completion_tokens = self.stats.completion_tokens or 0
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": (prompt_tokens or 0) + completion_tokens,
            "estimated": self.stats.is_estimated or prompt_tokens is None,
        }

    @property
    def figures(self) -> dict[str, Any]:
        """Usage and times in milliseconds, by their names in JSON."""
        return {
            "usage": self.usage,
            "ttft_ms": rounded(self.stats.ttft_ms),
            "elapsed_ms": rounded(self.stats.elapsed_ms),
        }


def single_request(
    model: ModelInfo,
    messages: Sequence[ChatMessage],
    options: dict[str, object],
    output: WantedOutput | None = None,
) -> ChatRequest:
    """Return a request for an answer that belongs to no session, with these sampling options.

    If no seed is set and the server takes one, a seed is drawn, so that the answer can be repeated.
    """
    sampling = Sampling().with_options(options)
    seed = drawn_seed(model.product, sampling.options)
    if seed is not None:
        sampling = replace(sampling, seed=seed)
    return ChatRequest(
        endpoint=model.endpoint,
        product=model.product,
        model=model.model_id,
        messages=tuple(messages),
        sampling=sampling,
        output=output or AnyText(),
        has_drawn_seed=seed is not None,
    )


async def answer_of(
    server: ModelServer,
    request: ChatRequest,
    model: ModelInfo,
    show: Callable[[StreamEvent], None] = lambda _: None,
) -> SingleAnswer:
    """Send a request and return its answer, with the error that has ended it, if any.

    `show` is called with each event while the answer arrives.
    """
    answer = WholeAnswer(request.model)
    failure = None
    try:
        await answer.read(server.stream(request), show)
    except LMChatError as error:
        failure = error
    refusal = answer.growing.text("refusal")
    return SingleAnswer(
        reply=answer.growing.text("text", "refusal"),
        reasoning=answer.growing.text("reasoning"),
        model=answer.turn.model,
        stats=answer.turn.stats(context=model.context, max_tokens=request.sampling.max_tokens),
        is_refusal=bool(refusal),
        error=failure,
    )


# Titles that the model writes after the first answer


async def rename_by_model(
    session: OpenSession, settings: TurnSettings, server: ModelServer, store: Store
) -> bool:
    """Ask the model for a title, rename the session to it, and return whether it was renamed.

    Only a session with one prompt and its complete answer is renamed, and only while it has the
    title that was made of this prompt, and while neither is taken out of requests. Raises
    `LMChatError` or `TimeoutError`.
    """
    if not _is_named_by_prompt(session):
        return False
    path = session.messages
    prompt = next(message for message in path if message.role is Role.USER)
    text = _TITLE_REQUEST.format(
        prompt=prompt.text[:_QUOTED_CHARS], answer=path[-1].text[:_QUOTED_CHARS]
    )
    request = ChatRequest(
        endpoint=settings.target.endpoint,
        product=settings.target.product,
        model=settings.target.model_id,
        messages=(text_message(Role.USER, text),),
        sampling=replace(settings.sampling, max_tokens=_MAX_TOKENS, stop=()),
    )
    answer = WholeAnswer(request.model)
    async with asyncio.timeout(_TIMEOUT_S):
        await answer.read(server.stream(request))
    # "Title: **Lettuce in pots**." becomes "Lettuce in pots"
    typed = answer.growing.text("text").strip().removeprefix("Title:").strip(_AROUND_TITLE)
    title = title_from(typed) if typed else ""  # empty after nothing but a thought
    # the user may have sent a prompt or changed the title in the meantime
    if not title or not _is_named_by_prompt(session):
        return False
    session.rename(title)
    await store.update_session(session.session_id, {"title": title})
    return True


def _is_named_by_prompt(session: OpenSession) -> bool:
    """Return whether a session has one prompt, its complete answer, and the title of this prompt.

    It does not count as such if the prompt or the answer is taken out of requests.
    """
    path = session.messages
    prompts = [message for message in path if message.role is Role.USER]
    if len(prompts) != 1 or path[-1].role is not Role.ASSISTANT:
        return False
    if path[-1].state is not AnswerState.COMPLETE:
        return False
    if prompts[0].is_excluded or path[-1].is_excluded:
        return False
    return session.header.title == title_of(prompts[0])
