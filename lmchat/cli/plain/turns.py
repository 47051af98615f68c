"""Turns of the plain chat: its prompts are sent, and its answers are printed as they arrive."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from lmchat.attachments.attachment import Attachment
from lmchat.chat.events import AnswerBegun, ChatEvent, TurnListener
from lmchat.chat.service import ChatService
from lmchat.chat.session import OpenSession, PromptsReturned, TurnEnded
from lmchat.chat.tool_rounds import ToolQuestion
from lmchat.cli.context import Context
from lmchat.cli.plain.inline import InlineText
from lmchat.cli.plain.line_reader import LineReader
from lmchat.cli.setup.wiring import Runtime
from lmchat.cli.tool_approval import ask_about_call
from lmchat.cli.turn_printer import TurnPrinter
from lmchat.errors import FileRefused, LMChatError, StreamInterrupted
from lmchat.library.unsaved import write_unsaved
from lmchat.servers.events import ReasoningDelta
from lmchat.servers.model import ModelInfo
from lmchat.servers.target import Target
from lmchat.sessions.attached_files import Prompt
from lmchat.sessions.message import Role
from lmchat.sessions.session import SessionHeader
from lmchat.terminal.output import SHORT_ID, SafeStream, local_time
from lmchat.terminal.tty import echo
from lmchat.tools.calls import Decision
from lmchat.units import counted


class PlainTurns(TurnListener):
    """The shown session, the files of its next prompt, and the printer of its answers.

    `_stream` prints the answers. With `--inline`, on a terminal that can redraw, it is `_inline`,
    which formats them. Otherwise `_inline` is None, and a `SafeStream` prints them as they arrive.
    A label is a line that helps a person at a terminal, and that a pipe does not get.
    """

    def __init__(
        self, context: Context, runtime: Runtime, chat: ChatService, reader: LineReader
    ) -> None:
        self.context = context
        self.runtime = runtime
        self.chat = chat
        self.turn_choices = chat.turn_choices
        self.reader = reader
        self.output = context.output
        self.note = context.output.note
        self._files: list[Attachment] = []  # of the next prompt
        self._lacks_files = False  # whether that must not be sent, as a file of it was refused
        self._has_returned = False  # whether the last prompt was not sent
        self._inline: InlineText | None = None
        if context.options.inline and reader.can_redraw:
            self._inline = InlineText(self.output.print_exactly, context.environ)
            self.output.before_notes = self._inline.end_line  # a note begins a line of its own
        # a screen reader, which may read the plain chat, would read out each change of a progress
        self.output.has_progress = self._inline is not None
        self._stream = self._inline or SafeStream()
        self._printer = TurnPrinter(self.output, stream=self._stream)  # of the last turn
        self._has_thought = False  # whether the last answer has reasoning
        chat.reporter.listener = self

    async def aclose(self) -> None:
        """Save the sessions, and end the programs that the chat has started.

        What cannot be saved is written into files, which are named to the user.
        """
        await self.chat.close()
        unsaved = [] if self.context.options.temporary else self.chat.unsaved()
        folder = self.context.paths.state_dir
        try:
            files = await asyncio.to_thread(write_unsaved, folder, unsaved)
        except LMChatError as error:
            self.note(f"The end of the chat could not be saved: {error.message}")
        else:
            for file in files:
                self.note(f"The end of the chat could not be saved. lmchat import {file} adds it.")
        if self._inline is not None:
            await self._inline.aclose()
        if self.turn_choices.toolbox is not None:
            await self.turn_choices.toolbox.host.aclose()

    async def connect(self) -> None:
        """Choose server and model for the next turn, unless they are chosen already."""
        if self.turn_choices.target is None:
            target = await self.runtime.finder().ready_target(note=self.note)
            self.turn_choices.use_target(target)
            self.print_label(f"Model: {model_words(target)}.")

    def print_session(self) -> None:
        """At a terminal, print the title of the shown session and the last two of its messages."""
        opened = self.chat.shown
        if self.reader.is_terminal and opened.messages:
            self.note(f"Session: {session_words(opened.header)}")
            for message in opened.messages[-2:]:
                is_prompt = message.role is Role.USER
                self.note("You:" if is_prompt else f"{message.model or message.role}:")
                self._stream.write(message.text)
                self._stream.end()

    def attach(self, files: Sequence[Attachment]) -> None:
        """Attach files to the next prompt, and say so."""
        self._files += files
        words = files[0].part.words if len(files) == 1 else counted(len(files), "file")
        self.note(f"Your next prompt begins with {words}.")

    @contextmanager
    def naming_files(self) -> Iterator[None]:
        """Note an error of a block that attaches files to the next prompt.

        On a pipe, that prompt is written already, so it is not sent without them. At a terminal,
        the user has read the error.
        """
        try:
            yield
        except LMChatError:
            self._lacks_files = not self.reader.is_terminal
            raise

    async def send(self, text: str, *, edited_id: str = "") -> None:
        """Send a prompt with the files of the next prompt, and print the answer.

        Do nothing for a blank text. With `edited_id`, the text is another version of the prompt
        with this id. Otherwise, a summary is made and printed first if the session is too long and
        the settings allow it. Raises the error that the turn ends with. If the prompt was not sent,
        its files stay for the next one, but for images that the model cannot see.
        """
        if not text.strip():
            return
        if self._lacks_files:
            self._lacks_files, self._files = False, []
            problem = "A prompt was not sent, as the file before it could not be attached."
            raise FileRefused(problem, hint="Correct or remove the line that names the file.")
        await self.connect()
        chat, opened = self.chat, self.chat.shown
        for file in self._files:
            await chat.store.save_file(file.data)
        prompt = Prompt(text, tuple(file.part for file in self._files))
        if edited_id:
            chat.edit(opened, edited_id, prompt, keeps_files=not prompt.files)
        else:
            # with settings, which say why no model can answer: nobody would send a queued prompt
            chat.send(opened, prompt, settings=chat.turn_choices.settings(opened.own_sampling))
        attached, self._files = self._files, []  # after an error above, the files stay
        self._has_returned = False
        try:
            await self.print_turn()
        except FileRefused:  # the next prompt would be refused as well
            attached = [file for file in attached if not file.part.is_image]
            raise
        finally:
            if self._has_returned and attached:
                self.attach(attached)

    async def print_turn(self) -> None:
        """Print the answer of the turn that has just begun, while it arrives.

        Raises the error of the turn, of its answer, or of saving it.
        """
        opened, inline = self.chat.shown, self._inline
        printer = self._printer = TurnPrinter(self.output, stream=self._stream)
        try:
            # no echo: what is typed would get between the words of a paragraph
            with nullcontext() if inline is None else echo(sys.stdin.fileno(), is_on=False):
                async with printer.stages_shown(lambda: opened.figures):
                    ended = await self.chat.wait(opened)
                if inline is not None:
                    await inline.print_all()
        finally:  # also if Ctrl+C stops the answer
            printer.end()
        error = ended.error or self.chat.save_queue.warning
        if isinstance(error, StreamInterrupted):  # its own hint needs the screen
            error.hint = "Type /continue for the rest of the answer, or /retry."
        if error is not None:
            raise error
        printer.print_notes_on(opened.messages[-1])  # such as that it was cut short

    def on_event(self, _: OpenSession, event: ChatEvent) -> None:
        """Print an event of a turn; a turn with tools has several answers.

        A note below a complete summary says where the older messages are.
        """
        if isinstance(event, TurnEnded):
            if event.is_summary and event.answer is not None and not event.has_failed:
                self._printer.end()  # the note begins a line of its own
                self.note(
                    "This summary takes the place of the older messages; "
                    "/tree on the screen lists their branch."
                )
        elif isinstance(event, PromptsReturned):
            self._has_returned = True
        elif isinstance(event, AnswerBegun):
            self._has_thought = False
            self.print_label(f"{event.message.model}:")
        elif isinstance(event, ReasoningDelta) and not self._has_thought:
            self._has_thought = True
            self.note("Thinking…")
        self._printer.print_event(event)

    def print_label(self, label: str) -> None:
        """At a terminal, print a line such as the name of the model above its answer, on stderr."""
        if self.reader.is_terminal:
            self.note(label)

    async def approve(self, _: OpenSession, question: ToolQuestion) -> Decision:
        """Ask the user about a call of a tool, below the text so far."""
        self._printer.end()
        return await ask_about_call(question, self.context)


def session_words(header: SessionHeader) -> str:
    """Return what tells a session from others in a list: title, size, time and short id."""
    changed = local_time(header.updated_at)
    short_id = header.session_id[:SHORT_ID]
    return f"“{header.title or 'Untitled'}”, {header.message_count} messages, {changed}, {short_id}"


def model_words(model: ModelInfo | Target) -> str:
    """Return the name of a model and its server: several servers may have a model of this name."""
    return f"{model.model_id} at {model.product} {model.endpoint.netloc}"
