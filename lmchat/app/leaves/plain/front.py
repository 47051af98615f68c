"""The plain chat: its commands and prompts, and the answers, printed as they arrive."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, nullcontext
from functools import partial
from typing import TypeVar

from lmchat.api.runtime import Runtime
from lmchat.app.cli.context import Context
from lmchat.app.cli.home import load_shown
from lmchat.app.cli.setup.wiring import setup_of
from lmchat.app.cli.subcommands import SUBCOMMANDS
from lmchat.app.cli.tool_approval import ask_about_call, ask_about_server
from lmchat.app.cli.turn_printer import TurnPrinter
from lmchat.app.commands.conditions import NO_CODE, NOTHING_YET, reason_against
from lmchat.app.commands.shared import (
    NAMED_ONLY,
    SHARED,
    SHARED_ON_MESSAGE,
    CodeRing,
    ReadFiles,
    copy_command,
)
from lmchat.app.commands.table import COMMANDS
from lmchat.app.commands.typed_line import require_slash
from lmchat.app.leaves.plain.inline import InlineText
from lmchat.app.leaves.plain.line_reader import QUOTES, LineReader
from lmchat.app.terminal.clipboard import Clipboard, terminal_copy
from lmchat.app.terminal.output import (
    SHORT_ID,
    SafeStream,
    ask_yes_no,
    can_ask,
    drop_typed,
    local_time,
    table,
)
from lmchat.app.terminal.programs import notification
from lmchat.app.terminal.tty import echo
from lmchat.base.errors import FileRefused, LMChatError, StreamInterrupted, WrongUse
from lmchat.base.markdown.commonmark import code_blocks
from lmchat.base.processes.background import run_abandonable
from lmchat.base.safe_text import safe_line, safe_text
from lmchat.base.units import counted
from lmchat.core.attachments.attachment import Attachment
from lmchat.core.attachments.dropped_files import mentioned_files
from lmchat.core.attachments.given_files import GivenFiles, Question
from lmchat.core.attachments.shell_command import ShellCommand, output_attachment
from lmchat.core.chat.events import AnswerStarted, ChatEvent, Compacted, TurnListener
from lmchat.core.chat.prompt_queue import PromptsReturned
from lmchat.core.chat.service import ChatService
from lmchat.core.chat.session import OpenSession, TurnEnded
from lmchat.core.chat.toolbox import ToolQuestion
from lmchat.core.config.state import change_state
from lmchat.core.servers.discovery.monitor import Monitor
from lmchat.core.servers.events import ReasoningDelta, RefusalDelta, TextDelta
from lmchat.core.servers.model import LoadState, ModelInfo, name_and_address
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import AnswerState, ChatMessage, Role, readable_text
from lmchat.core.sessions.prompts import Prompt
from lmchat.core.sessions.session import SessionHeader
from lmchat.core.tools.calls import Decision
from lmchat.core.tools.questions import ServerQuestion

_MAX_SESSIONS = 30  # in a list
_MOST_DIGITS = 9
_THINKING = "Thinking…"
_LONG_TURN_S = 10.0  # as on the screen
_HELP_HERE = {  # of commands that do something else on the screen
    "model": "/model [N]: List the models, or use one",
    "sessions": "/sessions [N]: List the sessions, or open one",
    "message.edit": "/edit [TEXT]: Edit the last prompt, and send it again",
    "help": "/help: List the commands",
}
_SHELL_HELP = "!COMMAND runs a command of your shell; its output goes with your next prompt."
Item = TypeVar("Item")


class PlainFront(TurnListener):
    """The plain chat: runs commands, sends prompts, prints answers as they arrive.

    A label is a line for a person at a terminal, not for a pipe.
    """

    def __init__(
        self, context: Context, runtime: Runtime, chat: ChatService, reader: LineReader
    ) -> None:
        self.context = context
        self.runtime = runtime
        self.chat = chat
        self.reader = reader
        self.output = context.output
        self.notify = context.output.note
        self.settings = context.settings
        self.clipboard = Clipboard(context.environ_of_programs)
        self.given = GivenFiles(runtime.settings, self.confirm)
        self.is_leaving = False  # after this line
        self._models: list[ModelInfo] = []  # in the last list
        self._headers: Sequence[SessionHeader] = ()  # in the last list
        self._files: list[Attachment] = []  # of the next prompt
        self._lacks_files = False  # a file of it was refused, so it must not be sent
        self._has_returned = False  # the last prompt was not sent
        self._inline: InlineText | None = None
        if context.options.inline and reader.can_redraw:
            self._inline = InlineText(self.output.print_exactly, context.environ)
            self.output.before_notes = self._inline.print_closed
        self._stream = self._inline or SafeStream()
        self._printer = TurnPrinter(self.output, stream=self._stream)  # of the last turn
        self._stage = ""  # as it was told
        self._copied_code = CodeRing()
        chat.reporter.listener = self
        if chat.turn_options.toolbox is not None:
            chat.turn_options.toolbox.host.ask_user = self.ask_about_server
        self.handlers: Mapping[str, Callable[[str], Awaitable[None]]] = {
            **{name: partial(run, self) for name, run in SHARED.items()},
            "retry": partial(self._run_on_last, "message.regenerate"),
            "message.resume": partial(self._run_on_last, "message.resume"),
            "message.edit": self.edit,
            "copy": self.copy,
            "model": self.choose_model,
            "new": self.new,
            "sessions": self.open_session,
            "help": self.list_commands,
            "quit": self.quit,
        }
        """Each gets what was typed behind the command; other commands need the screen."""

    # Commands

    async def run(self, line: str) -> None:
        """Raises `WrongUse`."""
        slash = require_slash(line, help_by="/help", is_plain=True)
        command = slash.command
        handler = self.handlers.get(command.command_id)
        if handler is None:
            options = self.context.options
            cause = "--inline" if options.inline else "--plain" if options.plain else "TERM=dumb"
            names = {one.name for one in SUBCOMMANDS}
            shell = f"lmchat {command.name[1:]}" if command.name[1:] in names else "lmchat"
            raise WrongUse(
                f"{command.name} needs the screen.",
                next_step=f"Start lmchat without {cause}, or see what the shell can do: "
                f"{shell} --help.",
            )
        if command.needs_argument and not slash.argument:
            raise WrongUse(f"{command.name} needs a value.", next_step="/help shows its form.")
        await handler(slash.argument)

    async def new(self, _: str) -> None:
        self.chat.open_sessions.switch_to_new()
        self.notify("New session.")

    async def _run_on_last(self, command_id: str, _: str) -> None:
        session = self.chat.active
        if elsewhere := session.streaming_ids:  # it may have ended by now
            await self.chat.open_sessions.read_ends(session, elsewhere)
        await SHARED_ON_MESSAGE[command_id](self, self._last_message(command_id))

    def _last_message(self, command_id: str) -> ChatMessage:
        """Return the last answer or prompt; raise `WrongUse` if the command can do nothing."""
        session = self.chat.active
        message = session.messages.last_answer_or_prompt
        reason = reason_against(command_id, session, message)
        if message is None or reason:
            raise WrongUse(reason)
        return message

    async def copy(self, part: str) -> None:
        """With the part `code`, copy one code block after the other; raise `WrongUse`."""
        message = self._last_message(copy_command(part))
        text = readable_text(message)
        done = "Copied."
        if part:
            blocks = code_blocks(message.text)
            if not blocks:
                raise WrongUse(NO_CODE)
            block, place = self._copied_code.take(message, blocks)
            text = block.content
            done = f"Copied: {place.lower()}." if place else done
        if not await self.clipboard.copy(text):
            if not self.reader.can_redraw:
                raise WrongUse(
                    "No program here can copy, nor can this terminal.",
                    next_step="lmchat export ID writes the session; /sessions lists the ids.",
                )
            self.output.print_exactly(terminal_copy(text, self.context.environ_of_programs))
        self.notify(done)

    async def edit(self, text: str) -> None:
        """Send a text as another version of the last prompt.

        Without a text, the next line starts with this command and the prompt, to be changed.
        """
        session = self.chat.active
        await session.load_older()  # at first, only the last messages are in memory
        prompts = [message for message in session.messages if message.role is Role.USER]
        if not prompts:
            raise WrongUse(NOTHING_YET)
        if text:
            await self.send(text, edited_id=prompts[-1].message_id)
            return
        line = safe_text(f"/edit {prompts[-1].text}")  # readline does not filter what it prints
        self.notify("Change the next line, and press Enter.")
        if not self.reader.set_next_text(line):
            self.notify(*line.split("\n"))

    async def list_commands(self, _: str) -> None:
        self.output.print_lines(
            _HELP_HERE.get(command.command_id, f"{command.slash}: {command.title}")
            for command in COMMANDS
            if command.command_id in self.handlers
        )
        self.notify(
            *([_SHELL_HELP] if self.reader.has_paste_marks else []),
            f"A prompt of several lines begins and ends with {QUOTES}.",
            "Ctrl+C stops the answer, or clears the line. Ctrl+D quits.",
        )

    async def choose_model(self, wanted: str) -> None:
        """Without an argument, list the models that can chat; raise `WrongUse`.

        A number refers to the printed list, since servers may list models in another order now.
        """
        if _is_number(wanted):
            await self._switch_to(_by_number(self._models, wanted, "model", "/model"))
            return
        if wanted:
            await self.use_model(wanted)
            return
        listed = await self.runtime.finder().models()
        self._models = sorted(
            (model for model in listed if model.can_chat), key=lambda model: model.is_remote
        )
        lines = _numbered(
            # if it has to be loaded first, or runs elsewhere
            f"{model_text(model)}, {model.state}"
            if model.state in (LoadState.NOT_LOADED, LoadState.ASLEEP, LoadState.REMOTE)
            else model_text(model)
            for model in self._models
        )
        self.output.print_lines(lines or ["No server has a model. Download one there."])

    async def _switch_to(self, model: ModelInfo) -> None:
        """Use a model now and at the next start."""
        if model.state is LoadState.NOT_LOADED:
            self.notify("Loading model…")
            await load_shown(self.runtime.load_if_needed, model, self.output)
        target = Target.of(model)
        self.chat.turn_options.target = target
        state_file = self.context.paths.state_file
        await run_abandonable(lambda: change_state(state_file, target.remembered))
        self.notify(f"Model: {model_text(target)}.")

    async def quit(self, _: str) -> None:
        self.is_leaving = True

    async def open_session(self, wanted: str) -> None:
        """Without an argument, list sessions: the pinned ones, then the newest."""
        if not wanted:
            self._headers = (await self.chat.store.list_sessions())[:_MAX_SESSIONS]
            lines = _numbered(map(session_text, self._headers))
            self.output.print_lines(lines or ["There are no saved sessions."])
            return
        if _is_number(wanted) and len(wanted) < SHORT_ID:  # else digits are the beginning of an id
            wanted = _by_number(self._headers, wanted, "session", "/sessions").session_id
        session_id = await self.chat.store.find_id(wanted)
        open_sessions = self.chat.open_sessions
        open_sessions.switch_to(await open_sessions.find_or_load(session_id))
        self.print_session()

    async def confirm(self, question: Question) -> bool:
        """A typed line may be a paste that the user has not read; on a pipe, none is."""
        if can_ask():
            await drop_typed(self.output.note)  # the next lines of a paste are no answer
            return await ask_yes_no(question.title, *question.text.split("\n"))
        if question.refusal is not None:
            raise question.refusal
        return not self.reader.is_terminal

    async def ask(self, title: str, _: Callable[[str], Awaitable[None]]) -> None:
        raise WrongUse(title, next_step="Type it behind the command.")

    async def choose(self, title: str, rows: Sequence[tuple[str, str]], nothing: str) -> str:
        """Print the rows, for the user to name one behind the command."""
        self.output.print_lines(table((title, ""), rows) if rows else [nothing])
        return ""

    async def run_turn(self, start: Callable[[], None]) -> None:
        await self.connect()
        start()
        await self.print_turn()

    async def attach(self, _: str, read: ReadFiles) -> None:
        """Attach files to the next prompt.

        On a pipe, that prompt is written already: after an error, it is not sent without them. At a
        terminal, the user has read the error.
        """
        try:
            self._attach(await read())
        except LMChatError:
            self._lacks_files = not self.reader.is_terminal
            raise

    def _attach(self, files: Sequence[Attachment]) -> None:
        self._files += files
        text = files[0].part.label if len(files) == 1 else counted(len(files), "file")
        self.notify(f"Your next prompt begins with {text}.")

    async def use_model(self, name: str) -> None:
        used = self.chat.turn_options.endpoint
        [model] = await self.runtime.finder().models_named([name], used=used)
        await self._switch_to(model)

    # Turns

    async def connect(self) -> None:
        target = self.chat.turn_options.target
        if target is None:
            target = Target.of(await self.runtime.finder().ready_model(note=self.notify))
            self.chat.turn_options.target = target
            self.print_label(f"Model: {model_text(target)}.")
            return
        monitor = Monitor(self.runtime.backend.models.check)
        monitor.aim(target)
        async with aclosing(monitor.watch()) as checks:
            checked = (await anext(checks)).target
        # of one that has become remote, the request is refused
        if checked is not None and (target.is_remote or not checked.is_remote):
            self.chat.turn_options.target = checked  # with the window that it has now

    def print_session(self) -> None:
        session = self.chat.active
        if self.reader.is_terminal and session.messages:
            self.notify(f"Session: {session_text(session.header)}")
            for message in session.messages[-2:]:
                is_prompt = message.role is Role.USER
                self.notify("You:" if is_prompt else f"{message.model or message.role}:")
                self._stream.write(message.text)
                self._stream.end()

    async def send(self, text: str, *, edited_id: str = "") -> None:
        """Send a prompt with its files, and print the answer; raise the error of the turn.

        With `edited_id`, it is another version of that prompt. Files of a prompt that was not sent
        stay, but for images that the model cannot see.
        """
        if not text.strip():
            return
        if self._lacks_files:
            self._lacks_files = False
            self._files = []
            raise FileRefused(
                "A prompt was not sent, as the file before it could not be attached.",
                next_step="Correct or remove the line that names the file.",
            )
        await self._attach_mentioned(text)
        await self.connect()
        chat = self.chat
        session = self.chat.active
        for file in self._files:
            await chat.store.files.save(file.data)
        prompt = Prompt(text, tuple(file.part for file in self._files))
        if edited_id:
            chat.edit(session, edited_id, prompt, keeps_files=not prompt.files)
        else:
            chat.send_now(session, prompt)
        attached, self._files = self._files, []  # after an error above, they stay
        self._has_returned = False
        try:
            await self.print_turn()
        except FileRefused:  # the next prompt would be refused as well
            attached = [file for file in attached if not file.part.is_image]
            raise
        finally:
            if self._has_returned and attached:
                self._attach(attached)

    async def _attach_mentioned(self, text: str) -> None:
        """Ask about files that a prompt names with `@`; on a pipe, say that they are only named."""
        attached = [file.part.name for file in self._files]
        for name in (await mentioned_files(text, attached)).values():
            shown = safe_line(name)
            question = Question(title=f"Attach {shown}?", text=NAMED_ONLY, verb="attach")
            if not self.reader.is_terminal:
                self.notify(f"{shown} is only named; a line /file {shown} before it attaches it.")
            elif await self.confirm(question):
                self._files += await self.given.read(name)

    async def print_turn(self) -> None:
        """Raises the error of the turn, of its answer, or of saving it."""
        session = self.chat.active
        inline = self._inline
        printer = self._printer = TurnPrinter(self.output, stream=self._stream)
        try:
            # typed text would get between the words
            with nullcontext() if inline is None else echo(sys.stdin.fileno(), is_on=False):
                async with printer.stages_shown(lambda: session.stats):
                    ended = await self.chat.wait(session)
                if inline is not None:
                    await inline.print_all()
        finally:  # also if Ctrl+C stops the answer
            printer.end()
        error = ended.error or self.chat.save_queue.warning
        if isinstance(error, StreamInterrupted):  # its own next step needs the screen
            error.next_step = "Type /continue for the rest of the answer, or /retry."
        if error is not None:
            raise error
        if ended.state is not AnswerState.STOPPED:  # else a note has said that it repeats itself
            printer.print_notes_on(session.messages[-1])  # such as that it was cut short

    def on_event(self, _: OpenSession, event: ChatEvent) -> None:
        """A turn with tools has several answers."""
        if isinstance(event, TurnEnded):
            self._signal_end(event)
        elif isinstance(event, Compacted):
            self._printer.end()  # the note starts a line of its own
            self.notify(
                "This summary takes the place of the older messages; "
                "/tree on the screen lists their branch."
            )
        elif isinstance(event, PromptsReturned):
            self._has_returned = True
        elif isinstance(event, AnswerStarted):
            self._stage = ""
            self.print_label(f"{event.message.model}:")
        elif isinstance(event, ReasoningDelta) and event.chunks and not self._stage:
            self._tell_stage(_THINKING)
        elif isinstance(event, TextDelta | RefusalDelta) and self._stage == _THINKING:
            self._tell_stage("Answering…")
        self._printer.print_event(event)

    def _signal_end(self, ended: TurnEnded) -> None:
        """A person may not listen to the whole of a long answer."""
        is_long = ended.seconds > _LONG_TURN_S
        if is_long and ended.state is not AnswerState.STOPPED and self.reader.can_redraw:
            kind = "none" if self._inline else self.settings.ui.notify
            self.output.print_exactly(
                notification(kind, "The answer has ended.", self.context.environ_of_programs)
            )

    def _tell_stage(self, text: str) -> None:
        self._stage = text
        self.notify(text)

    def print_label(self, label: str) -> None:
        """Print a label, such as the name of the model above its answer, on stderr."""
        if self.reader.is_terminal:
            self.notify(label)

    async def approve(self, _: OpenSession, question: ToolQuestion) -> Decision:
        self._printer.end()
        return await ask_about_call(question, self.context)

    async def ask_about_server(self, question: ServerQuestion) -> bool:
        """Ask below the text so far."""
        self._printer.end()
        return await ask_about_server(question, self.context)

    # The user's shell

    async def run_in_shell(self, line: str) -> None:
        """Attach the output to the next prompt, also after Ctrl+C.

        Raises `WrongUse` at a terminal that does not mark pastes, where a pasted line could run.
        """
        if not self.reader.has_paste_marks:
            raise WrongUse(
                "This terminal does not mark pastes, so no command runs here.",
                next_step="Run it in a shell, and attach what it prints with /file.",
            )
        command = ShellCommand(
            line.removeprefix("!").strip(),
            self.context.environ_of_programs,
            shell=self.settings.chat.shell,
        )
        self.notify("Running. Ctrl+C stops it.")
        try:
            await command.run()
        except asyncio.CancelledError:
            command.stop()
            raise
        finally:
            if command.ending:  # "" if it never ran
                self._attach([output_attachment(command)])

    # The end

    async def aclose(self) -> None:
        """What cannot be saved is written into files, which are named to the user."""
        # after a failure, one more try is enough: who ends lmchat may soon kill it
        self.runtime.store.database.is_patient = self.chat.save_queue.warning is None
        await self.chat.close()
        await self.chat.drafts.write()  # without the prompts that are messages by now
        await setup_of(self.context).keep_unsaved(self.chat, self.output.note)
        if self._inline is not None:
            await self._inline.aclose()
        if self.chat.turn_options.toolbox is not None:
            await self.chat.turn_options.toolbox.host.aclose()


def session_text(header: SessionHeader) -> str:
    changed = local_time(header.updated_at)
    short_id = header.session_id[:SHORT_ID]
    archived = ", archived" if header.is_archived else ""
    text = f"“{header.title or 'Untitled'}”, {header.message_count} messages, {changed}"
    return f"{text}{archived}, {short_id}"


def model_text(model: ModelInfo | Target) -> str:
    """Name the server, too: several may have a model of this name."""
    return f"{model.model_id} at {name_and_address(model.product, model.endpoint.netloc)}"


def _numbered(texts: Iterable[str]) -> list[str]:
    return [f"{number}. {text}" for number, text in enumerate(texts, 1)]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+", text) is not None


def _by_number(items: Sequence[Item], number: str, noun: str, command: str) -> Item:
    """Raises `WrongUse`."""
    # Python refuses to read thousands of digits
    position = int(number) if len(number) < _MOST_DIGITS else 0
    if 0 < position <= len(items):
        return items[position - 1]
    raise WrongUse(f"No listed {noun} has this number.", next_step=f"{command} lists them.")
