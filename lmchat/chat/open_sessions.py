"""The open sessions, and the prompts that wait in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from enum import Enum, auto

from msgspec import Struct, field

from lmchat.chat.attachments import DraftFiles
from lmchat.chat.continuation import require_prefill
from lmchat.chat.conversation import Conversation
from lmchat.chat.events import still_answering_error
from lmchat.chat.options import NextTurn
from lmchat.chat.ports import ChatStore, ServerClient
from lmchat.chat.sampling_layers import SamplingLayers
from lmchat.chat.save_queue import SavedTexts, SaveQueue
from lmchat.chat.tool_rounds import ApprovalAsked
from lmchat.config.settings import ChatSettings
from lmchat.errors import RequestInvalid, WrongUse
from lmchat.sessions.message import AnswerState, ChatMessage, Role, new_id, now
from lmchat.sessions.session import Session, SessionHeader

FIRST_READ = 64  # newest messages of a session that are read before it is shown


class TurnPhase(Enum):
    """Phase of the turn of an open session."""

    NONE = auto()
    RUNNING = auto()
    STOPPING = auto()


class OpenSession(Struct):
    """A session in memory, with its queued prompts and the tool call that waits for approval."""

    conversation: Conversation
    queue: list[str] = field(default_factory=list)
    """Prompts that wait for the end of the running answer, for a server, or for a model."""
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

        While a turn runs, they wait for its end instead.
        """
        return bool(self.queue) and not self.is_busy

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

        After a failed or interrupted turn, return None, and leave all prompts in the queue: the
        next one would probably fail, too.
        """
        turn = self.conversation.turn
        has_failed = turn is not None and turn.state in (
            AnswerState.FAILED,
            AnswerState.INTERRUPTED,
        )
        return self.queue.pop(0) if self.queue and not has_failed else None


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

    @property
    def waiting(self) -> tuple[OpenSession, ...]:
        """The sessions with prompts that wait for a server or a model."""
        return tuple(opened for opened in self._sessions.values() if opened.is_waiting)
