"""The open sessions, and the messages that wait in them."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum, auto
from itertools import takewhile

from msgspec import Struct, field

from lmchat.config.settings import ChatSettings
from lmchat.domain.message import AnswerState, ChatMessage, Role, new_id, now
from lmchat.domain.session import Session, SessionHeader
from lmchat.services.attachments import DraftFiles
from lmchat.services.conversation import Conversation, still_answering
from lmchat.services.ports import ChatStore, ServerClient
from lmchat.services.save_queue import SavedTexts, SaveQueue
from lmchat.services.tool_loop import ApprovalAsked
from lmchat.services.turn_options import NextTurn

FIRST_READ = 64  # newest messages of a session that are read before it is shown


class Queued(Struct, frozen=True, kw_only=True):
    """A message that waits for the end of the running answer, for a server, or for a model."""

    text: str
    is_held: bool = False  # whether it waits until the user sends it


class TurnPhase(Enum):
    """Phase of the turn of an open session."""

    NONE = auto()
    RUNNING = auto()
    STOPPING = auto()


class OpenSession(Struct):
    """A session that is open, with what waits in it."""

    conversation: Conversation
    queue: list[Queued] = field(default_factory=list)
    phase: TurnPhase = TurnPhase.NONE
    asked: ApprovalAsked | None = None  # the tool call that waits until the user decides

    @property
    def last_calls(self) -> list[ChatMessage]:
        """The tool messages at the end of the path, in order."""
        newest_first = reversed(self.conversation.messages)
        calls = takewhile(lambda message: message.role is Role.TOOL, newest_first)
        return list(calls)[::-1]

    @property
    def running_calls(self) -> list[ChatMessage]:
        """The calls of the running turn that have no result yet."""
        calls = self.last_calls if self.conversation.is_running else []
        return [call for call in calls if call.state is AnswerState.STREAMING]

    @property
    def last_answer(self) -> ChatMessage | None:
        """The newest answer, or the prompt that never got one."""
        for message in reversed(self.conversation.messages):
            if message.role in (Role.ASSISTANT, Role.USER):
                return message
        return None

    @property
    def session_id(self) -> str:
        return self.conversation.header.session_id

    @property
    def is_busy(self) -> bool:
        return self.phase is not TurnPhase.NONE or self.conversation.is_running

    @property
    def is_waiting(self) -> bool:
        """Whether its newest message waits for a server or a model."""
        if self.is_busy or not self.queue:
            return False
        return not self.queue[-1].is_held

    def require_idle(self) -> None:
        """Raise `RequestInvalid` if an answer is on its way."""
        if self.is_busy:
            raise still_answering()

    def hold(self, text: str = "") -> None:
        """Hold what waits until the user sends it, and before that a text that was not sent."""
        waiting = [queued.text for queued in self.queue]
        if text:
            waiting.insert(0, text)
        self.queue[:] = [Queued(text=held, is_held=True) for held in waiting]

    def pop_not_held(self) -> str:
        """Take out the first message that is not held."""
        for place, queued in enumerate(self.queue):
            if not queued.is_held:
                del self.queue[place]
                return queued.text
        return ""


class OpenSessions:
    """The sessions in memory: the shown one, and others that memory has more of than the disk."""

    def __init__(
        self,
        *,
        chat: ChatSettings,
        backend: ServerClient,
        store: ChatStore,
        profile_name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.next_turn = NextTurn(chat, profile_name)
        self.save_queue = SaveQueue(store)
        self.drafts = SavedTexts(store, is_draft=True)
        self.bookmarks = SavedTexts(store, is_draft=False)
        self.files = DraftFiles(store)
        self.unread: set[str] = set()  # sessions whose answer ended while another was shown
        self._backend = backend
        self._store = store
        self._clock = clock
        self._sessions: dict[str, OpenSession] = {}
        self.shown = self.begin()

    def begin(self) -> OpenSession:
        """Show a new session."""
        moment = now()
        header = SessionHeader(session_id=new_id(), title="", created_at=moment, updated_at=moment)
        system_prompt = self.next_turn.options.chat.system_prompt
        return self.show(self._make(Session(header=header), system_prompt))

    async def load(self, session_id: str) -> OpenSession:
        """Return a session to `show`: from memory where that has more than the disk."""
        live = self._live(session_id)
        if live is not None:
            return live
        session = await self._store.open_session(session_id, count=FIRST_READ)
        # a turn may have begun in it while it was read
        return self._live(session_id) or self._make(session)

    def show_path(self, session: Session) -> OpenSession:
        """Show a path that was read from the disk, in its open session if there is one."""
        opened = self._sessions.get(session.header.session_id)
        if opened is None:
            return self.show(self._make(session))
        opened.conversation.show_path(session)
        return self.show(opened)

    def show(self, opened: OpenSession) -> OpenSession:
        """Show a session; others stay open while memory has more of them than the disk."""
        self.shown = opened
        live = {key: other for key, other in self._sessions.items() if self._live(key)}
        self._sessions = live | {opened.session_id: opened}
        self.unread.discard(opened.session_id)
        return opened

    def _live(self, session_id: str) -> OpenSession | None:
        """Return a session of which memory has more than the disk."""
        opened = self._sessions.get(session_id)
        if opened is None:
            return None
        is_live = opened.is_busy or opened.queue or self.save_queue.is_unsaved(session_id)
        return opened if is_live else None

    def _make(self, session: Session, system_prompt: str = "") -> OpenSession:
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

    def unsaved(self) -> list[SessionHeader]:
        headers = [opened.conversation.header for opened in self._sessions.values()]
        return [header for header in headers if self.save_queue.is_unsaved(header.session_id)]

    async def save_all(self) -> None:
        """Wait until every answer that ended, and all that could not be written, is saved."""
        for opened in list(self._sessions.values()):
            await opened.conversation.wait_until_saved()
        await self.save_queue.write_unsaved()

    def is_shown(self, conversation: Conversation) -> bool:
        return conversation is self.shown.conversation

    # The queue

    @property
    def has_to_wait(self) -> bool:
        """Whether a prompt of the shown session cannot be sent now."""
        return self.shown.is_busy or not self.next_turn.options.is_ready

    def enqueue(self, text: str) -> None:
        self.shown.queue.append(Queued(text=text))

    def pop_waiting(self) -> list[tuple[OpenSession, str]]:
        """Take out what waited for a model, one message a session."""
        waiting = [opened for opened in self._sessions.values() if opened.is_waiting]
        return [(opened, opened.pop_not_held()) for opened in waiting]

    def hold_waiting(self) -> None:
        for opened in self._sessions.values():
            if opened.queue and not opened.is_busy:
                opened.hold()

    def pop_queued(self, index: int) -> str:
        """Take a message out of the queue; empty if it was sent in the meantime."""
        queue = self.shown.queue
        return queue.pop(index).text if queue and index < len(queue) else ""

    def take_next_after(self, opened: OpenSession) -> str | None:
        """Return the message to send after a turn; after a failure all of them are held."""
        turn = opened.conversation.turn
        if opened is not self.shown:
            self.unread.add(opened.session_id)
        if turn is not None and turn.state in (AnswerState.FAILED, AnswerState.INTERRUPTED):
            opened.hold()
            return None
        return opened.queue.pop(0).text if opened.queue else None
