"""One session in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import RequestInvalid, SessionNotFound, StillAnswering
from lmchat.core.answers.live_stats import LiveStats
from lmchat.core.answers.streamed_answer import StreamedAnswer
from lmchat.core.chat.followers import NOT_THINKING, AnswerNow
from lmchat.core.chat.prompt_queue import PromptQueue, PromptsReturned, QueueChanged
from lmchat.core.chat.save_queue import SaveQueue, journal_writer
from lmchat.core.chat.toolbox import ToolQuestion
from lmchat.core.chat.turn_starts import TurnStart, messages_together, require_prefill, rewritten
from lmchat.core.servers.sampling_options import stored_options, usable_options
from lmchat.core.servers.target import Target
from lmchat.core.sessions.journal_entries import JournalEntry
from lmchat.core.sessions.message import AnswerState, ChatMessage, Role, now, text_message
from lmchat.core.sessions.prompts import PendingPrompt
from lmchat.core.sessions.session import (
    MESSAGES_PER_READ,
    MessagePath,
    Session,
    SessionHeader,
    title_of,
)
from lmchat.core.sessions.tokens import TokenProbabilities


class TurnEnded(Struct, frozen=True, kw_only=True):
    """End of a turn, or its refusal before anything was sent."""

    state: AnswerState  # of its last answer, unless an error or a stop ended the turn
    answer: ChatMessage | None = None  # the last one, if this turn has one
    error: Exception | None = None  # an `LMChatError`, unless the front end has raised it
    is_shown_in_answer: bool = False  # the error is the failure of `answer`
    seconds: float = 0.0

    @property
    def has_failed(self) -> bool:
        return self.state in (AnswerState.FAILED, AnswerState.INTERRUPTED)


class TurnState:
    """A turn as others may use it; by itself, one that never runs."""

    def __init__(self, pending: PendingPrompt | None = None) -> None:
        self.task: asyncio.Task[None] | None = None  # None once it has ended
        self.pending = pending  # until it is a message
        self.saved_as = ""  # id of that message once it is written
        self.answer: StreamedAnswer | None = None  # that started last
        self.message: ChatMessage | None = None  # of `answer`, without text until its end
        self.stats: LiveStats | None = None  # of `answer`, or the calls behind it
        self.question: ToolQuestion | None = None
        self.told: Mapping[str, str] = {}  # what running tools said last, by message id
        self.may_call_tools = False
        self.is_stopping = False
        self._error: Exception | None = None  # of the front end
        self._answer_now: AnswerNow | None = None

    @property
    def can_answer_now(self) -> bool:
        """Only if the model thinks."""
        return self._answer_now is not None and self._answer_now.is_possible

    def answer_now(self) -> str:
        """End the current or next thought; return why that is impossible."""
        return self._answer_now.end_thought() if self._answer_now is not None else NOT_THINKING

    def stop(self) -> bool:
        """Ask to stop; return False if it has ended or is stopping."""
        task = self.task
        if task is None or self.is_stopping:
            return False
        self.is_stopping = True
        # not at once: a turn started just now first adds its prompt
        asyncio.get_running_loop().call_soon(task.cancel)
        return True

    def fail(self, error: Exception) -> None:
        """Stop it, to end with this error of the front end."""
        self._error = error
        self.stop()


# gets each change of `pending`, with what the front end is to show
OnPendingChange = Callable[["OpenSession", QueueChanged | PromptsReturned | None], None]


class OpenSession:
    """Session in memory that only its own methods change; at most one turn runs in it."""

    def __init__(
        self,
        session: Session,
        *,
        save_queue: SaveQueue,
        on_pending_change: OnPendingChange,
        typed_options: list[tuple[str, object]],
        is_saved: bool = True,
    ) -> None:
        """`session` may have only the end of its path.

        All sessions share `typed_options`, which the user has set in this run.
        """
        self._is_saved = is_saved
        self._save_queue = save_queue
        self._on_pending_change = on_pending_change
        self._typed_options = typed_options
        self._use_header(session.header)
        self.messages = MessagePath(session.messages)
        """A long session has only its newest messages until `load_older`."""
        self._earlier_id = session.earlier_id
        """Id of the newest message that is only on the disk."""
        self._load_lock = asyncio.Lock()  # else two callers read the same
        self.prefill_text = ""  # words of the user with which the next answer starts
        self.queue = PromptQueue(partial(on_pending_change, self))
        self.turn = TurnState()
        """The running or last turn; one that never runs before the first, and after a refusal."""
        self.aside: OpenSession | None = None  # in which the turn runs instead, until its end
        self._aside_from = 0  # messages of the path that it starts with
        self._earlier_stats: LiveStats | None = None
        self.last_end = TurnEnded(state=AnswerState.COMPLETE)
        self._told_counts: dict[tuple[str, str], int] = {}  # of what is not sent
        self._is_changing = False
        self.saves: set[asyncio.Task[None]] = set()  # also those of `aside`

    @property
    def session_id(self) -> str:
        return self.header.session_id

    # What runs

    @property
    def is_running(self) -> bool:
        """True until the end of the turn is saved."""
        return self.turn.task is not None

    @property
    def stats(self) -> LiveStats | None:
        """Stats of the answer or round of calls that started last."""
        return self.turn.stats or self._earlier_stats

    @property
    def question(self) -> ToolQuestion | None:
        return self.turn.question

    @property
    def pending(self) -> tuple[str, ...]:
        """Drafts of prompts that are no messages yet."""
        of_turn = self.turn.pending
        return (of_turn.draft, *self.queue.drafts) if of_turn else self.queue.drafts

    def pending_behind(self, message_id: str) -> tuple[str, ...]:
        """The same once this message is on the disk."""
        return self.queue.drafts if self.turn.saved_as == message_id else self.pending

    def end_pending(self, message_id: str) -> None:
        """Let the prompt of the turn leave `pending`, if it is this message on the disk."""
        if self.turn.saved_as == message_id:
            self.turn.pending = None

    @property
    def has_had_messages(self) -> bool:
        """True also if all were deleted: each message changes `updated_at`."""
        return bool(self.messages) or self.header.updated_at != self.header.created_at

    @property
    def has_started(self) -> bool:
        """Whether a prompt was sent, if only to the queue."""
        return self.has_had_messages or bool(self.queue.prompts) or self.is_running

    @property
    def is_waiting(self) -> bool:
        """Whether prompts wait for more than the end of a turn."""
        return bool(self.queue.prompts) and not self.is_running

    @property
    def is_ahead_of_disk(self) -> bool:
        is_pending = self.is_running or self._is_changing or self.pending or self.prefill_text
        return bool(is_pending) or self._save_queue.is_unsaved(self.session_id)

    def require_idle(self) -> None:
        """Raise `RequestInvalid` while a turn runs or a change waits for the disk."""
        if self.is_running:
            raise StillAnswering
        self._require_no_change()

    def _require_no_change(self) -> None:
        if self._is_changing:
            raise RequestInvalid(
                "The session is being changed, and the disk is slow.",
                next_step="Wait, then try again.",
            )

    def require_free_end(self) -> None:
        """Raise `RequestInvalid` while a turn or a change may replace the end of the path.

        Tool messages must follow the answer that calls them; a summary starts another branch.
        """
        if self._is_changing or self.turn.may_call_tools or self.aside:
            self.require_idle()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Let `require_idle` refuse turns and other changes within the block.

        Raises `RequestInvalid` within such a block.
        """
        self._require_no_change()
        self._is_changing = True
        try:
            yield
        finally:
            self._is_changing = False

    def stop(self) -> bool:
        return self.turn.stop()

    def fail(self, error: Exception) -> None:
        if self.is_running:
            self.turn.fail(error)
        else:
            self.last_end = replace(self.last_end, error=error, is_shown_in_answer=False)

    async def wait_until_saved(self) -> None:
        """Wait until no turn runs and all writes have ended or failed; stop nothing."""
        while True:
            running = [work for work in (self.turn.task, *self.saves) if work is not None]
            if not running:
                return
            await asyncio.wait(running)

    # The messages

    @property
    def has_all_messages(self) -> bool:
        return self._earlier_id is None

    async def load_older(self) -> None:
        """Read in parts, the newest first."""
        async with self._load_lock:
            while self._earlier_id is not None:
                last_id = self._earlier_id
                older, earlier_id = await self._save_queue.store.read_path(
                    self.session_id, last_id, count=MESSAGES_PER_READ
                )
                if last_id == self._earlier_id:  # else `show_path` has changed the path
                    self.messages = self.messages.after(older)
                    self._earlier_id = earlier_id

    @property
    def messages_so_far(self) -> MessagePath:
        """The path with a streaming summary, and with the text so far of a running answer."""
        messages = self.messages
        answer = self._answer_so_far
        if self.aside is not None:
            messages = messages.added(*self.aside.messages[self._aside_from :])
        return messages.replaced(answer) if answer is not None else messages

    @property
    def _answer_so_far(self) -> ChatMessage | None:
        turn = self.turn
        if turn.message is None or turn.answer is None:
            return None
        is_streaming = turn.message.state is AnswerState.STREAMING
        return turn.answer.so_far(turn.message) if is_streaming else None

    @property
    def streaming_ids(self) -> set[str]:
        """Ids of answers and calls that stream; without a turn here, in another lmchat."""
        return {one.message_id for one in self.messages if one.state is AnswerState.STREAMING}

    def current(self, message: ChatMessage) -> ChatMessage:
        """Return a message as it is now: the log may have an answer without its text."""
        if message.state is not AnswerState.STREAMING:
            return message
        answer = self._answer_so_far
        if answer is not None and answer.message_id == message.message_id:
            return answer
        return self.messages.find(message.message_id) or message

    @property
    def running_calls(self) -> list[ChatMessage]:
        if not self.is_running:
            return []
        return [call for call in self.messages.last_calls if call.state is AnswerState.STREAMING]

    @property
    def system_prompt(self) -> str | None:
        """Return the one that was set last; "" if it removes an earlier one."""
        prompts = (m for m in reversed(self.messages) if m.role is Role.SYSTEM)
        return next((prompt.text for prompt in prompts if not prompt.is_excluded), None)

    @property
    def session_sampling(self) -> dict[str, object]:
        return usable_options(self.header.sampling)

    # Changes without a turn: nothing is sent to a model

    async def rewrite(self, answer_id: str, text: str) -> ChatMessage:
        """Add and return a version of an answer with the user's text.

        The disk may be locked for seconds, so a task saves it. Raises `RequestInvalid` while a turn
        runs, and as `rewritten` does; then nothing has changed.
        """
        await self.load_older()
        self.require_idle()
        branch = rewritten(self.messages, answer_id, text)
        added = [branch[-1], *self.messages.next_system(branch.leaf_id)]
        self.messages = branch.before(len(branch) - 1)
        for message in added:
            self.add(message)
        _ = self._start_save(self.save(*added))
        return branch[-1]

    def system_message(self, text: str | None) -> ChatMessage | None:
        """Return None if it is the present one, or None. Two quotes `""` remove it."""
        content = "" if text == '""' else text
        if content is None or content == self.system_prompt:
            return None
        return text_message(Role.SYSTEM, content, parent_id=self.messages.leaf_id)

    async def set_system_prompt(self, text: str | None) -> ChatMessage | None:
        """Add what `system_message` returns; raises as `require_free_end` does."""
        self.require_free_end()
        if message := self.system_message(text):
            self.add(message)
            await self.save(message)
        return message

    def set_prefill(self, text: str, target: Target | None) -> None:
        """An empty one takes the earlier one back; trailing blanks are cut (R-43).

        Raises `RequestInvalid` if the server cannot continue the text.
        """
        text = text.rstrip()
        if text and target is not None:  # without a server, the turn checks it
            require_prefill(target)
        self.prefill_text = text

    async def toggle_excluded(self, message_id: str) -> list[ChatMessage]:
        """Exclude or include a message with the results of its calls; return what has changed.

        Raises `RequestInvalid` while a turn runs, which may need them, and the error of the disk;
        then nothing has changed.
        """
        self.require_idle()
        with self.changing():
            await self._save_queue.write_unsaved()  # only messages on the disk can be marked there
            together = messages_together(self.messages, message_id)
            is_excluded = not together[0].is_excluded
            ids = [message.message_id for message in together]
            await self._save_queue.store.set_excluded(self.session_id, ids, is_excluded=is_excluded)
            together = [replace(message, is_excluded=is_excluded) for message in together]
            for message in together:
                self.replace(message)
        return together

    async def set_sampling(self, options: Mapping[str, object]) -> None:
        self._typed_options += options.items()
        self._change_header(sampling=options)
        with suppress(SessionNotFound):  # a new session: its first message saves them
            await self._save_queue.change(self.header, "options", {"sampling": options})

    def update_header(self, changed: SessionHeader) -> None:
        """Take over what was changed on the disk; other fields are newer in memory."""
        self._change_header(
            title=changed.title,
            tags=changed.tags,
            is_pinned=changed.is_pinned,
            is_archived=changed.is_archived,
        )

    def _use_header(self, stored: SessionHeader) -> None:
        self.header = replace(stored, sampling=stored_options(stored.sampling, self._typed_options))

    def _change_header(self, **fields: object) -> None:
        """The store updates its header itself with each message."""
        self.header = replace(self.header, **fields)

    # For its turn

    def start(self, start: TurnStart) -> None:
        """A typed prefill serves one answer only."""
        if start.prefill is not None and start.prefill.is_typed:
            self.prefill_text = ""
        self.messages = start.path
        if start.prompts and not self.header.title:
            prompt = start.prompts[-1]
            self._change_header(title=title_of(prompt.text, prompt.files))
        for message in start.prompts:
            self.add(message)

    def add(self, message: ChatMessage) -> None:
        self.messages = self.messages.added(message)
        self._change_header(updated_at=now(), message_count=self.header.message_count + 1)

    def replace(self, message: ChatMessage) -> None:
        """Do nothing if the id is not on the path."""
        self.messages = self.messages.replaced(message)

    def start_answer(self, path: MessagePath, message: ChatMessage) -> None:
        self.messages = path.added(message)

    def end_answer(self, message: ChatMessage) -> None:
        """If another branch is shown by now, only the header changes."""
        self.replace(message)
        self._change_header(
            updated_at=now(),
            message_count=self.header.message_count + 1,
            model=message.model,
            endpoint=message.endpoint,
        )

    async def save_started_answer(self, message: ChatMessage) -> None:
        """Create the file of an answer or a call that starts."""
        if self._is_saved:
            await self._save_queue.start_answer(self.header, message)

    def journal(self, message: ChatMessage) -> AbstractAsyncContextManager[list[JournalEntry]]:
        """Write the entries of the list to this file."""
        if self._is_saved:
            return journal_writer(self._save_queue, message.message_id)
        return nullcontext([])

    async def save(
        self, *messages: ChatMessage, choices: Sequence[TokenProbabilities] = ()
    ) -> None:
        if self._is_saved:
            await self._save_queue.save(self.header, *messages, choices=choices)

    def news(self, counts: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
        """Return what to tell of all that is not sent: what is more than twice what was told."""
        told = self._told_counts
        news = [what for what, count in counts.items() if count > 2 * told.get(what, 0)]
        self._told_counts = {
            what: count if what in news else min(count, told.get(what, 0))
            for what, count in counts.items()
        }
        return news

    def note_pending_change(self) -> None:
        """Let the draft on the disk follow `pending`."""
        self._on_pending_change(self, None)

    async def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Finish work even if the caller is cancelled; `wait_until_saved` waits for it."""
        await asyncio.shield(self._start_save(work))

    def _start_save(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        saving = asyncio.create_task(work, name="save")
        self.saves.add(saving)
        saving.add_done_callback(self.saves.discard)
        return saving

    # For `ChatService` and `OpenSessions`

    def start_turn(self, turn: TurnState) -> None:
        self._earlier_stats = self.stats
        self.turn = turn

    def start_aside(self, path: MessagePath) -> OpenSession:
        """Let the turn run in a session with the beginning of this path, which nothing saves."""
        self.aside = OpenSession(
            Session(header=self.header, messages=path),
            save_queue=self._save_queue,
            on_pending_change=self._on_pending_change,
            typed_options=self._typed_options,
            is_saved=False,
        )
        self.aside.saves = self.saves
        self._aside_from = len(path)
        return self.aside

    def end_turn(self, ended: TurnEnded) -> None:
        self.last_end = ended
        self.aside = None

    def refuse(self, error: Exception) -> TurnEnded:
        """Note that a queued prompt was refused: no caller waits for its error."""
        self.start_turn(TurnState())  # one that never runs
        self.last_end = TurnEnded(state=AnswerState.FAILED, error=error)
        return self.last_end

    def show_path(self, session: Session) -> None:
        """It may be another branch, even while an answer streams."""
        self._use_header(session.header)
        self.messages = MessagePath(session.messages)
        self._earlier_id = session.earlier_id
        # the disk may lack the end of the last answer (`messages_so_far` adds text that streams)
        if self.is_running and self.turn.message and self.aside is None:
            self.replace(self.turn.message)
