"""The chat screen: what each of its keys and slash commands does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

from textual import on
from textual.binding import BindingType

from lmchat.domain.message import Role
from lmchat.errors import LMChatError
from lmchat.tui.commands import Scope, bindings
from lmchat.tui.intents import FindNext, FindWords, LookNow, ReadHit, RememberPanels, StopFinding
from lmchat.tui.screens.chat_commands import ChatCommands
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.keys_row import Hint, KeysRow
from lmchat.tui.widgets.message_acts import NOTHING_YET, has_words, is_resumable
from lmchat.tui.widgets.prompt_input import PromptInput

_CHAT_HINTS = ("model", "new", "find", "export", "sessions", "telemetry")
_MESSAGE_HINTS = (
    *("copy", "resume", "edit", "regenerate", "fold", "fork", "copy_code", "versions"),
    *("links", "delete", "tree", "source", "pager", "select", "undo"),
)
_TAKE_BACK_HINT: Hint = ("Esc", "take back")
_EDIT_HINTS: Sequence[Hint] = (("Esc", "leave edit"), ("Enter", "send it anew"))
_FIND_HINTS: Sequence[Hint] = (("Enter", "next"), ("↑", "previous"), ("Tab", "read on"), ("Esc", "leave"))
_SESSION_HINTS = ("open", "rename", "pin", "archive", "delete", "undo", "trash", "tag")
LOOK_AFTER_S = 5.0
"""From the start to the daily look at the sessions' file: whoever wants to type or search comes first."""
_DOWN_HINTS = ("check", "retry", "model", "new", "export")


