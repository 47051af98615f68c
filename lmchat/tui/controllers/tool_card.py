"""The card that asks the user whether a tool call may run, and the other running calls.

`OpenSession.question` says which call waits. `RunningCalls` draws the card as a part of the log,
which also gets its keys.
"""

from __future__ import annotations

import asyncio
from functools import partial

from lmchat.chat.open_session import OpenSession
from lmchat.chat.tool_rounds import ToolQuestion
from lmchat.safe_text import safe_line
from lmchat.tools.calls import ApprovalScope, Decision
from lmchat.tui.dialogs.ask_dialog import AskDialog
from lmchat.tui.screen_services import ScreenServices

_MAX_NAME = 80  # characters of the name of a tool, or of a title


class ToolCard:
    """Shows running calls, asks about one, and brings the decision to the turn that waits."""

    def __init__(self, ui: ScreenServices) -> None:
        self._ui = ui
        self._log = ui.widgets.log
        self._chat = ui.workspace.chat
        self._decisions: dict[str, asyncio.Future[Decision]] = {}
        """Futures on which turns wait for decisions about calls, by the ids of the calls' messages.

        `OpenSession.question` alone says whether a call waits; a future only brings the decision.
        """

    def show_calls(self) -> None:
        """Show the running tool calls of the shown session, and the card of the one that asks.

        `Dispatcher` calls this with each `ShowChanges`: calls also change without an event, such as
        their times, and whether the card is seen. Below a dialog, the card takes no keys.
        """
        shown = self._chat.shown
        self._log.calls.set_states(
            shown.running_calls,
            asked_id=shown.question.message.message_id if shown.question else "",
            now_s=self._ui.workspace.clock(),
            is_on_top=self._ui.app.screen is self._ui.screen,
        )

    def focus(self) -> None:
        """Show the card that asks about a tool call, if there is one, and focus it.

        The focus moves only from an empty prompt, and only while the log follows the answer.
        Otherwise the user is typing, or reading farther up.
        """
        self.show_calls()
        prompt_input = self._ui.widgets.prompt_input
        is_in_prompt = self._ui.screen.focused is prompt_input
        if is_in_prompt and not prompt_input.text and self._log.viewport.is_following:
            # without a card, its id is empty, and this does nothing
            self._log.go_to_message(self._log.calls.card_id)

    def leave(self) -> None:
        """Focus the prompt after the decision on a tool call, or the end of its turn.

        If other calls are below the card, the log was scrolled up to the card when that got the
        focus. Since then, the log has not followed its end. It follows it again now, unless the
        user has scrolled away.
        """
        self._ui.screen.set_focus(self._ui.widgets.prompt_input)
        if self._log.calls.was_following:
            self._log.scroll_end()

    async def ask(self, opened: OpenSession, question: ToolQuestion) -> Decision:
        """Show the user that a call waits for a decision, and return the decision.

        In the shown session, the card of the call gets the focus if the user is not typing. For
        another session, a notification names tool and session, and the list marks the session.
        """
        decision: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._decisions[question.message.message_id] = decision
        self._ui.show_action("waiting for you")
        if question.note:  # why it is asked again about a tool that was always allowed
            self._ui.notify(question.note)
        if opened is self._chat.shown:
            self.focus()
        else:
            name = safe_line(question.name, limit=_MAX_NAME)
            title = safe_line(opened.header.title, limit=_MAX_NAME)
            self._ui.notify(f"{name} waits for you in the session “{title}”.")
        self._ui.notify_if_unfocused("A tool waits for you.")
        try:
            return await decision
        finally:
            del self._decisions[question.message.message_id]

    def decide(self, choice: ApprovalScope) -> None:
        """Give the turn of the shown session what the user chose on the card, in a worker.

        After a no, ask for a reason first. Do nothing if the user leaves that dialog, or if no call
        waits any more, as after a stop of the turn.
        """
        opened = self._chat.shown
        if opened.question is not None:
            self._ui.begin(
                partial(self._give, opened, opened.question, choice), "decision", holds_keys=True
            )

    async def _give(
        self, opened: OpenSession, question: ToolQuestion, choice: ApprovalScope
    ) -> None:
        """Give a turn the decision; a no includes the reason that the user is asked for."""
        reason: str | None = ""  # "": no reason; None: the dialog was left without a decision
        if choice is ApprovalScope.NO:
            title = f"Refuse {safe_line(question.name, limit=_MAX_NAME)}?"
            text = "The model gets your reason. Leave it empty to give none."
            dialog = AskDialog(title, text=text, verb="refuse", may_be_empty=True)
            reason = await self._ui.ask(dialog)
        # a turn that was stopped while the dialog was open does not wait for this any more
        if reason is None or not opened.take_question(question):
            return
        decision = Decision(choice=choice, reason=reason)
        self._decisions[question.message.message_id].set_result(decision)  # `ask` waits for it
        self._ui.show_action(question.name)
        self.leave()
