"""Turns of the plain chat: choice of the server, sending of prompts, printing of answers.

A label is a line that helps a person at a terminal, and that a pipe does not get.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing

from lmchat.chat.answering import TurnSettings
from lmchat.chat.attachments import Attachment
from lmchat.chat.conversation import Conversation
from lmchat.chat.events import AnswerBegun, ConversationEvent
from lmchat.chat.open_sessions import OpenSessions
from lmchat.chat.tool_rounds import ApprovalAsked
from lmchat.cli.context import Context
from lmchat.cli.line_reader import LineReader
from lmchat.cli.target import find_target
from lmchat.cli.tool_approval import decide
from lmchat.cli.turn_printer import LoadingNotes, TurnPrinter
from lmchat.cli.wiring import Runtime
from lmchat.errors import LMChatError, NoServerFound
from lmchat.servers.events import ModelLoading, ReasoningDelta
from lmchat.servers.model import LoadState, ModelInfo, Target
from lmchat.services.file_sets import FileSet
from lmchat.sessions.message import ChatMessage, Role
from lmchat.terminal.output import FormattedStream
from lmchat.terminal.tty import echo

_CHECK_EVERY_S = 2.0  # while no server answers


class PlainTurns:
    """Sender of the prompts of the shown session, and printer of the answers."""

    def __init__(
        self, context: Context, runtime: Runtime, sessions: OpenSessions, reader: LineReader
    ) -> None:
        self.context = context
        self.runtime = runtime
        self.sessions = sessions
        self.output = context.output
        self.is_terminal = reader.is_terminal
        self.loading_notes = LoadingNotes(context.output)
        self.next_text = ""  # text that the user gets to edit on the next line
        self.files: list[Attachment] = []  # files of the next prompt
        self.inline: FormattedStream | None = None  # with `--inline`, it prints the answers
        self._reader = reader

    @property
    def conversation(self) -> Conversation:
        return self.sessions.shown.conversation

    def print_label(self, label: str) -> None:
        """At a terminal, print a line such as the name of the model above its answer, on stderr."""
        if self.is_terminal:
            self.output.note(label)

    def print_saved(self, message: ChatMessage) -> None:
        """Print the text of a saved message; with `--inline`, an answer is formatted."""
        if self.inline is None or message.role is not Role.ASSISTANT:
            self.output.print_text(message.text)
        else:
            self.inline.write(message.text)
            self.inline.end()

    def add_file(self, file: Attachment) -> None:
        """Attach a file to the next prompt, and say so."""
        self.files.append(file)
        self.output.note(f"Your next prompt begins with {file.part.words}.")

    def add_set(self, found: FileSet) -> None:
        """Attach the files of a set to the next prompt, and say so."""
        self.files += found.files
        self.output.note(f"Your next prompt begins with {found.words}.")

    async def send(self, text: str, *, edited_id: str = "") -> None:
        """Send a prompt with the files of the next prompt, and print the answer.

        With `edited_id`, the prompt is another version of the prompt with this id. Otherwise, the
        session is compacted first if it is too long and the options allow it. Raises the error
        that the turn ends with.
        """
        settings = await self.connect_for_turn()
        next_turn = self.sessions.next_turn
        conversation = self.conversation
        may_compact = next_turn.options.chat.auto_compact and not edited_id
        if may_compact and next_turn.can_compact(conversation, text):
            await self.compact()

        files, self.files = self.files, []  # after an error above, they are for the next prompt
        if edited_id:
            new_files = files or None  # None: the new version has the files of the old one
            await self.print_turn(conversation.edit(edited_id, text, settings, new_files))
        else:
            await self.print_turn(conversation.send(text, settings, files))

    async def catch_up(self) -> None:
        """Print all of the last answer if its server has continued it while lmchat was away.

        On a pipe, the answer is fetched and not printed.
        """
        conversation = self.conversation
        if not self.sessions.next_turn.options.chat.detach:
            return
        if not await conversation.has_kept_answer():
            return
        if self.is_terminal:
            self.output.note("This answer was continued while you were away:")
            await self.print_turn(conversation.catch_up())
            return
        async with aclosing(conversation.catch_up()) as events:
            async for _ in events:
                pass

    async def compact(self) -> None:
        """Have the model summarise the older messages, and print the summary and a note on it."""
        settings = await self.connect_for_turn()
        prompt = self.sessions.next_turn.options.compact_prompt
        await self.print_turn(self.conversation.compact(prompt, settings))
        self.output.note(
            "This summary takes the place of the older messages; "
            "/tree on the screen lists their branch."
        )

    async def print_turn(self, turn: AsyncGenerator[ConversationEvent, None]) -> None:
        """Print the answer of a turn while it arrives, with `--inline` formatted.

        `turn` yields the events of the turn; it is closed at the end. The user is asked about tool
        calls that need approval. Raises the error of the turn, of its answer, or of saving it.
        """
        printer = TurnPrinter(self.output, stream=self.inline)
        try:
            if self.inline is None:
                await self._print_events(turn, printer)
            else:
                with self.inline.drawing():
                    await self._print_events(turn, printer)
                    await self.inline.settle()
        finally:  # also if Ctrl+C stops the answer
            printer.end()

        error = self._last_error()
        if error is not None:
            raise error
        printer.note_unshown(self.conversation.messages[-1])

    async def _print_events(
        self, turn: AsyncGenerator[ConversationEvent, None], printer: TurnPrinter
    ) -> None:
        """Print the events of a turn, and close it at the end; ask about calls of tools.

        A turn with tools has several answers. The name of the model and the note on reasoning are
        printed once.
        """
        has_label = False
        has_reasoning = False
        async with aclosing(turn) as events:
            async for event in events:
                match event:
                    case AnswerBegun() if not has_label:
                        has_label = True
                        self.print_label(f"{event.message.model}:")
                    case ReasoningDelta() if not has_reasoning:
                        has_reasoning = True
                        self.output.note("Thinking…")
                    case ApprovalAsked():
                        printer.end()  # the question is below the text
                        await decide(event, self.context, self.read_answer)
                    case _:
                        pass
                if isinstance(event, ModelLoading):  # with the progress, which `printer` leaves out
                    self.loading_notes.show(event.fraction)
                else:
                    printer.show(event)

    def _last_error(self) -> LMChatError | None:
        """Return why the last turn has failed, or why it is not saved; None if all went well.

        A turn that ended with an exception of another class than `LMChatError` has no `error`: its
        last message has the `failure` that the user is told.
        """
        failure = self.conversation.messages[-1].failure
        if self.conversation.error is None and failure is not None:
            return LMChatError(failure.message, hint=failure.hint, kind=failure.kind)
        return self.conversation.error or self.sessions.save_queue.warning

    async def read_answer(self) -> bytes:
        """Wait for a line and return it with its line end; empty at the end of the input.

        Waiting blocks the event loop. So asyncio's handler of Ctrl+C, which lets the loop cancel
        the turn, is replaced for this time: Ctrl+C raises `KeyboardInterrupt` here.
        """
        asyncio_handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            await asyncio.sleep(0)  # raises if Ctrl+C has cancelled the turn before
            with echo(sys.stdin.fileno(), is_on=True):
                return f"{self._reader.read()}\n".encode()
        except EOFError:
            return b""
        finally:
            signal.signal(signal.SIGINT, asyncio_handler)

    def note_wrong_tables(self) -> None:
        """Say what is wrong with the presets or profiles of a file that was changed."""
        if problem := self.context.named.problem():
            self.output.note(problem)

    async def connect_for_turn(self) -> TurnSettings:
        """Choose server and model if needed, as `connect` does, and return the turn's settings."""
        await self.connect()
        return self.sessions.next_turn.settings(self.conversation.own_sampling)

    async def connect(self) -> None:
        """Choose server and model for the next turn, unless they are chosen already.

        If no server is found, print the error once at a terminal and look again every few seconds;
        on a pipe, raise `NoServerFound`. Other errors of the choice are raised.
        """
        runtime = self.runtime
        next_turn = self.sessions.next_turn
        has_noted = False
        while next_turn.target is None:
            try:
                target = await find_target(
                    runtime.backend, runtime.settings, runtime.state, self.output.note
                )
            except NoServerFound as error:
                if not self.is_terminal:
                    raise
                if not has_noted:
                    self.output.print_error(error)
                    self.output.note("Waiting for a server. Press Ctrl+C to stop waiting.")
                has_noted = True
                await asyncio.sleep(_CHECK_EVERY_S)
            else:
                next_turn.target = target
                self.print_label(f"Model: {model_words(target)}.")


def model_words(model: ModelInfo | Target) -> str:
    """Return the name of a model and its server, and its state if its server has it not loaded.

    A `Target` has no state.
    """
    text = f"{model.model_id} at {model.product} {model.endpoint.netloc}"
    if isinstance(model, ModelInfo) and model.state in (LoadState.NOT_LOADED, LoadState.ASLEEP):
        return f"{text}, {model.state}"
    return text
