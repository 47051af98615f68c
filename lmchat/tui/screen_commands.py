"""What each command of the table does on the screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from lmchat.commands.conditions import NOTHING_YET, unavailable_reason
from lmchat.commands.table import Command
from lmchat.commands.typed_line import require_slash
from lmchat.errors import WrongUse
from lmchat.safe_text import safe_line
from lmchat.sessions.message import ChatMessage
from lmchat.tui.controllers.answer_settings import AnswerSettings
from lmchat.tui.controllers.appearance import Appearance
from lmchat.tui.controllers.branches import Branches
from lmchat.tui.controllers.export_import import ExportImport
from lmchat.tui.controllers.message_actions import MessageActions
from lmchat.tui.controllers.model_switch import ModelSwitch
from lmchat.tui.controllers.palette import Palette
from lmchat.tui.controllers.prompt_files import PromptFiles
from lmchat.tui.controllers.prompt_text import PromptText
from lmchat.tui.controllers.reports import Reports
from lmchat.tui.controllers.saved_sessions import SavedSessions
from lmchat.tui.controllers.server_search import ServerSearch
from lmchat.tui.controllers.session_view import SessionView
from lmchat.tui.controllers.turn_view import TurnView
from lmchat.tui.dialogs.ask_dialog import argument_dialog
from lmchat.tui.screen_services import ScreenServices

Work = Awaitable[None] | None
"""What a command returns: None after a function, which has had its effect; else it is awaited."""


class ScreenCommands:
    """Runs the commands of the table; a key of the log, a list or the picker is their own action.

    `handlers` get what was typed behind a slash command: "" for a key. A handler `on_message` gets
    the focused message, or else the last answer or prompt; `on_session` one of the list, by its id.
    """

    def __init__(  # noqa: PLR0913 - what the commands act on
        self,
        ui: ScreenServices,
        own: Mapping[str, Callable[[], None]],
        *,
        prompt_text: PromptText,
        prompt_files: PromptFiles,
        session_view: SessionView,
        turn_view: TurnView,
        branches: Branches,
        export_import: ExportImport,
        saved_sessions: SavedSessions,
        model_switch: ModelSwitch,
        server_search: ServerSearch,
        message_actions: MessageActions,
    ) -> None:
        """Create it; `own` are the commands of the dispatcher."""
        self._ui = ui
        self._chat = ui.workspace.chat
        self._prompt_files = prompt_files
        appearance = Appearance(ui)
        palette = Palette(ui, server_search, self.can_run)
        reports = Reports(ui, prompt_text, branches)
        settings = AnswerSettings(ui, model_switch)
        without_argument: dict[str, Callable[[], Work]] = {
            **own,
            "new": session_view.start_new,
            "clear": session_view.start_new,
            "sessions": appearance.toggle_sessions,
            "telemetry": appearance.toggle_telemetry,
            "retry": partial(self._run_on_last, "message.regenerate"),
            "fork": partial(self._run_on_last, "message.fork"),
            "now": turn_view.answer_now,
            "compact": turn_view.compact,
            "editor": prompt_text.edit_in_program,
            "paste": prompt_files.attach_copied,
            "check": server_search.check_now,
            **{
                f"model_{number}": partial(model_switch.pick, str(number))
                for number in range(1, 10)
            },
            "context": reports.open_context,
            "stats": reports.open_statistics,
            "reset_metrics": reports.reset_metrics,
            "log": reports.open_log_file,
            "tools": reports.open_tools,
            "doctor": reports.open_doctor,
            "commands": palette.open,
            "help": palette.open_help,
            "redraw": ui.app.redraw,
            "copy_drawing_error": ui.app.copy_drawing_error,
            "message.undo": branches.undo,
            "session.undo": saved_sessions.undo,
        }
        self.handlers: Mapping[str, Callable[[str], Work]] = {
            **{name: partial(_run_alone, run) for name, run in without_argument.items()},
            "model": model_switch.pick,
            "find": ui.widgets.find_bar.open,
            "export": export_import.export,
            "import": export_import.import_,
            "search": saved_sessions.search,
            "system": settings.change_system_prompt,
            "preset": turn_view.use_preset,
            "profile": settings.use_profile,
            "effort": settings.use_effort,
            "start": settings.use_first_words,
            "set": settings.set_option,
            "request": reports.open_request,
            "file": prompt_files.add,
            "title": lambda title: saved_sessions.rename(session_view.shown_id, title),
            "tag": lambda tag: saved_sessions.tag(session_view.shown_id, tag),
            "copy": self._copy_last,
            "theme": appearance.use_theme,
        }
        self.on_message: Mapping[str, Callable[[ChatMessage], Work]] = {
            "message.copy": message_actions.copy,
            "message.copy_code": message_actions.copy_code,
            "message.save": message_actions.save,
            "message.edit": message_actions.edit,
            "message.rewrite": prompt_text.begin_edit,
            "message.regenerate": turn_view.regenerate,
            "message.another_model": model_switch.regenerate_with_another,
            "message.resume": turn_view.continue_answer,
            "message.probabilities": branches.open_probabilities,
            "message.details": message_actions.open_details,
            "message.fork": branches.fork,
            "message.previous_version": partial(branches.switch_version, -1),
            "message.next_version": partial(branches.switch_version, 1),
            "message.tree": lambda _: branches.open_tree(),
            "message.source": message_actions.switch_source,
            "message.links": message_actions.list_links,
            "message.fold": message_actions.fold,
            "message.pager": message_actions.open_in_pager,
            "message.delete": branches.delete,
        }
        self.on_session: Mapping[str, Callable[[str], Work]] = {
            "session.open": saved_sessions.open,
            "session.rename": saved_sessions.rename,
            "session.tag": saved_sessions.tag,
            "session.pin": saved_sessions.pin,
            "session.archive": saved_sessions.archive,
            "session.delete": saved_sessions.delete,
        }

    def run(self, command: Command) -> None:
        """Run a command for a key, a click or the palette.

        A function has its effect at once, so that the next key finds it; a worker does the rest.
        """
        self._hold_keys(self._begin(command, ""))

    def run_on_session(self, command_id: str, session_id: str) -> None:
        self._hold_keys(self.on_session[command_id](session_id))

    def run_line(self, line: str, number: int | None = None) -> None:
        """Run a slash command in a worker; an unknown one returns to the prompt, for correction.

        `number` is that of the prompt before it, by default the last one.
        """
        try:
            slash = require_slash(line, help_by=self._ui.key_name("help"))
        except WrongUse as error:
            self._ui.widgets.prompt_input.put_unknown_command(line)
            self._ui.show_error(error)
            return
        self._prompt_files.expect(slash, number)
        run = partial(self._run, slash.command, slash.argument)
        self._ui.begin(run, "slash", typed=line, holds_keys=True)

    def can_run(self, command: Command) -> bool:
        """Return whether a command could act; one that needs no message always can."""
        command_id = command.command_id
        return command_id not in self.on_message or not self._reason(command_id, self._subject)

    def _hold_keys(self, work: Work) -> None:
        """Do the rest of a command in a worker, for which the next keys wait."""
        if work is not None:
            self._ui.begin(lambda: work, "command", holds_keys=True)

    async def _run(self, command: Command, argument: str) -> None:
        work = self._begin(command, argument)
        if work is not None:
            await work

    def _begin(self, command: Command, argument: str) -> Work:
        """Call the handler of a command; a dialog asks for an argument that is missing."""
        command_id = command.command_id
        if command_id in self.on_message:
            # a selection in the log is copied in place of the message
            widgets = self._ui.widgets
            is_copy = command_id == "message.copy" and widgets.has_log_focus
            if is_copy and widgets.log.copy_selection():
                return None
            return self._begin_on(command_id, self._subject)
        if command.needs_argument and not argument:
            words = f"As typed: {command.slash}"
            run = partial(self._run, command)
            self._ui.open_dialog(argument_dialog(command.title, run, words))
            return None
        return self.handlers[command_id](argument)

    def _begin_on(self, command_id: str, message: ChatMessage | None) -> Work:
        """Call the handler of a command with a message as it is now, or notify the user why not."""
        reason = self._reason(command_id, message)
        if message is None or reason:
            self._ui.notify(reason)
            return None
        return self.on_message[command_id](self._chat.shown.current(message))

    def _run_on_last(self, command_id: str) -> Work:
        return self._begin_on(command_id, self._chat.shown.last_answer_or_prompt)

    @property
    def _subject(self) -> ChatMessage | None:
        """The focused message, or else the last answer or prompt; None without any."""
        return self._ui.widgets.focused_message or self._chat.shown.last_answer_or_prompt

    def _reason(self, command_id: str, message: ChatMessage | None) -> str:
        """Return why a command can do nothing with a message as it is now; else ""."""
        if message is None:
            return NOTHING_YET
        shown = self._chat.shown
        name = command_id.removeprefix("message.")
        # the log may still have the message as it was when it began to stream
        return unavailable_reason(name, shown.current(message), is_busy=shown.is_busy)

    def _copy_last(self, part: str) -> Work:
        """Copy the last answer; with the part `code`, copy a code block of it.

        Raises `WrongUse` for another part.
        """
        if part not in ("", "code"):
            words = f"Unknown argument: {safe_line(part, limit=40)}."
            raise WrongUse(words, hint="Use /copy or /copy code.")
        return self._run_on_last("message.copy_code" if part else "message.copy")


def _run_alone(run: Callable[[], Work], _: str) -> Work:
    return run()
