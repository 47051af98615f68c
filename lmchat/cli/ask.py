"""`lmchat ask`: one prompt, one answer, on pipes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing

from msgspec.structs import replace

from lmchat.cli.answer import Printer
from lmchat.cli.form import Form, Taken, form_of
from lmchat.cli.parts import Parts
from lmchat.cli.pipe import read_pipe
from lmchat.cli.target import find_target
from lmchat.cli.wiring import World, open_world
from lmchat.config.settings import Settings
from lmchat.domain.message import AnswerState, ChatMessage
from lmchat.errors import AnswerUnfit, LMChatError, WrongUse
from lmchat.services.asking import ConversationEvent, HowToAsk
from lmchat.services.conversation import Conversation
from lmchat.services.open_sessions import OpenSessions
from lmchat.structured.wanted import second

_WRONG_USE = ("bad_request", "not_allowed")


def ask(parts: Parts) -> Coroutine[None, None, int]:
    """Ask, print the answer while it arrives, and return how that went."""
    form = form_of(parts.options)
    # Before there is an event loop: Ctrl-C could not end a thread that waits for a pipe.
    return _ask(parts, _prompt(parts), form)


async def _ask(parts: Parts, prompt: str, form: Form | None) -> int:
    async with open_world(parts, is_kept=_is_kept(parts)) as world:
        open_sessions = OpenSessions(chat=world.settings.chat, backend=world.backend, store=world.store)
        await _open_session(parts, world, open_sessions)
        settings = await _settings(parts, world)
        open_sessions.target = await find_target(world.backend, settings, world.remembered, parts.output.note)
        error = await _answered(parts, open_sessions, prompt, form)
    if error is not None:
        parts.output.failure(error)
        return 2 if error.kind in _WRONG_USE else 1
    return 0


async def _settings(parts: Parts, world: World) -> Settings:
    if not parts.is_local:
        return world.settings
    from lmchat.cli.local import serve

    return await serve(parts, world)


async def _answered(
    parts: Parts, open_sessions: OpenSessions, prompt: str, form: Form | None
) -> LMChatError | None:
    """Print the answer; cut short by a signal, print what came and let the signal go on."""
    conversation = open_sessions.shown.conversation
    printer = Printer(parts.output, form)
    how = open_sessions.how_to_ask()
    try:
        await _show(
            printer, conversation.send(prompt, how if form is None else replace(how, output=form.output))
        )
        taken = await _taken(form, printer, conversation, how)
    except asyncio.CancelledError:
        if conversation.turn is not None:
            _end(
                parts,
                open_sessions,
                printer,
                Taken() if form is None else form.rest(conversation.messages[-1]),
            )
        raise
    return _end(parts, open_sessions, printer, taken)


async def _show(printer: Printer, incoming: AsyncGenerator[ConversationEvent, None]) -> None:
    async with aclosing(incoming) as events:
        async for event in events:
            printer.show(event)


async def _taken(form: Form | None, printer: Printer, conversation: Conversation, how: HowToAsk) -> Taken:
    """Take out of the answer what is wanted; where it is not in there, ask for it once more."""
    if form is None:
        return Taken()
    try:
        return await _take(form, conversation.messages[-1])
    except LMChatError as error:
        again = form.repair(error)
        if not again:
            return Taken(error=error)
        printer.tell_repair(error)
    await _show(printer, conversation.send(again, replace(how, output=form.output)))
    try:
        return await _take(form, conversation.messages[-1])
    except LMChatError as error:
        return Taken(error=second(error) if isinstance(error, AnswerUnfit) else error)


async def _take(form: Form, answer: ChatMessage) -> Taken:
    if answer.state is not AnswerState.COMPLETE:
        return form.rest(answer)
    return Taken(value=await form.take(answer), has_value=True)


def _end(parts: Parts, open_sessions: OpenSessions, printer: Printer, taken: Taken) -> LMChatError | None:
    conversation, unsaved = open_sessions.shown.conversation, open_sessions.save_queue.warning
    is_saved = _is_kept(parts) and unsaved is None
    if conversation.sent is not None:  # less than at first, where the server found it too long
        printer.tell_plan(conversation.sent)
    session_id = conversation.header.session_id if is_saved else None
    error = printer.end(conversation.messages[-1], session_id, taken)
    return error or (unsaved if _is_kept(parts) else None)


async def _open_session(parts: Parts, world: World, open_sessions: OpenSessions) -> None:
    """Go on with a session, where one is named; a new system prompt becomes part of it."""
    options = parts.options
    if options.resume is None:
        return
    opened = await open_sessions.open(await world.store.find(options.resume))
    if options.system is not None:
        await opened.conversation.set_system_prompt(options.system)


def _is_kept(parts: Parts) -> bool:
    """Whether prompt and answer are saved: if asked for, and in a session that is gone on with."""
    options = parts.options
    if options.temporary:
        return False
    return options.resume is not None if options.save is None else options.save


def _prompt(parts: Parts) -> str:
    """Return what to ask: the argument, and below it what comes through a pipe."""
    piped = ""
    if sys.stdin is not None and not sys.stdin.isatty():
        piped = read_pipe(sys.stdin.fileno()).decode("utf-8", "replace")
    prompt = "\n\n".join(text for text in (parts.options.prompt, piped.rstrip("\n")) if text.strip())
    if not prompt:
        raise WrongUse("There is nothing to ask.", hint='Give a prompt: lmchat ask "PROMPT", or pipe one in.')
    return prompt
