"""Turns of the plain chat: the server, the next prompt, and what is printed of an answer."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from msgspec import Struct, field

from lmchat.cli.context import Context
from lmchat.cli.line_reader import LineReader
from lmchat.cli.target import find_target
from lmchat.cli.tool_approval import decide
from lmchat.cli.turn_printer import LoadingNotes, TurnPrinter
from lmchat.cli.wiring import Runtime
from lmchat.domain.event import ModelLoading, ReasoningDelta
from lmchat.domain.server import LoadState, ModelInfo, Target
from lmchat.errors import LMChatError, NoServerFound
from lmchat.services.answer_stream import TurnSettings
from lmchat.services.attachments import Attachment
from lmchat.services.conversation import AnswerBegun, Conversation, ConversationEvent
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.tool_loop import ApprovalAsked

_CHECK_EVERY_S = 2.0  # while no server answers


class NextPrompt(Struct, kw_only=True):
    """What the user gets to edit, and what goes along with the next prompt."""

    text: str = ""  # the next line begins with it
    files: list[Attachment] = field(default_factory=list)
    draft_id: str | None = None  # session of the draft that was offered


class PlainTurns:
    """Sends prompts of the shown session and prints the answers."""

    def __init__(
        self, context: Context, runtime: Runtime, sessions: OpenSessions, reader: LineReader
    ) -> None:
        self.context = context
        self.runtime = runtime
        self.sessions = sessions
        self.output = context.output
        self.is_terminal = reader.is_terminal
        self.loading = LoadingNotes(context.output)
        self.next = NextPrompt()
        self._reader = reader

    @property
    def conversation(self) -> Conversation:
        return self.sessions.shown.conversation

    def label(self, words: str) -> None:
        """Print whose words follow; a pipe carries the words alone."""
        if self.is_terminal:
            self.output.note(words)

    def add_file(self, file: Attachment) -> None:
        self.next.files.append(file)
        self.output.note(f"Your next prompt begins with {file.part.words}.")

    async def send(self, text: str, *, edited_id: str = "") -> None:
        """Send a prompt, or another version of the one with this id."""
        settings = await self.settings()
        next_turn = self.sessions.next_turn
        conversation = self.conversation
        is_compacting = next_turn.options.chat.auto_compact and not edited_id
        if is_compacting and next_turn.can_compact(conversation, text):
            await self.compact()

        files, self.next.files = self.next.files, []
        await self._forget_draft()
        if edited_id:
            await self.print(conversation.edit(edited_id, text, settings, files or None))
        else:
            await self.print(conversation.send(text, settings, files))

    async def compact(self) -> None:
        settings = await self.settings()
        prompt = self.sessions.next_turn.options.compact_prompt
        await self.print(self.conversation.compact(prompt, settings))
        self.output.note(
            "This summary takes the place of the older messages; "
            "/undo on the screen brings them back."
        )

    async def _forget_draft(self) -> None:
        """Empty the saved draft, which was offered and is not needed any more."""
        if self.next.draft_id is None:
            return
        self.sessions.drafts.note(self.next.draft_id, "")
        self.next.draft_id = None
        with suppress(LMChatError):  # a disk that fails costs the draft, not the prompt
            await self.sessions.drafts.write()

    async def print(self, turn: AsyncGenerator[ConversationEvent, None]) -> None:
        """Print an answer while it arrives; raises the error that it ends with."""
        printer = TurnPrinter(self.output)
        has_label = has_thought = False
        try:
            async with aclosing(turn) as events:
                async for event in events:
                    match event:
                        case AnswerBegun() if not has_label:
                            has_label = True
                            self.label(f"{event.message.model}:")
                        case ReasoningDelta() if not has_thought:
                            has_thought = True
                            self.output.note("Thinking…")
                        case ApprovalAsked():
                            await decide(event, self.context, self.read_answer)
                        case _:
                            pass
                    if isinstance(event, ModelLoading):
                        self.loading.show(event.fraction)
                    else:
                        printer.show(event)
        finally:  # also of one that is stopped
            printer.end()

        error = self._error()
        if error is not None:
            raise error
        printer.note_oddities(self.conversation.messages[-1])

    def _error(self) -> LMChatError | None:
        """Return the error of the last answer, or of saving it."""
        error = self.conversation.error or self.sessions.save_queue.warning
        failure = self.conversation.messages[-1].failure
        if error is None and failure is not None:
            return LMChatError(failure.message, hint=failure.hint, kind=failure.kind)
        return error

    async def read_answer(self) -> bytes:
        """Return the line that answers a question; Ctrl+C stops the turn."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            await asyncio.sleep(0)  # a Ctrl+C that came before has cancelled this task
            return f"{self._reader.read()}\n".encode()  # nothing else runs until it is answered
        except EOFError:
            return b""
        finally:
            signal.signal(signal.SIGINT, before)

    async def settings(self) -> TurnSettings:
        await self.connect()
        return self.sessions.next_turn.settings()

    async def connect(self) -> None:
        """Choose server and model unless they are chosen; at a terminal, wait for a server."""
        runtime = self.runtime
        next_turn = self.sessions.next_turn
        has_noted = False
        while next_turn.target is None:
            try:
                target = await find_target(
                    runtime.backend, runtime.settings, runtime.remembered, self.output.note
                )
            except NoServerFound as error:
                if not self.is_terminal:
                    raise
                if not has_noted:
                    self.output.failure(error)
                    self.output.note("Waiting for a server. Press Ctrl+C to stop waiting.")
                has_noted = True
                await asyncio.sleep(_CHECK_EVERY_S)
            else:
                next_turn.target = target
                self.label(f"Model: {model_words(target)}.")


def model_words(model: ModelInfo | Target) -> str:
    """Return a model with its server; also that it is not in memory."""
    words = f"{model.model_id} at {model.product} {model.endpoint.netloc}"
    if isinstance(model, ModelInfo) and model.state in (LoadState.NOT_LOADED, LoadState.ASLEEP):
        return f"{words}, {model.state}"
    return words
