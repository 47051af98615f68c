"""Turns on the chat screen: what the user wants of `ChatService`, and the events that come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from lmchat.app.tui.chat_log.entry import CARD_STATES, Delta
from lmchat.app.tui.controllers.prompt_text import PromptText
from lmchat.app.tui.controllers.session_view import SessionView
from lmchat.app.tui.controllers.status import StatusDisplay
from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.workspace import LACKS_SERVER
from lmchat.base.errors import LMChatError, StillAnswering
from lmchat.base.safe_text import safe_line
from lmchat.core.answers.repetition import Repetition
from lmchat.core.chat.events import (
    AnswerStarted,
    ChatEvent,
    Compacted,
    MessageAdded,
    MessageEnded,
    PathChanged,
    TitleChanged,
    TurnListener,
    TurnStarted,
)
from lmchat.core.chat.prompt_queue import PromptsReturned, QueueChanged
from lmchat.core.chat.session import OpenSession, TurnEnded
from lmchat.core.chat.toolbox import ToolQuestion
from lmchat.core.servers.discovery.status import ServerState
from lmchat.core.servers.events import (
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    Rethought,
    RetryScheduled,
    TextDelta,
    ToolCallDelta,
)
from lmchat.core.servers.model import LoadState
from lmchat.core.sessions.message import AnswerState, ChatMessage, Role
from lmchat.core.sessions.prompts import PendingPrompt, Prompt
from lmchat.core.tools.calls import ApprovalScope, Decision

_LONG_ANSWER_S = 10.0
"""The end of a longer answer is notified, unless the terminal reports the focus."""
_LONG_NOTICE_S = 12.0
"""How long a notice stays that comes once, such as that a server does not accept an option."""
_MAX_NOTE = 300  # of this notice, which may quote the server
_MAX_NAME = 80  # of a tool, or of a title
_MAX_REASON = 60  # of a retry
_WAITS_FOR_SERVER = (
    "No model is ready yet. Your message waits above the prompt and is sent when a model is ready"
)
_WAITS_FOR_KEY = "Your message is sent once the API key is set"
_ENDED_TEXT = {
    AnswerState.COMPLETE: "answer complete",
    AnswerState.STOPPED: "stopped",
    AnswerState.INTERRUPTED: "interrupted",
    AnswerState.FAILED: "request failed",
}
DECISIONS = {f"tool_{scope.name.lower()}": scope for scope in ApprovalScope}
"""By the ids of their commands."""
_OVER = {"-sessions-over", "-telemetry-over"}  # classes of a screen with a panel over the chat
_UNLOADED_STATES = (LoadState.ASLEEP, LoadState.NOT_LOADED)
"""Its server loads the model with the next request."""


class TurnView(TurnListener):
    """Sends prompts, and shows what the turns of all sessions do."""

    def __init__(
        self,
        ui: ScreenServices,
        status: StatusDisplay,
        session_view: SessionView,
        prompt_text: PromptText,
    ) -> None:
        self._ui = ui
        self._log = ui.widgets.log
        self._chat = ui.workspace.chat
        self._status = status
        self._session_view = session_view
        self._prompt_text = prompt_text
        self._key_notice = ""  # of the last model that repeated itself
        self._request_note = ""  # about the last request that was adapted
        self._waiting_note = ""  # about what waits for a server
        self._told_errors: set[str] = set()  # of tool servers
        self._failed_turn: object = self  # the last with an event that could not be shown
        self._decisions: dict[str, asyncio.Future[Decision]] = {}
        """Turns wait on these, by the ids of the messages of the calls."""
        self._chat.reporter.listener = self

    # What the user wants

    def submit(self, prompt: PendingPrompt) -> None:
        """Send a new prompt or another version of the edited one."""
        session = self._chat.active
        edited_id = self._prompt_text.edited_id
        if edited_id:
            start = partial(self._chat.edit, session, edited_id, Prompt.of(prompt.draft))
        else:
            # now, not when a queued prompt is sent: the user may then be reading farther up
            self._log.scroll_end()
            start = partial(self._chat.send, session, prompt)
        if not self._attempt(start):
            self._prompt_text.put_back(session, prompt)
        elif edited_id:
            self._prompt_text.leave_edit()
            self._ui.show_action("edited")
        elif session.queue.prompts:
            self._ui.show_action("queued")
            state = self._ui.workspace.chat_state
            if state in (*LACKS_SERVER, ServerState.NO_MODEL):
                text = _WAITS_FOR_KEY if state is ServerState.NEEDS_KEY else _WAITS_FOR_SERVER
                self._waiting_note = f"{text}; {self._ui.key_name('stop')} cancels it."
                self._ui.notify(self._waiting_note)

    def run_turn(self, start_turn: Callable[[], None]) -> None:
        """Start a turn without a new prompt.

        The prompt gets the focus: on the message, the letters of the next prompt would be commands,
        such as `d`.
        """
        if self._attempt(start_turn):
            self._ui.screen.set_focus(self._ui.widgets.prompt_input)

    def stop(self) -> bool:
        """Return whether a turn was running that was not being stopped already."""
        is_stopping = self._chat.active.stop()
        if is_stopping:
            self._ui.show_action("stopped")
        return is_stopping

    def answer_now(self) -> None:
        if refusal := self._chat.active.turn.answer_now():
            self._ui.notify(refusal)
        else:
            self._ui.take_back(self._key_notice)
            self._ui.show_action("answer now")

    def _attempt(self, start_turn: Callable[[], object]) -> bool:
        """Return whether a turn has started or was queued; show the error of a refusal.

        Errors of a turn that has started come with `TurnEnded`. While lmchat quits, nothing is
        called.
        """
        if self._chat.is_closing:
            return False
        try:
            start_turn()
        except LMChatError as error:
            self._ui.show_error(error)
            return False
        return True

    # Queued prompts

    def take_queued(self, *, is_edited: bool) -> None:
        """Move the newest queued prompt before what is typed, or drop it."""
        session = self._chat.active
        if session.queue.prompts:
            prompt = session.queue.take_last()
            if is_edited:
                self._prompt_text.put_back(session, prompt)

    def take_back(self) -> bool:
        """Move the newest queued prompt back into the prompt field, for Esc.

        One that waits for the end of the running answer stays: Esc stops that answer.
        """
        if not self._chat.active.is_waiting:
            return False
        self.take_queued(is_edited=True)
        self._ui.take_back(self._waiting_note)
        self._ui.show_action("cancelled")
        return True

    # The card of a tool call

    def _leave_card(self) -> None:
        """Follow the end again after a decision, or the end of the turn.

        The log was scrolled up to the card if other calls are below it. If the user has scrolled
        away, it stays.
        """
        if self._log.calls.was_following:
            self._log.scroll_end()

    async def approve(self, session: OpenSession, question: ToolQuestion) -> Decision:
        """Show that a call waits, and return the user's decision.

        For another session, a notification names tool and session.
        """
        decision: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._decisions[question.message.message_id] = decision
        self._ui.show_action("waiting for you")
        if question.note:  # why it is asked again about an always allowed tool
            self._ui.notify(question.note)
        if session is self._chat.active:
            self._session_view.show_card()
        else:
            name = safe_line(question.name, limit=_MAX_NAME)
            title = safe_line(session.header.title, limit=_MAX_NAME)
            self._ui.notify(f"{name} waits for you in the session “{title}”.")
        self._ui.notify_if_unfocused("A tool waits for you.")
        try:
            return await decision
        finally:
            del self._decisions[question.message.message_id]

    def decide(self, scope: ApprovalScope) -> None:
        """Pass on what the user chose; after a no, ask for a reason first.

        A card whose beginning is not seen is brought into view instead. So is one that was shown
        later than the key arrived, as behind the key for the card before.
        """
        question = self._chat.active.question
        screen = self._ui.screen
        if question is None:
            self._ui.notify("No tool asks now.")
        elif (
            self._log.viewport.row_of(self._log.calls.card_id) is None
            or screen.classes & _OVER
            or self._ui.app.key_queue.early > 0
        ):
            screen.remove_class(*_OVER)
            self._log.show_card()
        else:
            self._log.calls.choice = 0
            self._ui.start(partial(self._give, question, scope), "decision", holds_keys=True)

    def choose(self, key: str) -> None:
        """Go to the answers of the card, along them, or take the chosen one, by a key."""
        calls = self._log.calls
        if key == "enter" and calls.choice:
            self.decide(DECISIONS[CARD_STATES[calls.choice]])
        elif calls.card_id and (key == "tab" or calls.choice):
            step = -1 if key == "left" else 1
            calls.choice = min(max(calls.choice + step, 1), len(DECISIONS))
            self._session_view.show_calls()

    async def _give(self, question: ToolQuestion, choice: ApprovalScope) -> None:
        reason: str | None = ""  # "": no reason; None: the dialog was left without a decision
        if choice is ApprovalScope.NO:
            dialog = AskDialog(
                f"Refuse {safe_line(question.name, limit=_MAX_NAME)}?",
                text="The model gets your reason. Leave it empty to give none.",
                verb="refuse",
                may_be_empty=True,
            )
            reason = await self._ui.ask(dialog)
        # a turn stopped while the dialog was open does not wait any more
        waiting = self._decisions.get(question.message.message_id)
        if reason is None or waiting is None or waiting.done():
            return
        waiting.set_result(Decision(choice=choice, reason=reason))
        self._ui.show_action(question.name)
        self._leave_card()

    # What turns do

    def on_event(self, session: OpenSession, event: ChatEvent) -> None:
        """Show an event of a turn.

        A bug in showing one does not stop the turn. It is reported once a turn: each piece of an
        answer may meet it again.
        """
        if not self._ui.screen.is_attached:  # lmchat ends: the widgets are gone
            return
        try:
            self._show(session, event)
        except Exception as error:  # noqa: BLE001 - the answer is saved, and lmchat continues
            if session.turn is not self._failed_turn:
                self._failed_turn = session.turn
                self._ui.app.report_failure(error)

    def _show(self, session: OpenSession, event: ChatEvent) -> None:
        """The cases without `is_shown` concern every session.

        Text and tool calls leave stats to their timer, but the first of a stage shows it at once.
        """
        is_shown = session is self._chat.active
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta() if is_shown:
                # a chunk of the server is about a token
                self._status.speedometer.count(self._ui.workspace.clock(), event.chunks)
                self._show_piece(session, event)
                return
            case ToolCallDelta() if is_shown:
                self._show_piece(session, event)
                return
            case TurnStarted():
                self._ui.take_back(self._waiting_note)
            case PathChanged() if is_shown:
                self._session_view.show_messages()
            case MessageAdded(message):
                self._show_added(session, message)
            case AnswerStarted(message=answer):
                self._show_started(session, answer)
            case MessageEnded(message) if is_shown and message.role is Role.TOOL:
                self._log.replace(message)
            case MessageEnded(message) if is_shown:
                # each of its tool calls follows as a message
                self._log.end_answer(message, has_call_messages=True)
            case Rethought() if is_shown:  # text shown as the answer is reasoning
                self._log.restate(session.messages_so_far[-1])
            case RetryScheduled():
                reason = safe_line(event.reason, limit=_MAX_REASON)
                self._ui.show_action(f"retry {event.attempt} of {event.attempts}: {reason}")
            case RequestAdapted(note=note):
                self._request_note = safe_line(note, limit=_MAX_NOTE)
                self._ui.notify(self._request_note, timeout_s=_LONG_NOTICE_S)
            case Repetition():
                self._show_repetition(session, event)
            case QueueChanged() if is_shown:
                self._session_view.show_queue()
            case PromptsReturned(prompts=prompts):
                self._prompt_text.put_back(session, *prompts)
                if is_shown:
                    self._session_view.show_queue()
            case TitleChanged():
                self._session_view.show_title()
            case TurnEnded():
                self._show_end(session, event)
            case Compacted():
                if is_shown:
                    self._session_view.show_messages()
                    self._session_view.mark_left_out()
                self._ui.show_action("compacted")
                self._ui.notify(
                    "A summary takes the place of the older messages. /tree lists their branch."
                )
            case _:
                return
        self._ui.show_changes()

    def _show_piece(self, session: OpenSession, event: Delta) -> None:
        self._log.apply(event)
        if session.stats is not None and not self._log.shows_stage(session.stats.stage):
            self._status.tick()

    def _show_added(self, session: OpenSession, message: ChatMessage) -> None:
        is_shown = session is self._chat.active
        # after a `PathChanged`, `show_messages` has shown it
        if is_shown and self._log.document.index_of(message.message_id) is None:
            self._log.append(message)
        if message.role is Role.TOOL:  # such a message has one call
            self._ui.show_action(message.tool_calls[0].name)
        elif is_shown:
            self._session_view.show_title()

    def _show_started(self, session: OpenSession, answer: ChatMessage) -> None:
        self._ui.workspace.monitor.note_streaming(is_streaming=True)
        self._ui.show_action("streaming")
        toolbox = self._chat.turn_options.toolbox
        for server in () if toolbox is None else toolbox.host.servers:  # they start with a prompt
            if server.error and server.error not in self._told_errors:
                self._told_errors.add(server.error)
                self._ui.warn(f"{safe_line(server.error, limit=_MAX_NOTE)} /tools shows more.")
        if session is not self._chat.active:
            return
        self._status.speedometer.restart()
        if self._log.document.index_of(answer.message_id) is None:
            self._log.start_answer(answer)

    def _show_repetition(self, session: OpenSession, repetition: Repetition) -> None:
        """The keys act on the session that is shown."""
        text = repetition.text
        key_name = self._ui.key_name
        if session is not self._chat.active:
            text = f"“{safe_line(session.header.title, limit=_MAX_NAME)}”: {text}"
            way_out = "Open its session to stop it."
        elif repetition.is_thought and session.turn.can_answer_now and key_name("now"):
            way_out = f"{key_name('now')} answers now."
        else:
            way_out = f"{key_name('stop')} stops it."
        if not repetition.way_out:
            text = self._key_notice = f"{text} {way_out}"
        self._ui.notify(text, timeout_s=_LONG_NOTICE_S)
        self._ui.notify_if_unfocused(text)
        self._ui.show_action("repeats itself")

    # The end of a turn

    def _show_end(self, session: OpenSession, ended: TurnEnded) -> None:
        """Show how a turn ended; if no answer started, only why."""
        self._ui.take_back(self._key_notice)
        self._ui.take_back(StillAnswering().message_with_next_step)
        if isinstance(ended.error, LMChatError) and ended.error.kind == "context_overflow":
            # the note says what might happen, and would lie over the card that says what did
            self._ui.take_back(self._request_note)
        if session is self._chat.active:
            if self._log.calls.card_id:  # the card disappears with the turn
                self._leave_card()
            # the log still shows stopped ones as running
            for message in session.messages.last_calls:
                self._log.replace(message)
        if isinstance(ended.error, LMChatError) and not ended.is_shown_in_answer:
            self._ui.show_error(ended.error)
            if session.turn.message is None:  # no answer has started
                return
        monitor = self._ui.workspace.monitor
        # health checks pause while an answer streams in any session
        monitor.note_streaming(is_streaming=bool(self._chat.open_sessions.running_ids))
        if session is self._chat.active:
            # if the turn was stopped before an answer started, or started it beside the session,
            # the path is shown again
            if ended.answer is None:
                self._session_view.show_messages()
            else:
                self._log.end_answer(ended.answer)
            self._session_view.mark_left_out()
            self._session_view.show_queue()
        self._ui.show_action(_ENDED_TEXT[ended.state])  # also for a session that is not shown

        # check the server at once: after a failure it may be gone, or this turn has loaded the
        # model
        model = monitor.health.model
        was_unloaded = model is not None and model.state in _UNLOADED_STATES
        if ended.has_failed or was_unloaded:
            monitor.check_now()
        if ended.seconds > _LONG_ANSWER_S:
            self._ui.notify_if_unfocused("The answer has ended.")
