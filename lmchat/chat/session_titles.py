"""Titles of sessions that the model writes after the first answer."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from lmchat.chat.answering import TurnSettings
from lmchat.chat.open_session import OpenSession
from lmchat.chat.ports import ChatStore, ModelServer
from lmchat.servers.answer import WholeAnswer
from lmchat.servers.request import ChatRequest
from lmchat.sessions.message import AnswerState, Role, text_message
from lmchat.sessions.session import title_from, title_of

_TIMEOUT_S = 60.0
_MAX_TOKENS = 1000  # enough for a model that thinks first
_QUOTED_CHARS = 2000  # of the prompt, and of the answer, that the model sees
_TITLE_REQUEST = (
    "Write a title of at most six words, in the language of the prompt, "
    "for a chat that begins as follows. "
    "Answer with the title alone.\n\nPrompt: {prompt}\n\nAnswer: {answer}"
)
_AROUND_TITLE = "\"'“”„*. \n"  # quotes, bold and the final dot that models put around a title


async def rename_by_model(
    session: OpenSession, settings: TurnSettings, server: ModelServer, store: ChatStore
) -> bool:
    """Ask the model for a title, rename the session to it, and return whether it was renamed.

    Only a session with one prompt and its complete answer is renamed, and only while it has the
    title that was made of this prompt, and while neither is taken out of requests. Raises
    `LMChatError` or `TimeoutError`.
    """
    if not _is_named_by_prompt(session):
        return False
    title = await _ask_for_title(session, settings, server)
    # the user may have sent a prompt or changed the title in the meantime
    if not title or not _is_named_by_prompt(session):
        return False
    session.rename(title)
    await store.update_session(session.header.session_id, {"title": title})
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


async def _ask_for_title(session: OpenSession, settings: TurnSettings, server: ModelServer) -> str:
    """Return the title that the model writes for the prompt and the answer of a session.

    It is empty if the model has written nothing but a thought.
    """
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
    title = answer.growing.text("text").strip().removeprefix("Title:").strip(_AROUND_TITLE)
    return title_from(title) if title else ""
