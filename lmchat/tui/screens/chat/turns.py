"""Turns on the chat screen: sending, showing the answer as it streams, stopping, and queued prompts.

A prompt passes, in order: `PromptInput.submit`, `ChatScreen._submit_prompt`, `Turns.submit`, and in a worker
`Conversation.send`, which yields it (`MessageAdded`), saves it (`SaveQueue.save`, `SqliteStore.append`) and
then asks the server (`Backend.stream`, `ProxyClient.stream`). All events come back to `Turns._show_event`,
which gives them to `ChatLog` (`append`, `begin_answer`, `apply`); `Conversation` saves the answer while it
streams. A prompt that has to wait is queued in `OpenSessions`; `send_waiting` and `_end_turn` send it later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

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
from lmchat.domain.tool import Choice, Decision
from lmchat.errors import LMChatError
from lmchat.services.conversation import (
    AnswerBegun,
    Conversation,
    ConversationEvent,
    MessageAdded,
    SummaryAsked,
    TurnSettings,
)
from lmchat.services.open_sessions import OpenSession, Queued, TurnPhase
from lmchat.services.save_queue import SEPARATOR
from lmchat.services.target_state import TargetState, target_state
from lmchat.services.tool_loop import ApprovalAsked, MessageEnded
from lmchat.text import safe_line
from lmchat.tui.message_needs import has_words
from lmchat.tui.quirks.driver import write_to_terminal
from lmchat.tui.screens.chat.sessions import PromptText, ShownSession
from lmchat.tui.screens.chat.view import CANNOT_SEE, ChatView, begin_work

Begin = Callable[[Conversation, TurnSettings], AsyncGenerator[ConversationEvent, None]]
"""Begins a turn of a conversation."""

_LONG_ANSWER_S = (
    10.0  # the end of an answer that took longer is notified if the terminal has no focus
)
_NOTE_S = 12.0
"""How long a notification stays that is shown once: which part of a request a server does not take."""
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
_TEMPORARY_WORDS = {
    AnswerState.COMPLETE: "answer complete",
    AnswerState.STOPPED: "stopped",
    AnswerState.INTERRUPTED: "interrupted",
}
"""Words that replace those of `_ENDED_WORDS` in a temporary chat."""


class Turns:
    """Runs turns, each in a worker of its session: an answer goes on while another session is shown."""

    def __init__(self, view: ChatView, sessions: ShownSession, prompt_text: PromptText) -> None:
        self._workspace = view.workspace
        self._open_sessions = view.workspace.open_sessions
        self._view = view
        self._sessions = sessions
        self._prompt_text = prompt_text

    def submit(self, text: str) -> None:
        """Send a prompt, or let it wait: for the end of the running answer, for a server, for its model."""
        if edited_id := self._prompt_text.edited_id:
            words, files = self._open_sessions.files.split(text)
            if self._begin_turn(lambda one, how: one.edit(edited_id, words, how, files), text=text):
                self._prompt_text.leave_edit()
            return
        self._view.log.scroll_end()  # now, and not when what waits goes out: one may be reading then
        if not self._open_sessions.has_to_wait:
            self._send(self._open_sessions.shown, text)
            return
        if self._view.is_unseen(text):
            self._give_back(self._open_sessions.shown, text)
            self._view.notify(CANNOT_SEE)
            return
        self._open_sessions.enqueue(text)
        self._sessions.show_queue()
        self._view.show_action("queued")
        target = self._open_sessions.next_turn.target
        state = target_state(target, self._workspace.catalogue.candidates)
        if state.lacks_server:
            needs_key = state is TargetState.NEEDS_KEY
            self._view.notify(_WAITS_FOR_KEY if needs_key else _WAITS_FOR_SERVER)

    def regenerate(self, message: ChatMessage, model: ModelInfo | None = None) -> None:
        """Answer once more, also with another model; a prompt's answer is the message that follows it."""
        path = self._open_sessions.shown.conversation.messages
        place = path.index_of(message.message_id)
        if message.role is Role.USER and place is not None:
            following = path[place + 1 : place + 2]
            message = next((one for one in following if one.role is Role.ASSISTANT), message)
        if message.role is Role.TOOL and self._open_sessions.next_turn.toolbox is None:
            self._view.notify("No tools are configured. /tools shows what to write in config.toml.")
            return
        other = (
            Target(endpoint=model.endpoint, product=model.product, model=model) if model else None
        )
        self._begin_turn(
            lambda conversation, how: conversation.regenerate(
                message.message_id, replace(how, target=other or how.target)
            )
        )

    def resume(self, message: ChatMessage) -> None:
        """Continue an unfinished answer; where there is nothing to continue, answer once more."""
        if has_words(message):
            self._begin_turn(lambda conversation, how: conversation.resume(message.message_id, how))
        else:
            self.regenerate(message)

    def compact(self, opened: OpenSession) -> None:
        """Let the model summarise the older messages of a session."""
        prompt = self._open_sessions.next_turn.options.compact_prompt
        self._begin_turn(lambda conversation, how: conversation.compact(prompt, how), opened=opened)

    def send_waiting(self) -> None:
        for opened, text in self._open_sessions.pop_waiting():
            self._send(opened, text)
        self._sessions.show_queue()

    def go_on_with_model(self, *, is_loaded: bool) -> None:
        """Ask once more what failed for want of a model, then what waited; without one, hold what waited."""
        if not is_loaded:
            self._open_sessions.hold_waiting()
            self._sessions.show_queue()
            return
        last = self._open_sessions.shown.last_answer
        if (
            last is not None
            and last.failure is not None
            and last.failure.kind == "model_not_loaded"
        ):
            self.regenerate(last)
        self.send_waiting()

    def _send(self, opened: OpenSession, text: str, *, may_compact: bool = True) -> None:
        """Send a prompt; where it begins its session, it is no draft of a new one any more."""
        sessions = self._open_sessions
        if (
            may_compact
            and sessions.next_turn.options.chat.auto_compact
            and sessions.next_turn.can_compact(opened.conversation, text)
        ):
            opened.queue.insert(0, Queued(text=text))
            self._sessions.show_queue()
            self.compact(opened)
            return
        if not opened.conversation.messages:
            drafts = self._open_sessions.drafts
            drafts.note("", "" if opened is self._open_sessions.shown else drafts.text(""))
        words, files = self._open_sessions.files.split(text)
        self._begin_turn(lambda one, how: one.send(words, how, files), opened=opened, text=text)

    def _begin_turn(
        self, begin: Begin, *, opened: OpenSession | None = None, text: str = ""
    ) -> bool:
        """Begin a turn in its worker, and return whether it has begun; if it is refused, `text` is kept."""
        opened = opened or self._open_sessions.shown
        if self._view.is_leaving:
            opened.hold(text)  # it is kept as a draft
            return False
        try:
            opened.require_idle()
            how = self._open_sessions.next_turn.settings()
        except LMChatError as error:
            self._refuse(opened, error, text)
            return False
        opened.phase = TurnPhase.RUNNING
        self._view.screen.workers.cancel_group(self._view.screen, _NAMING)

        async def follow() -> None:
            await self._show_turn(opened, begin(opened.conversation, how), text)

        _: Worker[None] = self._view.screen.run_worker(follow, name="turn", group=_group(opened))
        return True

    def stop(self) -> bool:
        """Stop the answer of the shown session; return whether one was running and not being stopped yet."""
        opened = self._open_sessions.shown
        if opened.phase is not TurnPhase.RUNNING:
            return False
        self._cancel(opened)
        self._view.show_action("stopped")
        return True

    async def stop_all(self) -> None:
        await _ended(
            [worker for opened in self._open_sessions.busy for worker in self._cancel(opened)]
        )

    async def stop_and_hold(self, opened: OpenSession) -> None:
        """Stop the answer of a session and wait until it is saved; what waits behind it is held."""
        waiting, opened.queue[:] = list(opened.queue), []
        await _ended(self._cancel(opened))
        opened.queue[:] = [*waiting, *opened.queue]
        opened.hold()

    def _cancel(self, opened: OpenSession) -> list[Worker[None]]:
        group = _group(opened)
        turns = [
            one for one in self._view.screen.workers if one.group == group and not one.is_finished
        ]
        if opened.phase is not TurnPhase.NONE:
            opened.phase = TurnPhase.STOPPING
        for (
            worker
        ) in turns:  # after its first step: a task that is cancelled earlier skips its `finally`
            asyncio.get_running_loop().call_soon(worker.cancel)
        return turns

    async def _show_turn(
        self, opened: OpenSession, events: AsyncGenerator[ConversationEvent, None], text: str
    ) -> None:
        began_s = self._workspace.clock()
        answer_id, is_summary = "", False
        refusal: LMChatError | None = None
        try:
            async with aclosing(events) as stream:
                async for event in stream:
                    answer_id = (
                        event.message.message_id if isinstance(event, AnswerBegun) else answer_id
                    )
                    is_summary |= isinstance(event, SummaryAsked)
                    await self._show_event(opened, event)
        except LMChatError as error:
            refusal = error
        finally:
            opened.phase = TurnPhase.NONE
            opened.asked = None
            if refusal is not None:
                self._refuse(opened, refusal, text)
            elif not opened.conversation.has_all_messages:  # stopped before anything was said
                self._give_back(opened, text)
            if refusal is None or is_summary:
                elapsed_s = self._workspace.clock() - began_s
                self._end_turn(opened, answer_id, elapsed_s, is_summary=is_summary)

    async def _show_event(self, opened: OpenSession, event: ConversationEvent) -> None:
        is_shown = opened is self._open_sessions.shown
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                if is_shown:
                    self._view.speedometer.count(self._workspace.clock(), event.pieces)
                    await self._view.log.apply(event)
            case MessageAdded() | AnswerBegun() | SummaryAsked():
                self._show_added(opened, event, is_shown=is_shown)
            case RetryScheduled():
                words = f"retry {event.attempt} of {event.attempts}: {safe_line(event.reason, limit=60)}"
                self._view.show_action(words)
            case RequestAdapted(note=note):
                self._view.screen.app.notify(
                    safe_line(note, limit=300), timeout=_NOTE_S, markup=False
                )
            case ApprovalAsked():
                self._ask(opened, event, is_shown=is_shown)
            case MessageEnded(message=message) if is_shown and message.role is Role.TOOL:
                self._view.log.replace(message)
                self._view.refresh()
            case MessageEnded() if is_shown:
                self._view.log.finish(event.message, has_tool_messages=True)
            case Rethought() if is_shown:
                self._view.log.restate(opened.conversation.shown_messages[-1])
            case ToolCallDelta() if is_shown:
                await self._view.log.apply(event)
            case _:
                pass

    def _show_added(
        self,
        opened: OpenSession,
        event: MessageAdded | AnswerBegun | SummaryAsked,
        *,
        is_shown: bool,
    ) -> None:
        if is_shown and event.message.versions > 1:
            self._sessions.show_messages(opened.conversation)
        elif is_shown and isinstance(event, AnswerBegun):
            self._view.log.begin_answer(event.message)
        elif is_shown:
            self._view.log.append(event.message)
        if isinstance(event, AnswerBegun):
            self._workspace.monitor.is_streaming = True
            self._view.show_action("streaming")
            if is_shown:
                self._view.speedometer.restart()
            else:
                self._prompt_text.save_waiting(opened)
        elif event.message.role is Role.TOOL:
            self._view.show_action(event.message.tool_calls[0].name)
        elif is_shown:
            self._sessions.show_title()
        self._sessions.show_list()

    def _end_turn(
        self, opened: OpenSession, answer_id: str, elapsed_s: float, *, is_summary: bool = False
    ) -> None:
        if self._view.is_leaving or not self._view.screen.is_mounted:
            return
        conversation = opened.conversation
        self._workspace.monitor.is_streaming = bool(self._open_sessions.streaming)
        answer, turn = conversation.find(answer_id), conversation.turn
        if opened is self._open_sessions.shown:
            self._show_end(conversation, None if is_summary else answer)
        waiting = self._open_sessions.next_after(opened)
        self._sessions.show_queue()
        last = (
            opened.last_calls[-1] if opened.last_calls else answer
        )  # a call that was stopped, or failed
        state = last.state if last else AnswerState.STOPPED
        words = _ENDED_WORDS[state]
        if self._workspace.is_temporary:
            words = _TEMPORARY_WORDS.get(state, words)
        if is_summary:
            words = "not compacted" if answer is None else "compacted"
            if answer is not None:
                self._view.notify(
                    "A summary takes the place of the older messages. /undo brings them back."
                )
            elif turn is not None and turn.state is AnswerState.STOPPED:
                self._view.notify("Stopped; nothing changed.")
        is_unsaved = self._open_sessions.save_queue.is_unsaved(conversation.header.session_id)
        self._view.show_action(words.replace("saved", "not saved") if is_unsaved else words)
        self._sessions.show_list()
        has_failed = turn is not None and turn.state in (
            AnswerState.FAILED,
            AnswerState.INTERRUPTED,
        )
        model = self._workspace.monitor.health.model
        was_woken = model is not None and model.state in (LoadState.ASLEEP, LoadState.NOT_LOADED)
        if has_failed or was_woken:
            self._workspace.monitor.look_now()  # the server may be another one by now
        if elapsed_s > _LONG_ANSWER_S:
            self._tell_away("The answer has ended.")
        if waiting is not None:
            self._send(opened, waiting, may_compact=not is_summary)
        elif (
            self._open_sessions.next_turn.options.chat.auto_title
            and not self._workspace.is_temporary
        ):
            self._name_session(opened)

    def _name_session(self, opened: OpenSession) -> None:
        """Let the model name a session after its first answer; the next turn cancels this."""
        from lmchat.services.prompts import is_named_by_prompt, title_by_model

        conversation = opened.conversation

        async def name() -> None:
            with suppress(LMChatError, TimeoutError):  # the title made of the prompt stays
                how = self._open_sessions.next_turn.settings()
                title = await title_by_model(self._workspace.backend, conversation.messages, how)
                if title and is_named_by_prompt(conversation.header, conversation.messages):
                    conversation.rename(title)
                    await self._workspace.library.rename(opened.session_id, title)
                    self._sessions.show_title()
                    self._sessions.show_list()

        if is_named_by_prompt(conversation.header, conversation.messages):
            begin_work(self._view.screen, name, _NAMING)

    def _tell_away(self, words: str) -> None:
        app = self._view.screen.app
        if not app.app_focus:
            write_to_terminal(app, self._workspace.platform.notification(words))

    def _ask(self, opened: OpenSession, asked: ApprovalAsked, *, is_shown: bool) -> None:
        opened.asked = asked
        self._view.show_action("waiting for you")
        if asked.note:
            self._view.notify(asked.note)
        if is_shown:
            self._view.focus_card()
        else:
            name, title = asked.name, opened.conversation.header.title
            words = f"{safe_line(name, limit=80)} waits for you in the session “{safe_line(title, limit=60)}”."
            self._view.notify(words)
            self._sessions.show_list()
        self._tell_away("A tool waits for you.")

    def decide(self, choice: Choice) -> None:
        """Take over a decision about the call that asks in the shown session; a refusal may have a reason."""
        opened = self._open_sessions.shown
        if (asked := opened.asked) is not None:
            self._view.attempt(lambda: self._decide(opened, asked, choice), group="decision")

    async def _decide(self, opened: OpenSession, asked: ApprovalAsked, choice: Choice) -> None:
        from lmchat.tui.screens.ask_dialog import AskDialog

        reason: str | None = ""
        if choice is Choice.NO:
            title = f"Refuse {safe_line(asked.name, limit=80)}?"
            text = "The model gets your reason. Leave it empty to give none."
            reason = await self._view.ask(
                AskDialog(title, text=text, verb="refuse", check=lambda _: "")
            )
        if reason is not None and opened.asked is asked:  # else the turn was stopped
            opened.asked = None
            if choice is Choice.ALWAYS:
                self._allow_always(asked)
            asked.decision.set_result(Decision(choice=choice, reason=" ".join(reason.split())))
            self._view.show_action(asked.name)
            self._view.leave_card()

    def _allow_always(self, asked: ApprovalAsked) -> None:
        if asked.fingerprint:
            remembered = self._workspace.remembered
            self._view.remember(remembered.with_allowed(asked.name, asked.fingerprint))
        else:
            name = safe_line(asked.name, limit=80)
            self._view.notify(f"config.toml asks about {name}; it is allowed for this session.")

    def _show_end(self, conversation: Conversation, answer: ChatMessage | None) -> None:
        log = self._view.log
        if log.calls.has_focus:
            self._view.leave_card()
        for message in self._open_sessions.shown.last_calls:  # a stop leaves some without a result
            log.replace(message)
        if answer is None:  # stopped before it was shown, or a summary: the path has changed
            self._sessions.show_messages(conversation)
        else:
            log.finish(answer)
            log.show_turn(None, self._workspace.clock())
        if conversation.cut_note:
            log.notice("The server seems to have cut the prompt.")
        self._sessions.mark_left_out()

    def _refuse(self, opened: OpenSession, error: LMChatError, text: str) -> None:
        self._give_back(opened, text)
        self._view.tell(error)

    def _give_back(self, opened: OpenSession, text: str) -> None:
        """Put what was typed and not sent back into the prompt, or let it wait above it."""
        if text and opened is self._open_sessions.shown and not self._view.prompt_input.text:
            self._view.prompt_input.put(text)
        elif text:
            opened.hold(text)
            self._sessions.show_queue()

    def edit_queued(self, index: int) -> None:
        """Take a waiting message back into the prompt, before what is typed there."""
        prompt_input = self._view.prompt_input
        parts = (self._open_sessions.pop_queued(index), prompt_input.full_text)
        prompt_input.put(SEPARATOR.join(part for part in parts if part))
        self._sessions.show_queue()
        prompt_input.focus()

    def take_back(self) -> bool:
        """Put what waits for a server or a model back into the prompt; return whether anything did."""
        opened = self._open_sessions.shown
        if not opened.is_waiting:
            return False
        self.edit_queued(len(opened.queue) - 1)
        self._view.show_action("cancelled")
        return True

    def remove_queued(self, index: int) -> None:
        self._open_sessions.pop_queued(index)
        self._sessions.show_queue()


def _group(opened: OpenSession) -> str:
    return f"turn-{opened.conversation.header.session_id}"


async def _ended(workers: list[Worker[None]]) -> None:
    for worker in workers:
        with suppress(WorkerError):
            await worker.wait()
