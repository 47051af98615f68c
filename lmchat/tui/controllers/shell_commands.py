"""Commands for the shell that the user types as `!COMMAND`, and their output in the prompt."""

from __future__ import annotations

from functools import partial

from lmchat.attachments.shell_command import ShellCommand
from lmchat.safe_text import safe_line
from lmchat.services.command_output import output_as_prompt_text
from lmchat.services.open_sessions import OpenSession
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.prompt_text import PromptText
from lmchat.tui.controllers.status import StatusDisplay


class ShellCommands:
    """Runs commands, each in a worker; several may run at the same time."""

    def __init__(self, chat: Chat, status: StatusDisplay, prompt_text: PromptText) -> None:
        self._chat = chat
        self._status = status
        self._prompt_text = prompt_text
        self._running: list[ShellCommand] = []

    @property
    def note(self) -> str:
        """Words for what is running; empty if nothing is."""
        if not self._running:
            return ""
        commands = ", ".join(safe_line(command.command) for command in self._running)
        return f"Running: {commands}"

    def begin(self, line: str) -> None:
        """Run the line `!COMMAND`, and put its output into the prompt of the shown session."""
        work = partial(self._run, line.removeprefix("!").strip(), self._chat.open_sessions.shown)
        self._chat.begin(work, "shell", typed=line)

    def stop(self) -> bool:
        """Begin to stop all running commands; return whether there were any."""
        stoppable = [command for command in self._running if not command.is_stopping]
        for command in stoppable:
            command.stop()
        return bool(stoppable)

    async def _run(self, text: str, opened: OpenSession) -> None:
        """Run a command, and put its output into the prompt of the session that it began in."""
        command = self._chat.workspace.platform.shell_command(text)
        self._running.append(command)
        self._status.show_action("running a command")
        try:
            await command.run()
        finally:
            self._running.remove(command)
            self._status.show_action(command.ending)
        self._prompt_text.add_file(opened, output_as_prompt_text(command))
