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
from lmchat.text import safe_line
from lmchat.tui.message_needs import has_words
from lmchat.tui.screens.chat.core import CANNOT_SEE, ChatCore
from lmchat.tui.screens.chat.prompt_text import PromptText
from lmchat.tui.screens.chat.shown_session import ShownSession
from lmchat.tui.screens.chat.status import StatusDisplay
from lmchat.tui.screens.chat.tool_approvals import ToolApprovals

_LONG_ANSWER_S = 10.0
"""When an answer that took longer ends, and the terminal has no focus, the user is notified."""
_ADAPTED_NOTICE_S = 12.0
"""How long the notice stays that a server does not accept a part of a request; it comes once."""
_MAX_NOTE = 300  # characters of this notice, which may quote the server
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
_ENDED_UNSAVED_WORDS = _ENDED_WORDS | {
    AnswerState.COMPLETE: "answer complete",
    AnswerState.STOPPED: "stopped",
    AnswerState.INTERRUPTED: "interrupted",
}
"""The same for a temporary chat, which saves nothing."""


_FAILED_STATES = (AnswerState.FAILED, AnswerState.INTERRUPTED)
_OUT_OF_MEMORY = (LoadState.ASLEEP, LoadState.NOT_LOADED)
"""States of a model that its server loads with the next request."""


