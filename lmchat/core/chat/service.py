"""The chat for front ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from lmchat.base.errors import LMChatError, RequestInvalid
from lmchat.core.chat.answering import TurnServices, chat_request, check_start, select
from lmchat.core.chat.compacting import compacted_branch
from lmchat.core.chat.context_window import ContextWindow
from lmchat.core.chat.drafts import Drafts
from lmchat.core.chat.events import Compacted, Reporter, TurnStarted
from lmchat.core.chat.prompt_queue import PromptsReturned, QueueChanged
from lmchat.core.chat.read_ahead import ReadAhead
from lmchat.core.chat.save_queue import SaveQueue
from lmchat.core.chat.session import OpenSession, TurnEnded
from lmchat.core.chat.sessions import OpenSessions
from lmchat.core.chat.settings import SamplingLayers, TurnOptions, TurnSettings
from lmchat.core.chat.titles import TitleWriter
from lmchat.core.chat.toolbox import Toolbox
from lmchat.core.chat.turn import Turn
from lmchat.core.chat.turn_starts import (
    MakeStart,
    Prefill,
    TurnStart,
    continued,
    edited,
    regenerated,
)
from lmchat.core.config.settings import ChatSettings
from lmchat.core.servers.protocols import AnswerSource
from lmchat.core.servers.request import ChatRequest, Tool
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import (
    AnswerState,
    ChatMessage,
    Role,
    has_text_to_continue,
    new_id,
    text_message,
)
from lmchat.core.sessions.prompts import PendingPrompt, Prompt, split_draft
from lmchat.core.sessions.session import Session, title_of
from lmchat.core.storage.stats_store import StatsStore
from lmchat.core.storage.store import Store


class ChatService:
    """Root of the chat: the turns of all sessions, shown or not.

    Front ends use its parts directly. Each turn is a task that ends in `_after_turn`, also after a
    stop or a cancelled `wait`.

    A *draft* is a prompt as one text, with attached files as lines (`Prompt.of`). A `PendingPrompt`
    returns as `PromptsReturned` if it cannot become a message.
    """

    def __init__(
        self,
        *,
        chat: ChatSettings,
        backend: AnswerSource,
        store: Store,
        stats_store: StatsStore,
        layers: SamplingLayers,
        toolbox: Toolbox | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.turn_options = TurnOptions(chat, layers, toolbox, backend.model_lists)
        self.context_window = ContextWindow(self.turn_options, backend.memory)
        self.save_queue = SaveQueue(
            store,
            lambda *prompt: self.drafts.append(*prompt),  # noqa: PLW0108 - drafts come below
        )
        self.backend = backend
        self.store = store
        self._services = TurnServices(
            backend=backend,
            store=store,
            stats_store=stats_store,
            estimator=self.context_window.estimator,
            clock=clock,
        )
        self.is_closing = False
        """While it is true, no queued prompt is sent."""
        self.reporter = Reporter()
        self.open_sessions = OpenSessions(
            store, self.save_queue, on_pending_change=self._follow_pending
        )
        self.drafts = Drafts(store, self.open_sessions)
        self.read_ahead = ReadAhead(
            backend, self.turn_options, self.open_sessions, self.context_window, self.next_request
        )
        self._titles = TitleWriter(self.turn_options, backend, store, self.reporter)

    @property
    def active(self) -> OpenSession:
        return self.open_sessions.active

    def _follow_pending(
        self, session: OpenSession, event: QueueChanged | PromptsReturned | None
    ) -> None:
        """The draft on the disk starts with the pending prompts."""
        self.drafts.write_soon()
        if event is not None:
            self.reporter.report(session, event)

    # Sending

    def send(self, session: OpenSession, prompt: PendingPrompt) -> None:
        """Send a prompt, or queue it until it can be sent.

        If this raises an error, the caller keeps the prompt. If it is refused later, it returns as
        `PromptsReturned`.
        """
        if session.is_running or not self.turn_options.is_ready or session.queue.prompts:
            session.queue.add(prompt)
        else:
            self._send(session, Prompt.of(prompt.draft), prompt)

    def send_now(self, session: OpenSession, prompt: Prompt) -> None:
        """The same without the queue: raise what is against it."""
        self._send(session, prompt, PendingPrompt(draft=prompt.draft))

    def _send(
        self,
        session: OpenSession,
        prompt: Prompt,
        pending: PendingPrompt,
        *,
        may_compact: bool = True,
    ) -> None:
        self.start_turn(
            session,
            self.turn_options.prompt_start(prompt, session.prefill_text),
            pending=pending,
            may_compact=may_compact and self.turn_options.chat_settings.auto_compact,
        )

    def _send_next(self, session: OpenSession, *, may_compact: bool = True) -> None:
        """If the prompt is refused, the whole queue returns."""
        prompt = session.queue.take_first()
        try:
            self._send(session, Prompt.of(prompt.draft), prompt, may_compact=may_compact)
        except LMChatError as refusal:  # as when the server is gone
            self._refuse(session, refusal, prompt)

    def edit(
        self,
        session: OpenSession,
        message_id: str,
        prompt: Prompt,
        *,
        keeps_files: bool = False,
    ) -> None:
        make_start = partial(
            edited,
            message_id=message_id,
            text=prompt.text,
            files=None if keeps_files else prompt.files,
            prefill_text=session.prefill_text,
        )
        self.start_turn(session, make_start, pending=PendingPrompt(draft=prompt.draft))

    def regenerate(
        self,
        session: OpenSession,
        message: ChatMessage,
        target: Target | None = None,
    ) -> None:
        """Give a prompt another version of its answer, or its first; repeat a tool call."""
        if message.role is Role.TOOL and self.turn_options.toolbox is None:
            raise RequestInvalid(
                "No tools are configured.", next_step="/tools shows how to add some."
            )
        make_start = partial(
            regenerated, message_id=message.message_id, prefill_text=session.prefill_text
        )
        settings = self._settings(session)
        if target is not None:
            settings = replace(settings, target=target)
        self.start_turn(session, make_start, settings=settings)

    def continue_answer(
        self,
        session: OpenSession,
        message: ChatMessage,
        prefill: Prefill | None = None,
    ) -> None:
        """Continue an answer in another version; regenerate one that failed or has no words.

        `prefill` replaces its own text.
        """
        if prefill is None and not has_text_to_continue(message):
            self.regenerate(session, message)
            return
        self.start_turn(session, partial(continued, answer_id=message.message_id, prefill=prefill))

    def compact(self, session: OpenSession) -> None:
        """Nothing changes until the summary is complete; it then starts a branch."""
        self.start_turn(session, None)

    async def next_request(
        self, session: OpenSession, prompt: Prompt, *, settings: TurnSettings | None = None
    ) -> ChatRequest:
        """Return the first request of `send` without sending it; raise as `send` does.

        The prompt may be empty. The request has what has arrived of a running answer.
        """
        await session.load_older()
        settings = settings or self._settings(session)
        start = self.turn_options.prompt_start(prompt, session.prefill_text)(
            session.messages_so_far
        )
        request = await self.request_of(session, start, settings)
        if prompt.text or prompt.files:
            return request
        # Empty prompts are never sent, so the last message may be an answer, which a server would
        # continue, with other template text. So the prompt is put back, before any prefill of the
        # next answer.
        messages = list(request.messages)
        index = len(messages) if start.prefill is None else len(messages) - 1
        messages.insert(index, text_message(Role.USER, ""))
        return replace(request, messages=tuple(messages))

    async def request_of(
        self, session: OpenSession, start: TurnStart, settings: TurnSettings
    ) -> ChatRequest:
        toolbox = settings.toolbox
        estimator = self.context_window.estimator
        check_start(start, settings, estimator)
        tools: Sequence[Tool] = ()
        if toolbox is not None:
            tools = await toolbox.offered(settings.target, session.session_id)
        selection = select(start.sent_path, settings, estimator, prefill=start.prefill, tools=tools)
        return await chat_request(
            selection,
            settings,
            estimator,
            self.store,
            tools=tools,
            must_call=toolbox is not None and toolbox.must_call,
        )

    # A turn

    def _settings(self, session: OpenSession) -> TurnSettings:
        return self.turn_options.settings(session.session_sampling)

    def start_turn(
        self,
        session: OpenSession,
        make_start: MakeStart | None,
        *,
        settings: TurnSettings | None = None,
        pending: PendingPrompt | None = None,
        may_compact: bool = False,
    ) -> None:
        """Raises `RequestInvalid` if the session has a turn. Without `make_start`, compact it.

        With `may_compact`, a summary may come first; the prompt then waits in the queue.
        """
        settings = settings or self._settings(session)
        session.require_idle()
        self._titles.give_up()
        self.read_ahead.cancel()  # the turn may need the server
        turn = Turn(
            self._services,
            report=partial(self.reporter.report, session),
            ask=partial(self.reporter.listener.approve, session),
            pending=pending,
        )
        running = self._run(turn, session, make_start, settings, may_compact=may_compact)
        turn.task = asyncio.create_task(running, name=f"turn-{session.session_id}")
        turn.task.add_done_callback(partial(self._after_turn, turn, session, settings.target))
        session.start_turn(turn)
        self.drafts.write_soon()  # it starts with `pending`
        self.reporter.report(session, TurnStarted())

    async def _run(
        self,
        turn: Turn,
        session: OpenSession,
        make_start: MakeStart | None,
        settings: TurnSettings,
        *,
        may_compact: bool,
    ) -> None:
        await session.load_older()
        # `can_compact` counts the messages in memory
        may_compact = may_compact and not turn.is_stopping  # else a stop would miss the prompt
        pending = turn.pending
        if may_compact and pending:
            left_out = self.context_window.left_out(session, pending.draft)
            if self.context_window.can_compact(session, pending.draft, left_out=left_out):
                turn.pending = None
                session.queue.add_first(pending)
                make_start = None
        if make_start is None:
            await self._compact(turn, session, settings)
        else:
            await turn.run(session, make_start(session.messages), settings)

    async def _compact(self, turn: Turn, session: OpenSession, settings: TurnSettings) -> None:
        settings = replace(
            settings,
            sampling=settings.sampling.without_limits(),
            is_truncating=True,  # a summary of a part is better than none
            toolbox=None,
        )
        path = session.messages
        left_out = self.context_window.left_out(session, "")
        start = self.context_window.summary_start(path, settings.target, left_out=left_out)
        answer = await turn.run(session.start_aside(start.path), start, settings)
        branch = compacted_branch(path, start, answer)
        await self.save_queue.write_unsaved()  # the branch needs its session on the disk
        session.show_path(await self.store.append_branch(session.header, branch))

    def _after_turn(
        self, turn: Turn, session: OpenSession, target: Target, task: asyncio.Task[None]
    ) -> None:
        """While lmchat is closing, send nothing, and report only the pending prompt."""
        # no message yet
        returned = (turn.pending,) if turn.pending else ()
        has_summary = session.aside is not None
        ended = turn.end(task, session)
        session.end_turn(ended)
        self.open_sessions.mark_unread(session)
        if ended.has_failed and not self.is_closing:  # the next prompt would probably fail, too
            session.queue.return_all(*returned)
        elif returned:
            self.reporter.report(session, PromptsReturned(prompts=returned))
        if self.is_closing:  # the queue stays: the draft on the disk has it
            return
        self.reporter.report(session, ended)
        if has_summary and ended.state is AnswerState.COMPLETE:
            self.reporter.report(session, Compacted())
        if session.queue.has_prompt_to_send and not self.turn_options.is_loading:  # else it waits
            # one summary is enough, even if stopped, or still too long
            self._send_next(session, may_compact=not has_summary)
        else:
            self._titles.start(session, target)

    def _refuse(self, session: OpenSession, error: LMChatError, *prompts: PendingPrompt) -> None:
        ended = session.refuse(error)
        session.queue.return_all(*prompts)
        self.reporter.report(session, ended)

    async def wait(self, session: OpenSession) -> TurnEnded:
        """Wait for the turn and those of queued prompts; return the last end.

        A cancelled wait stops the turn and returns the queue. Raises an error that no answer shows:
        a refusal, an unusable summary, or a failed front end.
        """
        try:
            # its end may start the turn of a queued prompt
            while session.turn.task is not None:
                await asyncio.wait([session.turn.task])
        except asyncio.CancelledError:
            await self.stop_and_wait(session)
            raise
        ended = session.last_end
        if ended.error is not None and not ended.is_shown_in_answer:
            raise ended.error
        return ended

    async def stop_and_wait(self, session: OpenSession) -> None:
        session.queue.return_all()  # else the end of the turn sends the next one
        session.stop()
        await session.wait_until_saved()

    # The prompts that wait

    def send_waiting(self, *, has_loaded: bool = False) -> None:
        """Send what waits.

        If a model `has_loaded`, first regenerate an answer that failed without it. While lmchat is
        closing, prompts stay queued: the next start finds them in the drafts.
        """
        if self.is_closing:
            return
        # while the failed turn runs, no other can start; at its end, the queue returns
        if has_loaded and not self.active.is_running:
            last = self.active.messages.last_answer_or_prompt
            if last is not None and last.failure and last.failure.kind == "model_not_loaded":
                try:
                    self.regenerate(self.active, last)
                except LMChatError as error:
                    self._refuse(self.active, error)
        for session in self.open_sessions.waiting:
            if session.queue.has_prompt_to_send:
                self._send_next(session)

    def return_waiting(self) -> None:
        for session in self.open_sessions.waiting:
            session.queue.return_all()

    def follow(self, prompt: PendingPrompt) -> None:
        """Send a queued prompt once its files have come; return it if one could not be read."""
        session = next((one for one in self.open_sessions.all if prompt in one.queue.prompts), None)
        if session is None:  # not queued yet, or removed
            return
        session.queue.follow(prompt)
        may_send = not session.is_running and not self.is_closing and self.turn_options.is_ready
        if may_send and session.queue.has_prompt_to_send:
            self._send_next(session)

    # The end

    async def close(self) -> None:
        """Save how turns end, and what could not be saved before.

        Queued prompts stay: the next start finds them in the drafts.
        """
        self.is_closing = True
        self.read_ahead.cancel()
        for session in self.open_sessions.running:
            session.stop()
        for session in self.open_sessions.all:
            await session.wait_until_saved()
        await self.save_queue.write_unsaved()

    def reopen(self) -> None:
        """Continue after `close`, as the user stays."""
        self.is_closing = False
        self.return_waiting()

    def unsaved_text(self) -> str:
        """Such as `the end of “Moss” and the title of “Fern”`; "" if all is saved."""
        titles = ", ".join(f"“{one.header.title or 'Untitled'}”" for one in self.unsaved())
        ends = [f"the end of {titles}"] if titles else []
        return " and ".join([*ends, *self.save_queue.unsaved_changes])

    def unsaved(self) -> list[Session]:
        """Return sessions that the disk lacks in part, each with its draft at the end.

        New ids let them be imported beside what the disk has.
        """
        drafts = self.drafts.unwritten()
        ids = {header.session_id for header in self.open_sessions.unsaved()} | set(drafts)
        sessions: list[Session] = []
        for session in filter(None, map(self.open_sessions.find, sorted(ids))):
            messages = session.messages_so_far
            draft = drafts.get(session.session_id, "")
            if draft:
                messages = messages.added(
                    text_message(Role.USER, draft, parent_id=session.messages.leaf_id)
                )
            header = replace(
                session.header,
                session_id=new_id(),
                title=session.header.title or title_of(*split_draft(draft)),
                message_count=len(messages),
            )
            sessions.append(Session(header=header, messages=messages))
        return sessions
