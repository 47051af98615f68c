"""The chat screen: what each of its keys and slash commands does."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on

from lmchat.safe_text import safe_line, safe_text
from lmchat.tui import figures
from lmchat.tui.intents import ChangeTheme, CopyText, LookNow, PickModel, RememberPanels, SwitchRecent
from lmchat.tui.quirks.driver import lend_terminal
from lmchat.tui.screens.chat_messages import ChatMessages
from lmchat.tui.screens.text_dialog import TextDialog
from lmchat.tui.slash import parse_slash
from lmchat.tui.widgets.find_bar import FindBar
from lmchat.tui.widgets.keys_row import Hint
from lmchat.tui.widgets.prompt_input import PromptInput

_CHAT_HINTS = (
    ("^O", "model"),
    ("^N", "new"),
    ("^F", "find"),
    ("^E", "export"),
    ("^B", "sessions"),
    ("^T", "telemetry"),
)
_MESSAGE_HINTS = (
    ("y", "copy"),
    ("c", "copy code"),
    ("e", "edit"),
    ("r", "regenerate"),
    ("f", "fork"),
    ("[ ]", "versions"),
    ("s", "source"),
    ("o", "pager"),
    ("d", "delete"),
    ("u", "undo"),
)
_SESSION_HINTS = (
    ("Enter", "open"),
    ("n", "rename"),
    ("p", "pin"),
    ("a", "archive"),
    ("d", "delete"),
    ("u", "undo"),
)
_DOWN_HINTS = (("F5", "look now"), ("^R", "retry"), ("^O", "model"), ("^N", "new"), ("^E", "export"))


class ChatScreen(ChatMessages):
    """Prompt, log and panels under the hands of the user."""

    def start(self, resume_id: str) -> None:
        """Bring back what was typed, earlier prompts, and the session that is to be resumed."""
        self.attempt(self._recall_prompts, group="history")
        if resume_id:
            self.attempt(lambda: self._resume(resume_id), group="open")

    async def _recall_prompts(self) -> None:
        drafts, earlier = self.desk.drafts, await self.workspace.store.prompt_history()
        await drafts.load("")
        draft = "" if self.workspace.resume_id else drafts.text("")
        if draft and not self.prompt_input.text and not self.desk.shown.conversation.messages:
            self.prompt_input.load_draft(draft)
        elif draft:  # one was faster than the disk: ↑ brings it back
            earlier = (draft, *earlier)
        self.prompt_input.history_of_prompts = (*self.prompt_input.history_of_prompts, *earlier)

    async def _resume(self, resume_id: str) -> None:
        await self.go_to(await self.workspace.library.find(resume_id))

    @on(PromptInput.Submitted)
    def take_prompt(self, event: PromptInput.Submitted) -> None:
        """Send what was typed, or do what a slash command says."""
        self.prompt_input.history_of_prompts = (event.text, *self.prompt_input.history_of_prompts)
        self.desk.drafts.note(self.drafted_in(), "")
        if event.text.startswith("/") and "\n" not in event.text:
            self.run_slash(event.text)
        else:
            self.say(event.text)

    def run_slash(self, line: str) -> None:
        """Do what a slash command says; an unknown one stays in the prompt."""
        found = parse_slash(line)
        if found is None:
            self.prompt_input.put(line)
            self.app.notify(f"No command is called {safe_line(line, limit=40)}. F1 lists all.", markup=False)
            return
        self._slash(found.command.command_id, found.argument, found.command.action)

    def _slash(self, command_id: str, argument: str, action: str) -> None:
        match command_id:
            case "model" if argument.isdigit():
                self.action_recent_model(int(argument))
            case "find":
                self.action_find(argument)
            case "search":
                self.action_search_sessions(argument)
            case "export":
                self.action_export_session(argument)
            case "theme":
                self.post_message(ChangeTheme(argument))
            case "system" | "profile" | "file" | "title":
                self._slash_with_argument(command_id, argument)
            case _:
                self.call_later(self.run_action, action)

    def _slash_with_argument(self, command_id: str, argument: str) -> None:
        match command_id:
            case "system":
                self.attempt(lambda: self._change_system_prompt(argument), group="system")
            case "profile":
                self._use_profile(argument)
            case "file":
                self.attempt(lambda: self._insert_file(argument), group="file")
            case _:
                self.ask_title(self.conversation_id, argument)

    async def _change_system_prompt(self, text: str) -> None:
        message = await self.desk.shown.conversation.set_system_prompt(text)
        self.log_view.append(message)
        self.show_action("system prompt changed")

    def _use_profile(self, name: str) -> None:
        profiles = self.workspace.settings.profiles
        if name not in profiles:
            known = ", ".join(profiles) or "none"
            self.app.notify(
                f"No profile is called {safe_line(name, limit=40)}. Configured: {known}.", markup=False
            )
            return
        self.desk.use_profile(profiles[name])
        self.show_action(f"profile {safe_line(name, limit=20)}")

    async def _insert_file(self, path: str) -> None:
        block = await self.workspace.outside.read_text(path)
        self.prompt_input.insert_block(block)

    def action_slash(self, start: str) -> None:
        """Begin a slash command in the prompt."""
        self.prompt_input.put(start)
        self.prompt_input.focus()

    def action_stop_or_leave(self) -> None:
        """Stop the answer; else leave what lies over the chat, else go back to the prompt."""
        if self.stop_turn():
            self.show_action("stopped")
            return
        if self.leave_edit():
            return
        if self.find_bar.display:
            self.find_bar.close()
        self.remove_class("-sessions-over", "-telemetry-over")
        self.prompt_input.focus()

    def action_pick_model(self) -> None:
        """Open the model picker."""
        self.post_message(PickModel())

    def action_recent_model(self, number: int) -> None:
        """Switch to the n-th recent model."""
        self.post_message(SwitchRecent(number))

    def action_check_server(self) -> None:
        """Look at the server now."""
        self.post_message(LookNow())

    def action_toggle_sessions(self) -> None:
        """Show the sessions and go there, or hide them."""
        self._toggle_panel("sessions", is_hidden_by_size=self.size.width < 110)  # noqa: PLR2004 - the breakpoint
        if self.sessions.display:
            self.show_sessions()
            self.sessions.focus()
        else:
            self.prompt_input.focus()

    def action_toggle_telemetry(self) -> None:
        """Show or hide the telemetry."""
        self._toggle_panel("telemetry", is_hidden_by_size=self.size.width < 80)  # noqa: PLR2004 - the breakpoint
        self.refresh_figures()

    def _toggle_panel(self, name: str, *, is_hidden_by_size: bool) -> None:
        """Where there is room, hide or show the column for good; else lay it over the chat."""
        if is_hidden_by_size:
            self.toggle_class(f"-{name}-over")
            return
        self.toggle_class(f"-{name}-hidden")
        self.post_message(
            RememberPanels(
                has_sessions=not self.has_class("-sessions-hidden"),
                has_telemetry=not self.has_class("-telemetry-hidden"),
            )
        )

    def action_regenerate_last(self) -> None:
        """Answer the last prompt once more."""
        last = self.desk.last_answer()
        if last is not None:
            self.regenerate(last)

    def action_edit_prompt(self) -> None:
        """Edit the prompt in the external editor."""

        async def work() -> None:
            with lend_terminal(self.app):
                text = await self.workspace.outside.edit(self.prompt_input.text)
            self.prompt_input.put(text)

        self.attempt(work, group="editor")

    def action_focus_message(self, step: int) -> None:
        """Focus the previous or next message; after the last one the prompt."""
        if self.log_view.focus_message(step):
            self.log_view.focus()
        else:
            self.prompt_input.focus()

    def action_copy_last(self) -> None:
        """Copy the last answer as Markdown source."""
        last = self.desk.last_answer()
        if last is not None:
            self.post_message(CopyText(last.text))

    def action_fork_session(self) -> None:
        """Fork the session at its end."""
        if self.desk.shown.conversation.messages:
            self.fork_at(self.desk.shown.conversation.messages[-1])

    def action_show_log(self) -> None:
        """Tell where the log file is."""
        self.app.push_screen(TextDialog("Log file", safe_text(self.workspace.outside.log_file)))

    def action_show_stats(self) -> None:
        """Show the figures of the layer that talks to servers."""
        metrics, budget = self.workspace.backend.metrics(), self.workspace.backend.budget()
        rows = [
            ("requests", str(metrics.total_requests)),
            ("ok", str(metrics.successful_requests)),
            ("failed", str(metrics.failed_requests)),
            ("stopped", str(metrics.stopped_requests)),
            ("retries", str(metrics.retries)),
            ("mean time", figures.elapsed(metrics.average_response_ms / 1e3)),
            (
                "model lists from cache",
                f"{metrics.cache_hits} of {metrics.cache_hits + metrics.cache_misses}",
            ),
            ("limiter", f"{budget.left} of {budget.limit} left" if budget else figures.UNKNOWN),
        ]
        text = "\n".join(f"{name:<24}{value:>12}" for name, value in rows)
        self.app.push_screen(TextDialog("Figures", text))

    def action_run_doctor(self) -> None:
        """Show what was found at every known place, and what would help."""

        async def work() -> None:
            candidates = await self.workspace.catalogue.look_around()
            rows = [
                f"{one.product:<18}{one.endpoint.netloc:<22}{one.verdict:<18}{safe_line(one.next_step)}"
                for one in candidates
            ]
            rows += [
                "",
                self.workspace.warning or "The store is written to.",
                self.workspace.outside.log_file,
            ]
            self.app.push_screen(TextDialog("Doctor", "\n".join(rows)))

        self.attempt(work, group="doctor")

    def action_find(self, query: str = "") -> None:
        """Find words in this session."""
        self.find_bar.open(query)

    @on(FindBar.Changed)
    def find_typed(self, event: FindBar.Changed) -> None:
        """Mark all hits."""
        self.find_bar.show_place(0, self.log_view.find(event.query))

    @on(FindBar.Step)
    def find_next(self, event: FindBar.Step) -> None:
        """Go to the next hit."""
        self.find_bar.show_place(*self.log_view.next_hit(event.by))

    @on(FindBar.Closed)
    def stop_finding(self) -> None:
        """Unmark all hits."""
        self.log_view.clear_find()
        self.prompt_input.focus()

    def _hints(self) -> Sequence[Hint]:
        running = (("Esc", "stop"),) if self.desk.shown.conversation.is_running else ()
        if self.focused is self.log_view:
            return (*running, *_MESSAGE_HINTS)
        if self.sessions.has_focus_within:
            return (*running, *_SESSION_HINTS)
        return (*running, *(_DOWN_HINTS if self.health.is_down else _CHAT_HINTS))