class Turns:
    """Runs turns, each in a worker of its session: answers also stream in other sessions."""

    def __init__(
        self,
        core: ChatCore,
        status: StatusDisplay,
        sessions: ShownSession,
        prompt_text: PromptText,
    ) -> None:
        self.approvals = ToolApprovals(core, status, sessions)
        self._screen = core.screen
        self._workspace = core.workspace
        self._open_sessions = core.open_sessions
        self._next_turn = core.open_sessions.next_turn
        self._widgets = core.widgets
        self._notices = core.notices
        self._background = core.background
        self._status = status
        self._sessions = sessions
        self._prompt_text = prompt_text

    # Sending

    def submit(self, text: str) -> None:
        """Send a prompt, or queue it until the running answer, the server or its model is ready.

        While an earlier prompt is being edited, it is sent as another version of that.
        """
        if self._prompt_text.edited_id:
            self._submit_edit(text, self._prompt_text.edited_id)
            return
        # now, not when a queued prompt is sent: the user may then be reading farther up
        self._widgets.log.scroll_end()
        if not self._open_sessions.has_to_wait:
            self._send(self._sessions.opened, text)
        elif self._next_turn.options.has_unseen_image(text):
            self._give_back(self._sessions.opened, text)
            self._notices.notify(CANNOT_SEE)
        else:
            self._enqueue(text)

    def _submit_edit(self, text: str, edited_id: str) -> None:
        """Send a text as another version of an earlier prompt, unless a turn is running."""
        opened = self._sessions.opened
        settings = self._settings_for(opened, text)
        if settings is not None:
            words, files = self._open_sessions.files.split(text)
            events = opened.conversation.edit(edited_id, words, settings, files)
            self._begin_turn(opened, events, text)
            self._prompt_text.leave_edit()

    def _enqueue(self, text: str) -> None:
        """Queue a prompt; if no server was found yet, tell the user what it waits for."""
        self._sessions.opened.queue.add(text)
        self._sessions.show_queue()
        self._status.show_action("queued")
        state = self._workspace.target_state
        if state.lacks_server:
            needs_key = state is TargetState.NEEDS_KEY
            self._notices.notify(_WAITS_FOR_KEY if needs_key else _WAITS_FOR_SERVER)

    def regenerate(self, message: ChatMessage, model: ModelInfo | None = None) -> None:
        """Ask for another version of an answer, or run a tool call again.

        Args:
            message: The answer or the tool message; for a prompt, the answer to it is meant.
            model: The model that answers; None for the current one.
        """
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
        """Return the answer to a prompt; any other message, or a prompt without one, as it is."""
        path = self._sessions.conversation.messages
        index = path.index_of(message.message_id)
        is_last = index is None or index + 1 == len(path)
        if message.role is not Role.USER or index is None or is_last:
            return message
        following = path[index + 1]
        return following if following.role is Role.ASSISTANT else message

    def resume(self, message: ChatMessage) -> None:
        """Continue an unfinished answer; if nothing of it had arrived, regenerate it."""
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
        """Send the first waiting prompt of each session: a server and a model are ready now."""
        for opened, text in self._open_sessions.pop_waiting():
            self._send(opened, text)
        self._sessions.show_queue()

    def resume_after_load(self, *, is_loaded: bool) -> None:
        """Retry an answer that failed because no model was loaded, then send the waiting prompts.

        If the model could not be loaded, the prompts are held until the user sends them.
        """
        if not is_loaded:
            self._open_sessions.hold_waiting()
            self._sessions.show_queue()
            return
        last = self._sessions.opened.last_answer
        if last is not None and _lacked_model(last):
            self.regenerate(last)
        self.send_waiting()

    def _send(self, opened: OpenSession, text: str, *, may_compact: bool = True) -> None:
        """Send a prompt; if the context window is nearly full, queue it behind a summary.

        Without `may_compact`, which follows a summary, it is sent in any case.
        """
        is_automatic = self._next_turn.options.chat.auto_compact
        if may_compact and is_automatic and self._next_turn.can_compact(opened.conversation, text):
            opened.queue.add_first(text)
            self._sessions.show_queue()
            self.compact(opened)
            return
        if not opened.conversation.messages:
            self._end_draft_of_new_session(opened)
        settings = self._settings_for(opened, text)
        if settings is not None:
            words, files = self._open_sessions.files.split(text)
            self._begin_turn(opened, opened.conversation.send(words, settings, files), text)

    def _end_draft_of_new_session(self, opened: OpenSession) -> None:
        """Take the first prompt of a session, which is being sent, out of the shared draft.

        If another session is shown by now, only the queue is taken out of what is saved: the text
        of the draft was typed there.
        """
        drafts = self._open_sessions.drafts
        is_shown = opened is self._sessions.opened
        drafts.note("", "" if is_shown else drafts.text(""))

    def _settings_for(self, opened: OpenSession, text: str = "") -> TurnSettings | None:
        """Return the settings of a turn; None if it cannot begin, which is shown to the user.

        In this case the text returns to the prompt; while lmchat quits, it is kept as a draft.
        """
        if self._workspace.is_leaving:
            opened.queue.hold_all(text)
            return None
        try:
            opened.require_idle()
            return self._next_turn.settings()
        except LMChatError as error:
            self._give_back(opened, text)
            self._notices.show_error(error)
            return None

    # Workers

    def _begin_turn(
        self, opened: OpenSession, events: AsyncGenerator[ConversationEvent, None], text: str = ""
    ) -> None:
        """Begin a turn in its worker; `text`, the prompt, is given back if it is not sent."""
        opened.phase = TurnPhase.RUNNING
        self._screen.workers.cancel_group(self._screen, _NAMING)
        work = partial(self._show_turn, opened, events, text)
        _: Worker[None] = self._screen.run_worker(work, name="turn", group=_group(opened))

    def stop(self) -> bool:
        """Stop the answer of the shown session; return whether one was running."""
        opened = self._sessions.opened
        if opened.phase is not TurnPhase.RUNNING:
            return False
        self._cancel(opened)
        self._status.show_action("stopped")
        return True

    async def stop_all(self) -> None:
        """Stop all answers, and wait until they are saved."""
        cancelled: list[Worker[None]] = []
        for opened in self._open_sessions.busy:
            cancelled += self._cancel(opened)
        await _wait_until_ended(cancelled)

    async def stop_and_hold(self, opened: OpenSession) -> None:
        """Stop the answer of a session, wait until it is saved, and hold its queued prompts."""
        queued = opened.queue.pop_all()  # else the end of the turn sends the next prompt
        await _wait_until_ended(self._cancel(opened))
        opened.queue.put_back(queued)
        opened.queue.hold_all()

    def _cancel(self, opened: OpenSession) -> list[Worker[None]]:
        """Begin to stop the turn of a session; return its workers."""
        workers = [worker for worker in self._screen.workers if worker.group == _group(opened)]
        running = [worker for worker in workers if not worker.is_finished]
        if opened.phase is not TurnPhase.NONE:
            opened.phase = TurnPhase.STOPPING
        for worker in running:
            # later: a task that is cancelled before its first step skips its `finally`
            asyncio.get_running_loop().call_soon(worker.cancel)
        return running

    # The answer as it streams

    async def _show_turn(
        self, opened: OpenSession, events: AsyncGenerator[ConversationEvent, None], text: str
    ) -> None:
        """Show the events of a turn until it ends, and then its end; this is its worker.

        The text of the prompt is given back if the turn was refused, or stopped before it was sent.
        """
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
                self._give_back(opened, text)
                self._notices.show_error(refusal)
            elif not opened.conversation.has_all_messages:
                # stopped while the older messages were still being read: nothing was sent
                self._give_back(opened, text)
            if refusal is None or is_summary:
                self._end_turn(opened, answer_id, began_s, is_summary=is_summary)

    async def _show_event(self, opened: OpenSession, event: ConversationEvent) -> None:
        """Show an event of a turn; if its session is not shown, only what other parts show of it.

        These are the list of sessions, the panel and notifications.
        """
        match event:
            case MessageAdded() | AnswerBegun() | SummaryAsked():
                self._show_added(opened, event)
            case RetryScheduled():
                reason = safe_line(event.reason, limit=_MAX_REASON)
                self._status.show_action(f"retry {event.attempt} of {event.attempts}: {reason}")
            case RequestAdapted(note=note):
                self._notices.notify(safe_line(note, limit=_MAX_NOTE), timeout_s=_ADAPTED_NOTICE_S)
            case ApprovalAsked():
                self.approvals.ask(opened, event)
            case _ if opened is self._sessions.opened:
                await self._show_in_log(opened.conversation, event)
            case _:
                pass

    async def _show_in_log(self, conversation: Conversation, event: ConversationEvent) -> None:
        """Show an event of the shown session in the log; most are a part of the answer's text."""
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
        """Show a message that was added to a session: a prompt, a tool message, or a new answer."""
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
                self._prompt_text.save_queue_of(opened)
        elif event.message.role is Role.TOOL:
            self._status.show_action(event.message.tool_calls[0].name)
        elif is_shown:
            self._sessions.show_title()
        self._sessions.show_list()

    # The end of a turn

    def _end_turn(
        self, opened: OpenSession, answer_id: str, began_s: float, *, is_summary: bool
    ) -> None:
        """Show how a turn ended, and send the next queued prompt of its session.

        Args:
            opened: The session.
            answer_id: The last answer of the turn; empty if none has begun.
            began_s: When the turn began, by the clock of the workspace.
            is_summary: Whether the turn was a summary of older messages.
        """
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
            self._notify_of_summary(opened.conversation, answer)
        self._sessions.show_list()

        self._check_server_if_needed(opened.conversation)
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
        calls = opened.last_calls  # at the end only if one of them was stopped, or failed
        last = calls[-1] if calls else answer
        state = last.state if last else AnswerState.STOPPED
        if self._workspace.is_temporary:
            return _ENDED_UNSAVED_WORDS[state]
        words = _ENDED_WORDS[state]
        is_unsaved = self._open_sessions.save_queue.is_unsaved(opened.session_id)
        return words.replace("saved", "not saved") if is_unsaved else words

    def _notify_of_summary(self, conversation: Conversation, answer: ChatMessage | None) -> None:
        """Tell how a summary ended, unless it has failed, which the log shows."""
        turn = conversation.turn
        if answer is not None:
            self._notices.notify(
                "A summary takes the place of the older messages. /undo brings them back."
            )
        elif turn is not None and turn.state is AnswerState.STOPPED:
            self._notices.notify("Stopped; nothing changed.")

    def _check_server_if_needed(self, conversation: Conversation) -> None:
        """Check the server at once after a turn that failed, or that made it load its model."""
        turn = conversation.turn
        has_failed = turn is not None and turn.state in _FAILED_STATES
        model = self._workspace.monitor.health.model
        was_out_of_memory = model is not None and model.state in _OUT_OF_MEMORY
        if has_failed or was_out_of_memory:
            self._workspace.monitor.check_now()

    def _show_end(self, opened: OpenSession, answer: ChatMessage | None) -> None:
        """Show the final state of a turn in the log.

        Without an answer, the path is shown from its end again: the turn was stopped before an
        answer began, or it was a summary, which begins another branch.
        """
        log = self._widgets.log
        if log.calls.has_focus:
            self._widgets.leave_approval_card()
        for message in opened.last_calls:  # those that were stopped still show that they run
            log.replace(message)
        if answer is None:
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
        """Ask the model for a title, unless the user has given one, and show it."""
        from lmchat.services.session_titles import rename_by_model

        workspace = self._workspace
        with suppress(LMChatError, TimeoutError):  # then the title made of the prompt stays
            is_renamed = await rename_by_model(
                conversation, self._next_turn.settings(), workspace.backend, workspace.library
            )
            if is_renamed:
                self._sessions.show_title()
                self._sessions.show_list()

    # Prompts that were not sent

    def _give_back(self, opened: OpenSession, text: str) -> None:
        """Put a text that was not sent back into the prompt.

        If the prompt has another text by now, or shows another session, hold it in the queue.
        """
        prompt_input = self._widgets.prompt_input
        is_shown = opened is self._sessions.opened
        if text and is_shown and not prompt_input.text:
            prompt_input.put(text)
        elif text:
            opened.queue.hold_all(text)
            self._sessions.show_queue()

    def edit_queued(self, index: int) -> None:
        """Take a queued prompt back into the prompt, before what is typed there."""
        prompt_input = self._widgets.prompt_input
        texts = (self._sessions.opened.queue.pop_at(index), prompt_input.full_text)
        prompt_input.put(SEPARATOR.join(filter(None, texts)))
        self._sessions.show_queue()
        prompt_input.focus()

    def take_back(self) -> bool:
        """Put a prompt that waits for a server or model back into the prompt.

        Return whether one was waiting.
        """
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
    """Return whether an answer failed because no model was loaded."""
    return message.failure is not None and message.failure.kind == "model_not_loaded"


def _group(opened: OpenSession) -> str:
    """Return the group of the worker of a session's turn."""
    return f"turn-{opened.session_id}"


async def _wait_until_ended(workers: Sequence[Worker[None]]) -> None:
    """Wait until workers have ended that were cancelled."""
    for worker in workers:
        with suppress(WorkerError):  # says that the worker was cancelled
            await worker.wait()
