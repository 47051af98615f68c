"""The chat as front ends use it: the turns of all sessions, and what follows a turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from lmchat.chat.answer_beginnings import Beginning, has_text_to_continue
from lmchat.chat.context_window import ContextWindow
from lmchat.chat.drafts import Drafts
from lmchat.chat.events import (
    PathChanged,
    PromptsReturned,
    TitleChanged,
    TurnBegun,
    TurnEnded,
)
from lmchat.chat.open_session import Hold, OpenSession, Turn
from lmchat.chat.prompt_queue import PromptQueue
from lmchat.chat.reporter import Reporter
from lmchat.chat.sampling_layers import SamplingLayers
from lmchat.chat.save_queue import MovedMessages, SaveQueue
from lmchat.chat.session_changes import SessionChanges
from lmchat.chat.sessions_in_memory import SessionsInMemory
from lmchat.chat.titles import TitleWriter
from lmchat.chat.toolbox import Toolbox
from lmchat.chat.turn_choices import TurnChoices, TurnSettings
from lmchat.chat.turn_runner import TurnRunner, shown_error
from lmchat.chat.turn_starts import (
    MakeStart,
    TurnStart,
    continued,
    edited,
    regenerated,
)
from lmchat.config.settings import ChatSettings
from lmchat.errors import LMChatError, RequestInvalid
from lmchat.servers.events import RequestAdapted
from lmchat.servers.protocols import AnswerSource
from lmchat.servers.target import Target
from lmchat.sessions.attached_files import split_draft
from lmchat.sessions.message import (
    AnswerState,
    ChatMessage,
    FilePart,
    Role,
    new_id,
    text_message,
)
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

    It makes what turns share: the sessions in memory, the prompts that wait, the drafts, the
    choices for the next turn, its context window, and the queue of saves. It also makes the
    reporter to the front end, and the changes that need no turn. Front ends use these parts
    directly.

    A turn is a task; a session has at most one. `OpenSession.stop_turn` cancels the task. The
    screen calls it at Esc; plain chat and `ask` cancel their `wait` at Ctrl+C, which calls it.
    `_after_turn` then follows, as it does after each turn. A prompt that is sent during a turn, or
    before a model is ready, waits in the queue.

    A *draft* is a prompt as one text, in which attached files are lines (`split_draft`). The
    argument `unsent` of a method is the draft of its prompt. If the prompt cannot become a message,
    the front end gets the draft back, as `PromptsReturned`. `unsent` is empty if nothing is to come
    back, as for an answer that is regenerated.
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
        self.in_memory = SessionsInMemory(store, self.save_queue, clock=clock)
        self.drafts = Drafts(store, self.in_memory)
        self.reporter = Reporter()
        self.queue = PromptQueue(self.in_memory, self.drafts, self.reporter)
        self._titles = TitleWriter(self.turn_choices, backend, store, self.reporter)
        self.save_queue.on_purged = self._leave_purged
        self._told_purged: set[str] = set()  # ids of sessions of which the user was told
        self.changes = SessionChanges(store, self.save_queue, self.in_memory, self.turn_choices)

    @property
    def shown(self) -> OpenSession:
        """The session that is shown."""
        return self.in_memory.shown

    # Sending

    def send(self, opened: OpenSession, text: str) -> None:
        """Send a prompt, or queue it while a turn runs, no model is ready, or one before it waits.

        `text` is a draft. If this method raises an error, the caller keeps the prompt. If the
        prompt is refused later, it comes back as `PromptsReturned`.
        """
        if opened.is_busy or not self.turn_choices.is_ready or opened.held:
            self.queue.add(opened, text)
        else:
            self._send_draft_now(opened, text)

    def _send_draft_now(self, opened: OpenSession, draft: str, *, may_compact: bool = True) -> None:
        """Begin the turn of a draft; with `may_compact`, a summary may be made first."""
        text, files = split_draft(draft)
        self.send_now(opened, text, files, unsent=draft, may_compact=may_compact)

    def _send_first_queued(self, opened: OpenSession, *, may_compact: bool = True) -> None:
        """Send the first prompt of the queue.

        If it is refused, the whole queue returns to the prompt field. With `may_compact`, a summary
        may be made first.
        """
        prompt = self.queue.take_first(opened)
        try:
            self._send_draft_now(opened, prompt, may_compact=may_compact)
        except LMChatError as refusal:  # for example, the server is gone by now
            self._refuse(opened, refusal, prompt)

    def send_now(
        self,
        opened: OpenSession,
        text: str,
        files: Sequence[FilePart] = (),
        *,
        settings: TurnSettings | None = None,
        unsent: str = "",
        may_compact: bool = False,
    ) -> None:
        """Begin the turn of a prompt with its files at once, where `send` may queue the prompt.

        With `may_compact`, a summary comes first if the setting `auto_compact` is on and the
        context window is nearly full. Until the summary has ended, `unsent` waits in the queue.
        """
        self._begin(
            opened,
            self.turn_choices.prompt_start(text, files, opened.first_words),
            settings=settings,
            unsent=unsent,
            may_compact=may_compact,
        )

    def edit(
        self,
        opened: OpenSession,
        message_id: str,
        text: str,
        files: Sequence[FilePart] | None,
        *,
        unsent: str = "",
    ) -> None:
        """Send another version of a prompt; `files` None keeps the files that it has."""
        make_start = partial(
            edited, message_id=message_id, text=text, files=files, first_words=opened.first_words
        )
        self._begin(opened, make_start, unsent=unsent)

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

    # A turn

    def _settings(self, opened: OpenSession) -> TurnSettings:
        return self.turn_choices.settings(opened.own_sampling)

    def _begin(
        self,
        opened: OpenSession,
        make_start: MakeStart,
        *,
        settings: TurnSettings | None = None,
        unsent: str = "",
        may_compact: bool = False,
        is_summary: bool = False,
    ) -> None:
        """Begin a turn in a task; raises `RequestInvalid` if the session already has one.

        `make_start` gets the whole path. Without `settings`, the turn has those that are chosen
        now. With `may_compact`, the turn makes a summary instead if the settings want that and
        `can_compact` says so; its prompt then waits in the queue. `is_summary` says that the turn
        is the summary that the user has asked for (`compact`).
        """
        settings = settings or self._settings(opened)
        opened.require_idle()
        self._titles.give_up()
        may_compact = may_compact and self.turn_choices.chat_settings.auto_compact
        running = self._run_turn(opened, make_start, settings, may_compact=may_compact)
        task = asyncio.create_task(running, name=f"turn-{opened.session_id}")
        task.add_done_callback(partial(self._after_turn, opened, settings.target, self._clock()))
        opened.turn = Turn(task=task, unsent=unsent, is_summary=is_summary)
        self.drafts.write_soon()  # the draft on the disk begins with `unsent`
        self.reporter.report(opened, TurnBegun())

    async def _run_turn(
        self,
        opened: OpenSession,
        make_start: MakeStart,
        settings: TurnSettings,
        *,
        may_compact: bool,
    ) -> None:
        """Run a turn that `_begin` has begun; if a summary comes first, run that instead.

        The prompt is then queued, so that its turn follows.
        """
        await opened.load_older(self.store)  # only the end of a long session was read
        # only now, as `can_compact` counts the messages in memory
        if may_compact and self.context_window.can_compact(opened, opened.turn.unsent):
            opened.turn.is_summary = True  # the turn of the prompt follows
            self.queue.put_first(opened, opened.take_unsent())
            make_start = self.context_window.summary_start
            # of the same model, although the user may have chosen another one in the meantime
            settings = replace(self._summary_settings(opened), target=settings.target)
        await self.plan_turn(opened, make_start(opened.messages), settings).run()

    def plan_turn(
        self, opened: OpenSession, start: TurnStart, settings: TurnSettings
    ) -> TurnRunner:
        """Return a turn whose first request is planned; raises the errors of `TurnRunner`."""
        return TurnRunner(
            opened,
            start,
            settings,
            backend=self.backend,
            save_queue=self.save_queue,
            meter=self.context_window.meter,
            drafts=self.drafts,
            reporter=self.reporter,
        )

    def _after_turn(
        self, opened: OpenSession, target: Target, began_s: float, task: asyncio.Task[None]
    ) -> None:
        """Show how a turn ended; then send what waits, or let its model name the session.

        While lmchat is closing, nothing is sent, and only the unsent prompt is shown.
        """
        turn = opened.turn
        state, raised = _ending(opened, task)
        returned = opened.end_turn(raised)  # its prompt, if that has not become a message
        ended = TurnEnded(
            state=state,
            answer=opened.find(turn.answer_id),
            error=raised if isinstance(raised, LMChatError) else None,
            is_summary=turn.is_summary,
            seconds=self._clock() - began_s,
        )
        self.in_memory.mark_unread(opened)
        if ended.has_failed and not self.is_closing:  # the next prompt would probably fail, too
            self.queue.return_all(opened, *returned)
        elif returned:
            self.reporter.report(opened, PromptsReturned(prompts=returned))
        if self.is_closing:  # the queue stays in the session: the draft on the disk has it
            return
        self.reporter.report(opened, ended)
        if opened.has_prompt_to_send:
            # one summary is enough, also if it was stopped, or the session is still too long
            self._send_first_queued(opened, may_compact=not turn.is_summary)
        else:
            self._titles.begin(opened, target)

    def _refuse(self, opened: OpenSession, error: LMChatError, *prompts: str) -> None:
        """Return refused prompts and the queue to the prompt field, and report why.

        No caller waits for the error of a queued prompt. So it is kept in a `Turn` that has ended
        already, and `wait` raises it.
        """
        opened.turn = Turn(error=error)
        self.queue.return_all(opened, *prompts)
        self.reporter.report(opened, TurnEnded(state=AnswerState.FAILED, error=error))

    async def wait(self, opened: OpenSession) -> None:
        """Wait until the turn of a session and those of its queued prompts have ended.

        If the wait is cancelled, the turn is stopped, and the queue returns to the prompt field.
        Raises the error of a refused turn, or what the front end has raised.
        """
        try:
            # the end of a turn may begin the turn of a queued prompt
            while opened.turn.task is not None:
                await asyncio.wait([opened.turn.task])
        except asyncio.CancelledError:
            await self.stop_and_wait(opened)
            raise
        if opened.turn.error is not None:
            raise opened.turn.error

    async def stop_and_wait(self, opened: OpenSession) -> None:
        """Return queued prompts to the prompt field, stop the turn, and wait for its end."""
        self.queue.return_all(opened)  # else the end of the turn sends the next one
        opened.stop_turn()
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
        if has_loaded and not self.shown.is_busy:
            last = self.shown.last_answer_or_prompt
            if last is not None and last.failure and last.failure.kind == "model_not_loaded":
                try:
                    self.regenerate(self.shown, last)
                except LMChatError as error:
                    self._refuse(self.shown, error)
        for opened in self.in_memory.waiting:
            if opened.has_prompt_to_send:
                self._send_first_queued(opened)

    def end_hold(self, hold: Hold) -> None:
        """Let a held prompt be sent, now or when its turn comes: its files are read."""
        opened = self.queue.end_hold(hold)
        if opened is None or opened.is_busy or self.is_closing:
            return
        if opened.has_prompt_to_send and self.turn_choices.is_ready:
            self._send_first_queued(opened)

    # The end

    async def close(self) -> None:
        """Stop all turns, and save how they end and what could not be saved before.

        Queued prompts stay in the queue: the next start finds them in the drafts.
        """
        self.is_closing = True
        for opened in self.in_memory.busy:
            opened.stop_turn()
        for opened in self.in_memory.all:
            await opened.wait_until_saved()
        await self.save_queue.write_unsaved()

    def reopen(self) -> None:
        """Continue after `close`, as the user stays; queued prompts return to the prompt field."""
        self.is_closing = False
        self.queue.return_waiting()

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


def _ending(
    opened: OpenSession, task: asyncio.Task[None]
) -> tuple[AnswerState, BaseException | None]:
    """Return how a turn ended, and what it raised, if anything, for `wait`.

    A turn that raises nothing may have an answer that failed: then only the state says so.
    """
    if opened.turn.error is not None:  # what the front end has raised: `Reporter` stopped it
        return AnswerState.FAILED, opened.turn.error
    if task.cancelled():
        return AnswerState.STOPPED, None
    raised = task.exception()
    if raised is not None:
        return AnswerState.FAILED, shown_error(raised)
    figures = opened.figures  # of the last answer; a turn that raises nothing has begun one
    return AnswerState.STOPPED if figures is None else figures.state, None
