"""What is sent from the prompt: a message, or a slash command."""

from __future__ import annotations

from datetime import timedelta

from textual.actions import parse

from lmchat.config.settings import EFFORTS
from lmchat.domain.message import now
from lmchat.errors import LMChatError, WrongUse
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui.commands import Scope
from lmchat.tui.screens.chat.figures import Figures
from lmchat.tui.screens.chat.sessions import PromptText
from lmchat.tui.screens.chat.turns import Turns
from lmchat.tui.screens.chat.view import ChatView
from lmchat.tui.slash import SlashCommand, is_command, parse_slash

_LEDGER = timedelta(days=90)
"""Period of `/stats`; `lmchat stats` shows all of the ledger."""
_NO_EFFORT = "default"
"""Lets the server decide."""


class PromptCommands:
    """Sends a prompt, or runs a slash command; a command that fails goes back into the prompt."""

    def __init__(
        self, workspace: Workspace, view: ChatView, figures: Figures, text: PromptText, turns: Turns
    ) -> None:
        self._workspace = workspace
        self._open = workspace.open_sessions
        self._view = view
        self._figures = figures
        self._text = text
        self._turns = turns

    def submit(self, text: str) -> None:
        """Send what was typed as a message, or run it as a command."""
        prompt_input = self._view.prompt_input
        prompt_input.history_of_prompts = (text, *prompt_input.history_of_prompts)
        self._text.forget()
        if is_command(text):
            self.run(text)
        else:
            self._turns.say(text)
        self._text.leave_command()

    def run(self, line: str) -> None:
        """Run a slash command."""
        found = parse_slash(line)
        if found is None:
            self._view.prompt_input.put(line)
            words = f"No command is called {safe_line(line, limit=40)}."
            self._view.tell(WrongUse(words, hint="F1 lists all."))
        else:
            self._view.attempt(lambda: self._run(found), group="slash", typed=line)

    async def _run(self, typed: SlashCommand) -> None:
        command, argument = typed.command, typed.argument
        destination, name, parameters = parse(command.typed or command.action)
        if command.typed or (command.takes_argument and argument):
            parameters = (argument,)
        app = self._view.screen.app
        namespace = app if command.scope is Scope.APP else self._view.screen
        await app.run_action((destination, name, parameters), namespace)

    async def change_system_prompt(self, text: str) -> None:
        """Change the system prompt from the next turn on."""
        self._view.log.append(await self._open.shown.conversation.set_system_prompt(text))
        self._figures.show_action("system prompt changed")

    async def use_profile(self, name: str) -> None:
        """Use a profile of the configuration from the next turn on, with its model."""
        profiles = self._workspace.settings.profiles
        if name not in profiles:
            known = ", ".join(profiles) or "none"
            raise WrongUse(f"No profile is called {safe_line(name, limit=40)}.", hint=f"Configured: {known}.")
        self._open.use_profile(profiles[name])
        if profiles[name].model:
            await self._view.screen.app.run_action(("app", "pick_model", (profiles[name].model,)))
        self._figures.show_action(f"profile {safe_line(name, limit=20)}")

    def use_effort(self, level: str) -> None:
        """Set how much the model is to think."""
        if level not in (*EFFORTS, _NO_EFFORT):
            known = ", ".join((*EFFORTS, _NO_EFFORT))
            raise WrongUse(f"No effort is called {safe_line(level, limit=20)!r}.", hint=f"There are {known}.")
        self._open.use_effort("" if level == _NO_EFFORT else level)
        self._figures.show_action(f"effort {level}")

    async def insert_file(self, path: str) -> None:
        """Insert a text file into the prompt."""
        self._view.prompt_input.insert_block(await self._workspace.outside.read_text(path))

    async def edit_prompt(self) -> None:
        """Edit the prompt in the external editor; the terminal has been lent to it."""
        prompt_input = self._view.prompt_input
        prompt_input.put(await self._workspace.outside.edit(prompt_input.full_text))

    async def show_stats(self) -> None:
        """Show the figures of this run, and of each model over the last weeks."""
        from lmchat.services.turn_stats import figures_by_model
        from lmchat.tui.screens.text_dialog import TextDialog, models_text, run_text

        run = run_text(self._workspace.backend.metrics(), self._workspace.backend.budget())
        try:
            rows = await self._workspace.store.ledger_rows(since=now() - _LEDGER)
            models = models_text(figures_by_model(rows))
        except LMChatError as error:
            models = error.message
        self._view.screen.app.push_screen(TextDialog("Figures", f"{run}\n\n{models}".rstrip()))
