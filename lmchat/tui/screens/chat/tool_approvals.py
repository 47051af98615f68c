"""Approval of tool calls on the chat screen: the card that asks, and the decision."""

from __future__ import annotations

from lmchat.domain.tool import Choice, Decision
from lmchat.services.open_sessions import OpenSession
from lmchat.services.tool_loop import ApprovalAsked
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui.screens.chat.background import Background
from lmchat.tui.screens.chat.notices import Notices
from lmchat.tui.screens.chat.shown_session import ShownSession
from lmchat.tui.screens.chat.status import StatusDisplay
from lmchat.tui.screens.chat.widgets import ChatWidgets

_MAX_NAME = 80  # characters of a tool's name in a notice
_MAX_TITLE = 60  # characters of a session's title in a notice


class ToolApprovals:
    """Asks the user about tool calls, and gives the decision to the turn that waits."""

    def __init__(
        self,
        workspace: Workspace,
        widgets: ChatWidgets,
        notices: Notices,
        background: Background,
        status: StatusDisplay,
        sessions: ShownSession,
    ) -> None:
        self._workspace = workspace
        self._widgets = widgets
        self._notices = notices
        self._background = background
        self._status = status
        self._sessions = sessions

    def ask(self, opened: OpenSession, asked: ApprovalAsked) -> None:
        """Show the card of a call; of another session, tell which one it is."""
        opened.asked = asked
        self._status.show_action("waiting for you")
        if asked.note:
            self._notices.notify(asked.note)
        if opened is self._sessions.opened:
            self._widgets.focus_card()
        else:
            name = safe_line(asked.name, limit=_MAX_NAME)
            title = safe_line(opened.conversation.header.title, limit=_MAX_TITLE)
            self._notices.notify(f"{name} waits for you in the session “{title}”.")
            self._sessions.show_list()
        self._notices.notify_if_unfocused("A tool waits for you.")

    def decide(self, choice: Choice) -> None:
        """Take over the decision about the call that asks in the shown session."""
        opened = self._sessions.opened
        asked = opened.asked
        if asked is not None:
            self._background.attempt(lambda: self._decide(opened, asked, choice), group="decision")

    async def _decide(self, opened: OpenSession, asked: ApprovalAsked, choice: Choice) -> None:
        reason = await self._reason_to_refuse(asked) if choice is Choice.NO else ""
        was_stopped = opened.asked is not asked
        if reason is None or was_stopped:
            return
        opened.asked = None
        if choice is Choice.ALWAYS:
            self._allow_always(asked)
        asked.decision.set_result(Decision(choice=choice, reason=" ".join(reason.split())))
        self._status.show_action(asked.name)
        self._widgets.leave_card()

    async def _reason_to_refuse(self, asked: ApprovalAsked) -> str | None:
        """Ask for a reason, which may be empty; None if the user goes back to the card."""
        from lmchat.tui.screens.ask_dialog import AskDialog

        title = f"Refuse {safe_line(asked.name, limit=_MAX_NAME)}?"
        text = "The model gets your reason. Leave it empty to give none."
        reason: str | None = await self._notices.ask(
            AskDialog(title, text=text, verb="refuse", check=lambda _: "")
        )
        return reason

    def _allow_always(self, asked: ApprovalAsked) -> None:
        if asked.fingerprint:
            remembered = self._workspace.remembered
            self._background.remember(remembered.with_allowed(asked.name, asked.fingerprint))
        else:
            name = safe_line(asked.name, limit=_MAX_NAME)
            self._notices.notify(f"config.toml asks about {name}; it is allowed for this session.")
