"""What a line that begins with `/` does, and the commands that show a text."""

from __future__ import annotations

from datetime import timedelta

from textual import on

from lmchat.config.settings import EFFORTS
from lmchat.domain.message import now
from lmchat.errors import LMChatError, WrongUse
from lmchat.text import safe_line, safe_text
from lmchat.tui.commands import Command, Scope
from lmchat.tui.intents import ChangeTheme, CopyText, PickModel, SwitchModel, SwitchRecent
from lmchat.tui.screens.chat_files import ChatFiles
from lmchat.tui.slash import is_command, parse_slash
from lmchat.tui.themes import theme_named
from lmchat.tui.widgets.message_acts import NOTHING_YET, words_of
from lmchat.tui.widgets.prompt_input import PromptInput

_LEDGER = timedelta(days=90)
"""What `/stats` looks back on; `lmchat stats` has all of it."""
_NO_EFFORT = "default"
"""Lets the server decide."""


class ChatCommands(ChatFiles):
    """Takes what is typed: a prompt, or a command; a command that fails stays in the prompt."""

    _before_command: str = ""
    """What was typed when the palette began a command in the prompt."""

    @on(PromptInput.Submitted)
    def take_prompt(self, event: PromptInput.Submitted) -> None:
        """Send what was typed, or do what a slash command says."""
        self.prompt_input.history_of_prompts = (event.text, *self.prompt_input.history_of_prompts)
        self.open_sessions.drafts.note(self.drafted_in(), "")
        if is_command(event.text):
            self.run_slash(event.text)
        else:
            self.say(event.text)
        self.leave_command()

    def leave_command(self) -> bool:
        """Bring back what was typed before the palette began a command; tell whether there was any."""
        text, self._before_command = self._before_command, ""
        if text and not self.prompt_input.text.strip():
            self.prompt_input.put(text)
        return bool(text)

    def run_slash(self, line: str) -> None:
        """Do what a slash command says; one that cannot be done stays in the prompt."""
        found = parse_slash(line)
        try:
            if found is None:
                words = f"No command is called {safe_line(line, limit=40)}."
                raise WrongUse(words, hint="F1 lists all.")
            self._slash(found.command, found.argument, line)
        except LMChatError as error:
            self.prompt_input.put(line)
            self.tell(error)

    def _slash(self, command: Command, argument: str, line: str) -> None:
        match command.command_id:
            case "model" if argument:
                self._use_model(argument)
            case "find":
                self.call_later(self.action_find, argument)
            case "search":
                self.action_search_sessions(argument)
            case "export":
                self.action_export_session(argument, typed=line)
            case "import":
                self.action_import_file(argument, typed=line)
            case "theme":
                self._use_theme(argument)
            case "system" | "profile" | "effort" | "file" | "title" | "tag" | "copy":
                self._slash_with_argument(command.command_id, argument, line)
            case _:
                namespace = self.app if command.scope is Scope.APP else self
                self.call_later(self.app.run_action, command.action, namespace)

    def _slash_with_argument(self, command_id: str, argument: str, line: str) -> None:
        match command_id:
            case "system":
                self.attempt(lambda: self._change_system_prompt(argument), group="system", typed=line)
            case "profile":
                self._use_profile(argument)
            case "effort":
                self._use_effort(argument)
            case "file":
                self.attempt(lambda: self._insert_file(argument), group="file", typed=line)
            case "copy":
                self._copy_part(argument)
            case "tag":
                self.ask_tags(self.conversation_id, argument)
            case _:
                self.ask_title(self.conversation_id, argument)

    async def _change_system_prompt(self, text: str) -> None:
        message = await self.open_sessions.shown.conversation.set_system_prompt(text)
        self.log_view.append(message)
        self.show_action("system prompt changed")

    def _use_profile(self, name: str) -> None:
        profiles = self.workspace.settings.profiles
        if name not in profiles:
            known = ", ".join(profiles) or "none"
            raise WrongUse(f"No profile is called {safe_line(name, limit=40)}.", hint=f"Configured: {known}.")
        self.open_sessions.use_profile(profiles[name])
        if profiles[name].model:
            self._use_model(profiles[name].model)
        self.show_action(f"profile {safe_line(name, limit=20)}")

    def _use_effort(self, level: str) -> None:
        if level not in (*EFFORTS, _NO_EFFORT):
            known = ", ".join((*EFFORTS, _NO_EFFORT))
            raise WrongUse(f"No effort is called {safe_line(level, limit=20)!r}.", hint=f"There are {known}.")
        self.open_sessions.use_effort("" if level == _NO_EFFORT else level)
        self.show_action(f"effort {level}")

    def _use_model(self, name: str) -> None:
        """Use a model from the next turn on: a recent one by its number, any by its name or a part of it."""
        if name.isdigit():
            self.post_message(SwitchRecent(int(name)))
            return
        rows, _ = self.workspace.catalogue.known(self.workspace.remembered)
        models = [row.model for row in rows if not row.model.is_embedding]
        exact = [model for model in models if model.model_id == name]
        found = exact or [model for model in models if name.casefold() in model.model_id.casefold()]
        if not exact and len(found) != 1:
            words = "No model is" if not found else f"{len(found)} models are"
            raise WrongUse(f"{words} called {safe_line(name, limit=40)}.", hint="Ctrl+O lists all.")
        self.post_message(SwitchModel(found[0]))

    def _use_theme(self, name: str) -> None:
        if name and not theme_named(name):
            words = f"No theme is called {safe_line(name, limit=40)}."
            raise WrongUse(words, hint="There are dark, light and ansi.")
        self.action_change_theme(name)

    async def _insert_file(self, path: str) -> None:
        block = await self.workspace.outside.read_text(path)
        self.prompt_input.insert_block(block)

    def action_slash(self, start: str) -> None:
        """Begin a slash command in the prompt; what is typed there comes back after it."""
        self._before_command = self._before_command or self.prompt_input.full_text
        self.prompt_input.put(start)
        self.prompt_input.focus()

    def action_pick_model(self) -> None:
        """Open the model picker."""
        self.post_message(PickModel())

    def action_recent_model(self, number: int) -> None:
        """Switch to the n-th recent model."""
        self.post_message(SwitchRecent(number))

    async def action_find(self, query: str = "") -> None:
        """Find words in this session."""
        from lmchat.tui.widgets.find_bar import FindBar

        if not self.query(FindBar):
            await self.query_one("#chat").mount(FindBar(), before=self.prompt)
        self.query_one(FindBar).open(query)

    def action_change_theme(self, name: str = "") -> None:
        """Use the named theme, or the next one."""
        self.post_message(ChangeTheme(name))

    def action_copy_last(self) -> None:
        """Copy the last answer as Markdown source."""
        last = self.open_sessions.last_answer()
        words = words_of(self.as_now(last)) if last is not None else ""
        if words:
            self.post_message(CopyText(words))
        else:
            self.app.notify(
                NOTHING_YET if last is None else "There is nothing in it to copy yet.", markup=False
            )

    def _copy_part(self, part: str) -> None:
        if not part:
            self.action_copy_last()
        elif part == "code":
            self.action_message("copy_code")
        else:
            raise WrongUse(f"{safe_line(part, limit=40)} cannot be copied.", hint="There is /copy code.")

    def action_fork_session(self) -> None:
        """Fork the session at its end."""
        if self.open_sessions.shown.conversation.messages:
            self.fork_at(self.open_sessions.shown.conversation.messages[-1])
        else:
            self.app.notify(NOTHING_YET, markup=False)

    def action_show_log(self) -> None:
        """Tell where the log file is."""
        from lmchat.tui.screens.text_dialog import TextDialog

        self.app.push_screen(TextDialog("Log file", safe_text(self.workspace.outside.log_file)))

    async def action_show_stats(self) -> None:
        """Show the figures of this run, and of each model over the last weeks."""
        from lmchat.services.turn_stats import figures_by_model
        from lmchat.tui.screens.stats_text import models_text, run_text
        from lmchat.tui.screens.text_dialog import TextDialog

        run = run_text(self.workspace.backend.metrics(), self.workspace.backend.budget())
        try:
            rows = await self.workspace.store.ledger_rows(since=now() - _LEDGER)
            models = models_text(figures_by_model(rows))
        except LMChatError as error:
            models = error.message
        self.app.push_screen(TextDialog("Figures", f"{run}\n\n{models}".rstrip()))

    def action_run_doctor(self) -> None:
        """Look at everything that a chat needs, and say what is wrong and the next step."""
        from lmchat.tui.screens.doctor_screen import DoctorScreen

        self.app.push_screen(DoctorScreen(self.workspace.outside.examination()))
