"""The chat screen: its parts, and the keys, commands and messages that its controllers handle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import ClassVar

from msgspec.structs import replace
from textual import events, on
from textual.actions import parse
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Center, Horizontal, Vertical
from textual.content import Content

from lmchat.domain.message import Role, now, take_files, without_file_lines
from lmchat.domain.session import SearchHit
from lmchat.domain.tool import CHOICES
from lmchat.errors import LMChatError, WrongUse
from lmchat.files import path_of
from lmchat.services.attachments import files_outside
from lmchat.services.file_finder import named_files
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line, safe_text
from lmchat.threads import run_abandonable
from lmchat.tui.commands import (
    BY_ID,
    Scope,
    SlashCommand,
    bindings,
    is_command,
    keys_of,
    parse_slash,
)
from lmchat.tui.message_needs import NOTHING_YET, has_words, is_resumable
from lmchat.tui.quirks.app import PatchedScreen
from lmchat.tui.quirks.keys import is_prefix, run_own_binding
from lmchat.tui.screens.chat.library import SavedSessions
from lmchat.tui.screens.chat.messages import MessageActs
from lmchat.tui.screens.chat.sessions import PromptText, ShownSession
from lmchat.tui.screens.chat.turns import Turns
from lmchat.tui.screens.chat.view import CANNOT_SEE, ChatView, begin_work
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.keys_row import Hint, KeysRow, written
from lmchat.tui.widgets.prompt import Pill
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.session_list import SessionList

LOOK_AFTER_S = (
    5.0  # from the start to the daily check of the sessions' file: typing and searching come first
)
_LEDGER = timedelta(days=90)  # period of `/stats`; `lmchat stats` shows all of the ledger
_CHAT_HINTS = ("model", "new", "find", "export", "sessions", "telemetry")
_DOWN_HINTS = ("check", "retry", "model", "new", "export")
_MESSAGE_HINTS = (
    *("copy", "resume", "edit", "regenerate", "fold", "fork", "copy_code", "next_version"),
    *("links", "delete", "tree", "source", "pager", "another_model", "compare", "select", "undo"),
)
_SESSION_HINTS = ("open", "rename", "pin", "archive", "delete", "undo", "trash", "tag")
_TAKE_BACK_HINT: Hint = ("Esc", "cancel")
_EDIT_HINTS: Sequence[Hint] = (("Esc", "cancel edit"), ("Enter", "send again"))
_FIND_HINTS: Sequence[Hint] = (
    ("Enter", "next"),
    ("↑", "previous"),
    ("Tab", "go to hit"),
    ("Esc", "close"),
)


class KeyHints:
    """Shows what the keys do now, and in an empty prompt the ways on."""

    def __init__(self, view: ChatView, prompt_text: PromptText, messages: MessageActs) -> None:
        self._keys = view.workspace.settings.keys
        self._open_sessions = view.workspace.open_sessions
        self._view = view
        self._prompt_text = prompt_text
        self._messages = messages

    def show(self) -> None:
        """Show the keys; a message has more of them than there is room for."""
        view = self._view
        help_key = keys_of(BY_ID["help"], self._keys).rpartition(",")[2]
        last = (
            [(written(help_key), "more")]
            if view.has_log_focus
            else map(self._hint, ("commands", "help"))
        )
        view.keys_row.show(self._hints(), tuple(last))
        search, _ = self._hint("search")
        ways_on = (" ".join(hint).rstrip() for hint in self._ways_on())
        begins = (
            ""
            if self._open_sessions.shown.conversation.messages
            else f"/ commands, @ files, {search} search"
        )
        view.prompt_input.placeholder = Content(", ".join(ways_on) or begins)

    def _hint(self, command_id: str) -> Hint:
        command = BY_ID[command_id]
        keys = keys_of(command, self._keys).split(",")
        return written(keys[-1] if is_prefix(keys[0]) else keys[0]), command.label

    def _hints(self) -> Sequence[Hint]:
        shown, view = self._open_sessions.shown, self._view
        running = [self._hint("stop")] if shown.is_busy else []
        if view.log.selection.selected is not None:
            return [*running, ("^C", "copy"), *([] if running else [("Esc", "clear selection")])]
        if any(bar.has_focus_within for bar in view.screen.query("FindBar")):
            return [*running, *_FIND_HINTS]
        if view.has_log_focus:
            return [*running, *self._message_hints()]
        if view.session_list.has_focus_within:
            return [*running, *(self._hint(f"session.{name}") for name in _SESSION_HINTS)]
        if self._prompt_text.edited_id:
            return [*running, *_EDIT_HINTS[1 if running else 0 :]]  # Esc stops first
        if shown.is_waiting:
            running = [_TAKE_BACK_HINT]
        way = (
            "find a server"
            if view.lacks_server
            else "model with vision"
            if view.has_unseen_image
            else ""
        )
        if way:
            running.append((self._hint("model")[0], way))
        if shown.asked is not None:
            running.append((self._hint("previous")[0], "answer the tool"))
        names = _DOWN_HINTS if view.health.is_down else _CHAT_HINTS
        others = [self._hint(name) for name in names if not (way and name == "model")]
        hints = [*running, *self._ways_on(), *others]
        return list(
            dict.fromkeys(hints)
        )  # a way on may be one of the keys of a server that is down

    def _message_hints(self) -> list[Hint]:
        """Return the keys that would do something with the focused message."""
        if self._view.log.focused_message is None:
            return [self._hint("message.undo")]
        if self._view.log.calls.has_focus:
            return [*CHOICES.items()]
        hints = []
        for name in _MESSAGE_HINTS:
            key, word = self._hint(f"message.{name}")
            if name == "next_version":
                key = f"{self._hint('message.previous_version')[0]} {key}"
            if self._view.log.focused_message.files:
                word = {"fold": "show file", "pager": "open file"}.get(name, word)
            is_empty = name == "resume" and not has_words(self._view.log.focused_message)
            if not (is_empty or self._messages.unavailable_reason(name)):
                hints.append((key, word))
        return hints

    def _ways_on(self) -> list[Hint]:
        """Return what can be done from an empty prompt about a last answer that lacks its end."""
        last = self._open_sessions.shown.last_answer
        if last is None or self._view.prompt_input.text or self._open_sessions.shown.is_busy:
            return []
        again = [self._hint("retry")]
        if last.role is Role.USER:  # its answer was deleted, or stopped before it began
            return again
        resumed = [("/continue", "")] if has_words(last) else []
        return [*resumed, *again] if is_resumable(last) else []


class ChatScreen(PatchedScreen):
    """Sessions, chat and telemetry in three columns, and a row of keys below them."""

    AUTO_FOCUS = "PromptInput"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.CHAT)]

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.open_sessions = workspace.open_sessions
        self.view = view = ChatView(self, workspace, self._show_keys)
        self.prompt_text = prompt_text = PromptText(view)
        self.sessions = ShownSession(view, prompt_text)
        self.turns = Turns(view, self.sessions, prompt_text)
        self.messages = MessageActs(view, self.sessions, prompt_text, self.turns)
        self.library = SavedSessions(view, self.sessions, self.turns)
        self.hints = KeyHints(view, prompt_text, self.messages)
        self._is_painted = False

    def compose(self) -> ComposeResult:
        remembered = self.workspace.remembered
        has_telemetry = remembered.has_telemetry and self.workspace.settings.ui.sidebar
        app = self.app
        wide = [name for least, name in app.HORIZONTAL_BREAKPOINTS or [] if app.size.width >= least]
        tall = [name for least, name in app.VERTICAL_BREAKPOINTS or [] if app.size.height >= least]
        self.add_class(
            *wide[-1:], *tall[-1:]
        )  # else all styles were made again after the first paint
        self.set_class(not remembered.has_sessions, "-sessions-hidden")
        self.set_class(not has_telemetry, "-telemetry-hidden")
        with Horizontal(id="body"):
            yield self.view.session_list
            with Vertical(id="chat"):
                with Center(id="title-row"):
                    yield self.view.title_line
                yield self.view.log
                yield self.view.prompt
            yield self.view.telemetry
        yield self.view.keys_row

    def on_mount(self) -> None:
        log = self.view.log
        log.inflow.frames_per_second = self.workspace.settings.ui.frames_per_second
        log.typed_into, log.today = self.view.prompt_input, self.workspace.library.today
        log.is_saved = not self.workspace.is_temporary
        self.view.prompt_input.find_files = self.workspace.platform.find_files
        settings = self.workspace.settings
        self.view.prompt_input.names = {"/p": settings.prompts, "/profile": settings.profiles}
        self.view.start()
        self.sessions.show_conversation()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Keep the styles that all widgets were given when they were mounted a moment ago."""
        event.refresh_styles &= self._is_painted
        self._is_painted = True

    def on_screen_suspend(self) -> None:
        """Leave notifications to the screen above, which has them at another place."""
        self.query("ToastRack").set(display=False)

    def on_resize(self) -> None:
        """Say where the terminal has become too small, or no longer is."""
        self.view.keys_row.refresh()

    def start(self) -> None:
        self.sessions.show_list()
        self.view.attempt(self._recall, group="history")
        if self.workspace.resume_id:
            self.view.attempt(self._resume, group="open")
        self.set_timer(LOOK_AFTER_S, lambda: begin_work(self, self._look_over, "look"))

    async def _recall(self) -> None:
        if notice := await self.workspace.store.open():
            self.workspace.notices.append(notice)
            self.view.refresh()
        known = await self.workspace.store.prompt_history()
        typed = (
            prompt
            for prompt in known
            if prompt != self.open_sessions.next_turn.options.compact_prompt
        )
        earlier = tuple(map(without_file_lines, typed))
        drafts, prompt_input = self.open_sessions.drafts, self.view.prompt_input
        await drafts.load("")
        is_typed = drafts.is_noted("")  # in this run: it is in the prompt, or was just sent
        draft = "" if self.workspace.resume_id or is_typed else drafts.text("")
        if draft and not prompt_input.text and not self.open_sessions.shown.conversation.messages:
            prompt_input.load_draft(draft)
        elif draft:  # the user was faster than the disk: ↑ brings it back
            earlier = (draft, *earlier)
        prompt_input.history_of_prompts = (*prompt_input.history_of_prompts, *earlier)

    async def _resume(self) -> None:
        session_id = await self.workspace.store.find(self.workspace.resume_id)
        await self.sessions.go_to(session_id, takes_queue=True)
        if self.open_sessions.shown.is_waiting and not self.open_sessions.has_to_wait:
            self.turns.send_waiting()

    async def _look_over(self) -> None:
        with suppress(
            LMChatError
        ):  # what cannot be read or written is told where somebody wants it
            if notice := await self.workspace.store.daily_check():
                self.workspace.notices.append(notice)
                self.sessions.show_list()
                self.view.refresh()

    # The prompt

    @on(PromptInput.Submitted)
    def _submit_prompt(self, event: PromptInput.Submitted) -> None:
        prompt_input = self.view.prompt_input
        prompt_input.history_of_prompts = (event.text, *prompt_input.history_of_prompts)
        self.prompt_text.forget()
        if is_command(event.text):
            self.run_command(event.text)
        else:
            self.turns.submit(event.text)
        self.prompt_text.leave_command()

    def run_command(self, line: str) -> None:
        """Run a slash command; one that fails goes back into the prompt."""
        found = parse_slash(line)
        if found is None:
            self.view.prompt_input.put(line)
            words = f"Unknown command: {safe_line(line.partition(' ')[0], limit=40)}."
            hint = "F1 lists the commands. Begin with a space to send it as a message."
            self.view.tell(WrongUse(words, hint=hint))
        else:
            self.view.attempt(partial(self._run_command, found), group="slash", typed=line)

    async def _run_command(self, typed: SlashCommand) -> None:
        command, argument = typed.command, typed.argument
        destination, name, parameters = parse(command.typed or command.action)
        if command.typed or (command.takes_argument and argument):
            parameters = (*parameters, argument)
        namespace = self.app if command.scope is Scope.APP else self
        await self.app.run_action((destination, name, parameters), namespace)

    @on(PromptInput.Drafted)
    def follow_typing(self) -> None:
        """Show what is typed in figures and keys, and save it."""
        self.view.show_status()
        self._show_keys()
        self.sessions.mark_left_out_soon()
        self.prompt_text.save_soon()

    @on(PromptInput.ScrollWanted)
    async def _scroll_log(self, event: PromptInput.ScrollWanted) -> None:
        await run_own_binding(self.view.log, event.key)

    @on(PromptInput.StopWanted)
    def _stop_answer(self) -> None:
        self.turns.stop()

    @on(PromptInput.QueueActWanted)
    def _act_on_queue(self, event: PromptInput.QueueActWanted) -> None:
        act = self.turns.edit_queued if event.what == "edit" else self.turns.remove_queued
        act(event.index)

    def action_slash(self, start: str) -> None:
        self.prompt_text.begin_command(start)

    def action_edit_prompt(self) -> None:
        async def edit() -> None:
            prompt_input = self.view.prompt_input
            before = prompt_input.full_text
            after = await self.workspace.platform.edit(before)
            prompt_input.put(without_file_lines(after, kept=take_files(before)[1]))

        self.view.lend_terminal_to(edit)

    @on(PromptInput.FileNamed)
    def _attach_named(self, event: PromptInput.FileNamed) -> None:
        self.view.attempt(lambda: self._attach_files(event.text, event.path), group="attach")

    async def _attach_files(self, typed: str, path: str) -> None:
        """Put the file at a path into the prompt, else those that a pasted text names, if it does."""
        found = await run_abandonable(partial(named_files, path or typed)) or (
            [path] if path else ()
        )
        paths = [path_of(str(name)) for name in found]
        if not await self._may_read(paths):
            return
        files = [await self.open_sessions.files.attach(one) for one in paths]
        if files:
            name = safe_line(Path(path).name) if typed and path else ""
            self.view.prompt_input.attach(typed, files, name)
        if self.view.has_unseen_image and any(take_files(file)[1] for file in files):
            self.view.notify(CANNOT_SEE)

    async def _may_read(self, paths: Sequence[Path]) -> bool:
        """Ask about files outside the working folder: a pasted path alone must not read them."""
        from lmchat.tui.screens.ask_dialog import OutsideDialog

        outside = await files_outside(paths, Path.cwd())
        return not outside or bool(await self.view.ask(OutsideDialog(outside)))

    async def action_insert_file(self, path: str) -> None:
        await self._attach_files("", path)

    async def action_change_system_prompt(self, text: str) -> None:
        self.view.log.append(await self.open_sessions.shown.conversation.set_system_prompt(text))
        self.view.show_action("system prompt changed")

    async def action_use_profile(self, name: str) -> None:
        profile = self.open_sessions.next_turn.use_profile(name, self.workspace.settings.profiles)
        if profile.model:
            await self.run_action(f"app.pick_model({profile.model!r})")
        self.view.show_action(f"profile {safe_line(name, limit=20)}")

    async def action_use_preset(self, typed: str) -> None:
        from lmchat.services.prompts import filled

        name, _, text = typed.partition(" ")
        settings, platform = self.workspace.settings, self.workspace.platform

        async def paste() -> str:
            return without_file_lines(await platform.paste())

        self.turns.submit(await filled(settings.prompts, name, text, paste))

    def action_use_effort(self, level: str) -> None:
        self.open_sessions.next_turn.use_effort(level)
        self.view.show_action(f"effort {level}")
        self.view.notify(f"Reasoning effort: {level}.")

    # Messages

    @on(ChatLog.ActionWanted)
    def _act_on_message(self, event: ChatLog.ActionWanted) -> None:
        self.messages.act_on(event.name, event.message, event.text, event.note)

    @on(ChatLog.Decided)
    def _decide(self, event: ChatLog.Decided) -> None:
        self.turns.decide(event.choice)

    @on(ChatLog.NewLines)
    def _show_pill(self, event: ChatLog.NewLines) -> None:
        self.view.prompt.pill.new_lines = None if self.view.log.viewport.is_at_end else event.count

    @on(Pill.Pressed)
    def _follow_again(self) -> None:
        self.view.log.scroll_end()
        self.view.prompt_input.focus()

    def action_message(self, name: str) -> None:
        self.messages.act(name)

    def action_focus_message(self, step: int) -> None:
        is_there = self.view.log.focus_message(step)
        (self.view.log if is_there else self.view.prompt_input).focus()

    def action_copy(self, part: str = "") -> None:
        self.messages.copy_part(part)

    def action_regenerate_last(self) -> None:
        if last := self.open_sessions.shown.last_answer:
            self.turns.regenerate(last)
        else:
            self.view.notify(NOTHING_YET)

    def action_compact(self) -> None:
        self.turns.compact(self.open_sessions.shown)

    def action_fork_session(self) -> None:
        if messages := self.open_sessions.shown.conversation.messages:
            self.messages.act_on("fork", messages[-1])
        else:
            self.view.notify(NOTHING_YET)

    # Finding

    async def action_find(self, query: str = "") -> None:
        from lmchat.tui.widgets.find_bar import FindBar

        if not self.query(FindBar):
            await self.query_one("#chat").mount(FindBar(self.view.log), before=self.view.prompt)
        self.query_one(FindBar).open(query)

    @on(ChatLog.HitsCounted)
    def _show_found(self, event: ChatLog.HitsCounted) -> None:
        from lmchat.tui.widgets.find_bar import FindBar

        for bar in self.query(FindBar):
            bar.show_place(event.place, event.count, is_whole=event.is_whole)

    # Sessions

    @on(SessionList.Opened)
    def _open_chosen(self, event: SessionList.Opened) -> None:
        self.remove_class("-sessions-over")
        self.sessions.switch_to(event.session_id)

    @on(SessionList.ActWanted)
    def _change_session(self, event: SessionList.ActWanted) -> None:
        self.view.attempt(partial(self.library.act, event.name, event.session_id), group="change")

    @on(SessionList.SearchWanted)
    def _search_typed(self, event: SessionList.SearchWanted) -> None:
        self.action_search_sessions(event.query)

    def action_search_sessions(
        self, query: str = "", *, before: Callable[[], None] | None = None
    ) -> None:
        from lmchat.tui.screens.search_dialog import SearchDialog

        dialog = SearchDialog(self.workspace.store, query)

        def go(hit: SearchHit | None) -> None:
            if hit is not None and before is not None:
                before()
            if hit is not None:
                self.remove_class("-sessions-over")
                self.library.open_hit(hit, is_exported=dialog.is_export_wanted)

        self.app.push_screen(dialog, go)

    def action_new_session(self) -> None:
        self.sessions.begin()

    async def action_library(self, name: str, typed: str = "") -> None:
        act = partial(self.library.act, name, self.sessions.shown_id, typed)
        if typed:  # by a slash command, which goes back into the prompt if this fails
            await act()
        else:
            self.view.attempt(act, group="change")

    # Panels, pages and keys

    def action_stop_or_leave(self) -> None:
        if self.turns.stop():
            return
        if (
            self.prompt_text.leave_edit()
            or self.prompt_text.leave_command()
            or self.view.log.drop_selection()
        ):
            return
        if self.focused is self.view.prompt_input and self.turns.take_back():
            return
        self.view.close_find_bar()
        self.remove_class("-sessions-over", "-telemetry-over")
        self.view.prompt_input.focus()

    def action_toggle_sessions(self) -> None:
        self._toggle_panel(
            "sessions", is_hidden_by_size=self.has_class("-narrow") or self.has_class("-mid")
        )
        if self.view.session_list.display:
            self.sessions.show_list()
            self.view.session_list.focus()
        else:
            self.view.prompt_input.focus()

    def action_toggle_telemetry(self) -> None:
        self._toggle_panel("telemetry", is_hidden_by_size=self.has_class("-narrow"))
        self.view.refresh()

    def _toggle_panel(self, name: str, *, is_hidden_by_size: bool) -> None:
        """Where there is room, hide or show the column for good; else lay it over the chat."""
        if is_hidden_by_size:
            self.toggle_class(f"-{name}-over")
            return
        self.toggle_class(f"-{name}-hidden")
        panels = {
            f"has_{one}": not self.has_class(f"-{one}-hidden") for one in ("sessions", "telemetry")
        }
        self.view.remember(replace(self.workspace.remembered, **panels))

    def action_show_log(self) -> None:
        from lmchat.tui.screens.text_dialog import TextDialog

        self.app.push_screen(TextDialog("Log file", safe_text(self.workspace.platform.log_file)))

    def action_show_tools(self) -> None:
        from lmchat.tui.screens.tools_dialog import tools_dialog

        self.app.push_screen(tools_dialog(self.open_sessions, self.workspace.platform.config_file))

    async def action_show_stats(self) -> None:
        from lmchat.services.turn_stats import figures_by_model
        from lmchat.tui.screens.text_dialog import TextDialog, models_text, run_text

        run = run_text(self.workspace.backend.metrics(), self.workspace.backend.budget())
        try:
            rows = await self.workspace.store.ledger_rows(since=now() - _LEDGER)
            models = models_text(figures_by_model(rows))
            models = models and f"Last {_LEDGER.days} days (median, 95th percentile)\n{models}"
        except LMChatError as error:
            models = error.message
        self.app.push_screen(TextDialog("Statistics", f"This run\n{run}\n\n{models}".rstrip()))

    def action_run_doctor(self) -> None:
        from lmchat.tui.screens.doctor_screen import DoctorScreen

        self.app.push_screen(DoctorScreen(self.workspace.platform.examination()))

    @on(KeysRow.CommandClicked)
    def _run_clicked(self, event: KeysRow.CommandClicked) -> None:
        self.run_command(event.line)

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    @on(ChatLog.SelectionChanged)
    def follow_focus(self) -> None:
        self.call_later(self.view.refresh)

    @on(ChatLog.FocusMoved)
    def _show_keys(self) -> None:
        if self.is_mounted:
            self.hints.show()
