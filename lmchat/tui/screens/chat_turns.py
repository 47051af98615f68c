"""How a turn runs on the chat screen: its worker, its events, its end, and what waits behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from textual import on
from textual.worker import Worker, WorkerError

from lmchat.domain.event import (
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    Rethought,
    RetryScheduled,
    StreamEvent,
    TextDelta,
)
from lmchat.domain.message import AnswerState, ChatMessage
from lmchat.errors import LMChatError
from lmchat.services.conversation import AnswerBegun, Conversation, ConversationEvent, HowToAsk, MessageAdded
from lmchat.services.open_sessions import OpenSession
from lmchat.services.save_queue import BETWEEN
from lmchat.text import safe_line
from lmchat.tui.intents import AnswerEnded
from lmchat.tui.screens.chat_elsewhere import ChatElsewhere
from lmchat.tui.widgets.queue_card import QueueCard

Begin = Callable[[Conversation, HowToAsk], AsyncGenerator[ConversationEvent, None]]
"""Begins a turn of a conversation."""

_NOTE_S = 12.0
"""How long what a server does not take is told: it is told once."""
_WAITS_FOR_SERVER = (
    "No model server was found yet. Your message waits above the prompt and goes out when one answers; "
    "Esc takes it back."
)
_ENDED_WORDS = {
    AnswerState.COMPLETE: "answer saved",
    AnswerState.STOPPED: "stopped, text saved",
    AnswerState.INTERRUPTED: "interrupted, text saved",
    AnswerState.FAILED: "request failed",
    AnswerState.STREAMING: "streaming",
}


class ChatTurns(ChatElsewhere):
    """Runs turns; one worker a session, so that an answer goes on while another session is shown."""

    def say(self, text: str) -> None:
        """Send a prompt, or let it wait: for the end of the running answer, for a server, for its model."""
        self.log_view.scroll_end()  # now, and not when what waits goes out: one may be reading then
        if self.open_sessions.has_to_wait:
            self.open_sessions.enqueue(text)
            self.show_queue()
            self.show_action("queued")
            self._tell_waiting()
            return
        self.run_turn(lambda conversation, how: conversation.send(text, how), text=text)

    def _tell_waiting(self) -> None:
        """Say so where what was sent waits for a server, and none was found."""
        if self.open_sessions.target is None and self.workspace.catalogue.candidates:
            self.app.notify(_WAITS_FOR_SERVER, markup=False)

    def send_waiting(self) -> None:
        """Send what waited for a server or a model."""
        for opened, text in self.open_sessions.take_waiting():
            self._send(opened, text)
        self.show_queue()

    def _send(self, opened: OpenSession, text: str) -> None:
        self.run_turn(lambda one, how: one.send(text, how), opened=opened, text=text)

    def run_turn(self, begin: Begin, *, opened: OpenSession | None = None, text: str = "") -> None:
        """Begin a turn in its worker; where it is refused, `text` is kept."""
        opened = opened or self.open_sessions.shown
        if self.is_leaving:
            opened.hold(text)  # it is kept as a draft
            return
        try:
            opened.require_rest()
            how = self.open_sessions.how_to_ask()
        except LMChatError as error:
            self._refused(opened, error, text)
            return
        opened.is_asking, opened.is_followed, opened.is_stopping = True, False, False

        async def follow() -> None:
            await self._follow(opened, begin(opened.conversation, how), text)

        _: Worker[None] = self.run_worker(follow, name="turn", group=_group(opened.conversation))

    def stop_turn(self) -> bool:
        """Stop the answer of the shown session; tell whether there was one that was not being stopped yet."""
        opened = self.open_sessions.shown
        if not opened.is_busy or opened.is_stopping:
            return False
        self._stop(opened)
        return True

    async def stop_all(self) -> None:
        """Stop all answers and wait until they are kept."""
        turns = [worker for opened in self.open_sessions.asking for worker in self._stop(opened)]
        for worker in turns:
            with suppress(WorkerError):
                await worker.wait()

    def _stop(self, opened: OpenSession) -> list[Worker[None]]:
        """Tell the turn of a session to stop, and return its workers.

        A task that is cancelled before its first step never reaches its `finally`: it ends by itself there.
        """
        group = _group(opened.conversation)
        turns = [one for one in self.workers if one.group == group and not one.is_finished]
        opened.is_stopping = True
        if opened.is_followed:
            for worker in turns:
                worker.cancel()
        return turns

    async def stop_and_hold(self, opened: OpenSession) -> None:
        """Stop the answer of a session and wait until it is kept; what waits behind it is held."""
        waiting, opened.queue[:] = list(opened.queue), []
        for worker in self._stop(opened):
            with suppress(WorkerError):
                await worker.wait()
        opened.queue[:] = [*waiting, *opened.queue]
        opened.hold()

    async def _follow(
        self, opened: OpenSession, events: AsyncGenerator[ConversationEvent, None], text: str
    ) -> None:
        """Show events as they come, as long as their session is on the screen."""
        began_s = self.workspace.clock()
        answer_id = ""
        refusal: LMChatError | None = None
        is_begun = False
        opened.is_followed = True
        try:
            if opened.is_stopping:
                raise asyncio.CancelledError
            is_begun = True
            async with aclosing(events) as stream:
                async for event in stream:
                    answer_id = event.message.message_id if isinstance(event, AnswerBegun) else answer_id
                    await self._take(opened.conversation, event)
        except LMChatError as error:
            refusal = error
        finally:
            opened.is_asking = opened.is_stopping = False
            if refusal is not None:
                self._refused(opened, refusal, text)
            else:
                if not (is_begun and opened.conversation.is_whole):  # stopped before anything was said
                    self._give_back(opened, text)
                self._rest(opened, answer_id, self.workspace.clock() - began_s)

    async def _take(self, conversation: Conversation, event: ConversationEvent) -> None:
        is_shown = self.open_sessions.is_shown(conversation)
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                if is_shown:
                    self.speedometer.count(self.workspace.clock(), event.pieces)
                    await self.log_view.apply(event)
            case MessageAdded(message=message):
                self._show_prompt(conversation, message, is_shown=is_shown)
            case AnswerBegun():
                self._show_begun(conversation, event, is_shown=is_shown)
            case RetryScheduled():
                self.show_action(
                    f"retry {event.attempt} of {event.attempts}: {safe_line(event.reason, limit=60)}"
                )
            case RequestAdapted(note=note):
                self.app.notify(safe_line(note, limit=300), timeout=_NOTE_S, markup=False)
            case _ if is_shown:
                await self._show_other(conversation, event)
            case _:
                pass

    async def _show_other(self, conversation: Conversation, event: StreamEvent) -> None:
        if isinstance(event, Rethought):
            self.log_view.restate(conversation.shown_messages[-1])
        else:
            await self.log_view.apply(event)

    def _show_prompt(self, conversation: Conversation, message: ChatMessage, *, is_shown: bool) -> None:
        if is_shown:
            if message.versions > 1:
                self.show_messages(conversation)
            else:
                self.log_view.append(message, is_sent_now=False)
            self.show_title()
        self.show_sessions()

    def _show_begun(self, conversation: Conversation, event: AnswerBegun, *, is_shown: bool) -> None:
        self.workspace.monitor.is_streaming = True
        if is_shown:
            if event.message.versions > 1:
                self.show_messages(conversation)
            else:
                self.log_view.begin_answer(event.message)
            self.speedometer.restart()
        self.show_action("streaming")
        self.show_sessions()

    def _rest(self, opened: OpenSession, answer_id: str, elapsed_s: float) -> None:
        """Show the end of a turn, and send what waits behind it."""
        if self.is_leaving or not self.is_mounted:
            return
        conversation = opened.conversation
        self.workspace.monitor.is_streaming = bool(self.open_sessions.streaming)
        if self.open_sessions.is_shown(conversation):
            self._show_end(conversation, answer_id)
        answer, turn = conversation.find(answer_id), conversation.turn
        waiting = self.open_sessions.next_after(opened)
        self.show_queue()
        words = _ENDED_WORDS[answer.state if answer else AnswerState.STOPPED]
        is_unsaved = self.open_sessions.save_queue.is_missing(conversation.header.session_id)
        self.show_action(words.replace("saved", "not saved") if is_unsaved else words)
        self.show_sessions()
        has_failed = turn is not None and turn.state in (AnswerState.FAILED, AnswerState.INTERRUPTED)
        if has_failed:
            self.workspace.monitor.look_now()  # the server may be another by now
        self.post_message(AnswerEnded(elapsed_s=elapsed_s, has_failed=has_failed))
        if waiting is not None:
            self._send(opened, waiting)

    def _show_end(self, conversation: Conversation, answer_id: str) -> None:
        """Show an answer that has ended; one on another path is not shown."""
        answer = conversation.find(answer_id)
        if not answer_id:  # it was stopped before it was shown
            self.show_messages(conversation)
        elif answer is not None:
            self.log_view.finish(answer)
            self.log_view.show_turn(None, self.workspace.clock())
        if conversation.is_cut:
            self.log_view.notice(
                "The server seems to have left out a part of what was sent: its window is full."
            )
        self.mark_left_out()

    def _refused(self, opened: OpenSession, error: LMChatError, text: str) -> None:
        """Say why nothing was sent; what was typed is not lost."""
        self._give_back(opened, text)
        self.tell(error)

    def _give_back(self, opened: OpenSession, text: str) -> None:
        """Put what was typed and not sent back into the prompt, or let it wait above it."""
        if text and opened is self.open_sessions.shown and not self.prompt_input.text:
            self.prompt_input.put(text)
        elif text:
            opened.hold(text)
            self.show_queue()

    def tell(self, error: LMChatError) -> None:
        """Say what went wrong where it has no place of its own."""
        self.app.notify(safe_line(error.words), severity="warning", markup=False)

    @on(QueueCard.Edit)
    def edit_queued(self, event: QueueCard.Edit) -> None:
        """Take a waiting message back into the prompt, before what is typed there."""
        parts = (self.open_sessions.take_queued(event.index), self.prompt_input.full_text)
        self.prompt_input.put(BETWEEN.join(part for part in parts if part))
        self.show_queue()
        self.prompt_input.focus()

    def take_back(self) -> bool:
        """Put what waits for a server or a model back into the prompt; tell whether anything did."""
        opened = self.open_sessions.shown
        if not opened.is_waiting:
            return False
        self.edit_queued(QueueCard.Edit(len(opened.queue) - 1))
        self.show_action("taken back")
        return True

    @on(QueueCard.Remove)
    def remove_queued(self, event: QueueCard.Remove) -> None:
        """Drop a waiting message."""
        self.open_sessions.take_queued(event.index)
        self.show_queue()


def _group(conversation: Conversation) -> str:
    return f"turn-{conversation.header.session_id}"
