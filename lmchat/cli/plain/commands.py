"""Commands of the plain chat, and of the user's shell there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from lmchat.attachments.attachment import Attachment, files_outside, read_clipboard
from lmchat.attachments.shell_command import ShellCommand, output_attachment
from lmchat.attachments.web_page import PageAddress, refuse_host
from lmchat.chat.turn_choices import LEVELS, NO_PROFILE
from lmchat.cli.plain.line_reader import QUOTES
from lmchat.cli.plain.turns import PlainTurns, model_words, session_words
from lmchat.cli.read_prompt import preset_prompt, read_named, require_consent_to_set
from lmchat.cli.setup.find_target import load_if_needed
from lmchat.cli.setup.wiring import make_pages
from lmchat.commands import set_command
from lmchat.commands.conditions import NOTHING_YET
from lmchat.commands.set_command import NOTHING_SET, value_words
from lmchat.commands.table import COMMANDS
from lmchat.commands.typed_line import require_slash
from lmchat.config.state import change_state
from lmchat.errors import WrongUse
from lmchat.safe_text import safe_text
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.target import Target
from lmchat.sessions.message import ChatMessage, Role, is_continuable
from lmchat.sessions.session import SessionHeader
from lmchat.terminal.clipboard import Clipboard
from lmchat.terminal.output import SHORT_ID, ask_yes_no, can_ask, table
from lmchat.terminal.tty import drop_typed
from lmchat.units import counted

_MAX_SESSIONS = 30  # in a list
_MOST_DIGITS = 9
_SHELL_HELP = "!COMMAND runs a command of your shell; its output goes with your next prompt."
Item = TypeVar("Item")


class PlainCommands:
    """Runs the slash commands of the plain chat, and commands of the user's shell."""

    def __init__(self, turns: PlainTurns) -> None:
        self.is_leaving = False  # whether the chat ends after this line
        self._turns = turns
        self._context = turns.context
        self._settings = turns.context.settings
        self._runtime = turns.runtime
        self._chat = turns.chat
        self._turn_choices = turns.turn_choices
        self._reader = turns.reader
        self._note = turns.note
        self._print_lines = turns.output.print_lines
        self._pages = make_pages(turns.runtime.settings)
        self._models: list[ModelInfo] = []  # in the last printed list
        self._headers: Sequence[SessionHeader] = ()  # in the last printed list
        self.handlers: Mapping[str, Callable[[str], Awaitable[None]]] = {
            "model": self.choose_model,
            "new": self.new,
            "clear": self.new,
            "sessions": self.open_session,
            "retry": self.retry,
            "system": self.change_system_prompt,
            "preset": self.send_preset,
            "profile": self.use_profile,
            "effort": self.use_effort,
            "set": self.set_option,
            "file": self.attach_file,
            "paste": self.paste,
            "compact": self.compact,
            "help": self.list_commands,
            "quit": self.quit,
            "message.edit": self.edit,
            "message.resume": self.continue_answer,
        }
        """Each gets what was typed behind the command; other commands need the screen."""

    async def run(self, line: str) -> None:
        """Run a slash command.

        Raises `WrongUse` for an unknown command, one that needs the screen, and one whose argument
        is missing.
        """
        slash = require_slash(line, help_by="/help", is_plain=True)
        handler = self.handlers.get(slash.command.command_id)
        if handler is None:
            hint = "Start lmchat without --plain, or see what the shell can do: lmchat --help."
            raise WrongUse(f"{slash.command.name} needs the screen.", hint=hint)
        await handler(slash.argument)

    async def new(self, _: str) -> None:
        self._chat.in_memory.switch_to_new()
        self._note("New session.")

    async def compact(self, _: str) -> None:
        await self._turns.compact()

    async def continue_answer(self, _: str) -> None:
        """Continue the last answer; raise `WrongUse` if nothing of it is missing."""
        opened = self._chat.shown
        message = self._last_message()
        if not is_continuable(message):
            words = "The last message is no answer that can be continued."
            raise WrongUse(words, hint="/retry asks again.")
        await self._turns.connect()
        self._chat.continue_answer(opened, message)
        await self._turns.print_turn()

    async def retry(self, _: str) -> None:
        """Ask again for the last answer; the new one becomes another version of it."""
        opened = self._chat.shown
        message = self._last_message()
        await self._turns.connect()
        self._chat.regenerate(opened, message)
        await self._turns.print_turn()

    def _last_message(self) -> ChatMessage:
        """Return the last answer or prompt; raise `WrongUse` if the session has none."""
        message = self._chat.shown.last_answer_or_prompt
        if message is None:
            raise WrongUse(NOTHING_YET)
        return message

    async def edit(self, text: str) -> None:
        """Send a text as another version of the last prompt.

        Without a text, the next line begins with this command and the prompt, which the user can
        then change. Where lines cannot be edited, both are printed, and the user has to type them.
        """
        opened = self._chat.shown
        await opened.load_older(self._chat.store)  # at first, only the last messages are in memory
        prompts = [message for message in opened.messages if message.role is Role.USER]
        if not prompts:
            raise WrongUse(NOTHING_YET)
        if text:
            await self._turns.send(text, edited_id=prompts[-1].message_id)
            return
        line = safe_text(f"/edit {prompts[-1].text}")  # readline does not filter what it prints
        self._note("Change the next line, and press Enter.")
        if not self._reader.set_next_text(line):
            self._note(*line.split("\n"))

    async def use_effort(self, level: str) -> None:
        """Use a reasoning effort; without a level, print the one in use and the possible ones."""
        if level:
            self._turn_choices.use_effort(level)
        words = self._turn_choices.effort_words(self._chat.shown.own_sampling)
        if level:
            self._note(f"Reasoning effort: {words}.")
        else:
            self._print_lines([f"In use: {words}", *LEVELS, "or a number of tokens"])

    async def list_commands(self, _: str) -> None:
        """List the commands that work here, with the titles that they have on the screen."""
        self._print_lines(
            f"{command.slash}: {command.title}"
            for command in COMMANDS
            if command.command_id in self.handlers
        )
        self._note(
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
            await self._use_model(model or (await self._runtime.finder().models_named([wanted]))[0])
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

    async def _use_model(self, model: ModelInfo) -> None:
        """Use a model for the next turn, and for the next start; load it if needed."""
        if model.state is LoadState.NOT_LOADED:
            self._note("Loading model…")
            await load_if_needed(self._runtime, model, self._turns.output)
        target = Target.of(model)
        self._turn_choices.use_target(target)
        await asyncio.to_thread(  # the next start of lmchat uses it, too
            change_state,
            self._context.paths.state_file,
            lambda state: state.with_model(
                target.server_id, target.model_id, is_remote=target.is_remote
            ),
        )
        self._note(f"Model: {model_words(target)}.")

    async def send_preset(self, argument: str) -> None:
        """Send a preset with the text after its name; without a name, list the presets."""
        if argument:
            preset, _, text = argument.partition(" ")
            prompt = await preset_prompt(self._context, preset, text.strip())
            await self._turns.send(prompt)
        else:
            presets = list(self._settings.prompts)
            self._print_lines(presets or ["No presets: add [prompts.NAME] to config.toml."])

    async def paste(self, _: str) -> None:
        clipboard = Clipboard(self._context.environ_of_programs)
        with self._turns.naming_files():
            self._turns.attach(await read_clipboard(clipboard))

    async def use_profile(self, name: str) -> None:
        """Use a profile and its model; without a name, print the one in use and the others."""
        choices, profiles = self._turn_choices, self._settings.profiles
        if not name:
            in_use = choices.profile_name or NO_PROFILE
            self._print_lines([f"In use: {in_use}", *profiles, NO_PROFILE])
            return
        profile = choices.use_profile(name, profiles)
        self._note(f"Profile: {choices.profile_name or NO_PROFILE}.")
        if profile.model:
            await self._use_model((await self._runtime.finder().models_named([profile.model]))[0])

    async def quit(self, _: str) -> None:
        self.is_leaving = True

    async def open_session(self, wanted: str) -> None:
        """Open a session, by its number in the last list or its id.

        Without an argument, list sessions: the pinned ones, then the newest.
        """
        if not wanted:
            self._headers = (await self._chat.store.list_sessions())[:_MAX_SESSIONS]
            lines = _numbered(map(session_words, self._headers))
            self._print_lines(lines or ["There are no saved sessions."])
            return
        if wanted.isdecimal() and len(wanted) < SHORT_ID:  # else digits are the beginning of an id
            wanted = _by_number(self._headers, wanted, "session", "/sessions").session_id
        session_id = await self._chat.store.find_id(wanted)
        in_memory = self._chat.in_memory
        in_memory.switch_to(await in_memory.find_or_load(session_id))
        self._turns.print_session()

    async def set_option(self, argument: str) -> None:
        """Set a sampling option of the session, as `top_k 40`; with a name alone, explain it.

        Without an argument, list the options that are set, and where each comes from.
        """
        opened = self._chat.shown
        if argument:
            self._note(await set_command.set_option(self._chat, opened, argument))
            return
        options = set_command.listed_options(self._turn_choices, opened)
        rows = [(option.name, value_words(option), option.origin.words) for option in options]
        self._print_lines(table(("OPTION", "VALUE", "FROM"), rows) if rows else [NOTHING_SET])

    async def change_system_prompt(self, prompt: str) -> None:
        _require_value("/system", prompt)
        await self._chat.changes.set_system_prompt(self._chat.shown, prompt)
        self._note("System prompt changed.")

    async def attach_file(self, name: str) -> None:
        """Attach a file, the text files of a folder or a pattern, or a page to the next prompt.

        At a terminal, ask before a page is downloaded, and before a path outside the current folder
        is read. The line may be part of a paste that the user has not read. Raises an error unless
        the answer is yes. On a pipe, nothing is asked: large sets, and pages of hosts that are not
        allowed, are refused.
        """
        _require_value("/file", name)
        with self._turns.naming_files():
            await self._attach_named(name)

    async def _attach_named(self, name: str) -> None:
        found = await read_named(
            self._pages,
            name,
            session_id=self._chat.shown.session_id,
            # Stdin and stderr of a terminal can ask. If only stdin is one, nobody can be asked:
            # hosts are refused, and `_require_consent` refuses paths. On a pipe, hosts are refused,
            # too; paths need no consent, because its lines are no paste.
            ask=_may_download if can_ask() else refuse_host,
            require_consent=_require_consent if self._reader.is_terminal else None,
        )
        if isinstance(found, Attachment):
            self._turns.attach(found)
        else:
            target = self._turn_choices.target
            await require_consent_to_set(found, target.context if target else None)
            self._turns.attach_all(found.files, found.words)

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
        self._note("Running. Ctrl+C stops it.")
        try:
            await command.run()
        except asyncio.CancelledError:
            command.stop()
            raise
        finally:
            if command.ending:  # empty if the command never ran
                self._turns.attach(output_attachment(command))


def _require_value(name: str, argument: str) -> None:
    """Raise `WrongUse` for an empty argument of a command that needs one."""
    if not argument:
        raise WrongUse(f"{name} needs a value.", hint="/help shows its form.")


async def _may_download(address: PageAddress) -> bool:
    """Ask whether a page is downloaded."""
    return await _user_agrees(f"Download {address.url} from {address.host}, port {address.port}?")


async def _require_consent(path: Path) -> None:
    """Ask about a path that is outside the current folder; raise `WrongUse` after a no."""
    for file in await files_outside([path], Path.cwd()):
        if not await _user_agrees(f"{file} is outside this folder. Attach it?"):
            raise WrongUse("The file was not attached.", hint="Repeat /file and answer y.")


async def _user_agrees(question: str) -> bool:
    """Ask whether a typed line may take effect: it may be pasted text that the user has not read.

    Return False without a terminal to ask at.
    """
    drop_typed(sys.stdin.fileno())  # the next lines of a paste are no answer
    return can_ask() and await ask_yes_no(question)


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
