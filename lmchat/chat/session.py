"""One session in memory: its path, its options, its queue, and how its last turn ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from lmchat.answers.answer_figures import AnswerFigures
from lmchat.answers.streamed_answer import StreamedAnswer
from lmchat.chat.save_queue import SaveQueue
from lmchat.chat.tool_rounds import ToolQuestion
from lmchat.chat.turn_starts import TurnStart, messages_together, require_prefill, rewritten
from lmchat.errors import RequestInvalid, SessionNotFound, StillAnswering, WrongUse
from lmchat.servers.sampling_options import usable_options
from lmchat.servers.target import Target
from lmchat.sessions.message import AnswerState, ChatMessage, Role, new_id, now, text_message
from lmchat.sessions.session import MESSAGES_PER_READ, MessagePath, Session, SessionHeader, title_of


class TurnEnded(Struct, frozen=True, kw_only=True):
    """A turn has ended, or was refused before anything was sent."""

    state: AnswerState  # of the turn: that of its last answer, unless an error or a stop ended it
    answer: ChatMessage | None = None  # its last; None if the path has no answer of this turn
    error: Exception | None = None  # an `LMChatError`, unless the front end has raised it
    is_shown_in_answer: bool = False  # whether the error is the failure of the last answer
    is_summary: bool = False
    seconds: float = 0.0

    @property
    def has_failed(self) -> bool:
        """Whether it was refused, failed or broke off."""
        return self.state in (AnswerState.FAILED, AnswerState.INTERRUPTED)


class QueueChanged(Struct, frozen=True):
    """Prompts were queued, or taken out of the queue."""


class PromptsReturned(Struct, frozen=True, kw_only=True):
    """Prompts that were not sent; they return to the draft of their session, at its beginning."""

    prompts: tuple[str, ...]


class TurnState(Protocol):
    """A turn as all others see it; the methods are all that they may do with it."""

    @property
    def task(self) -> asyncio.Task[None] | None: ...  # None once it has ended
    @property
    def answer(self) -> StreamedAnswer | None: ...  # the one that began last
    @property
    def message(self) -> ChatMessage | None: ...  # of that answer; it gets its text at the end
    @property
    def figures(self) -> AnswerFigures | None: ...  # of that answer, or of the calls behind it
    @property
    def question(self) -> ToolQuestion | None: ...  # the tool call that waits for the user
    @property
    def pending(self) -> str: ...  # its prompt as a draft, until that is a message
    @property
    def is_summary(self) -> bool: ...
    @property
    def summary(self) -> MessagePath: ...  # prompt and answer of a summary that is not on the path
    @property
    def may_call_tools(self) -> bool: ...
    @property
    def can_answer_now(self) -> bool: ...  # whether `answer_now` could, if the model thinks

    def stop(self) -> bool:
        """Begin to stop it; return False if it has ended, or is already being stopped."""

    def answer_now(self) -> str:
        """End the thought that is written, or the next one; return why that is not possible."""

    def fail(self, error: Exception) -> None:
        """Stop it, as the front end has raised an error, with which it then ends."""


class Hold(Struct, eq=False):
    """Why a queued prompt is not sent yet: its files are being read. Two are never equal."""

    is_over: bool = False
    is_dropped: bool = False  # whether the user has removed the prompt: its files are not wanted


# Told of each change of the prompts that are no messages yet, with what the front end is to show.
OnPendingChange = Callable[["OpenSession", QueueChanged | PromptsReturned | None], None]


class OpenSession:
    """A session in memory, which all may read, and only its own methods change.

    At most one turn runs in it; `Turn` calls the methods under "For its turn".
    """

    def __init__(
        self,
        session: Session,
        *,
        save_queue: SaveQueue,
        on_pending_change: OnPendingChange,
    ) -> None:
        """Take over a session as it was read, perhaps with the end of its path only."""
        self._save_queue = save_queue
        self._on_pending_change = on_pending_change
        self._header = session.header
        self._messages = MessagePath(session.messages)
        self._earlier_id = session.earlier_id
        """Id of the newest message that is only on the disk; None if all are in memory."""
        self._load_lock = asyncio.Lock()  # so that two callers do not read the same messages
        self._first_words = ""
        self._queue: tuple[str, ...] = ()
        self._held: tuple[Hold, ...] = ()  # of the last prompts of the queue
        self._turn: TurnState | None = None
        self._earlier_figures: AnswerFigures | None = None  # of the turns before
        self._last_end = TurnEnded(state=AnswerState.COMPLETE)
        self._noted_left_out = 0  # number of left-out messages in the last note
        self._is_changing = False
        self._saves: set[asyncio.Task[None]] = set()

    @property
    def header(self) -> SessionHeader:
        return self._header

    @property
    def session_id(self) -> str:
        return self._header.session_id

    @property
    def messages(self) -> MessagePath:
        """The path; until `load_older`, a long session has only its newest messages here."""
        return self._messages

    @property
    def first_words(self) -> str:
        """Words of the user with which the next answer begins; "" if the model begins it."""
        return self._first_words

    @property
    def queue(self) -> tuple[str, ...]:
        """Drafts, oldest first, that wait for the end of the turn, a server, a model or files."""
        return self._queue

    @property
    def held(self) -> tuple[Hold, ...]:
        """The holds of the last prompts of the queue, the first of which waits for its files."""
        return self._held

    @property
    def turn(self) -> TurnState | None:
        """The running turn, or the last one; None before the first, and if one did not begin."""
        return self._turn

    @property
    def last_end(self) -> TurnEnded:
        """How the last turn ended, with its error."""
        return self._last_end

    # What runs

    @property
    def is_running(self) -> bool:
        """Whether a turn runs, from its prompt until its end is saved."""
        return self._turn is not None and self._turn.task is not None

    @property
    def figures(self) -> AnswerFigures | None:
        """Figures of the answer or round of calls that began last; None before the first."""
        return (self._turn.figures if self._turn is not None else None) or self._earlier_figures

    @property
    def question(self) -> ToolQuestion | None:
        """The tool call that waits until the user decides."""
        return self._turn.question if self._turn is not None else None

    @property
    def pending(self) -> tuple[str, ...]:
        """The prompts that are no messages yet, as drafts: that of its turn, then the queue."""
        of_turn = self._turn.pending if self._turn is not None else ""
        return (of_turn, *self._queue) if of_turn else self._queue

    @property
    def has_had_messages(self) -> bool:
        """Whether it has messages, or had some before all were deleted.

        Both times of a new session are the same. Each message makes `updated_at` later.
        """
        return bool(self._messages) or self._header.updated_at > self._header.created_at

    @property
    def has_begun(self) -> bool:
        """Whether a prompt was sent in the session; it may still be queued, and no message yet."""
        return self.has_had_messages or bool(self._queue) or self.is_running

    @property
    def is_waiting(self) -> bool:
        """Whether prompts wait for a server, a model or files; in a turn, they wait for its end."""
        return bool(self._queue) and not self.is_running

    @property
    def has_prompt_to_send(self) -> bool:
        """Whether the first prompt of the queue does not wait for files."""
        return len(self._queue) > len(self._held)

    @property
    def is_ahead_of_disk(self) -> bool:
        """Whether the disk lacks a part of it."""
        is_pending = self.is_running or self._is_changing or self._queue or self._first_words
        return bool(is_pending) or self._save_queue.is_unsaved(self.session_id)

    def require_idle(self) -> None:
        """Raise `RequestInvalid` while a turn runs, or while a change waits for the disk."""
        if self.is_running:
            raise StillAnswering
        if self._is_changing:
            raise RequestInvalid(
                "The session is being changed, and the disk is slow.", hint="Wait, then try again."
            )

    def require_free_end(self) -> None:
        """Raise `RequestInvalid` while a turn or a change may replace the end of the path.

        The turn may run tools, whose messages have to follow the answer that calls them, or it
        writes a summary.
        """
        turn = self._turn
        if self._is_changing or (turn is not None and (turn.may_call_tools or turn.summary)):
            self.require_idle()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Let no turn and no other change of the path begin while the block waits for the disk."""
        self._is_changing = True
        try:
            yield
        finally:
            self._is_changing = False

    def stop(self) -> bool:
        """Begin to stop the turn; return False if none runs, or if it is already being stopped."""
        return self._turn is not None and self._turn.stop()

    def fail(self, error: Exception) -> None:
        """Let the turn end with an error of the front end, or note it if the turn has ended."""
        if self._turn is not None and self._turn.task is not None:
            self._turn.fail(error)
        else:
            self._last_end = replace(self._last_end, error=error, is_shown_in_answer=False)

    async def wait_until_saved(self) -> None:
        """Wait until no turn runs and its writes have ended or failed; nothing is stopped."""
        while True:
            task = self._turn.task if self._turn is not None else None
            if not (running := [work for work in (task, *self._saves) if work is not None]):
                return
            await asyncio.wait(running)

    # The messages

    @property
    def has_all_messages(self) -> bool:
        """Whether `load_older` has nothing to read."""
        return self._earlier_id is None

    async def load_older(self) -> None:
        """Read the older messages of a long session, some at a time from the newest back."""
        async with self._load_lock:
            while self._earlier_id is not None:
                last_id = self._earlier_id  # the last one of the messages that are read now
                older, earlier_id = await self._save_queue.store.read_path(
                    self.session_id, last_id, count=MESSAGES_PER_READ
                )
                if last_id == self._earlier_id:  # else `show_path` has changed the path
                    self._messages = self._messages.after(older)
                    self._earlier_id = earlier_id

    @property
    def shown_messages(self) -> MessagePath:
        """The path, and a summary that streams; a running answer has the text so far."""
        shown, answer = self._messages, self._answer_so_far
        if self._turn is not None:
            shown = shown.added(*self._turn.summary)
        return shown.replaced(answer) if answer is not None else shown

    @property
    def _answer_so_far(self) -> ChatMessage | None:
        """The answer that streams, with the text so far; only its end puts it on the path."""
        turn = self._turn
        if turn is None or turn.message is None or turn.answer is None:
            return None
        is_streaming = turn.message.state is AnswerState.STREAMING
        return turn.answer.so_far(turn.message) if is_streaming else None

    def find(self, message_id: str) -> ChatMessage | None:
        index = self._messages.index_of(message_id)
        return None if index is None else self._messages[index]

    def current(self, message: ChatMessage) -> ChatMessage:
        """Return a message as it is now, for an action on it.

        The log may have an answer as it was when it began to stream, without its text.
        """
        if message.state is not AnswerState.STREAMING:
            return message
        answer = self._answer_so_far
        if answer is not None and answer.message_id == message.message_id:
            return answer
        return self.find(message.message_id) or message

    @property
    def last_answer_or_prompt(self) -> ChatMessage | None:
        """The last answer or prompt on the path, on which commands act; None without one."""
        for message in reversed(self._messages):
            if message.role in (Role.ASSISTANT, Role.USER):
                return message
        return None

    @property
    def last_calls(self) -> list[ChatMessage]:
        """The tool messages at the end of the path, oldest first."""
        backwards = takewhile(lambda message: message.role is Role.TOOL, reversed(self._messages))
        return list(backwards)[::-1]

    @property
    def running_calls(self) -> list[ChatMessage]:
        """The tool messages of the running turn that have no result yet."""
        if not self.is_running:
            return []
        return [call for call in self.last_calls if call.state is AnswerState.STREAMING]

    @property
    def leaf_id(self) -> str | None:
        return self._messages[-1].message_id if self._messages else None

    @property
    def own_sampling(self) -> dict[str, object]:
        """The sampling options of this session, as they are sent from the next answer on."""
        return usable_options(self._header.sampling)

    # Changes without a turn: nothing is sent to a model

    async def rewrite(self, answer_id: str, text: str) -> ChatMessage:
        """Add and return another version of an answer, with a text by the user.

        The disk may be locked for seconds, so a task saves the version; `wait_until_saved` waits
        for it. Raises `RequestInvalid` while a turn runs, and as `rewritten` does; then nothing has
        changed.
        """
        await self.load_older()  # only the end of a long session was read
        self.require_idle()
        branch = rewritten(self._messages, answer_id, text)
        self._messages = MessagePath(branch[:-1])
        self.add(branch[-1])
        _ = self._begin_save(self._save_queue.save(self._header, branch[-1]))
        return branch[-1]

    async def set_system_prompt(self, text: str) -> ChatMessage:
        """Add, save and return a system prompt for the next answers; two quotes `""` remove it.

        Raises `RequestInvalid` while a turn may add messages behind the last one.
        """
        self.require_free_end()
        content = "" if text == '""' else text
        message = text_message(Role.SYSTEM, content, parent_id=self.leaf_id)
        self.add(message)
        await self._save_queue.save(self._header, message)
        return message

    def use_first_words(self, words: str, target: Target | None) -> None:
        """Let the next answer begin with words; blank words take them back.

        Blanks at their end are left out (R-43). Raises `RequestInvalid` if the server in use cannot
        continue them, and `WrongUse` if there are no words to take back.
        """
        words = words.rstrip()
        if not words and not self._first_words:
            raise WrongUse("Type a text after /start.", hint="The next answer begins with it.")
        if words and target is not None:  # without a server, the turn checks it
            require_prefill(target)
        self._first_words = words

    async def toggle_excluded(self, message_id: str) -> list[ChatMessage]:
        """Take a message out of requests, or put it back, on the disk and on the path.

        An answer with tool calls is taken out and put back together with their results. Return the
        changed messages; none if the message is not on the path. If the disk fails, the error is
        raised, and nothing has changed. Raises `RequestInvalid` while a turn runs, which may need
        the messages.
        """
        self.require_idle()
        with self.changing():
            await self._save_queue.write_unsaved()  # only messages on the disk can be marked there
            together = messages_together(self._messages, message_id)
            if together:
                is_excluded = not together[0].is_excluded
                ids = [message.message_id for message in together]
                store = self._save_queue.store
                await store.set_excluded(self.session_id, ids, is_excluded=is_excluded)
                together = [replace(message, is_excluded=is_excluded) for message in together]
                for message in together:
                    self.replace(message)
        return together

    async def set_sampling(self, options: Mapping[str, object]) -> None:
        """Give the session other sampling options from the next answer on, and save them.

        The options of a new session are saved with its first message. If the disk fails, the error
        is raised, but the session in memory keeps the options.
        """
        self._change_header(sampling=options)
        await self._save_queue.write_unsaved()  # the first message creates the session
        with suppress(SessionNotFound):  # a new session
            await self._save_queue.store.update_session(self.session_id, {"sampling": options})

    def update_header(self, changed: SessionHeader) -> None:
        """Take over title, tags and marks as they were changed on the disk.

        Other fields, such as the sampling, are newer in memory and stay.
        """
        self._change_header(
            title=changed.title,
            tags=changed.tags,
            is_pinned=changed.is_pinned,
            is_archived=changed.is_archived,
        )

    def _change_header(self, **fields: object) -> None:
        """Change fields in memory: with each message, the store changes the others by itself."""
        self._header = replace(self._header, **fields)

    # The queue

    def enqueue(self, prompt: str) -> None:
        """Queue a prompt behind the others."""
        if self._held:  # it waits, too, until those before it are sent
            self._held += (Hold(is_over=True),)
        self._change_queue((*self._queue, prompt))

    def enqueue_first(self, prompt: str) -> None:
        self._change_queue((prompt, *self._queue))

    def enqueue_held(self, prompt: str) -> Hold:
        """Queue a prompt that must not be sent before `end_hold`."""
        hold = Hold()
        self._held += (hold,)
        self._change_queue((*self._queue, prompt))
        return hold

    def change_held(self, hold: Hold, change: Callable[[str], str]) -> None:
        """Change the text of a held prompt, which is in the queue."""
        index = len(self._queue) - len(self._held) + self._held.index(hold)
        changed = change(self._queue[index])
        self._change_queue((*self._queue[:index], changed, *self._queue[index + 1 :]))

    def end_hold(self, hold: Hold) -> None:
        """Let a held prompt be sent once it is the first one."""
        hold.is_over = True
        while self._held and self._held[0].is_over:
            self._held = self._held[1:]

    def dequeue(self) -> str:
        """Take the oldest prompt out of the queue, and return it."""
        prompt, *others = self._queue
        self._change_queue(tuple(others))
        return prompt

    def dequeue_last(self, *, is_dropped: bool = False) -> str:
        """Take the newest prompt out of the queue, and return it.

        If it is dropped, the files that are being read for it are not wanted any more.
        """
        for hold in self._held[-1:]:
            hold.is_dropped = is_dropped
        self._held = self._held[:-1]
        *others, prompt = self._queue
        self._change_queue(tuple(others))
        return prompt

    def return_held(self) -> bool:
        """Return the held prompts to the front end; return whether there were any."""
        count = len(self._held)
        if not count:
            return False
        returned, self._held = self._queue[-count:], ()
        self._queue = self._queue[:-count]
        self._on_pending_change(self, PromptsReturned(prompts=returned))
        return True

    def return_prompts(self, *pending: str) -> None:
        """Return prompts, and behind them all queued ones, to the draft of the front end."""
        returned = (*pending, *self._queue)
        self._queue = self._held = ()
        self._on_pending_change(self, PromptsReturned(prompts=returned) if returned else None)

    def move_queue(self, other: OpenSession) -> None:
        """Move the queued prompts to the end of another queue; the caller shows both queues."""
        other._queue += self._queue
        other._held += self._held
        self._queue = self._held = ()
        self._on_pending_change(self, None)

    def _change_queue(self, queue: tuple[str, ...]) -> None:
        self._queue = queue
        self._on_pending_change(self, QueueChanged())

    # For its turn

    def start(self, start: TurnStart) -> None:
        """Cut the path, and add the prompts; those of a summary are not on the path.

        First words are removed, as only one answer begins with them. A session without a title gets
        one that is made of the last prompt.
        """
        if start.beginning is not None and start.beginning.is_first_words:
            self._first_words = ""
        self._messages = start.path
        if start.summarised:
            return
        if start.prompts and not self._header.title:
            prompt = start.prompts[-1]
            self._change_header(title=title_of(prompt.text, prompt.files))
        for message in start.prompts:
            self.add(message)

    def add(self, message: ChatMessage) -> None:
        """Add a message to the end of the path."""
        self._messages = self._messages.added(message)
        self._change_header(updated_at=now(), message_count=self._header.message_count + 1)

    def replace(self, message: ChatMessage) -> None:
        """Replace the message of this id, if it is on the path."""
        self._messages = self._messages.replaced(message)

    def start_answer(self, path: MessagePath, message: ChatMessage) -> None:
        """Take the path of an answer that begins, with the answer at its end."""
        self._messages = path.added(message)

    def end_answer(self, message: ChatMessage) -> None:
        """Put an ended answer in its place, and note it in the header.

        If another branch is shown by now, nothing is replaced.
        """
        self.replace(message)
        self._change_header(
            updated_at=now(),
            message_count=self._header.message_count + 1,
            model=message.model,
            endpoint=message.endpoint,
        )

    def note_left_out(self, count: int) -> list[str]:
        """Return a list with the note about so many messages left out; empty if none is due.

        In a long session, each turn leaves out a few more messages. To keep notes rare, the next
        one comes when more than twice as many are left out as the last note has reported.
        """
        if count <= 2 * self._noted_left_out:
            return []
        self._noted_left_out = count
        oldest = "message is" if count == 1 else f"{count} messages are"
        return [f"The context window is full: the oldest {oldest} left out."]

    def note_pending_change(self) -> None:
        """Let the draft on the disk follow `pending`."""
        self._on_pending_change(self, None)

    async def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work to its end, also if the caller is cancelled; `wait_until_saved` waits for it."""
        await asyncio.shield(self._begin_save(work))

    def _begin_save(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        saving = asyncio.create_task(work, name="save")
        self._saves.add(saving)
        saving.add_done_callback(self._saves.discard)
        return saving

    # For `ChatService` and `SessionsInMemory`

    def begin_turn(self, turn: TurnState) -> None:
        self._earlier_figures = self.figures
        self._turn = turn

    def end_turn(self, ended: TurnEnded) -> None:
        self._last_end = ended

    def refuse(self, error: Exception) -> TurnEnded:
        """Note and return the end of a turn that did not begin, as its queued prompt was refused.

        No caller waits for the error of such a prompt.
        """
        self._earlier_figures = self.figures
        self._turn = None
        self._last_end = TurnEnded(state=AnswerState.FAILED, error=error)
        return self._last_end

    def show_path(self, session: Session) -> None:
        """Replace header and messages by those of a path that was read from the disk.

        The new path may be another branch, even while an answer streams.
        """
        self._header = session.header
        self._messages = MessagePath(session.messages)
        self._earlier_id = session.earlier_id
        # The disk may be behind the last answer of the running turn: it may not have its end yet.
        # While it streams, the path is without its text, which `shown_messages` and figures add.
        # The branch of a summary has another copy of the answer, and the path before it has none.
        turn = self._turn
        if self.is_running and turn is not None and turn.message and not turn.is_summary:
            self.replace(turn.message)

    def leave_purged(self, messages: Sequence[ChatMessage]) -> None:
        """Become a new session with these messages, as its own was deleted permanently."""
        moment = now()
        prompts = [message for message in messages if message.role is Role.USER]
        title = title_of(prompts[0].text, prompts[0].files) if prompts else ""
        self._header = SessionHeader(
            session_id=new_id(),
            title=title,
            created_at=moment,
            updated_at=moment,
            message_count=len(messages),
            sampling=self._header.sampling,
        )
        self._messages = MessagePath(messages)
        self._earlier_id = None
