"""Slash commands of the plain chat: finds the handler of a command and calls it.

`commands/table.py` says what each command takes and does. Handlers for models and for sessions are
in `plain_models.py` and `plain_sessions.py`, the others are here.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from lmchat.attachments.attachment import files_outside, read_attachment, read_clipboard
from lmchat.attachments.folders import FileSet, SetName, parse_set_name, read_set
from lmchat.attachments.web_page import PageAddress, is_page_address, refuse
from lmchat.cli.files import require_consent_to_set
from lmchat.cli.plain_models import PlainModels
from lmchat.cli.plain_sessions import PlainSessions
from lmchat.cli.plain_turns import PlainTurns
from lmchat.cli.prompt import clipboard_of, preset_prompt
from lmchat.cli.wiring import make_pages
from lmchat.commands.conditions import (
    NOTHING_YET,
    has_text_to_continue,
    is_resumable,
    unavailable_reason,
)
from lmchat.commands.table import COMMANDS, parse_slash
from lmchat.errors import WrongUse
from lmchat.files.disk import expanded_path
from lmchat.safe_text import safe_line
from lmchat.sessions.message import ChatMessage, Role
from lmchat.terminal.output import ask_yes_no, can_ask
from lmchat.terminal.tty import drop_typed

QUOTES = '"""'  # around a prompt of several lines, as in Ollama
_MAX_WORD = 40  # characters of an unknown command
_MAX_PATH = 300  # characters

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

Handler = Callable[[str], Awaitable[None]]


