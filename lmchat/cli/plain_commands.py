"""Commands of the plain chat; `commands/table.py` says what each of them takes and does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from lmchat.attachments.attachment import (
    Attachment,
    files_outside,
    read_attachment,
    read_clipboard,
)
from lmchat.attachments.folders import parse_set_name, read_set
from lmchat.attachments.shell_command import ShellCommand, output_attachment
from lmchat.attachments.web_page import PageAddress, is_page_address, refuse
from lmchat.chat.options import LEVELS, NO_PROFILE, NOTHING_SET, value_words
from lmchat.cli.files import require_consent_to_set
from lmchat.cli.models import load_if_needed
from lmchat.cli.plain_turns import PlainTurns, model_words
from lmchat.cli.prompt import clipboard_of, preset_prompt
from lmchat.cli.target import own_endpoints
from lmchat.cli.wiring import make_pages
from lmchat.commands.conditions import (
    NOTHING_YET,
    has_text_to_continue,
    is_resumable,
    unavailable_reason,
)
from lmchat.commands.table import COMMANDS, is_command, parse_slash
from lmchat.config.state import change_state
from lmchat.errors import WrongUse
from lmchat.files.disk import expanded_path
from lmchat.safe_text import safe_line
from lmchat.servers.discovery.catalogue import Catalogue, matching_model
from lmchat.servers.model import LoadState, ModelInfo, Target
from lmchat.sessions.message import ChatMessage, Role
from lmchat.sessions.session import SessionHeader
from lmchat.terminal.output import SHORT_ID, ask_yes_no, can_ask, local_time, table
from lmchat.terminal.tty import drop_typed

QUOTES = '"""'  # around a prompt of several lines, as in Ollama
_MAX_WORD = 40  # characters of an unknown command
_MAX_PATH = 300  # characters
_MAX_SESSIONS = 30  # in a list

_OTHER_HELP = {
    "/rewrite": "/rewrite [TEXT]: Rewrite the last answer yourself",
    "/sessions": "/sessions [N]: List the sessions, or open one",
}
"""Lines of the help for commands that do other things here than on the screen."""
_INSTEAD = {
    "/context": 'In a shell: lmchat ask --dry-run -r last "PROMPT"',
    "/doctor": "In a shell: lmchat doctor",
    "/export": "In a shell: lmchat export last -o FILE",
    "/find": "In a shell: lmchat search WORDS",
    "/import": "In a shell: lmchat import FILE",
    "/log": "In a shell: lmchat config path --json",
    "/now": "Ctrl+C stops the answer; /effort sets how much the model thinks.",
    "/probabilities": "In a shell: lmchat ask --json --set logprobs=5",
    "/request": 'In a shell: lmchat ask --dry-run -r last "PROMPT"',
    "/search": "In a shell: lmchat search WORDS",
    "/stats": "In a shell: lmchat stats",
    "/title": 'In a shell: lmchat sessions rename last "TITLE"',
    "/tools": "In a shell: lmchat tools",
}
"""What to do instead of a command that needs the screen."""


