"""Commands of the plain chat, and of the user's shell there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from lmchat.attachments.attachment import ClipboardReader
from lmchat.attachments.shell_command import ShellCommand, output_attachment
from lmchat.cli.plain.line_reader import QUOTES
from lmchat.cli.plain.turns import PlainTurns, model_words, session_words
from lmchat.cli.setup.find_target import load_if_needed
from lmchat.cli.setup.wiring import make_pages
from lmchat.commands.conditions import NOTHING_YET, reason_against
from lmchat.commands.shared import SHARED, SHARED_ON_MESSAGE, Question, ReadFiles
from lmchat.commands.table import COMMANDS
from lmchat.commands.typed_line import require_slash
from lmchat.config.state import change_state
from lmchat.errors import WrongUse
from lmchat.safe_text import safe_text
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.target import Target
from lmchat.sessions.message import Role
from lmchat.sessions.session import SessionHeader
from lmchat.terminal.clipboard import Clipboard
from lmchat.terminal.output import SHORT_ID, ask_yes_no, can_ask, table
from lmchat.terminal.tty import drop_typed
from lmchat.units import counted

_MAX_SESSIONS = 30  # in a list
_MOST_DIGITS = 9
_SHELL_HELP = "!COMMAND runs a command of your shell; its output goes with your next prompt."
Item = TypeVar("Item")


class PlainFront:
    """Runs the slash commands of the plain chat, and commands of the user's shell."""

    def __init__(self, turns: PlainTurns) -> None:
        self.is_leaving = False  # whether the chat ends after this line
        self.chat = turns.chat
        self.settings = turns.context.settings
        self.clipboard: ClipboardReader = Clipboard(turns.context.environ_of_programs)
        self.pages = make_pages(turns.runtime.settings)
        self.notify = turns.note
        self.send = turns.send
        self._turns = turns
        self._context = turns.context
        self._runtime = turns.runtime
        self._reader = turns.reader
        self._print_lines = turns.output.print_lines
        self._models: list[ModelInfo] = []  # in the last printed list
        self._headers: Sequence[SessionHeader] = ()  # in the last printed list
        self.handlers: Mapping[str, Callable[[str], Awaitable[None]]] = {
            **{name: partial(run, self) for name, run in SHARED.items()},
            "retry": partial(self._run_on_last, "message.regenerate"),
            "message.resume": partial(self._run_on_last, "message.resume"),
            "message.edit": self.edit,
            "model": self.choose_model,
            "new": self.new,
            "clear": self.new,
            "sessions": self.open_session,
            "help": self.list_commands,
            "quit": self.quit,
        }
        """Each gets what was typed behind the command; other commands need the screen."""

    async def run(self, line: str) -> None:
        """Run a slash command.

        Raises `WrongUse` for an unknown command, one that needs the screen, and one whose argument
        is missing.
        """
        slash = require_slash(line, help_by="/help", is_plain=True)
        command = slash.command
        handler = self.handlers.get(command.command_id)
        if handler is None:
            hint = "Start lmchat without --plain, or see what the shell can do: lmchat --help."
            raise WrongUse(f"{command.name} needs the screen.", hint=hint)
        if command.needs_argument and not slash.argument:
            raise WrongUse(f"{command.name} needs a value.", hint="/help shows its form.")
        await handler(slash.argument)

    async def new(self, _: str) -> None:
        self.chat.in_memory.switch_to_new()
        self.notify("New session.")

    async def _run_on_last(self, command_id: str, _: str) -> None:
        """Run a command on the last answer or prompt; raise `WrongUse` if it can do nothing."""
        session = self.chat.shown
        message = session.last_answer_or_prompt
        reason = reason_against(command_id, session, message)
        if message is None or reason:
            raise WrongUse(reason)
        await SHARED_ON_MESSAGE[command_id](self, message)

    async def edit(self, text: str) -> None:
        """Send a text as another version of the last prompt.

        Without a text, the next line begins with this command and the prompt, which the user can
        then change. Where lines cannot be edited, both are printed, and the user has to type them.
        """
        opened = self.chat.shown
        await opened.load_older()  # at first, only the last messages are in memory
        prompts = [message for message in opened.messages if message.role is Role.USER]
        if not prompts:
            raise WrongUse(NOTHING_YET)
        if text:
            await self._turns.send(text, edited_id=prompts[-1].message_id)
            return
        line = safe_text(f"/edit {prompts[-1].text}")  # readline does not filter what it prints
        self.notify("Change the next line, and press Enter.")
        if not self._reader.set_next_text(line):
            self.notify(*line.split("\n"))

    async def list_commands(self, _: str) -> None:
        """List the commands that work here, with the titles that they have on the screen."""
        self._print_lines(
            f"{command.slash}: {command.title}"
            for command in COMMANDS
            if command.command_id in self.handlers
        )
        self.notify(
            "/sessions lists the sessions here, and /sessions N opens one.",
            *([_SHELL_HELP] if self._reader.has_paste_marks else []),
            f"A prompt of several lines begins and ends with {QUOTES}.",
            "Ctrl+C stops the answer, or clears the line. Ctrl+D quits.",
        )

    async def choose_model(self, wanted: str) -> None:
        """Use a model for the next turn; without an argument, list the models that can chat.

        A model is named by its number in the last list, its name or a part of it. A number refers
        to the list as it was printed, since the servers may list their models in another order now.
        Raises `WrongUse` for an unknown model, or one that cannot chat.
        """
        if wanted:
            model = (
                _by_number(self._models, wanted, "model", "/model") if wanted.isdecimal() else None
            )
            await self._switch_to(model or (await self._runtime.finder().models_named([wanted]))[0])
            return
        listed = await self._runtime.finder().models()
        self._models = sorted(
            (model for model in listed if model.can_chat), key=lambda model: model.is_remote
        )
        lines = _numbered(
            # the state is shown if an answer has to wait until the model is loaded, or comes from
            # another machine
            f"{model_words(model)}, {model.state}"
            if model.state in (LoadState.NOT_LOADED, LoadState.ASLEEP, LoadState.REMOTE)
            else model_words(model)
            for model in self._models
        )
        self._print_lines(lines or ["No server has a model. Download one there."])

    async def _switch_to(self, model: ModelInfo) -> None:
        """Use a model for the next turn, and for the next start; load it if needed."""
        if model.state is LoadState.NOT_LOADED:
            self.notify("Loading model…")
            await load_if_needed(self._runtime, model, self._turns.output)
        target = Target.of(model)
        self.chat.turn_choices.use_target(target)
        await asyncio.to_thread(  # the next start of lmchat uses it, too
            change_state,
            self._context.paths.state_file,
            lambda state: state.with_model(
                target.server_id, target.model_id, is_remote=target.is_remote
            ),
        )
        self.notify(f"Model: {model_words(target)}.")

    async def quit(self, _: str) -> None:
        self.is_leaving = True

    async def open_session(self, wanted: str) -> None:
        """Open a session, by its number in the last list or its id.

        Without an argument, list sessions: the pinned ones, then the newest.
        """
        if not wanted:
            self._headers = (await self.chat.store.list_sessions())[:_MAX_SESSIONS]
            lines = _numbered(map(session_words, self._headers))
            self._print_lines(lines or ["There are no saved sessions."])
            return
        if wanted.isdecimal() and len(wanted) < SHORT_ID:  # else digits are the beginning of an id
            wanted = _by_number(self._headers, wanted, "session", "/sessions").session_id
        session_id = await self.chat.store.find_id(wanted)
        in_memory = self.chat.in_memory
        in_memory.switch_to(await in_memory.find_or_load(session_id))
        self._turns.print_session()

    # What shared commands need

    async def confirm(self, question: Question) -> bool:
        """Ask whether a typed line may take effect: it may be a paste that the user has not read.

        On a pipe, no line is a paste.
        """
        if can_ask():
            drop_typed(sys.stdin.fileno())  # the next lines of a paste are no answer
            self.notify(*question.text.split("\n"))
            return await ask_yes_no(question.title)
        if question.refusal is not None:
            raise question.refusal
        return not self._reader.is_terminal

    async def ask(self, title: str, _: Callable[[str], Awaitable[None]]) -> None:
        raise WrongUse(title, hint="Type it behind the command.")

    async def choose(self, title: str, rows: Sequence[tuple[str, str]], nothing: str) -> str:
        """Print the rows, for the user to name one behind the command."""
        self._print_lines(table((title, ""), rows) if rows else [nothing])
        return ""

    async def run_turn(self, begin: Callable[[], None]) -> None:
        await self._turns.connect()
        begin()
        await self._turns.print_turn()

    async def attach(self, _: str, read: ReadFiles) -> None:
        with self._turns.naming_files():
            self._turns.attach(await read())

    async def use_model(self, name: str) -> None:
        [model, *_] = await self._runtime.finder().models_named([name])
        await self._switch_to(model)

    # The user's shell

    async def run_in_shell(self, line: str) -> None:
        """Run the line `!COMMAND`, and attach its output to the next prompt.

        Ctrl+C stops the command; what it has printed until then is attached. Raises `WrongUse` at a
        terminal that does not mark pastes, where a pasted line could run.
        """
        if not self._reader.has_paste_marks:
            raise WrongUse(
                "This terminal does not mark pastes, so no command runs here.",
                hint="Run it in a shell, and attach what it prints with /file.",
            )
        command = ShellCommand(line.removeprefix("!").strip(), self._context.environ_of_programs)
        self.notify("Running. Ctrl+C stops it.")
        try:
            await command.run()
        except asyncio.CancelledError:
            command.stop()
            raise
        finally:
            if command.ending:  # empty if the command never ran
                self._turns.attach([output_attachment(command)])


def _numbered(texts: Iterable[str]) -> list[str]:
    """Return the texts as lines with numbers from 1, which the user can type to choose one."""
    return [f"{number}. {text}" for number, text in enumerate(texts, 1)]


def _by_number(items: Sequence[Item], number: str, noun: str, command: str) -> Item:
    """Return the item of the last printed list with the typed number, from 1.

    Raises `WrongUse` if the list does not have this number: it means nothing else.
    """
    # no list has more than a few digits, and Python refuses to read thousands of them
    position = int(number) if len(number) < _MOST_DIGITS else 0
    if 0 < position <= len(items):
        return items[position - 1]
    if not items:
        raise WrongUse(f"No {noun}s are listed yet.", hint=f"{command} lists them.")
    verb = "is" if len(items) == 1 else "are"
    raise WrongUse(f"There {verb} {counted(len(items), noun)}.", hint="Type a number of the list.")
