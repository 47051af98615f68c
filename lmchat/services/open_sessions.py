"""The open sessions, and the prompts that wait in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import Enum, auto

from msgspec import Struct, field

from lmchat.config.settings import ChatSettings
from lmchat.domain.message import AnswerState, ChatMessage, Role, new_id, now
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import RequestInvalid, WrongUse
from lmchat.services.attachments import DraftFiles
from lmchat.services.continuation import require_prefill
from lmchat.services.conversation import Conversation
from lmchat.services.conversation_events import still_answering_error
from lmchat.services.ports import ChatStore, ServerClient
from lmchat.services.sampling_layers import SamplingLayers
from lmchat.services.save_queue import SavedTexts, SaveQueue
from lmchat.services.tool_loop import ApprovalAsked
from lmchat.services.turn_options import NextTurn

FIRST_READ = 64  # newest messages of a session that are read before it is shown


class QueuedPrompt(Struct, frozen=True, kw_only=True):
    """A prompt that waits for the end of the running answer, for a server, or for a model."""

    text: str
    is_held: bool = False
    """Whether something failed while it waited.

    Then it is not sent as soon as a model is ready. The user sends it, or it follows the next turn
    that does not fail.
    """


class PromptQueue:
    """The prompts that wait in one session; the first one is sent next."""

    def __init__(self) -> None:
        self._prompts: list[QueuedPrompt] = []

    def __len__(self) -> int:
        return len(self._prompts)

    def __iter__(self) -> Iterator[QueuedPrompt]:
        return iter(self._prompts)

    @property
    def is_last_held(self) -> bool:
        """Whether the prompt that was added last is held; False for an empty queue."""
        return bool(self._prompts) and self._prompts[-1].is_held

    def add(self, text: str) -> None:
        self._prompts.append(QueuedPrompt(text=text))

    def add_first(self, text: str) -> None:
        """Add a prompt that is sent before all that wait already."""
        self._prompts.insert(0, QueuedPrompt(text=text))

    def put_back(self, prompts: Iterable[QueuedPrompt]) -> None:
        """Add prompts that were taken out, before all that wait now."""
        self._prompts[:0] = prompts

    def extend(self, prompts: Iterable[QueuedPrompt]) -> None:
        """Add prompts of another queue, held or not, after those that wait here."""
        self._prompts += prompts

    def hold_all(self, unsent: str = "") -> None:
        """Mark all prompts as held: they wait for the user, or for a later turn that does not fail.

        `unsent` is a prompt that could not be sent; it becomes the first one.
        """
        texts = [prompt.text for prompt in self._prompts]
        if unsent:
            texts.insert(0, unsent)
        self._prompts = [QueuedPrompt(text=text, is_held=True) for text in texts]

    def pop_first(self) -> str | None:
        """Take out the first prompt, held or not; None if the queue is empty."""
        return self._prompts.pop(0).text if self._prompts else None

    def pop_first_not_held(self) -> str | None:
        """Take out the first prompt that is not held; None if none exists."""
        for index, prompt in enumerate(self._prompts):
            if not prompt.is_held:
                del self._prompts[index]
                return prompt.text
        return None

    def pop_at(self, index: int) -> str:
        """Take out and return the prompt at `index`, of which -1 is the newest one.

        Return an empty text if it is not there any more.
        """
        is_there = -len(self._prompts) <= index < len(self._prompts)
        return self._prompts.pop(index).text if is_there else ""

    def pop_all(self) -> tuple[QueuedPrompt, ...]:
        """Empty the queue and return its prompts."""
        prompts = tuple(self._prompts)
        self._prompts.clear()
        return prompts


class TurnPhase(Enum):
    """Phase of the turn of an open session."""

    NONE = auto()
    RUNNING = auto()
    STOPPING = auto()


class OpenSession(Struct):
    """A session in memory, with its queued prompts and the tool call that waits for approval."""

    conversation: Conversation
    queue: PromptQueue = field(default_factory=PromptQueue)
    phase: TurnPhase = TurnPhase.NONE  # set by the screen, which runs the turn
    asked: ApprovalAsked | None = None  # the tool call that waits until the user decides

    @property
    def last_calls(self) -> list[ChatMessage]:
        """The tool messages at the end of the path, oldest first."""
        calls: list[ChatMessage] = []
        for message in reversed(self.conversation.messages):
            if message.role is not Role.TOOL:
                break
            calls.append(message)
        calls.reverse()
        return calls

    @property
    def running_calls(self) -> list[ChatMessage]:
        """The tool messages of the running turn that have no result yet."""
        if not self.conversation.is_running:
            return []
        return [call for call in self.last_calls if call.state is AnswerState.STREAMING]

    @property
    def last_answer_or_prompt(self) -> ChatMessage | None:
        """The last message on the path that is an answer or a prompt; None before the first prompt.

        Commands that are not about a certain message act on it.
        """
        for message in reversed(self.conversation.messages):
            if message.role in (Role.ASSISTANT, Role.USER):
                return message
        return None

    @property
    def session_id(self) -> str:
        return self.conversation.header.session_id

    @property
    def is_busy(self) -> bool:
        """Whether a turn runs, also before its first request and while it is being stopped."""
        return self.phase is not TurnPhase.NONE or self.conversation.is_running

    @property
    def is_waiting(self) -> bool:
        """Whether prompts wait for a server or a model, to be sent as soon as one is ready.

        While a turn runs, they wait for its end instead. Held ones wait for the user. New prompts
        come behind the held ones: if the last one is held, all are.
        """
        if self.is_busy or not self.queue:
            return False
        return not self.queue.is_last_held

    def require_idle(self) -> None:
        """Raise `RequestInvalid` if a turn runs in this session."""
        if self.is_busy:
            raise still_answering_error()

    def require_free_end(self) -> None:
        """Raise `RequestInvalid` if a turn runs that adds further messages to the end of the path.

        It may run tools, whose messages have to follow their calls, or it writes a summary, which
        is not on the disk before its end. Behind any other answer, a message may be added.
        """
        turn = self.conversation.turn
        is_summary = turn is not None and turn.is_summary
        if self.conversation.may_call_tools or is_summary:
            self.require_idle()

    def pop_next_prompt(self) -> str | None:
        """Take out the prompt to send after a turn that has ended; None for an empty queue.

        After a failed or interrupted turn, return None: all prompts stay in the queue and are held,
        because the next one would probably fail, too.
        """
        turn = self.conversation.turn
        if turn is not None and turn.state in (AnswerState.FAILED, AnswerState.INTERRUPTED):
            self.queue.hold_all()
            return None
        return self.queue.pop_first()


class OpenSessions:
    """The sessions in memory: the shown one, and others that cannot be read from the disk yet.

    Those are sessions with a running turn, with prompts in the queue, with unsaved messages, or
    with words for the beginning of the next answer.
    """

    def __init__(
        self,
        *,
        chat: ChatSettings,
        backend: ServerClient,
        store: ChatStore,
        profile_name: str = "",
        layers: SamplingLayers | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.next_turn = NextTurn(chat, profile_name, layers)
        self.save_queue = SaveQueue(store)
        self.drafts = SavedTexts(store, is_draft=True)
        self.bookmarks = SavedTexts(store, is_draft=False)
        self.files = DraftFiles(store)
        self.unread: set[str] = set()  # sessions whose answer ended while another was shown
        self._backend = backend
        self._store = store
        self._clock = clock
        self._sessions: dict[str, OpenSession] = {}
        self._newest: Conversation | None = None  # of the new session that was begun last
        self.shown = self.begin()

    def begin(self) -> OpenSession:
        """Create a session with the system prompt of the options, `show` it and return it.

        If nothing was sent in the session that was created last, the new one takes over its
        sampling options: like the draft of a new session, they are kept for the next one.
        """
        moment = now()
        sampling: Mapping[str, object] = {}
        if self._newest is not None and not self._newest.messages:
            sampling = self._newest.header.sampling
        header = SessionHeader(
            session_id=new_id(), title="", created_at=moment, updated_at=moment, sampling=sampling
        )
        system_prompt = self.next_turn.options.chat.system_prompt
        opened = self.show(self._make(Session(header=header), system_prompt))
        self._newest = opened.conversation
        return opened

    async def load(self, session_id: str) -> OpenSession:
        """Return a session, which is not shown yet: from memory if the disk lacks a part of it.

        Otherwise its newest messages are read from the disk.
        """
        in_memory = self._find_ahead_of_disk(session_id)
        if in_memory is not None:
            return in_memory
        session = await self._store.open_session(session_id, count=FIRST_READ)
        in_memory = self._find_ahead_of_disk(session_id)  # a turn may have begun during the read
        return self._make(session) if in_memory is None else in_memory

    def require_free_path(self, session_id: str) -> None:
        """Raise `RequestInvalid` if another branch of a session cannot be shown now.

        That is while a turn runs that may call tools: it adds its calls and further answers to the
        path that is shown.
        """
        opened = self._sessions.get(session_id)
        if opened and opened.is_busy and opened.conversation.may_call_tools:
            raise RequestInvalid(
                "An answer that may use tools is still running: no other branch can be shown.",
                hint="Wait for its end, or press Esc to stop it.",
            )

    def show_path(self, session: Session) -> OpenSession:
        """Show a session with a path that was read from the disk, and return it.

        If the session is open, its messages are replaced by this path.
        """
        opened = self._sessions.get(session.header.session_id)
        if opened is None:
            return self.show(self._make(session))
        opened.conversation.show_path(session)
        return self.show(opened)

    def show(self, opened: OpenSession) -> OpenSession:
        """Show a session and return it; drop the others that can be read from the disk again."""
        self.shown = opened
        self._sessions = {
            session_id: other
            for session_id, other in self._sessions.items()
            if self._is_ahead_of_disk(other)
        }
        self._sessions[opened.session_id] = opened
        self.unread.discard(opened.session_id)
        return opened

    def _find_ahead_of_disk(self, session_id: str) -> OpenSession | None:
        """Return the open session of this id; None without one, or if the disk has all of it."""
        opened = self._sessions.get(session_id)
        if opened is None or not self._is_ahead_of_disk(opened):
            return None
        return opened

    def _is_ahead_of_disk(self, opened: OpenSession) -> bool:
        """Whether a session has something that is not on the disk, as the class says."""
        if opened.is_busy or opened.queue or opened.conversation.first_words:
            return True
        return self.save_queue.is_unsaved(opened.session_id)

    def _make(self, session: Session, system_prompt: str = "") -> OpenSession:
        """Return an open session for `session`.

        If that has no messages yet, `system_prompt` is put before its first prompt.
        """
        conversation = Conversation(
            session,
            backend=self._backend,
            save_queue=self.save_queue,
            meter=self.next_turn.meter,
            system_prompt=system_prompt,
            clock=self._clock,
        )
        return OpenSession(conversation)

    @property
    def streaming(self) -> frozenset[str]:
        """The ids of the sessions with a running answer."""
        running = [opened for opened in self._sessions.values() if opened.conversation.is_running]
        return frozenset(opened.session_id for opened in running)

    @property
    def with_question(self) -> frozenset[str]:
        """The ids of the other sessions in which a tool call waits for the user."""
        others = [opened for opened in self._sessions.values() if opened is not self.shown]
        return frozenset(opened.session_id for opened in others if opened.asked is not None)

    @property
    def busy(self) -> tuple[OpenSession, ...]:
        return tuple(opened for opened in self._sessions.values() if opened.is_busy)

    def with_ids(self, session_ids: Collection[str]) -> tuple[OpenSession, ...]:
        """Return the open sessions that have one of these ids."""
        return tuple(
            opened for session_id, opened in self._sessions.items() if session_id in session_ids
        )

    def unsaved(self) -> list[SessionHeader]:
        """Return the headers of the open sessions with messages that are not on the disk."""
        headers = [opened.conversation.header for opened in self._sessions.values()]
        return [header for header in headers if self.save_queue.is_unsaved(header.session_id)]

    def leave_answers(self) -> None:
        """Let servers continue the answers that they can keep, as the terminal is gone (R-42)."""
        self._backend.leave_answers()
        for opened in self._sessions.values():
            opened.conversation.is_hung_up = True

    async def save_all(self) -> None:
        """Wait until the ended answers are saved, then try once more to write what failed."""
        for opened in list(self._sessions.values()):
            await opened.conversation.wait_until_saved()
        await self.save_queue.write_unsaved()

    def is_shown(self, conversation: Conversation) -> bool:
        return conversation is self.shown.conversation

    def mark_unread(self, opened: OpenSession) -> None:
        """Mark a session whose answer has ended as unread, unless it is the shown one."""
        if opened is not self.shown:
            self.unread.add(opened.session_id)

    def use_first_words(self, words: str) -> None:
        """Let the next answer of the shown session begin with words; blank words take them back.

        Blanks at their end are left out (R-43). Raises `RequestInvalid` if the server in use cannot
        continue them, and `WrongUse` if there are no words to take back.
        """
        conversation = self.shown.conversation
        words = words.rstrip()
        if not words and not conversation.first_words:
            raise WrongUse("Type a text after /start.", hint="The next answer begins with it.")
        target = self.next_turn.target
        if words and target is not None:
            require_prefill(target)
        conversation.first_words = words

    # The queues

    @property
    def has_to_wait(self) -> bool:
        """Whether a prompt of the shown session cannot be sent now."""
        return self.shown.is_busy or not self.next_turn.options.is_ready

    def pop_waiting(self) -> list[tuple[OpenSession, str]]:
        """Take the first prompt that is not held out of the queue of each session that waits.

        Return the sessions with these prompts. For a session that waits, see `is_waiting`.
        """
        popped: list[tuple[OpenSession, str]] = []
        for opened in self._sessions.values():
            text = opened.queue.pop_first_not_held() if opened.is_waiting else None
            if text is not None:
                popped.append((opened, text))
        return popped

    def hold_waiting(self) -> None:
        """Hold the prompts of all sessions without a running turn: no model can answer them."""
        for opened in self._sessions.values():
            if not opened.is_busy:
                opened.queue.hold_all()