class PlainCommands:
    """Lines that the user has typed: slash commands, commands for the shell, and prompts.

    A handler of a slash command gets its argument, which may be empty.
    """

    def __init__(self, turns: PlainTurns) -> None:
        self.is_leaving = False  # whether the chat ends after this line
        self.next_text = ""  # text that the user gets to edit on the next line
        self._turns = turns
        self._output = turns.output
        self._sessions = turns.sessions
        self._next_turn = turns.sessions.next_turn
        self._pages = make_pages(turns.runtime.settings)
        self._models: list[ModelInfo] = []  # what the last list showed
        self._headers: Sequence[SessionHeader] = ()  # what the last list showed
        self._handlers: Mapping[str, Callable[[str], Awaitable[None]]] = {
            "/clear": self._begin_session,
            "/compact": self._compact,
            "/continue": self._continue,
            "/edit": self._edit,
            "/effort": self._use_effort,
            "/file": self._attach_file,
            "/help": self._help,
            "/model": self._use_model,
            "/new": self._begin_session,
            "/p": self._send_preset,
            "/profile": self._use_profile,
            "/paste": self._attach_copied,
            "/quit": self._quit,
            "/retry": self._retry,
            "/rewrite": self._rewrite,
            "/sessions": self._open_session,
            "/set": self._set_option,
            "/start": self._use_first_words,
            "/system": self._use_system_prompt,
        }

    async def run(self, text: str) -> None:
        """Run a slash command, or send a text that is not blank.

        Raises `WrongUse` for an unknown command, one that needs the screen, and one whose argument
        is missing.
        """
        # `is_command` takes one line only, but the message to edit may have several
        if not is_command(text) and not text.startswith(("/edit ", "/rewrite ")):
            if text.strip():
                await self._turns.send(text)
            return
        slash = parse_slash(text)
        if slash is None:
            word = safe_line(text.partition(" ")[0], limit=_MAX_WORD)
            hint = "/help lists the commands. Begin with a space to send it as a message."
            raise WrongUse(f"Unknown command: {word}.", hint=hint)

        name = slash.command.name
        if name not in self._handlers:
            hint = _INSTEAD.get(name, "Start lmchat without --plain.")
            raise WrongUse(f"{name} needs the screen.", hint=hint)
        if not slash.argument and (lines := self._values(name)):
            self._output.print_lines(lines)
            return
        if slash.command.needs_argument and not slash.argument:
            raise WrongUse(f"{name} needs a value.", hint="/help shows its form.")
        await self._handlers[name](slash.argument)

    def _values(self, name: str) -> list[str]:
        """Return what a command prints if its argument is missing; empty for most commands."""
        settings = self._turns.context.settings
        next_turn = self._next_turn
        match name:
            case "/p":
                return list(settings.prompts) or ["No presets: add [prompts.NAME] to config.toml."]
            case "/profile":
                return _choices(
                    (*settings.profiles, NO_PROFILE), next_turn.profile_name or NO_PROFILE
                )
            case "/effort":
                current = next_turn.effort_words(self._turns.opened.own_sampling)
                return [*_choices((*LEVELS, current), current), "or a number of tokens"]
            case "/set":
                found = next_turn.options_of(self._turns.opened)
                rows = [(option.name, value_words(option), option.origin) for option in found]
                return table(("OPTION", "VALUE", "FROM"), rows) if rows else [NOTHING_SET]
            case _:
                return []

    async def run_in_shell(self, line: str) -> None:
        """Run the line `!COMMAND`, and attach its output to the next prompt.

        Ctrl+C stops the command; what it has printed until then is attached.
        """
        command = ShellCommand(
            line.removeprefix("!").strip(), self._turns.context.environ_of_programs
        )
        self._output.note("Running. Ctrl+C stops it.")
        try:
            await command.run()
        except asyncio.CancelledError:
            command.stop()
            self._output.note("")  # ends the line on which Ctrl+C was pressed
            raise
        finally:
            if command.ending:
                self._attach(output_attachment(command))

    async def _help(self, _: str) -> None:
        """Print the commands of the plain chat on stdout, and its keys on stderr."""
        self._output.print_lines(
            _OTHER_HELP.get(command.name, f"{command.slash}: {command.title}")
            for command in COMMANDS
            if command.name in self._handlers
        )
        self._output.note(
            "!COMMAND runs a command of your shell; its output goes with your next prompt.",
            f"A prompt of several lines begins and ends with {QUOTES}.",
            "Ctrl+C stops the answer, or clears the line. Ctrl+D quits.",
        )

    async def _quit(self, _: str) -> None:
        self.is_leaving = True

    # Sessions

    async def _begin_session(self, _: str) -> None:
        self._sessions.begin()
        self._output.note("New session.")

    async def _open_session(self, argument: str) -> None:
        """Show a saved session; without an argument, list the newest ones.

        The argument is a number of the last list, or an id, its beginning, or `last`.
        """
        store = self._turns.runtime.store
        if not argument:
            self._headers = (await store.list_sessions())[:_MAX_SESSIONS]
            lines = [
                f"{number}. {_session_words(header)}"
                for number, header in enumerate(self._headers, 1)
            ]
            self._output.print_lines(lines or ["There are no saved sessions."])
            return
        id_or_prefix = argument  # also of digits only, if the list has no such number
        if argument.isdecimal() and 0 < int(argument) <= len(self._headers):
            id_or_prefix = self._headers[int(argument) - 1].session_id
        self._sessions.show(await self._sessions.load(await store.find(id_or_prefix)))
        await self.show_session()
        await self._turns.catch_up()

    async def show_session(self) -> None:
        """At a terminal, print the title of the shown session and the last two of its messages."""
        if not self._turns.is_terminal:
            return
        opened = self._turns.opened
        if opened.messages:
            self._output.note(f"Session: {_session_words(opened.header)}")
        for message in opened.messages[-2:]:
            is_prompt = message.role is Role.USER
            self._output.note("You:" if is_prompt else f"{message.model or message.role}:")
            self._turns.print_saved(message)

    async def _use_system_prompt(self, text: str) -> None:
        await self._sessions.set_system_prompt(self._turns.opened, text)
        self._output.note("System prompt changed.")

    # Models and settings of the next answers

    async def _use_model(self, argument: str) -> None:
        """Ask all servers for their models; print those that can chat, or use one of them.

        Without an argument, print the numbered list. A number means that list, though another model
        may have been loaded since; any other argument is the name of a model, or matches it. Raises
        `WrongUse` if none matches.
        """
        runtime = self._turns.runtime
        expected = own_endpoints(runtime.settings)
        catalogue = Catalogue(runtime.backend, runtime.store.figures.speeds, expected=expected)
        rows = await catalogue.refresh(runtime.state)
        models = [row.model for row in rows if row.model.can_chat]
        if not argument or not self._models:
            self._models = models
        if not argument:
            lines = [f"{number}. {model_words(model)}" for number, model in enumerate(models, 1)]
            self._output.print_lines(lines or ["No server has a model. Download one there."])
            return
        if argument.isdecimal() and 0 < int(argument) <= len(self._models):
            model = self._models[int(argument) - 1]
        else:
            model = matching_model(argument, rows)
        if model.state is LoadState.NOT_LOADED:
            self._output.note("Loading model…")
            await load_if_needed(runtime, model, self._output)
            model = replace(model, state=LoadState.LOADED)
        target = Target(endpoint=model.endpoint, product=model.product, model=model)
        self._next_turn.target = target
        await asyncio.to_thread(  # the next start of lmchat uses it, too
            change_state,
            self._turns.context.paths.state_file,
            lambda state: state.with_model(target.server_id, target.model_id),
        )
        self._output.note(f"Model: {model_words(target)}.")

    async def _use_profile(self, name: str) -> None:
        """Use a profile, and its model if it names one, from the next answer on."""
        profile = self._next_turn.use_profile(name, self._turns.context.settings.profiles)
        self._output.note(f"Profile: {self._next_turn.profile_name or NO_PROFILE}.")
        if profile.model:
            await self._use_model(profile.model)

    async def _use_effort(self, typed: str) -> None:
        """Use a reasoning effort from the next answer on: a level or a number of tokens."""
        self._next_turn.use_effort(typed)
        words = self._next_turn.effort_words(self._turns.opened.own_sampling)
        self._output.note(f"Reasoning effort: {words}.")

    async def _set_option(self, typed: str) -> None:
        """Change or explain a sampling option of the shown session."""
        self._output.note(await self._sessions.set_option(self._turns.opened, typed))

    async def _use_first_words(self, words: str) -> None:
        """Let the next answer begin with words; without any, take back those set before."""
        self._sessions.use_first_words(words)
        note = f"The next answer begins with: {safe_line(words, limit=_MAX_WORD)}"
        self._output.note(note if words else "The next answer begins as the model likes.")

    # Prompts and answers

    async def _send_preset(self, name_and_text: str) -> None:
        """Send the prompt that the preset with this name makes of the text after it."""
        name, _, text = name_and_text.partition(" ")
        await self._turns.send(await preset_prompt(self._turns.context, name, text.strip()))

    async def _compact(self, _: str) -> None:
        await self._turns.compact()

    async def _retry(self, _: str) -> None:
        """Ask for another version of the last answer, or for an answer to a prompt that has none.

        Raises `WrongUse` if the session has neither.
        """
        await self._turns.connect()
        message = self._last_answer_or_prompt()
        regenerate = partial(self._sessions.regenerate, self._turns.opened, message)
        await self._turns.print_turn(regenerate)

    async def _continue(self, _: str) -> None:
        """Ask for the rest of the last answer; if it failed or has no words, for another version.

        Raises `WrongUse` if there is no answer yet, or if the last one is complete.
        """
        await self._turns.connect()
        answer = self._last_answer_or_prompt()
        if answer.role is not Role.ASSISTANT:
            raise WrongUse("The last prompt has no answer.", hint="/retry asks it again.")
        if not is_resumable(answer):
            raise WrongUse("The last answer is complete.", hint="/retry asks again.")
        sessions = self._sessions
        begin_turn = sessions.resume if has_text_to_continue(answer) else sessions.regenerate
        await self._turns.print_turn(partial(begin_turn, self._turns.opened, answer))

    def _last_answer_or_prompt(self) -> ChatMessage:
        """Return the last answer, or the prompt after it; raises `WrongUse` if there is neither."""
        message = self._turns.opened.last_answer_or_prompt
        if message is None:
            raise WrongUse(NOTHING_YET)
        return message

    async def _edit(self, text: str) -> None:
        """Send a text as another version of the last prompt.

        Without a text, put the last prompt on the next line, where the user can edit it. Raises
        `WrongUse` if the session has no prompt.
        """
        opened = self._turns.opened
        await self._sessions.fill(opened)  # at first, only its last messages are loaded
        prompts = [message for message in opened.messages if message.role is Role.USER]
        if not prompts:
            raise WrongUse(NOTHING_YET)
        if text:
            await self._turns.send(text, edited_id=prompts[-1].message_id)
            return
        self.next_text = f"/edit {prompts[-1].text}"
        words = "edit it, and press Enter to send it again."
        self._output.note(f"The last prompt is on the next line; {words}")

    async def _rewrite(self, text: str) -> None:
        """Save a text as another version of the last answer.

        Without a text, put the last answer on the next line, where the user can change it. Raises
        `WrongUse` if the last answer cannot be rewritten.
        """
        answer = self._last_answer_or_prompt()
        reason = unavailable_reason("rewrite", answer, is_busy=False)
        if reason:
            raise WrongUse(reason)
        if text:
            await self._sessions.rewrite(self._turns.opened, answer.message_id, text)
            await self._sessions.settle(self._turns.opened)
            self._output.note("The answer is saved as another version; /continue continues it.")
            return
        self.next_text = f"/rewrite {answer.text}"
        self._output.note("The last answer is on the next line; change it, and press Enter.")

    # Files of the next prompt

    async def _attach_file(self, name: str) -> None:
        """Attach a file to the next prompt, the text files of a folder or a pattern, or a page.

        At a terminal, ask first about a page, and about what is outside the current folder: the
        line may be part of a paste that the user has not read. Raises `WrongUse` unless the answer
        is yes.
        """
        if is_page_address(name):
            ask = self._ask_about_page if can_ask() else refuse
            session_id = self._turns.opened.header.session_id
            self._attach(await self._pages.attachment(name, session_id, ask))
            return
        set_name = await parse_set_name(name, Path.cwd())
        path = expanded_path(name) if set_name is None else set_name.folder
        outside = await files_outside([path], Path.cwd()) if self._turns.is_terminal else []
        for file in outside:
            words = f"{safe_line(str(file), limit=_MAX_PATH)} is outside this folder"
            if not can_ask() or not await _is_wanted(f"{words}. Attach it?"):
                hint = f"{words}. To attach it, repeat /file and answer y."
                raise WrongUse("The file was not attached.", hint=hint)
        if set_name is None:
            self._attach(await read_attachment(path))
            return
        found = await read_set(set_name)
        target = self._next_turn.target
        await require_consent_to_set(found, target.context if target else None)
        self._turns.files += found.files
        self._output.note(f"Your next prompt begins with {found.words}.")

    async def _attach_copied(self, _: str) -> None:
        """Attach the image in the clipboard to the next prompt, or else its text."""
        self._attach(await read_clipboard(clipboard_of(self._turns.context)))

    def _attach(self, file: Attachment) -> None:
        """Attach a file to the next prompt, and say so."""
        self._turns.files.append(file)
        self._output.note(f"Your next prompt begins with {file.part.words}.")

    async def _ask_about_page(self, address: PageAddress) -> bool:
        """Ask whether a page may be downloaded, and return whether the answer is yes."""
        place = f"{address.host}, port {address.port}"
        return await _is_wanted(f"Download {address.url} from {place}?")


async def _is_wanted(question: str) -> bool:
    """Ask the user a question and return whether the answer is yes."""
    drop_typed(sys.stdin.fileno())  # lines of a paste do not answer it
    return await ask_yes_no(question)


def _session_words(header: SessionHeader) -> str:
    """Return the line of a list that describes a session."""
    fork = " (fork)" if header.parent_id else ""
    changed = local_time(header.updated_at)
    short_id = header.session_id[:SHORT_ID]
    title = header.title or "Untitled"
    return f"“{title}”{fork}, {header.message_count} messages, {changed}, {short_id}"


def _choices(names: Iterable[str], current: str) -> list[str]:
    """Return the names without repetitions, the current one with ", in use" after it."""
    unique_names = dict.fromkeys(names)
    return [f"{name}, in use" if name == current else name for name in unique_names]
