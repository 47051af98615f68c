"""Tool calls of turns: their rows, the question whether one may run, and who is told of it."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.domain.message import ChatMessage
from lmchat.domain.tool import Choice, Decision
from lmchat.services.open_sessions import OpenSession
from lmchat.services.tool_loop import ApprovalAsked, ToolBegun, ToolEnded, ToolEvent
from lmchat.text import safe_line
from lmchat.tui.quirks.driver import write_to_terminal
from lmchat.tui.screens.chat.sessions import ShownSession
from lmchat.tui.screens.chat.view import ChatView

_WAITS = "waiting for you"


class CallsOnScreen:
    """Shows the calls of all running turns, and takes over what the user decides about them."""

    def __init__(self, view: ChatView, sessions: ShownSession) -> None:
        self._open_sessions = view.workspace.open_sessions
        self._view = view
        self._sessions = sessions
        if self._open_sessions.toolbox is not None:
            self._open_sessions.toolbox.on_allowed = self._remember

    async def _remember(self, allowed: tuple[str, ...]) -> None:
        self._view.remember(replace(self._view.workspace.remembered, allowed_tools=allowed))

    def show_event(self, opened: OpenSession, event: ToolEvent) -> None:
        is_shown = opened is self._open_sessions.shown
        match event:
            case ToolBegun(message=message):
                if is_shown and message.versions > 1:
                    self._sessions.show_messages(opened.conversation)
                elif is_shown:
                    self._view.log.append(message)
                self._view.show_action(_name(message))
            case ApprovalAsked():
                self._ask(opened, event, is_shown=is_shown)
            case ToolEnded(message=message):
                if is_shown:
                    self._view.log.replace(message)
                self._view.refresh()

    def _ask(self, opened: OpenSession, event: ApprovalAsked, *, is_shown: bool) -> None:
        opened.asked = event
        self._view.show_action(_WAITS)
        if is_shown:
            self._view.focus_card()
        else:
            title = safe_line(opened.conversation.header.title, limit=60)
            self._view.notify(f"{_name(event.message)} waits for you in the session “{title}”.")
            self._sessions.show_list()
        app = self._view.screen.app
        if not app.app_focus:
            write_to_terminal(app, self._view.workspace.platform.notification("A tool waits for you."))

    def end(self, opened: OpenSession) -> None:
        """Show what became of calls when their turn ended; a stop leaves some without a result."""
        opened.asked = None
        if opened is self._open_sessions.shown:
            if self._view.log.calls.is_focused:
                self._view.leave_card()
            for message in opened.last_calls:
                self._view.log.replace(message)

    def decide(self, choice: Choice) -> None:
        """Take over a decision about the call that asks in the shown session."""
        opened = self._open_sessions.shown
        if (asked := opened.asked) is not None and choice is Choice.NO:
            self._view.attempt(lambda: self._refuse(opened, asked), group="refusal")
        elif asked is not None:
            self._take(opened, asked, Decision(choice=choice))

    async def _refuse(self, opened: OpenSession, asked: ApprovalAsked) -> None:
        from lmchat.tui.screens.ask_dialog import AskDialog

        text = "The model gets your reason. Leave it empty to give none."
        title = f"Refuse {_name(asked.message)}?"
        reason = await self._view.ask(AskDialog(title, text=text, verb="refuse", check=lambda _: ""))
        if reason is not None:
            self._take(opened, asked, Decision(choice=Choice.NO, reason=" ".join(reason.split())))

    def _take(self, opened: OpenSession, asked: ApprovalAsked, decision: Decision) -> None:
        if opened.asked is asked and not asked.decision.done():  # else the turn was stopped
            opened.asked = None
            asked.decision.set_result(decision)
            self._view.show_action(_name(asked.message))
            self._view.leave_card()


def _name(message: ChatMessage) -> str:
    return safe_line(message.tool_calls[0].name, limit=80)
