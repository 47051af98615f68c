"""Turns on the chat screen: sending, showing the answer as it streams, stopping, queued prompts.

A prompt passes, in order: `PromptInput.submit`, `ChatScreen._submit_prompt`, `Turns.submit`, and in
a worker `Conversation.send`, which yields it (`MessageAdded`), saves it (`SaveQueue.save`,
`SessionTables.append`) and then asks the server (`Backend.stream`, `ProxyClient.stream`). Events
come back to `Turns._show_event`, which gives them to `ChatLog` (`append`, `begin_answer`, `apply`);
`Conversation` saves the answer while it streams. A prompt that has to wait is queued in
`OpenSessions`; `send_waiting` and `_end_turn` send it later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from functools import partial

from msgspec.structs import replace
from textual.screen import Screen
from textual.worker import Worker, WorkerError

from lmchat.domain.event import (
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    Rethought,
    RetryScheduled,
    TextDelta,
    ToolCallDelta,
)
from lmchat.domain.message import AnswerState, ChatMessage, Role
from lmchat.domain.server import LoadState, ModelInfo, Target
from lmchat.errors import LMChatError
from lmchat.services.answer_stream import TurnSettings
from lmchat.services.conversation import (
    AnswerBegun,
    Conversation,
    ConversationEvent,
    MessageAdded,
    SummaryAsked,
)
from lmchat.services.open_sessions import OpenSession, TurnPhase
from lmchat.services.save_queue import SEPARATOR
from lmchat.services.target_state import TargetState
from lmchat.services.tool_loop import ApprovalAsked, MessageEnded
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui.message_needs import has_words
from lmchat.tui.screens.chat.background import Background
from lmchat.tui.screens.chat.notices import CANNOT_SEE, Notices
from lmchat.tui.screens.chat.prompt_text import PromptText
from lmchat.tui.screens.chat.shown_session import ShownSession
from lmchat.tui.screens.chat.status import StatusDisplay
from lmchat.tui.screens.chat.tool_approvals import ToolApprovals
from lmchat.tui.screens.chat.widgets import ChatWidgets

_LONG_ANSWER_S = 10.0
"""The end of an answer that took longer is notified if the terminal has no focus."""
_NOTE_S = 12.0
"""How long a note stays that is shown once: which part of a request a server does not take."""
_MAX_NOTE = 300  # characters of such a note, which may have words of the server
_MAX_REASON = 60  # characters of the reason for a retry
_NAMING = "title"  # group of the worker in which a model names a session
_WAITS_FOR_SERVER = (
    "No model server found yet. Your message waits above the prompt and is sent "
    "when a server answers; Esc cancels it."
)
_WAITS_FOR_KEY = "Your message is sent once the API key is set; Esc cancels it."
_ENDED_WORDS = {
    AnswerState.COMPLETE: "answer saved",
    AnswerState.STOPPED: "stopped, saved",
    AnswerState.INTERRUPTED: "interrupted, saved",
    AnswerState.FAILED: "request failed",
    AnswerState.STREAMING: "streaming",
}
_TEMPORARY_WORDS = _ENDED_WORDS | {
    AnswerState.COMPLETE: "answer complete",
    AnswerState.STOPPED: "stopped",
    AnswerState.INTERRUPTED: "interrupted",
}
"""The same for a temporary chat, which saves nothing."""


class Turns:
    """Runs turns, each in a worker of its session: answers also stream in other sessions."""

    def __init__(
        self,
        screen: Screen[None],
        workspace: Workspace,
        widgets: ChatWidgets,
        notices: Notices,
        background: Background,
        status: StatusDisplay,
        sessions: ShownSession,
        prompt_text: PromptText,
    ) -> None:
        self.approvals = ToolApprovals(workspace, widgets, notices, background, status, sessions)
        self._screen = screen
        self._workspace = workspace
        self._open_sessions = workspace.open_sessions
        self._next_turn = workspace.open_sessions.next_turn
        self._widgets = widgets
        self._notices = notices
        self._background = background
        self._status = status
        self._sessions = sessions
        self._prompt_text = prompt_text

    # Sending

    def submit(self, text: str) -> None:
        """Send a prompt, or queue it: for the running answer, for a server, for its model."""
        if self._prompt_text.edited_id:
            self._submit_edit(text, self._prompt_text.edited_id)
            return
        self._widgets.log.scroll_end()  # now; the user may be reading when a queued one is sent
        if not self._open_sessions.has_to_wait:
            self._send(self._sessions.opened, text)
        elif self._next_turn.options.has_unseen_image(text):
            self._give_back(self._sessions.opened, text)
            self._notices.notify(CANNOT_SEE)
        else:
            self._enqueue(text)

    def _submit_edit(self, text: str, edited_id: str) -> None:
        opened = self._sessions.opened
        settings = self._settings_for(opened, text)
        if settings is not None:
            words, files = self._open_sessions.files.split(text)
            events = opened.conversation.edit(edited_id, words, settings, files)
            self._begin_turn(opened, events, text)
            self._prompt_text.leave_edit()

    def _enqueue(self, text: str) -> None:
        self._sessions.opened.queue.add(text)
        self._sessions.show_queue()
        self._status.show_action("queued")
        state = self._workspace.target_state
        if state.lacks_server:
            needs_key = state is TargetState.NEEDS_KEY
            self._notices.notify(_WAITS_FOR_KEY if needs_key else _WAITS_FOR_SERVER)

    def regenerate(self, message: ChatMessage, model: ModelInfo | None = None) -> None:
        """Answer once more, also with another model; for a prompt, its answer is meant."""
        if message.role is Role.TOOL and self._next_turn.toolbox is None:
            self._notices.notify(
                "No tools are configured. /tools shows what to write in config.toml."
            )
            return
        opened = self._sessions.opened
        settings = self._settings_for(opened)
        if settings is None:
            return
        if model is not None:
            other = Target(endpoint=model.endpoint, product=model.product, model=model)
            settings = replace(settings, target=other)
        answer = self._answer_of(message)
        self._begin_turn(opened, opened.conversation.regenerate(answer.message_id, settings))

    def _answer_of(self, message: ChatMessage) -> ChatMessage:
        """Return the answer that follows a prompt; all other messages as they are."""
        path = self._sessions.conversation.messages
        index = path.index_of(message.message_id)
        if message.role is not Role.USER or index is None:
            return message
        for following in path[index + 1 : index + 2]:
            if following.role is Role.ASSISTANT:
                return following
        return message

    def resume(self, message: ChatMessage) -> None:
        """Continue an unfinished answer; where it has no words, answer once more."""
        if not has_words(message):
            self.regenerate(message)
            return
        opened = self._sessions.opened
        settings = self._settings_for(opened)
        if settings is not None:
            self._begin_turn(opened, opened.conversation.resume(message.message_id, settings))

    def compact(self, opened: OpenSession) -> None:
        """Let the model summarise the older messages of a session."""
        settings = self._settings_for(opened)
        if settings is not None:
            prompt = self._next_turn.options.compact_prompt
            self._begin_turn(opened, opened.conversation.compact(prompt, settings))

    def send_waiting(self) -> None:
        for opened, text in self._open_sessions.pop_waiting():
            self._send(opened, text)
        self._sessions.show_queue()

    def resume_after_load(self, *, is_loaded: bool) -> None:
        """Retry what failed for want of a model, then send what waited; hold it without one."""
        if not is_loaded:
            self._open_sessions.hold_waiting()
            self._sessions.show_queue()
            return
        last = self._sessions.opened.last_answer
        if last is not None and _lacked_model(last):
            self.regenerate(last)
        self.send_waiting()

    def _send(self, opened: OpenSession, text: str, *, may_compact: bool = True) -> None:
        """Send a prompt, after a summary where the context window is nearly full."""
        may_compact = may_compact and self._next_turn.options.chat.auto_compact
        if may_compact and self._next_turn.can_compact(opened.conversation, text):
            opened.queue.add_first(text)
            self._sessions.show_queue()
            self.compact(opened)
            return
        if not opened.conversation.messages:  # it is no draft of a new session any more
            drafts = self._open_sessions.drafts
            is_shown = opened is self._sessions.opened
            drafts.note("", "" if is_shown else drafts.text(""))
        settings = self._settings_for(opened, text)
        if settings is not None:
            words, files = self._open_sessions.files.split(text)
            self._begin_turn(opened, opened.conversation.send(words, settings, files), text)

    def _settings_for(self, opened: OpenSession, text: str = "") -> TurnSettings | None:
        """Return the settings of a turn that may begin now; else say why, and keep the text."""
        if self._workspace.is_leaving:
            opened.queue.hold_all(text)  # it is kept as a draft
            return None
        try:
            opened.require_idle()
            return self._next_turn.settings()
        except LMChatError as error:
            self._refuse(opened, error, text)
            return None

    # Workers

    def _begin_turn(
        self, opened: OpenSession, events: AsyncGenerator[ConversationEvent, None], text: str = ""
    ) -> None:
        """Begin a turn in its worker; `text` is given back if it is not sent."""
        opened.phase = TurnPhase.RUNNING
        self._screen.workers.cancel_group(self._screen, _NAMING)

        async def follow() -> None:
            await self._show_turn(opened, events, text)

        _: Worker[None] = self._screen.run_worker(follow, name="turn", group=_group(opened))

    def stop(self) -> bool:
        """Stop the answer of the shown session; return whether one was running."""
        opened = self._sessions.opened
        if opened.phase is not TurnPhase.RUNNING:
            return False
        self._cancel(opened)
        self._status.show_action("stopped")
        return True

    async def stop_all(self) -> None:
        cancelled: list[Worker[None]] = []
        for opened in self._open_sessions.busy:
            cancelled += self._cancel(opened)
        await _ended(cancelled)

    async def stop_and_hold(self, opened: OpenSession) -> None:
        """Stop the answer of a session and wait until it is saved; what waits is held."""
        waiting = opened.queue.pop_all()  # else the end of the turn sends the next one
        await _ended(self._cancel(opened))
        opened.queue.put_back(waiting)
        opened.queue.hold_all()

    def _cancel(self, opened: OpenSession) -> list[Worker[None]]:
        """Begin to stop the turn of a session; return its workers."""
        workers = [worker for worker in self._screen.workers if worker.group == _group(opened)]
        running = [worker for worker in workers if not worker.is_finished]
        if opened.phase is not TurnPhase.NONE:
            opened.phase = TurnPhase.STOPPING
        for worker in running:
            # after its first step: a task that is cancelled earlier skips its `finally`
            asyncio.get_running_loop().call_soon(worker.cancel)
        return running

    # The answer as it streams

    async def _show_turn(
        self, opened: OpenSession, events: AsyncGenerator[ConversationEvent, None], text: str
    ) -> None:
        """Show a turn until it ends; `text` is given back if it was not sent."""
        began_s = self._workspace.clock()
        answer_id = ""
        is_summary = False
        refusal: LMChatError | None = None
        try:
            async with aclosing(events) as stream:
                async for event in stream:
                    if isinstance(event, AnswerBegun):
                        answer_id = event.message.message_id
                    is_summary |= isinstance(event, SummaryAsked)
                    await self._show_event(opened, event)
        except LMChatError as error:
            refusal = error
        finally:
            opened.phase = TurnPhase.NONE
            opened.asked = None
            if refusal is not None:
                self._refuse(opened, refusal, text)
            elif not opened.conversation.has_all_messages:  # stopped before anything was sent
                self._give_back(opened, text)
            if refusal is None or is_summary:
                self._end_turn(opened, answer_id, began_s, is_summary=is_summary)

    async def _show_event(self, opened: OpenSession, event: ConversationEvent) -> None:
        """Show an event; those of a session that is not shown change only list and panel."""
        match event:
            case MessageAdded() | AnswerBegun() | SummaryAsked():
                self._show_added(opened, event)
            case RetryScheduled():
                reason = safe_line(event.reason, limit=_MAX_REASON)
                self._status.show_action(f"retry {event.attempt} of {event.attempts}: {reason}")
            case RequestAdapted(note=note):
                self._notices.notify(safe_line(note, limit=_MAX_NOTE), timeout_s=_NOTE_S)
            case ApprovalAsked():
                self.approvals.ask(opened, event)
            case _ if opened is self._sessions.opened:
                await self._show_in_log(opened.conversation, event)
            case _:
                pass

    async def _show_in_log(self, conversation: Conversation, event: ConversationEvent) -> None:
        log = self._widgets.log
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                self._status.speedometer.count(self._workspace.clock(), event.pieces)
                await log.apply(event)
            case ToolCallDelta():
                await log.apply(event)
            case MessageEnded(message=message) if message.role is Role.TOOL:
                log.replace(message)
                self._status.refresh()
            case MessageEnded(message=message):
                log.finish(message, has_tool_messages=True)
            case Rethought():
                log.restate(conversation.shown_messages[-1])
            case _:
                pass

    def _show_added(
        self, opened: OpenSession, event: MessageAdded | AnswerBegun | SummaryAsked
    ) -> None:
        is_shown = opened is self._sessions.opened
        if is_shown and event.message.versions > 1:
            self._sessions.show_messages(opened.conversation)
        elif is_shown and isinstance(event, AnswerBegun):
            self._widgets.log.begin_answer(event.message)
        elif is_shown:
            self._widgets.log.append(event.message)

        if isinstance(event, AnswerBegun):
            self._workspace.monitor.is_streaming = True
            self._status.show_action("streaming")
            if is_shown:
                self._status.speedometer.restart()
            else:
                self._prompt_text.save_waiting(opened)
        elif event.message.role is Role.TOOL:
            self._status.show_action(event.message.tool_calls[0].name)
        elif is_shown:
            self._sessions.show_title()
        self._sessions.show_list()

    # The end of a turn

    def _end_turn(
        self, opened: OpenSession, answer_id: str, began_s: float, *, is_summary: bool
    ) -> None:
        """Show how a turn ended, and send what waits behind it."""
        if self._workspace.is_leaving or not self._screen.is_mounted:
            return
        self._workspace.monitor.is_streaming = bool(self._open_sessions.streaming)
        answer = opened.conversation.find(answer_id)
        if opened is self._sessions.opened:
            self._show_end(opened, None if is_summary else answer)
        self._open_sessions.mark_unread(opened)
        next_prompt = opened.pop_next_prompt()
        self._sessions.show_queue()
        self._status.show_action(self._outcome(opened, answer, is_summary=is_summary))
        if is_summary:
            self._tell_of_summary(opened.conversation, answer)
        self._sessions.show_list()

        self._check_server_after(opened.conversation)
        if self._workspace.clock() - began_s > _LONG_ANSWER_S:
            self._notices.notify_if_unfocused("The answer has ended.")
        if next_prompt is not None:
            self._send(opened, next_prompt, may_compact=not is_summary)
        else:
            self._name_session(opened)

    def _outcome(self, opened: OpenSession, answer: ChatMessage | None, *, is_summary: bool) -> str:
        """Return how a turn ended, and whether that is on the disk."""
        if is_summary:
            return "not compacted" if answer is None else "compacted"
        words = self._ended_words(opened, answer)
        is_unsaved = self._open_sessions.save_queue.is_unsaved(opened.session_id)
        return words.replace("saved", "not saved") if is_unsaved else words

    def _ended_words(self, opened: OpenSession, answer: ChatMessage | None) -> str:
        calls = opened.last_calls  # a call that was stopped, or failed
        last = calls[-1] if calls else answer
        state = last.state if last else AnswerState.STOPPED
        words = _TEMPORARY_WORDS if self._workspace.is_temporary else _ENDED_WORDS
        return words[state]

    def _tell_of_summary(self, conversation: Conversation, answer: ChatMessage | None) -> None:
        turn = conversation.turn
        if answer is not None:
            self._notices.notify(
                "A summary takes the place of the older messages. /undo brings them back."
            )
        elif turn is not None and turn.state is AnswerState.STOPPED:
            self._notices.notify("Stopped; nothing changed.")

    def _check_server_after(self, conversation: Conversation) -> None:
        """Check the server at once where a turn may have changed it."""
        turn = conversation.turn
        failed = (AnswerState.FAILED, AnswerState.INTERRUPTED)
        has_failed = turn is not None and turn.state in failed  # another server may answer by now
        model = self._workspace.monitor.health.model
        asleep = (LoadState.ASLEEP, LoadState.NOT_LOADED)
        was_woken = model is not None and model.state in asleep
        if has_failed or was_woken:
            self._workspace.monitor.check_now()

    def _show_end(self, opened: OpenSession, answer: ChatMessage | None) -> None:
        log = self._widgets.log
        if log.calls.has_focus:
            self._widgets.leave_card()
        for message in opened.last_calls:  # a stop leaves some without a result
            log.replace(message)
        if answer is None:  # stopped before it was shown, or a summary: the path has changed
            self._sessions.show_messages(opened.conversation)
        else:
            log.finish(answer)
            log.show_turn(None, self._workspace.clock())
        if opened.conversation.cut_note:
            log.notice("The server seems to have cut the prompt.")
        self._sessions.mark_left_out()

    def _name_session(self, opened: OpenSession) -> None:
        """Let the model name a session after its first answer; the next turn cancels this."""
        if self._next_turn.options.chat.auto_title and not self._workspace.is_temporary:
            self._background.begin(partial(self._rename_by_model, opened.conversation), _NAMING)

    async def _rename_by_model(self, conversation: Conversation) -> None:
        from lmchat.services.session_titles import rename_by_model

        workspace = self._workspace
        with suppress(LMChatError, TimeoutError):  # the title made of the prompt stays
            is_renamed = await rename_by_model(
                conversation, self._next_turn.settings(), workspace.backend, workspace.library
            )
            if is_renamed:
                self._sessions.show_title()
                self._sessions.show_list()

    # What was not sent

    def _refuse(self, opened: OpenSession, error: LMChatError, text: str) -> None:
        self._give_back(opened, text)
        self._notices.show_error(error)

    def _give_back(self, opened: OpenSession, text: str) -> None:
        """Put what was typed and not sent back into the prompt, or let it wait above it."""
        prompt_input = self._widgets.prompt_input
        is_shown = opened is self._sessions.opened
        if text and is_shown and not prompt_input.text:
            prompt_input.put(text)
        elif text:
            opened.queue.hold_all(text)
            self._sessions.show_queue()

    def edit_queued(self, index: int) -> None:
        """Take a waiting message back into the prompt, before what is typed there."""
        prompt_input = self._widgets.prompt_input
        parts = (self._sessions.opened.queue.pop_at(index), prompt_input.full_text)
        prompt_input.put(SEPARATOR.join(part for part in parts if part))
        self._sessions.show_queue()
        prompt_input.focus()

    def take_back(self) -> bool:
        """Put what waits for a server or model back into the prompt; return whether any did."""
        opened = self._sessions.opened
        if not opened.is_waiting:
            return False
        self.edit_queued(len(opened.queue) - 1)
        self._status.show_action("cancelled")
        return True

    def remove_queued(self, index: int) -> None:
        self._sessions.opened.queue.pop_at(index)
        self._sessions.show_queue()


def _lacked_model(message: ChatMessage) -> bool:
    return message.failure is not None and message.failure.kind == "model_not_loaded"


def _group(opened: OpenSession) -> str:
    """Return the group of the worker of a session's turn."""
    return f"turn-{opened.session_id}"


async def _ended(workers: Sequence[Worker[None]]) -> None:
    for worker in workers:
        with suppress(WorkerError):  # it was cancelled
            await worker.wait()
