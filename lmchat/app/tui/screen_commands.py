"""What each command of the table does on the screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from lmchat.app.commands.conditions import reason_against
from lmchat.app.commands.shared import SHARED, SHARED_ON_MESSAGE, copy_command
from lmchat.app.commands.table import TOOL_CHOICES, Command
from lmchat.app.commands.typed_line import require_slash
from lmchat.app.tui.controllers.controllers import Controllers
from lmchat.app.tui.controllers.turn_view import DECISIONS
from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.dialogs.dialog import PickDialog
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.widgets.row_list import ASIDE, NAME, ListRow
from lmchat.base.errors import WrongUse
from lmchat.core.attachments.given_files import Question
from lmchat.core.sessions.message import ChatMessage
from lmchat.core.sessions.prompts import PendingPrompt

Rest = Awaitable[None] | None
"""What is to be awaited; a function has had its effect at once."""


class ScreenCommands:
    """The screen as a `Front`, which runs the commands of the table (`commands/table.py`).

    Keys of rows with an `action` are run by the log, the list or the picker. `handlers` get what
    was typed behind a slash command, "" for a key. A handler `on_message` gets the focused message,
    or else the last answer or prompt; `on_session` one of the list, by its id.
    """

    def __init__(
        self,
        ui: ScreenServices,
        controllers: Controllers,
        own: Mapping[str, Callable[[], None]],
    ) -> None:
        """`own` are the commands of the dispatcher."""
        self.chat = ui.workspace.chat
        self.settings = ui.workspace.settings
        self.clipboard = ui.workspace.platform
        self.notify = ui.notify
        self.given = controllers.prompt_files.given
        self.attach = controllers.prompt_files.attach_expected
        self._ui = ui
        self._controllers = controllers
        branches = controllers.branches
        message_actions = controllers.message_actions
        reports = controllers.reports
        saved_sessions = controllers.saved_sessions
        server_search = controllers.server_search
        session_view = controllers.session_view
        without_argument: dict[str, Callable[[], Rest]] = {
            **own,
            "new": session_view.start_new,
            "sessions": controllers.appearance.toggle_sessions,
            "telemetry": controllers.appearance.toggle_telemetry,
            "retry": partial(self._run_on_last, "message.regenerate"),
            "fork": partial(self._run_on_last, "message.fork"),
            "now": controllers.turn_view.answer_now,
            "editor": controllers.prompt_text.edit_in_program,
            "check": server_search.check_now,
            "servers": server_search.open_welcome_page,
            **{
                f"model_{number}": partial(controllers.model_switch.pick, str(number))
                for number in range(1, 10)
            },
            "context": reports.open_context,
            "stats": reports.open_stats,
            "reset_metrics": reports.reset_metrics,
            "log": reports.open_log_file,
            "tools": reports.open_tools,
            "doctor": reports.open_doctor,
            "commands": partial(controllers.palette.open, self.can_run),
            "help": controllers.palette.open_help,
            "redraw": ui.app.redraw,
            "copy_drawing_error": ui.app.copy_drawing_error,
            **{
                name: partial(controllers.turn_view.decide, scope)
                for name, scope in DECISIONS.items()
            },
            "message.undo": branches.undo,
            "session.undo": saved_sessions.undo,
        }
        self.handlers: Mapping[str, Callable[[str], Rest]] = {
            **{name: partial(run, self) for name, run in SHARED.items()},
            **{name: partial(_run_alone, run) for name, run in without_argument.items()},
            "model": controllers.model_switch.pick,
            "find": ui.widgets.find_bar.open,
            "export": controllers.export_import.export,
            "import": controllers.export_import.import_,
            "search": saved_sessions.search,
            "request": reports.open_request,
            "title": lambda title: saved_sessions.rename(session_view.active_id, title),
            "tag": lambda tag: saved_sessions.tag(session_view.active_id, tag),
            "copy": self._copy_last,
            "theme": controllers.appearance.use_theme,
        }
        self.on_message: Mapping[str, Callable[[ChatMessage], Rest]] = {
            **{name: partial(run, self) for name, run in SHARED_ON_MESSAGE.items()},
            "message.copy": message_actions.copy,
            "message.copy_code": message_actions.copy_code,
            "message.save": message_actions.save,
            "message.edit": message_actions.edit,
            "message.rewrite": controllers.prompt_text.start_edit,
            "message.another_model": controllers.model_switch.regenerate_with_another,
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
        self.on_session: Mapping[str, Callable[[str], Rest]] = {
            "session.open": saved_sessions.open,
            "session.rename": saved_sessions.rename,
            "session.tag": saved_sessions.tag,
            "session.pin": saved_sessions.pin,
            "session.archive": saved_sessions.archive,
            "session.delete": saved_sessions.delete,
        }

    def run(self, command: Command, argument: str = "") -> None:
        """A function has its effect at once, for the next key; a worker does the rest."""
        if command.command_id == "retry" and self._ui.widgets.prompt_input.text.strip():
            # in a shell, Ctrl+R searches for what is typed
            key, on_message = map(self._ui.key_name, ("retry", "message.regenerate"))
            self._ui.notify(
                f"{key} retries only with an empty prompt; {on_message} in the message always does."
            )
            return
        self._hold_keys(self._start(command, argument))

    def run_on_session(self, command_id: str, session_id: str) -> None:
        self._hold_keys(self.on_session[command_id](session_id))

    def run_line(self, line: str, prompt: PendingPrompt) -> None:
        """Run a slash command in a worker; raise `WrongUse` for an unknown one.

        Files go into `prompt`.
        """
        slash = require_slash(line, help_by=self._ui.key_name("help"))
        self._controllers.prompt_files.expect(slash, prompt)
        run = partial(self._run, slash.command, slash.argument)
        if not line.startswith("/"):
            run = partial(self._run_if_confirmed, run)
        self._ui.start(run, "slash", holds_keys=True)

    async def _run_if_confirmed(self, quit_: Callable[[], Awaitable[None]]) -> None:
        """`exit` alone may be meant for the model."""
        text = "To send the word to the model, begin with a space."
        confirm = self._controllers.prompt_files.confirm
        if await confirm(Question(title="Quit lmchat?", text=text, verb="quit")):
            await quit_()

    def can_run(self, command: Command) -> bool:
        """Whether it could do something now."""
        command_id = command.command_id
        session = self.chat.active
        if command_id in self.on_message:
            return not reason_against(command_id, session, self._subject)
        match command_id:
            case "stop":
                return session.is_running or session.is_waiting
            case "now":
                return session.turn.can_answer_now
            case "retry":
                last = session.messages.last_answer_or_prompt
                return not reason_against("message.regenerate", session, last)
            case "find" | "export" | "previous" | "next" | "tag" | "compact":
                return bool(session.messages)
            case "message.undo":  # it may restore all messages of an empty session
                return session.has_started
            case "request" | "context":
                return self.chat.turn_options.target is not None
            case _ if command_id in TOOL_CHOICES:
                return session.question is not None
            case "import":
                return self._ui.workspace.importer is not None
            case _:
                return True

    def _hold_keys(self, work: Rest) -> None:
        if work is not None:
            self._ui.start(lambda: work, "command", holds_keys=True)

    async def _run(self, command: Command, argument: str) -> None:
        work = self._start(command, argument)
        if work is not None:
            await work

    def _start(self, command: Command, argument: str) -> Rest:
        """Call the handler; a dialog asks for a missing argument."""
        command_id = command.command_id
        if command_id in self.on_message:
            # a selection in the log is copied in place of the message
            log = self._ui.widgets.log
            if command_id == "message.copy" and log.has_choice and log.copy_selection():
                return None
            return self._start_on(command_id, self._subject)
        if command.needs_argument and not argument:
            present = self.chat.active.system_prompt if command_id == "system" else None
            # the field has only one line
            value = present if present and present.isprintable() else ""
            return self.ask(command.title, partial(self._run, command), value)
        return self.handlers[command_id](argument)

    def _start_on(self, command_id: str, message: ChatMessage | None) -> Rest:
        """Call the handler with a message as it is now, or tell the user why not."""
        reason = reason_against(command_id, self.chat.active, message)
        if message is None or reason:
            self._ui.notify(reason)
            return None
        return self.on_message[command_id](self.chat.active.current(message))

    def _run_on_last(self, command_id: str) -> Rest:
        return self._start_on(command_id, self.chat.active.messages.last_answer_or_prompt)

    @property
    def _subject(self) -> ChatMessage | None:
        return (
            self._ui.widgets.log.focused_message or self.chat.active.messages.last_answer_or_prompt
        )

    def _copy_last(self, part: str) -> Rest:
        return self._run_on_last(copy_command(part))

    # What shared commands need

    async def ask(self, title: str, use: Callable[[str], Awaitable[None]], value: str = "") -> None:
        await self._ui.ask(AskDialog(title, value=value, verb="OK", attempt=use))

    async def choose(self, title: str, rows: Sequence[tuple[str, str]], nothing: str) -> str:
        width = max((len(name) for name, _ in rows), default=0)
        list_rows = [
            ListRow(pieces=(((f" {name:<{width}}", NAME), (f"  {text}", ASIDE)),), key=name)
            for name, text in rows
        ]
        dialog = PickDialog(title, list_rows, verb="select", nothing=nothing)
        chosen: str | None = await self._ui.ask(dialog)
        return chosen or ""

    async def run_turn(self, start: Callable[[], None]) -> None:
        self._controllers.turn_view.run_turn(start)

    async def send(self, text: str) -> None:
        if self._controllers.prompt_text.is_rewriting:  # `submit` would send it as an edit
            problem = "You are rewriting an answer, which Enter saves."
            key = self._ui.key_name("stop")
            raise WrongUse(problem, next_step=f"Press {key} first, then send the preset.")
        prompt = PendingPrompt(draft=text)
        if await self._controllers.prompt_files.are_names_meant(prompt):
            self._controllers.turn_view.submit(prompt)

    async def use_model(self, name: str) -> None:
        self._controllers.model_switch.pick_named(name)


def _run_alone(run: Callable[[], Rest], _: str) -> Rest:
    return run()