class PlainCommands:
    """Slash commands by name; each handler gets the argument, which may be empty."""

    def __init__(self, turns: PlainTurns, sessions: PlainSessions) -> None:
        self.is_leaving = False  # whether the chat ends after this line
        self._turns = turns
        self._output = turns.output
        self._pages = make_pages(turns.runtime.settings)
        models = PlainModels(turns)
        self._handlers: Mapping[str, Handler] = {
            "/clear": sessions.begin,
            "/compact": self._compact,
            "/continue": self._continue,
            "/edit": self._edit,
            "/effort": models.use_effort,
            "/file": self._attach_file,
            "/help": self._help,
            "/model": models.use_model,
            "/new": sessions.begin,
            "/p": self._send_preset,
            "/profile": models.use_profile,
            "/paste": self._attach_copied,
            "/quit": self._quit,
            "/retry": self._retry,
            "/rewrite": self._rewrite,
            "/sessions": sessions.open,
            "/set": models.set_option,
            "/start": self._use_first_words,
            "/system": models.use_system_prompt,
        }
        self._lists: Mapping[str, Callable[[], list[str]]] = {
            "/effort": models.efforts,
            "/p": self._presets,
            "/profile": models.profiles,
            "/set": models.sampling_options,
        }
        """Commands that print lines, such as the possible values, if the argument is missing."""

    async def run(self, line: str) -> None:
        """Run the slash command on a line.

        Without an argument, a command of `_lists` prints its lines instead. Raises `WrongUse` for
        an unknown command, one that needs the screen, and one whose argument is missing.
        """
        slash = parse_slash(line)
        if slash is None:
            word = safe_line(line.partition(" ")[0], limit=_MAX_WORD)
            hint = "/help lists the commands. Begin with a space to send it as a message."
            raise WrongUse(f"Unknown command: {word}.", hint=hint)

        name = slash.command.name
        argument = slash.argument
        if name not in self._handlers:
            hint = _INSTEAD.get(name, "Start lmchat without --plain.")
            raise WrongUse(f"{name} needs the screen.", hint=hint)
        if not argument and name in self._lists:
            self._output.print_lines(self._lists[name]())
            return
        if slash.command.needs_argument and not argument:
            raise WrongUse(f"{name} needs a value.", hint="/help shows its form.")
        await self._handlers[name](argument)

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
        """End the chat after this line."""
        self.is_leaving = True

    # Prompts and answers

    def _presets(self) -> list[str]:
        """Return the names of the presets; without any, one line that says how to add one."""
        presets = list(self._turns.context.named.presets())
        return presets or ["No presets: add [prompts.NAME] to config.toml."]

    async def _send_preset(self, name_and_text: str) -> None:
        """Send the prompt that a preset makes of a text.

        The first word is the name of the preset, the rest the text, which may be empty.
        """
        name, _, text = name_and_text.partition(" ")
        self._turns.note_wrong_tables()  # a preset in a wrong table is not found
        await self._turns.send(await preset_prompt(self._turns.context, name, text.strip()))

    async def _compact(self, _: str) -> None:
        """Have the model summarise the older messages, and print the summary."""
        await self._turns.compact()

    async def _retry(self, _: str) -> None:
        """Ask for another version of the last answer, or for an answer to a prompt that has none.

        Raises `WrongUse` if the session has neither.
        """
        await self._turns.connect()
        message = self._last_answer_or_prompt()
        sessions, opened = self._turns.sessions, self._turns.opened
        await self._turns.print_turn(partial(sessions.regenerate, opened, message))

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
        sessions, opened = self._turns.sessions, self._turns.opened
        begin_turn = sessions.resume if has_text_to_continue(answer) else sessions.regenerate
        await self._turns.print_turn(partial(begin_turn, opened, answer))

    def _last_answer_or_prompt(self) -> ChatMessage:
        """Return the last answer, or the prompt after it; raises `WrongUse` if there is neither."""
        message = self._turns.sessions.shown.last_answer_or_prompt
        if message is None:
            raise WrongUse(NOTHING_YET)
        return message

    async def _edit(self, text: str) -> None:
        """Send a text as another version of the last prompt.

        Without a text, put the last prompt on the next line, where the user can edit it. Raises
        `WrongUse` if the session has no prompt.
        """
        opened = self._turns.opened
        await self._turns.sessions.fill(opened)  # at first, only its last messages are loaded
        prompts = [message for message in opened.messages if message.role is Role.USER]
        if not prompts:
            raise WrongUse(NOTHING_YET)
        last_prompt = prompts[-1]
        if text:
            await self._turns.send(text, edited_id=last_prompt.message_id)
            return
        self._turns.next_text = f"/edit {last_prompt.text}"
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
            sessions, opened = self._turns.sessions, self._turns.opened
            await sessions.rewrite(opened, answer.message_id, text)
            await sessions.settle(opened)
            self._output.note("The answer is saved as another version; /continue continues it.")
            return
        self._turns.next_text = f"/rewrite {answer.text}"
        self._output.note("The last answer is on the next line; change it, and press Enter.")

    async def _use_first_words(self, words: str) -> None:
        """Let the next answer begin with words; without any, take back those set before."""
        self._turns.sessions.use_first_words(words)
        note = f"The next answer begins with: {safe_line(words, limit=_MAX_WORD)}"
        self._output.note(note if words else "The next answer begins as the model likes.")

    async def _attach_file(self, name: str) -> None:
        """Attach a file to the next prompt, the text files of a folder or a pattern, or a page.

        At a terminal, ask first about a page, and about what is outside the current folder; an
        error is raised unless the user answers yes.
        """
        if is_page_address(name):
            ask = self._ask_about_page if self._turns.is_terminal else refuse
            session_id = self._turns.opened.header.session_id
            self._turns.add_file(await self._pages.attachment(name, session_id, ask))
            return
        set_name = await parse_set_name(name, Path.cwd())
        path = expanded_path(name) if set_name is None else set_name.folder
        if self._turns.is_terminal:
            for outside_path in await files_outside([path], Path.cwd()):
                await self._require_consent(outside_path)
        if set_name is None:
            self._turns.add_file(await read_attachment(path))
        else:
            self._turns.add_set(await self._read_set(set_name))

    async def _attach_copied(self, _: str) -> None:
        """Attach the image in the clipboard to the next prompt, or else its text."""
        self._turns.add_file(await read_clipboard(clipboard_of(self._turns.context)))

    async def _read_set(self, name: SetName) -> FileSet:
        """Return the files of a set; `WrongUse` is raised unless the user agrees to a large one."""
        found = await read_set(name)
        target = self._turns.sessions.next_turn.target
        window = target.context if target else None
        await require_consent_to_set(found, window, self._turns.read_answer)
        return found

    async def _require_consent(self, path: Path) -> None:
        """Ask whether a file outside the current folder may be read.

        The line with its path may be part of a paste that the user has not read. Raises `WrongUse`
        unless the user answers yes, and if nothing can be asked.
        """
        statement = f"{safe_line(str(path), limit=_MAX_PATH)} is outside this folder"
        if not can_ask():
            raise WrongUse(f"{statement}.", hint="lmchat asks before it reads it, on stderr.")
        drop_typed(sys.stdin.fileno())  # lines of a paste do not answer the question
        if not await ask_yes_no(f"{statement}. Attach it?", self._turns.read_answer):
            hint = "To attach it, repeat /file and answer y."
            raise WrongUse("The file was not attached.", hint=hint)

    async def _ask_about_page(self, address: PageAddress) -> bool:
        """Ask whether a page may be downloaded, and return whether the answer is yes.

        Raises `EndpointNotAllowed`, as `refuse` does, if nothing can be asked.
        """
        if not can_ask():
            return await refuse(address)
        drop_typed(sys.stdin.fileno())  # lines of a paste do not answer the question
        question = f"Download {address.url} from {address.host}, port {address.port}?"
        return await ask_yes_no(question, self._turns.read_answer)