class ChatScreen(ChatCommands):
    """Prompt, log and panels under the hands of the user."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.CHAT)]

    def start(self, resume_id: str) -> None:
        """Bring back what was typed, earlier prompts, and the session that is to be resumed."""
        self.show_sessions()
        self.attempt(self._recall_prompts, group="history")
        if resume_id:
            self.attempt(lambda: self._resume(resume_id), group="open")
        self.set_timer(LOOK_AFTER_S, lambda: self.begin_work(self._look_over, "look"))

    async def _look_over(self) -> None:
        with suppress(LMChatError):  # what cannot be read or written is told where somebody wants it
            if notice := await self.workspace.store.look_over():
                self.workspace.notices.append(notice)
                self.show_sessions()
                self.refresh_figures()

    async def _recall_prompts(self) -> None:
        if notice := await self.workspace.store.open():
            self.workspace.notices.append(notice)
            self.refresh_figures()
        drafts, earlier = self.open_sessions.drafts, await self.workspace.store.prompt_history()
        await drafts.load("")
        draft = "" if self.workspace.resume_id else drafts.text("")
        if draft and not self.prompt_input.text and not self.open_sessions.shown.conversation.messages:
            self.prompt_input.load_draft(draft)
        elif draft:  # one was faster than the disk: ↑ brings it back
            earlier = (draft, *earlier)
        self.prompt_input.history_of_prompts = (*self.prompt_input.history_of_prompts, *earlier)

    async def _resume(self, resume_id: str) -> None:
        await self.go_to(await self.workspace.library.find(resume_id), is_resumed=True)

    def action_stop_or_leave(self) -> None:
        """Stop the answer; else leave what lies over the chat, else go back to the prompt."""
        if self.stop_turn():
            self.show_action("stopped")
            return
        if self.leave_edit() or self.leave_command():
            return
        if self.log_view.drop_selection():
            return
        if self.focused is self.prompt_input and self.take_back():
            return
        self.close_find_bar()
        self.remove_class("-sessions-over", "-telemetry-over")
        self.prompt_input.focus()

    def action_check_server(self) -> None:
        """Look at the server now."""
        self.post_message(LookNow())

    def action_toggle_sessions(self) -> None:
        """Show the sessions and go there, or hide them."""
        self._toggle_panel("sessions", is_hidden_by_size=self.has_class("-narrow") or self.has_class("-mid"))
        if self.sessions.display:
            self.show_sessions()
            self.sessions.focus()
        else:
            self.prompt_input.focus()

    def action_toggle_telemetry(self) -> None:
        """Show or hide the telemetry."""
        self._toggle_panel("telemetry", is_hidden_by_size=self.has_class("-narrow"))
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
        last = self.open_sessions.last_answer()
        if last is not None:
            self.regenerate(last)
        else:
            self.app.notify(NOTHING_YET, markup=False)

    def action_edit_prompt(self) -> None:
        """Edit the prompt in the external editor."""

        async def work() -> None:
            self.prompt_input.put(await self.workspace.outside.edit(self.prompt_input.full_text))

        self.lend_to(work)

    def action_focus_message(self, step: int) -> None:
        """Focus the previous or next message; after the last one the prompt."""
        if self.log_view.focus_message(step):
            self.log_view.focus()
        else:
            self.prompt_input.focus()

    @on(FindWords)
    def find_typed(self, event: FindWords) -> None:
        """Mark all hits, and show the first."""
        if event.is_typed:
            self.log_view.hits.seek(event.query)
        else:
            self.log_view.hits.find(event.query)
            self.log_view.tell_found()

    @on(FindNext)
    def find_next(self, event: FindNext) -> None:
        """Go to the next hit."""
        self.log_view.hits.step(event.by)

    @on(ReadHit)
    def read_hit(self) -> None:
        """Give the focus to the message of the hit."""
        self.log_view.focus_hit()

    @on(StopFinding)
    def stop_finding(self) -> None:
        """Unmark all hits."""
        self.log_view.hits.clear()
        self.prompt_input.focus()

    def _message_hint(self, name: str) -> Hint:
        if name != "versions":
            return self.hint(f"message.{name}")
        previous, following = self.hint("message.previous_version"), self.hint("message.next_version")
        return f"{previous[0]} {following[0]}", previous[1]

    def _is_of_use(self, name: str) -> bool:
        """Whether a key of the focused message would do something."""
        if self.log_view.focused_message is None:
            return name == "undo"
        return not self.why_not("next_version" if name == "versions" else name)

    @on(ChatLog.SelectionChanged)
    def show_selection_keys(self) -> None:
        """Say what can be done with a selection."""
        self.refresh_figures()

    def _hints(self) -> Sequence[Hint]:
        running = [self.hint("stop")] if self.open_sessions.shown.is_busy else []
        if self.log_view.selection.selected is not None:
            return [*running, ("^C", "copy"), *([] if running else [("Esc", "select nothing")])]
        if any(bar.has_focus_within for bar in self.query("FindBar")):
            return [*running, *_FIND_HINTS]
        if self.focused is self.log_view:
            return [*running, *(self._message_hint(name) for name in _MESSAGE_HINTS if self._is_of_use(name))]
        if self.sessions.has_focus_within:
            return [*running, *(self.hint(f"session.{name}") for name in _SESSION_HINTS)]
        if self._edited_id:
            return [*running, *_EDIT_HINTS[1 if running else 0 :]]  # Esc stops first
        if self.open_sessions.shown.is_waiting:
            running = [_TAKE_BACK_HINT]
        names_now = _DOWN_HINTS if self.health.is_down else _CHAT_HINTS
        hints = [*running, *self._ways_on(), *(self.hint(name) for name in names_now)]
        return list(dict.fromkeys(hints))  # a way on may be one of the keys of a server that is down

    def _ways_on(self) -> list[Hint]:
        """Return what can be done from an empty prompt about a last answer that lacks its end."""
        last = self.open_sessions.last_answer()
        if last is None or self.prompt_input.text or self.open_sessions.shown.is_busy:
            return []
        again = [self.hint("retry")]
        if last.role is Role.USER:  # its answer was deleted, or stopped before it began
            return again
        resumed = [("/continue", "it")] if has_words(last) else []
        return [*resumed, *again] if is_resumable(last) else []

    def refresh_figures(self) -> None:
        """Show what is measured, and in an empty prompt the ways on."""
        super().refresh_figures()
        self.prompt_input.invite(", ".join(" ".join(hint) for hint in self._ways_on()))

    @on(PromptInput.Drafted)
    @on(ChatLog.FocusMoved)
    def show_ways_on(self) -> None:
        """Name the keys of use to what has the focus: a message, or a prompt as long as nothing is typed."""
        self.show_keys()

    @on(KeysRow.CommandClicked)
    def run_clicked(self, event: KeysRow.CommandClicked) -> None:
        """Do what a slash command in the row of keys says."""
        self.run_slash(event.line)
