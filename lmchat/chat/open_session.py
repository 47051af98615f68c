"""One session in memory: its path, its turn, its queue.

It sends and writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile

from msgspec import Struct
from msgspec.structs import replace

from lmchat.answers.answer_figures import AnswerFigures
from lmchat.chat.planning.plan import LeftOutNotes
from lmchat.chat.running_answer import RunningAnswer
from lmchat.chat.tool_rounds import ToolQuestion
from lmchat.chat.turn_starts import TurnStart
from lmchat.errors import LMChatError, RequestInvalid, StillAnswering
from lmchat.servers.sampling_options import usable_options
from lmchat.sessions.message import (
    AnswerState,
    ChatMessage,
    Role,
    new_id,
    now,
)
from lmchat.sessions.session import MESSAGES_PER_READ, MessagePath, Session, SessionHeader, title_of
from lmchat.storage.store import Store


class Turn(Struct, kw_only=True):
    """The running turn of a session, or the one that ran last; with defaults before the first.

    What belongs to one turn only is here, so that the next one begins without it.

    Its errors are kept at four places, because each place has other readers:

    - `answer_error` has ended an answer. The exit code of `ask` depends on its class, and the plain
      chat prints it.
    - `ChatMessage.failure` has the words of the same error. They are saved with the answer, and
      the screen shows them below it.
    - `error` has ended the turn: no answer could begin, a summary is unusable, or the front end
      has failed. `ChatService.wait` raises it.
    - `TurnEnded.error` is `error` again, if that is an `LMChatError`: the screen, which does not
      call `wait`, shows it as a notice.

    If a prompt is refused before its turn begins, the method of `ChatService` raises the error, and
    no turn keeps it. A queued prompt is sent without such a call, so `error` has its refusal.
    """

    task: asyncio.Task[None] | None = None  # None once it has ended
    unsent: str = ""  # its prompt as a draft; empty once `TurnRunner` has tried to save it
    is_summary: bool = False  # whether it writes a summary
    may_call_tools: bool = False  # whether it offers tools to the model
    is_stopping: bool = False  # whether `stop_turn` was called; `task` may still run
    answer_id: str = ""  # of the message of the answer that it began last; empty before the first
    answer_error: LMChatError | None = None
    error: BaseException | None = None  # of any class if the front end has raised it


class Hold(Struct, eq=False):
    """Why a queued prompt is not sent yet: its files are being read. Two are never equal."""

    is_over: bool = False
    is_dropped: bool = False  # whether the user has removed the prompt: its files are not wanted


class OpenSession:
    """A session with at most one running turn, which changes it step by step.

    These change its parts, by setting them or by its methods:

    - `turn`: `ChatService` begins and ends it. `TurnRunner` notes in it what happens, `Reporter`
      an error of the front end. Anyone may stop it (`stop_turn`).
    - `answer`, `figures`: `TurnRunner`.
    - `aside`: `TurnRunner`. `ChatService` empties it at the end of the turn.
    - `messages`: `TurnRunner` changes them in a turn. `SessionChanges` makes the changes that need
      no turn. `find_kept` replaces an answer that its server has forgotten. `SessionsInMemory`
      replaces the whole path by another branch. Anyone may have older ones read (`load_older`).
    - `header`: it follows the messages. `SessionChanges` changes its sampling, `TitleWriter` its
      title. `SessionsInMemory` takes over what was changed on the disk. It also changes the title
      of a session that the disk does not have yet.
    - `queue`, `held`: `PromptQueue`.
    - `first_words`: `SessionChanges` sets them. `TurnRunner` removes them when they are used.
    - `question`: `Reporter` sets it. The front end takes it away when the user has decided
      (`take_question`); if the turn is stopped before, `Reporter` does.
    - `left_out_notes`: `AnswerRequest`.
    - `is_changing`: who changes the path and waits for the disk (`changing`).
    - `saves`: anyone who begins a write (`keep_save`).
    """

    def __init__(
        self,
        session: Session,
        *,
        clock: Callable[[], float],
    ) -> None:
        """Take over a session as it was read, perhaps with the end of its path only."""
        self.header: SessionHeader = session.header
        self.messages = MessagePath(session.messages)
        """The path; until `load_older`, a long session has only its newest messages here."""
        self.aside = MessagePath()
        """A summary that streams, with its prompt: shown behind the path, but not a part of it."""
        self.first_words = ""
        """Words of the user with which the next answer begins; "" if the model begins it."""
        self.turn = Turn()  # the running one, or the last one
        self.queue: tuple[str, ...] = ()
        """Prompts, oldest first, that wait for the end of the turn, a server, a model or files."""
        self.held: tuple[Hold, ...] = ()
        """The holds of the last prompts of the queue, the first of which waits for its files."""
        self.answer: RunningAnswer | None = None
        """The answer that began last, even on a branch that is not shown; None before the first."""
        self.figures: AnswerFigures | None = None
        """Figures of the answer or round of calls that began last; None before the first."""
        self.left_out_notes = LeftOutNotes()  # `AnswerRequest.events` takes notes from it
        self.question: ToolQuestion | None = None  # the tool call that waits until the user decides
        self.is_changing = False  # whether a block of `changing` runs
        self.saves: set[asyncio.Task[None]] = set()  # running writes, as of an ended answer
        self.clock = clock  # monotonic seconds, for figures
        self._earlier_id = session.earlier_id
        """Id of the newest message that is only on the disk; None if all are in memory."""
        self._load_lock = asyncio.Lock()  # so that two callers do not read the same messages

    @property
    def session_id(self) -> str:
        return self.header.session_id

    # What runs

    @property
    def is_busy(self) -> bool:
        """Whether a turn runs, from its prompt until its end is saved.

        `is_running` is a part of that: it begins with the first answer, and ends before the saving.
        """
        return self.turn.task is not None

    @property
    def has_had_messages(self) -> bool:
        """Whether it has messages, or had some before all were deleted.

        Both times of a new session are the same. Each message makes `updated_at` later.
        """
        return bool(self.messages) or self.header.updated_at > self.header.created_at

    @property
    def has_begun(self) -> bool:
        """Whether a prompt was sent in the session; it may still be queued, and no message yet."""
        return self.has_had_messages or bool(self.queue) or self.is_busy

    @property
    def is_running(self) -> bool:
        """Whether an answer streams, or tools run; `is_busy` is true for longer."""
        return self.figures is not None and self.figures.is_running

    @property
    def is_waiting(self) -> bool:
        """Whether prompts wait for a server, a model or files; in a turn, they wait for its end."""
        return bool(self.queue) and not self.is_busy

    @property
    def has_prompt_to_send(self) -> bool:
        """Whether the first prompt of the queue does not wait for files."""
        return len(self.queue) > len(self.held)

    def require_idle(self) -> None:
        """Raise `RequestInvalid` while a turn runs, or while a change waits for the disk."""
        if self.is_busy:
            raise StillAnswering
        if self.is_changing:
            raise RequestInvalid(
                "The session is being changed, and the disk is slow.", hint="Wait, then try again."
            )

    def require_free_end(self) -> None:
        """Raise `RequestInvalid` while a turn or a change may replace the end of the path.

        The turn may run tools, whose messages have to follow the answer that calls them, or it
        writes a summary.
        """
        if self.turn.may_call_tools or self.aside or self.is_changing:
            self.require_idle()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Let no turn and no other change of the path begin while the block waits for the disk."""
        self.is_changing = True
        try:
            yield
        finally:
            self.is_changing = False

    # The messages

    @property
    def has_all_messages(self) -> bool:
        """Whether `load_older` has nothing to read."""
        return self._earlier_id is None

    async def load_older(self, store: Store) -> None:
        """Read the older messages of a long session, some at a time from the newest back."""
        async with self._load_lock:
            while self._earlier_id is not None:
                last_id = self._earlier_id  # the last one of the messages that are read now
                older, earlier_id = await store.read_path(
                    self.session_id, last_id, count=MESSAGES_PER_READ
                )
                if last_id == self._earlier_id:  # else `replace_path` has changed the path
                    self.messages = self.messages.after(older)
                    self._earlier_id = earlier_id

    def replace_path(self, session: Session) -> None:
        """Replace header and messages by those of a path that was read from the disk.

        The new path may be another branch, even while an answer streams.
        """
        self.header = session.header
        self.messages = MessagePath(session.messages)
        self._earlier_id = session.earlier_id
        if self.answer is not None and self.is_running:
            # The disk may be behind the last answer of the running turn. It may have only a part of
            # its text or, while a tool runs, not its end. So if that answer is on the path, its
            # message comes from memory. While it streams, this message has no new text yet:
            # `shown_messages` and `current` take the text from `answer`.
            self.messages = self.messages.replaced(self.answer.message)

    @property
    def shown_messages(self) -> MessagePath:
        """The path and `aside`; a running answer has the text that has arrived so far."""
        shown = self.messages.added(*self.aside)
        if self.answer is None or not self.is_running:
            return shown
        return shown.replaced(self.answer.message_so_far)

    def find(self, message_id: str) -> ChatMessage | None:
        index = self.messages.index_of(message_id)
        return None if index is None else self.messages[index]

    def current(self, message: ChatMessage) -> ChatMessage:
        """Return a message as it is now, for an action on it.

        The log may have an answer as it was when it began to stream, without its text. While the
        answer streams, only `answer` has the text; `messages` gets it at the end.
        """
        if message.state is not AnswerState.STREAMING:
            return message
        if self.answer is not None and self.answer.message.message_id == message.message_id:
            return self.answer.message_so_far
        return self.find(message.message_id) or message

    @property
    def last_answer_or_prompt(self) -> ChatMessage | None:
        """The last answer or prompt on the path, on which commands act; None without one."""
        for message in reversed(self.messages):
            if message.role in (Role.ASSISTANT, Role.USER):
                return message
        return None

    @property
    def last_calls(self) -> list[ChatMessage]:
        """The tool messages at the end of the path, oldest first."""
        backwards = takewhile(lambda message: message.role is Role.TOOL, reversed(self.messages))
        return list(backwards)[::-1]

    @property
    def running_calls(self) -> list[ChatMessage]:
        """The tool messages of the running turn that have no result yet."""
        if not self.is_running:
            return []
        return [call for call in self.last_calls if call.state is AnswerState.STREAMING]

    @property
    def leaf_id(self) -> str | None:
        return self.messages[-1].message_id if self.messages else None

    @property
    def own_sampling(self) -> dict[str, object]:
        """The sampling options of this session, as they are sent from the next answer on."""
        return usable_options(self.header.sampling)

    # Steps of a turn

    def take_unsent(self) -> str:
        """Take the draft of its prompt out of the turn, and return it; "" if it has none."""
        unsent, self.turn.unsent = self.turn.unsent, ""
        return unsent

    def stop_turn(self) -> bool:
        """Begin to stop the turn; return False if none runs, or if it is already being stopped."""
        task = self.turn.task
        if task is None or self.turn.is_stopping:
            return False
        self.turn.is_stopping = True
        # not at once: a turn that was begun just now first adds its prompt
        asyncio.get_running_loop().call_soon(task.cancel)
        return True

    def end_turn(self, raised: BaseException | None) -> tuple[str, ...]:
        """End the turn with what it has raised, if anything.

        Return its prompt as a draft if it has not become a message, else an empty tuple.
        """
        self.turn.task = None
        self.turn.error = raised
        self.aside = MessagePath()  # a summary is on the path now, or was given up
        unsent = self.take_unsent()
        return (unsent,) if unsent else ()

    def apply_start(self, start: TurnStart, *, may_call_tools: bool) -> None:
        """Change the session as the turn begins: cut the path, and add the prompts.

        The prompt of a summary goes to `aside`. First words are removed, as only one answer begins
        with them. A session without a title gets one that is made of the last prompt.
        """
        self.turn.may_call_tools = may_call_tools
        if start.beginning is not None and start.beginning.is_first_words:
            self.first_words = ""
        self.messages = start.path
        if start.summarised:
            self.aside = MessagePath(start.prompts)
            return
        if start.prompts and not self.header.title:
            prompt = start.prompts[-1]
            self.change_header(title=title_of(prompt.text, prompt.files))
        for message in start.prompts:
            self.add(message)

    def take_question(self, question: ToolQuestion) -> bool:
        """Take a question away to answer it; return False if another caller has taken it."""
        if self.question is not question:
            return False
        self.question = None
        return True

    def change_header(self, **fields: object) -> None:
        """Change fields of the header in memory.

        With each message that it saves, the store itself changes what follows the messages: times,
        model and server. Callers write the other fields. `set_sampling` does so after this call, so
        that memory has the options even if the disk fails. `TitleWriter` and `Library` do so
        before, as the disk may refuse or correct a value.
        """
        self.header = replace(self.header, **fields)

    def add(self, message: ChatMessage) -> None:
        """Add a message to the end of the path."""
        self.messages = self.messages.added(message)
        self.change_header(updated_at=now(), message_count=self.header.message_count + 1)

    def begin_answer(self, answer: RunningAnswer) -> None:
        """Put an answer that begins at the end of its path; a summary goes to `aside`."""
        if answer.figures.is_summary:
            self.aside = self.aside.added(answer.message)
        else:
            self.messages = answer.request.path.added(answer.message)
        self.answer = answer
        self.figures = answer.figures
        self.turn.answer_id = answer.message.message_id

    def end_answer(self, answer: RunningAnswer) -> None:
        """Put an ended answer in its place, on the path or aside, and note it in the header.

        If another branch is shown by now, the answer is on neither, and nothing is replaced.
        """
        message = answer.message
        self.messages = self.messages.replaced(message)
        self.aside = self.aside.replaced(message)
        # a summary is counted when its branch is saved: `replace_path` takes over the new header
        if not answer.figures.is_summary:
            self.change_header(
                updated_at=now(),
                message_count=self.header.message_count + 1,
                model=message.model,
                endpoint=message.endpoint,
            )

    def replace(self, message: ChatMessage) -> None:
        """Replace the message of this id on the path."""
        self.messages = self.messages.replaced(message)

    def begin_branch(self, path: MessagePath) -> None:
        """Replace the path by one whose last message is new.

        Messages that are only on the old path are then on another branch.
        """
        self.messages = MessagePath(path[:-1])
        self.add(path[-1])  # `add` also counts it, and notes the time

    def leave_purged(self, messages: Sequence[ChatMessage]) -> None:
        """Become a new session with these messages, as its own was deleted permanently."""
        moment = now()
        prompts = [message for message in messages if message.role is Role.USER]
        title = title_of(prompts[0].text, prompts[0].files) if prompts else ""
        self.header = SessionHeader(
            session_id=new_id(),
            title=title,
            created_at=moment,
            updated_at=moment,
            message_count=len(messages),
            sampling=self.header.sampling,
        )
        self.messages = MessagePath(messages)
        self._earlier_id = None

    async def wait_until_saved(self) -> None:
        """Wait until no turn runs and its writes have ended or failed; nothing is stopped."""
        while running := [work for work in (self.turn.task, *self.saves) if work is not None]:
            await asyncio.wait(running)

    def keep_save(self, saving: asyncio.Task[None]) -> None:
        """Keep a running write in `saves` until it has ended, so that others can wait for it."""
        self.saves.add(saving)
        saving.add_done_callback(self.saves.discard)
