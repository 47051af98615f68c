"""Slash commands of the plain chat; `tui/commands.py` says what each takes and does."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from lmchat.cli.plain_models import PlainModels
from lmchat.cli.plain_sessions import PlainSessions
from lmchat.cli.plain_turns import PlainTurns
from lmchat.cli.prompt import preset_prompt
from lmchat.cli.questions import ask_yes_no, can_ask
from lmchat.domain.message import ChatMessage, Role
from lmchat.errors import WrongUse
from lmchat.files import expanded_path
from lmchat.services.attachments import files_outside, read_attachment
from lmchat.terminal.terminal_output import drop_typed
from lmchat.text import safe_line
from lmchat.tui.commands import COMMANDS, parse_slash
from lmchat.tui.message_needs import NOTHING_YET, has_words, is_resumable

QUOTES = '"""'  # around a prompt of several lines, as in Ollama
_MAX_WORD = 40  # characters of an unknown command
_MAX_PATH = 300  # characters

Handler = Callable[[str], Awaitable[None]]


class PlainCommands:
    """Slash commands by name; each handler gets the argument, which may be empty."""

    def __init__(self, turns: PlainTurns, sessions: PlainSessions) -> None:
        self.is_leaving = False  # whether the chat ends after this line
        self._turns = turns
        self._output = turns.output
        models = PlainModels(turns)
        self._handlers: Mapping[str, Handler] = {
            "/clear": sessions.begin,
            "/compact": self._compact,
            "/continue": self._continue,
            "/doctor": self._doctor,
            "/edit": self._edit,
            "/effort": models.use_effort,
            "/export": sessions.export,
            "/file": self._attach_file,
            "/help": self._help,
            "/model": models.use_model,
            "/new": sessions.begin,
            "/p": self._send_preset,
            "/profile": models.use_profile,
            "/quit": self._quit,
            "/retry": self._retry,
            "/search": sessions.search,
            "/sessions": sessions.open,
            "/stats": self._stats,
            "/system": models.use_system_prompt,
            "/title": sessions.rename,
            "/tools": self._tools,
        }
        self._lists: Mapping[str, Callable[[], list[str]]] = {
            "/effort": models.efforts,
            "/p": self._presets,
            "/profile": models.profiles,
        }
        """Values to print where the argument is missing."""

    async def run(self, line: str) -> None:
        """Run the command on a line that begins with `/`; raises `WrongUse` for an unknown one."""
        slash = parse_slash(line)
        if slash is None:
            word = safe_line(line.partition(" ")[0], limit=_MAX_WORD)
            hint = "/help lists the commands. Begin with a space to send it as a message."
            raise WrongUse(f"Unknown command: {word}.", hint=hint)

        name = slash.command.name
        argument = slash.argument
        if name not in self._handlers:
            hint = slash.command.plain_hint or "Start lmchat without --plain."
            raise WrongUse(f"{name} needs the screen.", hint=hint)
        if not argument and name in self._lists:
            self._output.print_lines(self._lists[name]())
            return
        # the screen asks for the query in a dialog
        needs_argument = slash.command.needs_argument or name == "/search"
        if needs_argument and not argument:
            raise WrongUse(f"{name} needs a value.", hint="/help shows its form.")
        await self._handlers[name](argument)

    async def _help(self, _: str) -> None:
        """Print the commands of the plain chat, and its keys."""
        self._output.print_lines(
            command.plain_help or f"{command.slash}: {command.title}"
            for command in COMMANDS
            if command.name in self._handlers
        )
        self._output.note(
            f"A prompt of several lines begins and ends with {QUOTES}.",
            "Ctrl+C stops the answer, or clears the line. Ctrl+D quits.",
        )

    async def _quit(self, _: str) -> None:
        self.is_leaving = True

    # Prompts and answers

    def _presets(self) -> list[str]:
        """Return the names of the presets, or how to add one."""
        presets = list(self._turns.runtime.settings.prompts)
        return presets or ["No presets: add [prompts.NAME] to config.toml."]

    async def _send_preset(self, name_and_text: str) -> None:
        """Send the prompt that a preset makes of a text."""
        name, _, text = name_and_text.partition(" ")
        await self._turns.send(await preset_prompt(self._turns.context, name, text.strip()))

    async def _compact(self, _: str) -> None:
        await self._turns.compact()

    async def _retry(self, _: str) -> None:
        """Ask for another version of the last answer."""
        settings = await self._turns.connect_for_turn()
        answer = self._last_answer()
        conversation = self._turns.conversation
        await self._turns.print_turn(conversation.regenerate(answer.message_id, settings))

    async def _continue(self, _: str) -> None:
        """Ask for the rest of the last answer; if it has no text yet, for another version."""
        settings = await self._turns.connect_for_turn()
        answer = self._last_answer()
        if not is_resumable(answer):
            raise WrongUse("The last answer is complete.", hint="/retry asks again.")
        conversation = self._turns.conversation
        begin_turn = conversation.resume if has_words(answer) else conversation.regenerate
        await self._turns.print_turn(begin_turn(answer.message_id, settings))

    def _last_answer(self) -> ChatMessage:
        """Return the last answer of the session; raises `WrongUse` without one."""
        answer = self._turns.sessions.shown.last_answer
        if answer is None:
            raise WrongUse(NOTHING_YET)
        return answer

    async def _edit(self, text: str) -> None:
        """Send a text as another version of the last prompt; without one, offer that to edit."""
        conversation = self._turns.conversation
        await conversation.fill()
        prompts = [message for message in conversation.messages if message.role is Role.USER]
        if not prompts:
            raise WrongUse(NOTHING_YET)
        last_prompt = prompts[-1]
        if text:
            await self._turns.send(text, edited_id=last_prompt.message_id)
            return
        self._turns.next_prompt.text = f"/edit {last_prompt.text}"
        words = "edit it, and press Enter to send it again."
        self._output.note(f"The last prompt is on the next line; {words}")

    async def _attach_file(self, name: str) -> None:
        """Attach a file to the next prompt; at a terminal, ask before one outside this folder."""
        path = expanded_path(name)
        if self._turns.is_terminal:
            for outside_path in await files_outside([path], Path.cwd()):
                await self._require_consent(outside_path)
        self._turns.add_file(await read_attachment(path))

    async def _require_consent(self, path: Path) -> None:
        """Ask before a file outside this folder is read: its path may have been pasted.

        Raises `WrongUse` unless the user answers yes.
        """
        statement = f"{safe_line(str(path), limit=_MAX_PATH)} is outside this folder"
        if not can_ask():
            raise WrongUse(f"{statement}.", hint="lmchat asks before it reads it, on stderr.")
        drop_typed(sys.stdin.fileno())  # lines of a paste do not answer the question
        if not await ask_yes_no(f"{statement}. Attach it?", self._turns.read_answer):
            hint = "To attach it, repeat /file and answer y."
            raise WrongUse("The file was not attached.", hint=hint)

    # Commands of the command line

    async def _doctor(self, _: str) -> None:
        from lmchat.cli.doctor import doctor

        await doctor(self._turns.context)

    async def _stats(self, _: str) -> None:
        from lmchat.cli.stats import stats

        await stats(self._turns.context)

    async def _tools(self, _: str) -> None:
        from lmchat.cli.tools import list_tools

        await list_tools(self._turns.context)
