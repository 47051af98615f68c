"""The chat as front ends use it: the turns of all sessions, and what follows a turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from lmchat.chat.context_window import ContextWindow
from lmchat.chat.drafts import Drafts
from lmchat.chat.events import PathChanged, Reporter, TitleChanged, TurnBegun
from lmchat.chat.read_ahead import ReadAhead
from lmchat.chat.save_queue import MovedMessages, SaveQueue
from lmchat.chat.session import Hold, OpenSession, PromptsReturned, QueueChanged, TurnEnded
from lmchat.chat.sessions import SessionsInMemory
from lmchat.chat.settings import SamplingLayers, TurnChoices, TurnSettings
from lmchat.chat.titles import TitleWriter
from lmchat.chat.toolbox import Toolbox
from lmchat.chat.turn import Turn
from lmchat.chat.turn_starts import (
    Beginning,
    MakeStart,
    TurnStart,
    continued,
    edited,
    has_text_to_continue,
    regenerated,
)
from lmchat.config.settings import ChatSettings
from lmchat.errors import LMChatError, RequestInvalid
from lmchat.servers.events import RequestAdapted
from lmchat.servers.protocols import AnswerSource
from lmchat.servers.request import ChatRequest
from lmchat.servers.target import Target
from lmchat.sessions.attached_files import Prompt, split_draft
from lmchat.sessions.message import ChatMessage, Role, new_id, text_message
from lmchat.sessions.session import Session, title_of
from lmchat.storage.store import Store

_PURGED = (
    "This session was deleted permanently: what you see of it is saved no more. Your next prompt "
    "begins a new session."
)
_PURGED_AND_NEW = (
    "This session was deleted permanently: your prompt has begun a new one, without what was here."
)


class ChatService:
    """The root of the chat: begins and ends the turns of all sessions, shown or not.

    It makes what turns share; front ends use these parts directly. A turn is a task; a session has
    at most one. The screen stops it with `OpenSession.stop` at Esc; plain chat and `ask` cancel
    their `wait` at Ctrl+C, which calls that. `_after_turn` then follows, as it does after each
    turn. A prompt that is sent during a turn, or before a model is ready, waits in the queue.

    A *draft* is a prompt as one text, in which attached files are lines (`Prompt.of`). If a prompt
    cannot become a message, the front end gets its draft back, as `PromptsReturned`.
    """

    def __init__(
        self,
        *,
        chat: ChatSettings,
        backend: AnswerSource,
        store: Store,
        profile_name: str = "",
        layers: SamplingLayers | None = None,
        toolbox: Toolbox | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with a new session.

        `chat`, `profile_name`, `layers` and `toolbox` are for the next turns, as in `TurnChoices`.
        """
        self.turn_choices = TurnChoices(chat, profile_name, layers, toolbox, backend.model_lists)
        self.context_window = ContextWindow(self.turn_choices)
        self.save_queue = SaveQueue(store)
        self.backend = backend
        self.store = store
        self._clock = clock
        self.is_closing = False
        """Whether lmchat is quitting: then no queued prompt is sent."""
        self.reporter = Reporter()
        self.in_memory = SessionsInMemory(
            store, self.save_queue, on_pending_change=self._follow_pending
        )
        self.drafts = Drafts(store, self.in_memory)
        self.read_ahead = ReadAhead(
            backend, self.turn_choices, self.in_memory, self.context_window, self.next_request
        )
        self._titles = TitleWriter(self.turn_choices, backend, store, self.reporter)
        self.save_queue.on_purged = self._leave_purged
        self._told_purged: set[str] = set()  # ids of sessions of which the user was told

    @property
    def shown(self) -> OpenSession:
        """The session that is shown."""
        return self.in_memory.shown

    def _follow_pending(
        self, opened: OpenSession, event: QueueChanged | PromptsReturned | None
    ) -> None:
        """Have the draft written that begins with the pending prompts, and report their change."""
        self.drafts.write_soon()
        if event is not None:
            self.reporter.report(opened, event)

    # Sending

    def send(
        self, opened: OpenSession, prompt: Prompt, *, settings: TurnSettings | None = None
    ) -> None:
        """Send a prompt, or queue it while a turn runs, no model is ready, or files are read.

        With the setting `auto_compact`, a summary comes first if the context window is nearly full.
        If this method raises an error, the caller keeps the prompt. If the prompt is refused later,
        it comes back as `PromptsReturned`.
        """
        if opened.is_running or not self.turn_choices.is_ready or opened.held:
            opened.enqueue(prompt.draft)
        else:
            self._send_now(opened, prompt, settings=settings)

    def _send_now(
        self,
        opened: OpenSession,
        prompt: Prompt,
        *,
        settings: TurnSettings | None = None,
        may_compact: bool = True,
    ) -> None:
        self._begin(
            opened,
            self.turn_choices.prompt_start(prompt, opened.first_words),
            settings=settings,
            pending=prompt.draft,
            may_compact=may_compact and self.turn_choices.chat_settings.auto_compact,
        )

    def _send_next(self, opened: OpenSession, *, may_compact: bool = True) -> None:
        """Send the first prompt of the queue; if it is refused, the whole queue returns."""
        draft = opened.dequeue()
        try:
            self._send_now(opened, Prompt.of(draft), may_compact=may_compact)
        except LMChatError as refusal:  # for example, the server is gone by now
            self._refuse(opened, refusal, draft)

    def edit(
        self, opened: OpenSession, message_id: str, prompt: Prompt, *, keeps_files: bool = False
    ) -> None:
        """Send another version of a prompt, perhaps with the files that it has."""
        make_start = partial(
            edited,
            message_id=message_id,
            text=prompt.text,
            files=None if keeps_files else prompt.files,
            first_words=opened.first_words,
        )
        self._begin(opened, make_start, pending=prompt.draft)

    def regenerate(
        self, opened: OpenSession, message: ChatMessage, target: Target | None = None
    ) -> None:
        """Give an answer another version, perhaps by another model, or repeat a tool call.

        If `message` is a prompt, its answer gets another version; a prompt without an answer is
        answered.
        """
        if message.role is Role.TOOL and self.turn_choices.toolbox is None:
            problem = "No tools are configured."
            raise RequestInvalid(problem, hint="/tools shows what to write in config.toml.")
        make_start = partial(
            regenerated, message_id=message.message_id, first_words=opened.first_words
        )
        settings = self._settings(opened)
        if target is not None:
            settings = replace(settings, target=target)
        self._begin(opened, make_start, settings=settings)

    def continue_answer(
        self, opened: OpenSession, message: ChatMessage, beginning: Beginning | None = None
    ) -> None:
        """Continue an unfinished answer in another version; regenerate one without any words.

        A failed answer is regenerated, too. The new version continues the answer's own text, or the
        `beginning` if there is one, such as the tokens up to a chosen one.
        """
        if beginning is None and not has_text_to_continue(message):
            self.regenerate(opened, message)
            return
        make_start = partial(continued, answer_id=message.message_id, beginning=beginning)
        self._begin(opened, make_start)

    def compact(self, opened: OpenSession) -> None:
        """Let the model summarise the older messages; the summary begins a new branch.

        The branch is written when the summary is complete; until then, nothing changes.
        """
        self._begin(
            opened,
            self.context_window.summary_start,
            settings=self._summary_settings(opened),
            is_summary=True,
        )

    def _summary_settings(self, opened: OpenSession) -> TurnSettings:
        """Return the settings for a whole summary: without tools, and of the messages that fit."""
        settings = self._settings(opened)
        return replace(
            settings,
            sampling=settings.sampling.without_limits(),
            is_truncating=True,  # a summary of a part is better than none
            toolbox=None,
        )

    async def next_request(
        self, opened: OpenSession, prompt: Prompt, *, settings: TurnSettings | None = None
    ) -> ChatRequest:
        """Return the request that `send` would send first, without sending it.

        The prompt may be empty. What has arrived of a running answer is in the request. Raises the
        errors of `send`.
        """
        await opened.load_older()  # only the end of a long session was read
        settings = settings or self._settings(opened)
        start = self.turn_choices.prompt_start(prompt, opened.first_words)(opened.shown_messages)
        request = await self.request_of(opened, start, settings)
        if prompt.text or prompt.files:
            return request
        # The plan has left out the empty prompt, so its last message may be an answer. The server
        # would continue that answer, and its chat template would write another text than for the
        # next prompt. So the prompt is put back; only first words of the next answer come after it.
        messages = list(request.messages)
        index = len(messages) if start.beginning is None else len(messages) - 1
        messages.insert(index, text_message(Role.USER, ""))
        return replace(request, messages=tuple(messages))

    async def request_of(
        self, opened: OpenSession, start: TurnStart, settings: TurnSettings
    ) -> ChatRequest:
        """Return the first request of a turn that would begin so, without sending it."""
        return await self._new_turn(opened).answer_request(start, settings).first_request()

    # A turn

    def _settings(self, opened: OpenSession) -> TurnSettings:
        return self.turn_choices.settings(opened.own_sampling)

    def _new_turn(
        self, opened: OpenSession, *, pending: str = "", is_summary: bool = False
    ) -> Turn:
        return Turn(
            opened,
            backend=self.backend,
            save_queue=self.save_queue,
            meter=self.context_window.meter,
            reporter=self.reporter,
            clock=self._clock,
            pending=pending,
            is_summary=is_summary,
        )

    def _begin(
        self,
        opened: OpenSession,
        make_start: MakeStart,
        *,
        settings: TurnSettings | None = None,
        pending: str = "",
        may_compact: bool = False,
        is_summary: bool = False,
    ) -> None:
        """Begin a turn in a task; raises `RequestInvalid` if the session already has one.

        `make_start` gets the whole path. Without `settings`, the turn has those that are chosen
        now. With `may_compact`, the turn makes a summary instead if `can_compact` says so; its
        prompt then waits in the queue. `is_summary` says that the turn is the summary that the user
        has asked for (`compact`).
        """
        settings = settings or self._settings(opened)
        opened.require_idle()
        self._titles.give_up()
        self.read_ahead.cancel()  # the turn may need the same server
        turn = self._new_turn(opened, pending=pending, is_summary=is_summary)
        running = self._run(turn, opened, make_start, settings, may_compact=may_compact)
        turn.task = asyncio.create_task(running, name=f"turn-{opened.session_id}")
        turn.task.add_done_callback(partial(self._after_turn, turn, opened, settings.target))
        opened.begin_turn(turn)
        self.drafts.write_soon()  # the draft on the disk begins with `pending`
        self.reporter.report(opened, TurnBegun())

    async def _run(
        self,
        turn: Turn,
        opened: OpenSession,
        make_start: MakeStart,
        settings: TurnSettings,
        *,
        may_compact: bool,
    ) -> None:
        """Run a turn that `_begin` has begun; if a summary comes first, run that instead."""
        await opened.load_older()  # only the end of a long session was read
        # only now, as `can_compact` counts the messages in memory
        if may_compact and self.context_window.can_compact(opened, turn.pending):
            opened.enqueue_first(turn.become_summary())
            make_start = self.context_window.summary_start
            # of the same model, although the user may have chosen another one in the meantime
            settings = replace(self._summary_settings(opened), target=settings.target)
        await turn.run(make_start(opened.messages), settings)

    def _after_turn(
        self, turn: Turn, opened: OpenSession, target: Target, task: asyncio.Task[None]
    ) -> None:
        """Show how a turn ended; then send what waits, or let its model name the session.

        While lmchat is closing, nothing is sent, and only the pending prompt is shown.
        """
        returned = (turn.pending,) if turn.pending else ()  # it has not become a message
        ended = turn.end(task)
        opened.end_turn(ended)
        self.in_memory.mark_unread(opened)
        if ended.has_failed and not self.is_closing:  # the next prompt would probably fail, too
            opened.return_prompts(*returned)
        elif returned:
            self.reporter.report(opened, PromptsReturned(prompts=returned))
        if self.is_closing:  # the queue stays in the session: the draft on the disk has it
            return
        self.reporter.report(opened, ended)
        if opened.has_prompt_to_send and not self.turn_choices.is_loading:  # else it waits
            # one summary is enough, also if it was stopped, or the session is still too long
            self._send_next(opened, may_compact=not turn.is_summary)
        else:
            self._titles.begin(opened, target)

    def _refuse(self, opened: OpenSession, error: LMChatError, *prompts: str) -> None:
        """Return refused prompts and the queue to the prompt field, and report why."""
        ended = opened.refuse(error)
        opened.return_prompts(*prompts)
        self.reporter.report(opened, ended)

    async def wait(self, opened: OpenSession) -> TurnEnded:
        """Wait until the turn of a session and those of its queued prompts have ended.

        Return how the last one ended. If the wait is cancelled, the turn is stopped, and the queue
        returns to the prompt field. Raises the error of the turn unless its answer shows it: it was
        refused, its summary is unusable, or the front end has failed.
        """
        try:
            # the end of a turn may begin the turn of a queued prompt
            while opened.turn is not None and opened.turn.task is not None:
                await asyncio.wait([opened.turn.task])
        except asyncio.CancelledError:
            await self.stop_and_wait(opened)
            raise
        ended = opened.last_end
        if ended.error is not None and not ended.is_shown_in_answer:
            raise ended.error
        return ended

    async def stop_and_wait(self, opened: OpenSession) -> None:
        """Return queued prompts to the prompt field, stop the turn, and wait for its end."""
        opened.return_prompts()  # else the end of the turn sends the next one
        opened.stop()
        await opened.wait_until_saved()

    def _leave_purged(
        self, session_id: str, unsaved: Sequence[ChatMessage]
    ) -> MovedMessages | None:
        """Let a session that was deleted permanently go on as a new one, from its unsaved prompt.

        Return the new session, and the messages to write. Without a prompt, the unsaved messages
        belong to what was deleted: return None, and only report it.
        """
        opened = self.in_memory.find(session_id)
        if opened is None:
            return None
        roles = [message.role for message in unsaved]
        if Role.USER not in roles and Role.SYSTEM not in roles:
            if session_id not in self._told_purged:  # several messages may come too late
                self._told_purged.add(session_id)
                self.reporter.report(opened, RequestAdapted(note=_PURGED))
            return None
        begin = next(i for i, role in enumerate(roles) if role in (Role.USER, Role.SYSTEM))
        start = unsaved[begin]
        index = opened.messages.index_of(start.message_id)
        path = unsaved[begin:] if index is None else opened.messages[index:]
        # as any new session, it begins with the system prompt of the settings
        first: tuple[ChatMessage, ...] = ()
        system_prompt = self.turn_choices.chat_settings.system_prompt
        if system_prompt and start.role is Role.USER:
            first = (text_message(Role.SYSTEM, system_prompt),)
        parent_id = first[0].message_id if first else None
        start = replace(start, parent_id=parent_id, version=1, versions=1)
        self.in_memory.leave_purged(opened, (*first, start, *path[1:]))
        self.drafts.move(session_id, opened.session_id)
        self.reporter.report(opened, PathChanged())
        self.reporter.report(opened, TitleChanged())
        self.reporter.report(opened, RequestAdapted(note=_PURGED_AND_NEW))
        return opened.header, (*first, start, *unsaved[begin + 1 :])

    # The prompts that wait

    def send_waiting(self, *, has_loaded: bool = False) -> None:
        """Send the first prompt of each queue that waited for a model.

        `has_loaded` says that a model has just been loaded. If the last answer of the shown session
        failed because no model was loaded, it is regenerated first. While lmchat is closing,
        prompts stay in the queue: the next start finds them in the drafts.
        """
        if self.is_closing:
            return
        # while the failed turn still runs, no other one can begin; at its end, the queue returns to
        # the prompt field, and the user decides
        if has_loaded and not self.shown.is_running:
            last = self.shown.last_answer_or_prompt
            if last is not None and last.failure and last.failure.kind == "model_not_loaded":
                try:
                    self.regenerate(self.shown, last)
                except LMChatError as error:
                    self._refuse(self.shown, error)
        for opened in self.in_memory.waiting:
            if opened.has_prompt_to_send:
                self._send_next(opened)

    def return_waiting(self) -> None:
        """Return all waiting prompts to the prompt field, as no model can answer."""
        for opened in self.in_memory.waiting:
            opened.return_prompts()

    def end_hold(self, hold: Hold) -> None:
        """Let a held prompt be sent, now or when its turn comes: its files are read."""
        opened = self.in_memory.with_hold(hold)
        if opened is None:
            return
        opened.end_hold(hold)
        may_send = not opened.is_running and not self.is_closing and self.turn_choices.is_ready
        if may_send and opened.has_prompt_to_send:
            self._send_next(opened)

    # The end

    async def close(self) -> None:
        """Stop all turns, and save how they end and what could not be saved before.

        Queued prompts stay in the queue: the next start finds them in the drafts.
        """
        self.is_closing = True
        self.read_ahead.cancel()
        for opened in self.in_memory.running:
            opened.stop()
        for opened in self.in_memory.all:
            await opened.wait_until_saved()
        await self.save_queue.write_unsaved()

    def reopen(self) -> None:
        """Continue after `close`, as the user stays; queued prompts return to the prompt field."""
        self.is_closing = False
        self.return_waiting()

    def unsaved(self) -> list[Session]:
        """Return what the disk lacks of sessions, as they are in memory, with their drafts.

        A draft is the last message. The sessions get new ids, so that they can be imported beside
        what the disk has of them.
        """
        drafts = self.drafts.unwritten()
        ids = {header.session_id for header in self.in_memory.unsaved()} | set(drafts)
        sessions: list[Session] = []
        for opened in filter(None, map(self.in_memory.find, sorted(ids))):
            messages = opened.shown_messages
            draft = drafts.get(opened.session_id, "")
            if draft:
                messages = messages.added(text_message(Role.USER, draft, parent_id=opened.leaf_id))
            header = replace(
                opened.header,
                session_id=new_id(),
                title=opened.header.title or title_of(*split_draft(draft)),
                message_count=len(messages),
            )
            sessions.append(Session(header=header, messages=messages))
        return sessions
