"""Turns of the plain chat: choice of the server, sending of prompts, printing of answers.

A label is a line that helps a person at a terminal, and that a pipe does not get.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

from lmchat.attachments.attachment import Attachment
from lmchat.chat.events import AnswerBegun, ChatEvent, FrontEnd
from lmchat.chat.open_session import OpenSession
from lmchat.chat.open_sessions import OpenSessions
from lmchat.chat.tool_rounds import ToolQuestion
from lmchat.cli.context import Context
from lmchat.cli.inline import InlineText
from lmchat.cli.target import find_target
from lmchat.cli.tool_approval import decide
from lmchat.cli.turn_printer import TurnPrinter
from lmchat.cli.wiring import Runtime
from lmchat.errors import LMChatError, NoServerFound
from lmchat.servers.events import ReasoningDelta
from lmchat.servers.model import LoadState, ModelInfo, Target
from lmchat.sessions.message import AnswerState, ChatMessage, Role
from lmchat.tools.tool import Decision

_CHECK_EVERY_S = 2.0  # while no server answers


class PlainTurns(FrontEnd):
    """Sender of the prompts of the shown session, and printer of the answers."""

    def __init__(
        self,
        context: Context,
        runtime: Runtime,
        sessions: OpenSessions,
        inline: InlineText | None,
        *,
        is_terminal: bool,
    ) -> None:
        """Print answers as they are, or formatted by `inline`."""
        self.context = context
        self.runtime = runtime
        self.sessions = sessions
        self.output = context.output
        self.is_terminal = is_terminal
        self.files: list[Attachment] = []  # files of the next prompt
        self._inline = inline
        self._printer: TurnPrinter | None = None  # of the running turn
        self._has_label = False  # whether the name of its model was printed
        self._has_thought = False
        sessions.front_end = self

    @property
    def opened(self) -> OpenSession:
        return self.sessions.shown

    @property
    def stopped_words(self) -> str:
        """What is printed after Ctrl+C: a stopped call says that its function may still run."""
        messages = self.opened.messages
        if messages and messages[-1].state is AnswerState.STOPPED:
            return f"Stopped. {messages[-1].tool_result}".rstrip()
        return "Stopped."

    def print_label(self, label: str) -> None:
        """At a terminal, print a line such as the name of the model above its answer, on stderr."""
        if self.is_terminal:
            self.output.note(label)

    def print_saved(self, message: ChatMessage) -> None:
        """Print the text of a saved message; with `--inline`, an answer is formatted."""
        if self._inline is None or message.role is not Role.ASSISTANT:
            self.output.print_text(message.text)
        else:
            self._inline.write(message.text)
            self._inline.end()

    async def send(self, text: str, *, edited_id: str = "") -> None:
        """Send a prompt with the files of the next prompt, and print the answer.

        With `edited_id`, the prompt is another version of the prompt with this id. Otherwise, the
        session is compacted first if it is too long and the options allow it. Raises the error
        that the turn ends with.
        """
        await self.connect()
        sessions, opened = self.sessions, self.opened
        may_compact = sessions.next_turn.chat.auto_compact and not edited_id
        if may_compact and sessions.next_turn.can_compact(opened, text):
            await self.compact()

        files = [await sessions.add_file(file) for file in self.files]
        self.files = []  # after an error above, they are for the next prompt
        begin = partial(sessions.send_now, opened, text, files)
        if edited_id:
            new_files = files or None  # None: the new version has the files of the old one
            begin = partial(sessions.edit, opened, edited_id, text, new_files)
        await self.print_turn(begin)

    async def catch_up(self) -> None:
        """Print all of the last answer if its server has continued it while lmchat was away.

        On a pipe, the answer is fetched and not printed.
        """
        if not await self.sessions.fetch_kept(self.opened):
            return
        if self.is_terminal:
            self.output.note("This answer was continued while you were away:")
            await self.print_turn(lambda: None)  # it has begun
        else:
            await self.sessions.wait(self.opened)

    async def compact(self) -> None:
        """Have the model summarise the older messages, and print the summary and a note on it."""
        await self.connect()
        await self.print_turn(partial(self.sessions.compact, self.opened))
        self.output.note(
            "This summary takes the place of the older messages; "
            "/tree on the screen lists their branch."
        )

    async def print_turn(self, begin: Callable[[], None]) -> None:
        """Begin a turn, and print its answer while it arrives, with `--inline` formatted.

        Raises the error of the turn, of its answer, or of saving it.
        """
        printer = self._printer = TurnPrinter(self.output, stream=self._inline)
        self._has_label = self._has_thought = False
        try:
            with nullcontext() if self._inline is None else self._inline.drawing():
                begin()
                await self.sessions.wait(self.opened)
                if self._inline is not None:
                    await self._inline.settle()
        finally:  # also if Ctrl+C stops the answer
            printer.end()
            self._printer = None

        answer = self.opened.messages[-1]
        error = self.opened.error
        if error is None and answer.failure is not None:  # that of an unexpected exception
            failure = answer.failure
            error = LMChatError(failure.message, hint=failure.hint, kind=failure.kind)
        error = error or self.sessions.save_queue.warning
        if error is not None:
            raise error
        printer.note_unshown(answer)

    def show(self, _: OpenSession, event: ChatEvent) -> None:
        """Print an event of the turn.

        A turn with tools has several answers. The name of the model and the note on reasoning are
        printed once.
        """
        if self._printer is None:
            return
        if isinstance(event, AnswerBegun) and not self._has_label:
            self._has_label = True
            self.print_label(f"{event.message.model}:")
        if isinstance(event, ReasoningDelta) and not self._has_thought:
            self._has_thought = True
            self.output.note("Thinking…")
        self._printer.show(event)

    async def ask(self, _: OpenSession, question: ToolQuestion) -> Decision:
        """Ask the user about a call of a tool, below the text so far."""
        if self._printer is not None:
            self._printer.end()
        return await decide(question, self.context)

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
