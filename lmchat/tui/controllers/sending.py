"""Turns on the chat screen: sending, showing the answer as it streams, stopping, queued prompts.

A prompt passes, in order: `PromptInput.submit`, `ChatScreen._submit_prompt`, `Turns.submit`, and in
a worker `Conversation.send`, which yields it (`MessageAdded`), saves it (`SaveQueue`,
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

from lmchat.chat.answer_now import answer_now
from lmchat.chat.answering import TurnSettings
from lmchat.chat.choosing import BegunAnswer
from lmchat.chat.conversation import Conversation
from lmchat.chat.events import (
    AnswerBegun,
    ConversationEvent,
    MessageAdded,
    SummaryAsked,
)
from lmchat.chat.open_sessions import OpenSession, TurnPhase
from lmchat.chat.session_titles import rename_by_model
from lmchat.chat.tool_rounds import ApprovalAsked, MessageEnded
from lmchat.commands.conditions import has_text_to_continue
from lmchat.errors import LMChatError
from lmchat.safe_text import safe_line
from lmchat.servers.discovery.probe_result import TargetState
from lmchat.servers.events import (
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    Rethought,
    RetryScheduled,
    TextDelta,
    ToolCallDelta,
)
from lmchat.servers.model import LoadState, ModelInfo, Target
from lmchat.sessions.message import AnswerState, ChatMessage, Role
from lmchat.tui.chat_view import CANNOT_SEE, Chat
from lmchat.tui.controllers.prompt_text import PromptText
from lmchat.tui.controllers.shown_session import ShownSession
from lmchat.tui.controllers.status import StatusDisplay
from lmchat.tui.controllers.tool_approvals import ToolApprovals

_LONG_ANSWER_S = 10.0
"""When an answer that took longer ends, and the terminal has no focus, the user is notified."""
_ADAPTED_NOTICE_S = 12.0
"""How long the notice stays that a server does not accept a part of a request; it comes once."""
_MAX_NOTE = 300  # characters of the notice about such a part, which may quote the server
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
    """Runs turns, each in a worker of its session: answers also stream in other sessions.

    `opened` is always the open session of a turn; it may be another than the shown one.
    """

    def __init__(
        self,
        chat: Chat,
        status: StatusDisplay,
        sessions: ShownSession,
        prompt_text: PromptText,
    ) -> None:
        self._chat = chat
        self.approvals = ToolApprovals(chat, status, sessions)
        self._status = status
        self._sessions = sessions
        self._prompt_text = prompt_text
        sessions.catch_up = self.catch_up

    # Sending

    def submit(self, text: str) -> None:
        """Send what was typed in the shown session.

        While an earlier prompt is being edited, the text is sent as another version of that prompt.
        Otherwise it is sent as a new prompt, or queued until the running answer has ended and
        a model is ready. A prompt with an image that the model cannot see is not queued: it goes
        back into the prompt, with a notice.
        """
        if self._prompt_text.edited_id:
            self._submit_edit(text, self._prompt_text.edited_id)
            return
        # now, not when a queued prompt is sent: the user may then be reading farther up
        self._chat.widgets.log.scroll_end()
        if not self._chat.open_sessions.has_to_wait:
            self._send(self._sessions.opened, text)
        elif self._chat.next_turn.options.has_unseen_image(text):
            self._give_back(self._sessions.opened, text)
            self._chat.notify(CANNOT_SEE)
        else:
            self._enqueue(text)

    def _submit_edit(self, text: str, edited_id: str) -> None:
        """Send a text as another version of the earlier prompt with this id, and end the edit.

        If no turn can begin, the text goes back into the prompt, and the edit continues.
        """
        opened = self._sessions.opened
        settings = self._settings_for(opened)
        if settings is None:
            self._chat.widgets.prompt_input.put(text)
        else:
            words, files = self._chat.open_sessions.files.split(text)
            events = opened.conversation.edit(edited_id, words, settings, files)
            self._begin_turn(opened, events, text)
            self._prompt_text.leave_edit()
            self._status.show_action("edited")

    def _enqueue(self, text: str) -> None:
        """Queue a prompt of the shown session.

        If no server was found, or it lacks an API key, notify the user what the prompt waits for.
        """
        self._sessions.opened.queue.append(text)
        self._sessions.show_queue()
        self._status.show_action("queued")
        state = self._chat.workspace.target_state
        if state.lacks_server:
            needs_key = state is TargetState.NEEDS_KEY
            self._chat.notify(_WAITS_FOR_KEY if needs_key else _WAITS_FOR_SERVER)

    def regenerate(self, message: ChatMessage, model: ModelInfo | None = None) -> None:
        """Ask for another version of an answer, or run a tool call again.

        Args:
            message: The answer, the message of the tool call, or a prompt, whose answer is meant.
            model: The model that answers; None for the current one.
        """
        if message.role is Role.TOOL and self._chat.next_turn.toolbox is None:
            self._chat.notify("No tools are configured. /tools shows what to write in config.toml.")
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
        """Return the answer that follows a prompt of the shown session.

        A prompt that no answer follows, and any message that is no prompt, is returned itself.
        """
        if message.role is not Role.USER:
            return message
        path = self._sessions.conversation.messages
        index = path.index_of(message.message_id)
        if index is None or index + 1 == len(path):
            return message
        following = path[index + 1]
        return following if following.role is Role.ASSISTANT else message

    def resume(self, message: ChatMessage, begun: BegunAnswer | None = None) -> None:
        """Continue an unfinished answer; regenerate it if it has failed or has no words.

        With `begun`, continue that beginning of the answer instead.
        """
        if begun is None and not has_text_to_continue(message):
            self.regenerate(message)
            return
        opened = self._sessions.opened
        settings = self._settings_for(opened)
        if settings is not None:
            events = opened.conversation.resume(message.message_id, settings, begun)
            self._begin_turn(opened, events)

    async def catch_up(self) -> None:
        """Fetch the last answer of the shown session if its server continued it without lmchat.

        First the server is asked whether it has done so, unless the setting `detach` is off. Until
        it replies, the session can be used. If the user begins another turn, nothing is fetched.
        """
        opened = self._sessions.opened
        if opened.is_busy or not self._chat.next_turn.options.chat.detach:
            return
        is_kept = await opened.conversation.has_kept_answer()
        has_other_turn = opened in self._chat.open_sessions.busy
        if is_kept and not has_other_turn and not self._chat.workspace.is_leaving:
            self._begin_turn(opened, opened.conversation.catch_up())

    def compact(self, opened: OpenSession | None = None) -> None:
        """Begin a turn in which the model summarises the older messages of a session.

        It is the shown one by default. If the turn cannot begin, the user is told why.
        """
        opened = opened or self._sessions.opened
        settings = self._settings_for(opened)
        if settings is not None:
            prompt = self._chat.next_turn.options.compact_prompt
            self._begin_turn(opened, opened.conversation.compact(prompt, settings))

    def send_waiting(self) -> None:
        """Send the first prompt of each session that waits, as a model is ready."""
        for opened in self._chat.open_sessions.waiting:
            self._send(opened, opened.queue.pop(0))
        self._sessions.show_queue()

    def resume_after_load(self, *, can_answer: bool) -> None:
        """Continue after the load of a model has ended.

        If the model can answer, send the waiting prompts. Before that, if the last answer of the
        shown session has failed because no model was loaded, regenerate it. If the model cannot
        answer, the prompts return to the prompt field.
        """
        if not can_answer:
            for opened in self._chat.open_sessions.waiting:
                self._give_back(opened)
            return
        last = self._sessions.opened.last_answer_or_prompt
        if last is not None and _lacked_model(last):
            self.regenerate(last)
        self.send_waiting()

    def _send(self, opened: OpenSession, text: str, *, may_compact: bool = True) -> None:
        """Begin a turn with a prompt in a session.

        If the settings say so and the context window is nearly full, queue the prompt as the next
        one, and begin a summary instead; the prompt follows at its end. `may_compact` is False
        after a summary: then the prompt is sent even if there is still no room.
        """
        may_compact = may_compact and self._chat.next_turn.options.chat.auto_compact
        if may_compact and self._chat.next_turn.can_compact(opened.conversation, text):
            opened.queue.insert(0, text)
            self._sessions.show_queue()
            self.compact(opened)
            return
        if not opened.conversation.messages:
            self._end_draft_of_new_session(opened)
        settings = self._settings_for(opened, text)
        if settings is not None:
            words, files = self._chat.open_sessions.files.split(text)
            self._begin_turn(opened, opened.conversation.send(words, settings, files), text)

    def _end_draft_of_new_session(self, opened: OpenSession) -> None:
        """Take the first prompt of a new session, which is being sent, out of the saved draft.

        All new sessions share this draft, whose id is "". On the disk, queued prompts are before
        its text; `note` is called without them, which takes out this prompt if it was queued.
        """
        drafts = self._chat.open_sessions.drafts
        remaining_text = ""
        if opened is not self._sessions.opened:  # the text was typed since, in another new session
            remaining_text = drafts.text("")
        drafts.note("", remaining_text)

    def _settings_for(self, opened: OpenSession, text: str = "") -> TurnSettings | None:
        """Return the settings of a turn that is to begin; None if it cannot begin.

        In this case `text`, which was to be sent, is given back to the prompt. The user is told
        why, unless lmchat quits.
        """
        try:
            opened.require_idle()
            settings = self._chat.next_turn.settings(opened.conversation.own_sampling)
        except LMChatError as error:
            if text:
                self._give_back(opened, text)
            self._chat.show_error(error)
            return None
        if not self._chat.workspace.is_leaving:
            return settings
        if text:
            self._give_back(opened, text)
        return None

    # Workers

    def _begin_turn(
        self, opened: OpenSession, events: AsyncGenerator[ConversationEvent, None], text: str = ""
    ) -> None:
        """Begin a turn, whose events are shown by a worker.

        Reading ahead and the naming of a session are cancelled: they would keep the server busy.
        `text` is the prompt, which is given back if it is not sent; empty for a turn without one.
        """
        self._chat.read_ahead.cancel()
        opened.phase = TurnPhase.RUNNING
        self._chat.screen.workers.cancel_group(self._chat.screen, _NAMING)
        work = partial(self._show_turn, opened, events, text)
        _: Worker[None] = self._chat.screen.run_worker(work, name="turn", group=_group(opened))

    def stop(self) -> bool:
        """Begin to stop the turn of the shown session; return whether one was running.

        Return False also for a turn that is being stopped already.
        """
        opened = self._sessions.opened
        if opened.phase is not TurnPhase.RUNNING:
            return False
        self._cancel(opened)
        self._status.show_action("stopped")
        return True

    def answer_now(self) -> None:
        """End the thought of the shown session; if that is not possible, tell the user why."""
        refusal = answer_now(self._sessions.conversation)
        if refusal:
            self._chat.notify(refusal)
        else:
            self._status.show_action("answer now")

    async def stop_all(self) -> None:
        """Stop the turns of all sessions, and wait until their workers have saved and ended."""
        cancelled: list[Worker[None]] = []
        for opened in self._chat.open_sessions.busy:
            cancelled += self._cancel(opened)
        await _wait_until_ended(cancelled)

    async def stop_and_give_back(self, opened: OpenSession) -> None:
        """Stop the turn of a session, give back the queued prompts, and wait until it has ended."""
        workers = self._cancel(opened)
        self._give_back(opened)  # now: the end of the turn sends the next prompt
        await _wait_until_ended(workers)

    def _cancel(self, opened: OpenSession) -> list[Worker[None]]:
        """Begin to stop the turn of a session; return its workers that have not ended yet."""
        workers = [worker for worker in self._chat.screen.workers if worker.group == _group(opened)]
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
        """Show the events of a turn until it ends, and then its end; this runs in its worker.

        A turn that raises an error was refused before its prompt was sent, or was a summary that
        failed; the user is told why. The end of a refused turn is not shown, as nothing has begun.
        If the prompt was not sent, also because the turn was stopped early, `text` is given back.
        """
        began_s = self._chat.workspace.clock()
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
                if not is_summary:
                    self._give_back(opened, text)
                self._chat.show_error(refusal)
            elif not opened.conversation.has_all_messages:
                # a turn first reads the older messages; it was stopped before it had sent anything
                self._give_back(opened, text)
            if refusal is None or is_summary:  # the prompt behind a summary must not wait forever
                self._end_turn(opened, answer_id, began_s, is_summary=is_summary)

    async def _show_event(self, opened: OpenSession, event: ConversationEvent) -> None:
        """Show an event of a turn in the log, the list of sessions, the panel or a notification.

        If the session of the turn is not shown, nothing is changed in the log.
        """
        match event:
            case MessageAdded() | AnswerBegun() | SummaryAsked():
                self._show_added(opened, event)
            case RetryScheduled():
                reason = safe_line(event.reason, limit=_MAX_REASON)
                self._status.show_action(f"retry {event.attempt} of {event.attempts}: {reason}")
            case RequestAdapted(note=note):
                self._chat.notify(safe_line(note, limit=_MAX_NOTE), timeout_s=_ADAPTED_NOTICE_S)
            case ApprovalAsked():
                self.approvals.ask(opened, event)
            case _ if opened is self._sessions.opened:
                await self._show_in_log(opened.conversation, event)
            case _:
                pass

    async def _show_in_log(self, conversation: Conversation, event: ConversationEvent) -> None:
        """Show an event of the shown session in the log; most bring a part of the answer's text.

        Text is also counted for the speed. `MessageEnded` is a tool call that has ended, or an
        answer that calls tools; the end of other answers is shown by `_end_turn`.
        """
        log = self._chat.widgets.log
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                self._status.speedometer.count(self._chat.workspace.clock(), event.chunks)
                await log.apply(event)
            case ToolCallDelta():
                await log.apply(event)
            case MessageEnded(message=message) if message.role is Role.TOOL:
                log.replace(message)
                self._status.refresh()
            case MessageEnded(message=message):
                log.finish(message, has_tool_messages=True)
            case Rethought():  # text that was shown as the answer was reasoning
                log.restate(conversation.shown_messages[-1])
            case _:
                pass

    def _show_added(
        self, opened: OpenSession, event: MessageAdded | AnswerBegun | SummaryAsked
    ) -> None:
        """Show a message that was added to a session: a prompt, a tool message, or a new answer.

        If the session is shown, the message is added to the log. All messages are shown again if
        it is another version, which begins a branch, or an answer that was on the path before and
        is fetched now. Panel, title and list follow.
        """
        is_shown = opened is self._sessions.opened
        is_replay = isinstance(event, AnswerBegun) and event.is_replay
        if is_shown and (is_replay or event.message.versions > 1):
            self._sessions.show_messages(opened.conversation)
        elif is_shown and isinstance(event, AnswerBegun):
            self._chat.widgets.log.begin_answer(event.message)
        elif is_shown:
            self._chat.widgets.log.append(event.message)

        if isinstance(event, AnswerBegun):
            self._chat.workspace.monitor.is_streaming = True
            self._status.show_action("streaming")
            if is_shown:
                self._status.speedometer.restart()
            else:  # its prompt is on the disk now, and need not stay in the saved queue
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
        """Show how a turn ended, then send the next queued prompt of its session, if there is one.

        Without such a prompt, the model may give the session a title. Nothing is done while lmchat
        quits. After a failure, all queued prompts return to the prompt field.

        Args:
            opened: The session.
            answer_id: The last answer of the turn; empty if none has begun.
            began_s: When the turn began, by the clock of the workspace.
            is_summary: Whether the turn was a summary of older messages.
        """
        if self._chat.workspace.is_leaving or not self._chat.screen.is_mounted:
            return
        self._chat.workspace.monitor.is_streaming = bool(self._chat.open_sessions.streaming)
        self._chat.read_ahead.note_turn(opened.conversation)
        answer = opened.conversation.find(answer_id)
        if opened is self._sessions.opened:
            self._show_end(opened, None if is_summary else answer)
        self._chat.open_sessions.mark_unread(opened)
        next_prompt = opened.pop_next_prompt()
        if next_prompt is None:
            self._give_back(opened)  # what is left in the queue after a failure
        self._sessions.show_queue()
        self._status.show_action(self._outcome(opened, answer, is_summary=is_summary))
        if is_summary:
            self._notify_of_summary(opened.conversation, answer)
        self._sessions.show_list()

        self._check_server_if_needed(opened.conversation)
        if self._chat.workspace.clock() - began_s > _LONG_ANSWER_S:
            what = "summary" if is_summary else "answer"
            self._chat.notify_if_unfocused(f"The {what} has ended.")
        if next_prompt is not None:
            self._send(opened, next_prompt, may_compact=not is_summary)
        else:
            self._name_session(opened)

    def _outcome(self, opened: OpenSession, answer: ChatMessage | None, *, is_summary: bool) -> str:
        """Return words for the panel: how a turn ended, and whether its messages are saved.

        Without an answer and without tool calls, the turn counts as stopped.
        """
        if is_summary:
            return "not compacted" if answer is None else "compacted"
        # calls are the last messages only if the turn ended in them: else an answer follows
        calls = opened.last_calls
        last = calls[-1] if calls else answer
        state = last.state if last else AnswerState.STOPPED
        if self._chat.workspace.is_temporary:
            return _ENDED_UNSAVED_WORDS[state]
        words = _ENDED_WORDS[state]
        is_unsaved = self._chat.open_sessions.save_queue.is_unsaved(opened.session_id)
        return words.replace("saved", "not saved") if is_unsaved else words

    def _notify_of_summary(self, conversation: Conversation, answer: ChatMessage | None) -> None:
        """Notify the user that a summary is there (`answer` is not None), or was stopped.

        A failure is not reported here: the turn has raised it, and `_show_turn` has shown it.
        """
        turn = conversation.turn
        if answer is not None:
            self._chat.notify(
                "A summary takes the place of the older messages. /tree lists their branch."
            )
        elif turn is not None and turn.state is AnswerState.STOPPED:
            self._chat.notify("Stopped; nothing changed.")

    def _check_server_if_needed(self, conversation: Conversation) -> None:
        """Check the server at once if a turn has failed, or if its model was not in memory.

        In the second case, the server has loaded the model for this turn.
        """
        turn = conversation.turn
        has_failed = turn is not None and turn.state in _FAILED_STATES
        model = self._chat.workspace.monitor.health.model
        was_out_of_memory = model is not None and model.state in _OUT_OF_MEMORY
        if has_failed or was_out_of_memory:
            self._chat.workspace.monitor.check_now()

    def _show_end(self, opened: OpenSession, answer: ChatMessage | None) -> None:
        """Show the final state of a turn of the shown session in the log.

        Without an answer, all messages are loaded again: the turn was stopped before an answer
        began, or it was a summary, which begins another branch.
        """
        log = self._chat.widgets.log
        if log.calls.has_focus:  # the card of a call, which goes with the turn
            self._chat.leave_approval_card()
        for message in opened.last_calls:  # the log still shows stopped ones as running
            log.replace(message)
        if answer is None:
            self._sessions.show_messages(opened.conversation)
        else:
            log.finish(answer)
            log.show_turn(None, self._chat.workspace.clock())
        if opened.conversation.cut_note:
            log.notice("The server seems to have cut the prompt.")
        self._sessions.mark_left_out()

    def _name_session(self, opened: OpenSession) -> None:
        """Let the model name a session, in a worker that the next turn cancels.

        Do nothing if the settings say no, or in a temporary chat.
        """
        if self._chat.next_turn.options.chat.auto_title and not self._chat.workspace.is_temporary:
            self._chat.read_ahead.cancel()
            self._chat.begin(
                partial(self._rename_by_model, opened.conversation), _NAMING, is_only=True
            )

    async def _rename_by_model(self, conversation: Conversation) -> None:
        """Let the model write a title for a session after its first answer, and show the title.

        A title from the user is kept. If the model fails, the title made of the prompt is kept.
        """
        workspace = self._chat.workspace
        with suppress(LMChatError, TimeoutError):
            is_renamed = await rename_by_model(
                conversation, self._chat.next_turn.settings(), workspace.backend, workspace.store
            )
            if is_renamed:
                self._sessions.show_title()
                self._sessions.show_list()

    # Prompts that were not sent

    def _give_back(self, opened: OpenSession, text: str = "") -> None:
        """Return a prompt that was not sent, and those queued behind it, to the prompt field."""
        self._prompt_text.give_back(opened, text, *opened.queue)
        opened.queue.clear()
        self._sessions.show_queue()

    def edit_queued(self) -> None:
        """Move the newest queued prompt into the prompt, before what is typed there."""
        opened = self._sessions.opened
        if opened.queue:
            self._prompt_text.give_back(opened, opened.queue.pop())
            self._sessions.show_queue()

    def take_back(self) -> bool:
        """Move the newest queued prompt into the prompt if it waits for a server or a model.

        Return False, and do nothing, if none waits.
        """
        if not self._sessions.opened.is_waiting:
            return False
        self.edit_queued()
        self._status.show_action("cancelled")
        return True

    def remove_queued(self) -> None:
        """Drop the newest queued prompt."""
        queue = self._sessions.opened.queue
        if queue:
            queue.pop()
            self._sessions.show_queue()


def _lacked_model(message: ChatMessage) -> bool:
    """Return whether an answer failed because no model was loaded."""
    return message.failure is not None and message.failure.kind == "model_not_loaded"


def _group(opened: OpenSession) -> str:
    """Return the name of the group of workers in which the turns of a session run."""
    return f"turn-{opened.session_id}"


async def _wait_until_ended(workers: Sequence[Worker[None]]) -> None:
    """Wait until all of these workers, which were cancelled, have ended."""
    for worker in workers:
        with suppress(WorkerError):  # says that the worker was cancelled
            await worker.wait()
