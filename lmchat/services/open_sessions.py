"""The open sessions: the shown one, those that answer behind it, and messages that wait to be sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice, takewhile

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.config.settings import ChatSettings, Profile
from lmchat.domain.context import ContextPlan
from lmchat.domain.message import AnswerState, ChatMessage, Role, new_id, now, text_message
from lmchat.domain.request import Sampling
from lmchat.domain.server import Target
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import LMChatError, RequestInvalid
from lmchat.services.context_meter import ContextMeter, ContextUse
from lmchat.services.conversation import Conversation, HowToAsk, still_answering
from lmchat.services.ports import Backend, ChatStore
from lmchat.services.save_queue import Drafts, SaveQueue


class Bookmarks:
    """Keeps a place by session, in words that only the log understands; empty for the end."""

    def __init__(self, store: ChatStore) -> None:
        self._store = store
        self._places: dict[str, str] = {}
        self._written: dict[str, str] = {}

    async def find(self, session_id: str) -> str:
        """Return where one was; what cannot be read is the end."""
        if session_id not in self._places:
            try:
                place = await self._store.place(session_id)
            except LMChatError:
                place = ""
            self._written.setdefault(session_id, place)
            self._places.setdefault(session_id, place)
        return self._places[session_id]

    def is_at(self, session_id: str, place: str) -> bool:
        """Whether that is noted already; one that was never noted is at its end."""
        return self._places.get(session_id, "") == place

    def note(self, session_id: str, place: str) -> None:
        self._places[session_id] = place

    async def write(self) -> None:
        """Write what has changed; after an `LMChatError`, the next call tries again."""
        for session_id, place in list(self._places.items()):
            if self._written.get(session_id, "") != place:
                await self._store.save_place(session_id, place)
                self._written[session_id] = place


class Queued(Struct, frozen=True, kw_only=True):
    """A message that waits: for the end of the running answer, for a server, or for a model."""

    text: str
    is_held: bool = False
    """Whether it stays because the answer before it failed."""


class OpenSession(Struct):
    """A session that is open, with what waits in it."""

    conversation: Conversation
    queue: list[Queued] = field(default_factory=list)
    is_asking: bool = False
    """Whether a turn was begun; true before the prompt is on the disk and its request on the way."""
    is_stopping: bool = False

    @property
    def is_busy(self) -> bool:
        return self.is_asking or self.conversation.is_running

    @property
    def is_waiting(self) -> bool:
        """Whether what was said last waits for a server or a model, and for nothing else."""
        return not self.is_busy and bool(self.queue) and not self.queue[-1].is_held

    @property
    def first_waiting(self) -> int:
        """Place of the first message that is not held; the number of all where every one is."""
        return sum(1 for _ in takewhile(lambda one: one.is_held, self.queue))

    def require_rest(self) -> None:
        """Refuse to begin a second turn; raises `RequestInvalid` if an answer is on its way."""
        if self.is_busy:
            raise still_answering()

    def hold(self, text: str = "") -> None:
        """Send nothing of what waits by itself; a text that could not be sent waits first."""
        waiting = [text, *(one.text for one in self.queue)] if text else [one.text for one in self.queue]
        self.queue[:] = [Queued(text=one, is_held=True) for one in waiting]


FIRST_READ = 64
"""Messages of a session that are read before it is shown: more than a screen holds."""


class OpenSessions:
    """The open sessions, and the settings of the next turn."""

    def __init__(
        self,
        *,
        chat: ChatSettings,
        backend: Backend,
        store: ChatStore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.chat = self._first_chat = chat
        self.target: Target | None = None
        self.save_queue = SaveQueue(store)
        self.drafts = Drafts(store)
        self.bookmarks = Bookmarks(store)
        self.meter = ContextMeter()
        self.unread: set[str] = set()
        """Sessions whose answer ended while another was shown."""
        self._backend = backend
        self._store = store
        self._clock = clock
        self._open: dict[str, OpenSession] = {}
        self.shown = self.begin()

    def begin(self) -> OpenSession:
        moment = now()
        header = SessionHeader(session_id=new_id(), title="", created_at=moment, updated_at=moment)
        return self.show(OpenSession(self._make(Session(header=header), self.chat.system_prompt)))

    async def open(self, session_id: str) -> OpenSession:
        """Fetch a session and show it."""
        return self.show(await self.fetch(session_id))

    async def fetch(self, session_id: str) -> OpenSession:
        """Return a session to `show`: the live one where more of it is in memory, else that on the disk."""
        live = self._open.get(session_id)
        if live is not None and self._is_live(live):
            return live
        session = await self._store.open_end(session_id, count=FIRST_READ)
        live = self._open.get(session_id)  # something may have begun in it meanwhile
        if live is not None and self._is_live(live):
            return live
        return OpenSession(self._make(session, ""))

    def adopt(self, session: Session) -> OpenSession:
        """Show a session that was just read, as another path of an open one or as a fork."""
        opened = self._open.get(session.header.session_id)
        if opened is None:
            opened = OpenSession(self._make(session, ""))
        else:
            opened.conversation.adopt(session)
        return self.show(opened)

    def show(self, opened: OpenSession) -> OpenSession:
        """Show a session; those are kept open of which there is more than on the disk."""
        self.shown = opened
        session_id = opened.conversation.header.session_id
        self._open = {key: one for key, one in self._open.items() if self._is_live(one)}
        self._open[session_id] = opened
        self.unread.discard(session_id)
        return opened

    def _is_live(self, opened: OpenSession) -> bool:
        """Whether memory holds more of a session than the disk."""
        session_id = opened.conversation.header.session_id
        return opened.is_busy or bool(opened.queue) or self.save_queue.is_missing(session_id)

    def _make(self, session: Session, system_prompt: str) -> Conversation:
        return Conversation(
            session,
            backend=self._backend,
            save_queue=self.save_queue,
            meter=self.meter,
            system_prompt=system_prompt,
            clock=self._clock,
        )

    @property
    def streaming(self) -> frozenset[str]:
        return frozenset(key for key, one in self._open.items() if one.conversation.is_running)

    @property
    def asking(self) -> tuple[OpenSession, ...]:
        return tuple(one for one in self._open.values() if one.is_busy)

    def unsaved(self) -> list[SessionHeader]:
        headers = [opened.conversation.header for opened in self._open.values()]
        return [header for header in headers if self.save_queue.is_missing(header.session_id)]

    async def settle(self) -> None:
        """Wait until every answer that was stopped is on the disk."""
        for opened in list(self._open.values()):
            await opened.conversation.settled()
        await self.save_queue.catch_up()

    def is_shown(self, conversation: Conversation) -> bool:
        """Whether this is the session on the screen."""
        return conversation is self.shown.conversation

    def how_to_ask(self) -> HowToAsk:
        """Return what the next turn uses; raises `RequestInvalid` without a loaded server and model."""
        if self.target is None:
            raise RequestInvalid(
                "No model server was found yet.",
                hint="lmchat goes on looking; F5 looks now, Ctrl+O lists models.",
                kind="no_server",
            )
        if self.target.is_loading:
            raise RequestInvalid(
                f"{self.target.product} is still loading its model.",
                hint="Try again when it is loaded.",
                kind="loading",
            )
        if not self.target.model_id:
            raise RequestInvalid(
                self.target.product.in_text("No LM Studio model selected"),
                hint="Choose one with Ctrl+O.",
                kind="model_missing",
            )
        return self._how(self.target)

    def _how(self, target: Target) -> HowToAsk:
        chat = self.chat
        sampling = Sampling(
            temperature=chat.temperature,
            top_p=chat.top_p,
            max_tokens=chat.max_tokens,
            stop=chat.stop,
            seed=chat.seed,
            reasoning_effort=chat.reasoning_effort,
            keep_loaded_s=chat.keep_loaded_s,
        )
        return HowToAsk(target=target, sampling=sampling, is_truncating=chat.auto_truncate)

    def use_profile(self, profile: Profile) -> None:
        """Use a profile from the next turn on; values it leaves unset are those of the start."""
        self.chat = self._first_chat.with_profile(profile)

    def use_effort(self, effort: str) -> None:
        """Have models think so much from the next turn on, unless a profile says otherwise."""
        self.chat = replace(self.chat, reasoning_effort=effort)
        self._first_chat = replace(self._first_chat, reasoning_effort=effort)

    def context_use(self) -> ContextUse | None:
        """Return the use of the window with a running answer; None while only the session's end was read."""
        conversation = self.shown.conversation
        if not conversation.is_whole:
            return None
        use = self.meter.use(self.target, conversation.messages)
        turn = conversation.turn
        if turn is None or not turn.is_running:
            return use
        return replace(use, tokens=use.tokens + turn.tokens, is_estimated=True)

    def plan(self, draft: str = "") -> ContextPlan | None:
        """Return what of the shown session would be sent with a draft; None where that is not known."""
        if self.target is None or self.target.model is None or self.target.model.context is None:
            return None
        if not self.shown.conversation.is_whole:
            return None
        path = self.shown.conversation.messages
        if draft:
            path = path.added(text_message(Role.USER, draft))
        return self.meter.plan(self.target, path, max_tokens=self.chat.max_tokens)

    @property
    def has_to_wait(self) -> bool:
        """Whether what is said now goes out later: after an answer, or with a server and its model."""
        return self.shown.is_busy or self.target is None or self.target.is_loading

    def enqueue(self, text: str) -> None:
        self.shown.queue.append(Queued(text=text))

    def take_waiting(self) -> list[tuple[OpenSession, str]]:
        """Take out what waited for a model, one message a session; the others follow its answer."""
        return [(one, one.queue.pop(one.first_waiting).text) for one in self._open.values() if one.is_waiting]

    def hold_waiting(self) -> None:
        """Send nothing by itself of what waited for a model: it cannot be had."""
        for one in self._open.values():
            if one.queue and not one.is_busy:
                one.hold()

    def take_queued(self, index: int) -> str:
        """Take a waiting message out again, to edit or to drop it; nothing where it has just gone out."""
        return self.shown.queue.pop(index).text if index < len(self.shown.queue) else ""

    def next_after(self, opened: OpenSession) -> str | None:
        """After a turn has ended, return what goes out now; after a failure all of it is held."""
        state = opened.conversation.turn.state if opened.conversation.turn else AnswerState.COMPLETE
        if not self.is_shown(opened.conversation):
            self.unread.add(opened.conversation.header.session_id)
        if state in (AnswerState.FAILED, AnswerState.INTERRUPTED):
            opened.hold()
            return None
        return opened.queue.pop(0).text if opened.queue else None

    def last_answer(self) -> ChatMessage | None:
        """Return the newest answer of the shown session, or the prompt that never got one."""
        for message in reversed(self.shown.conversation.messages):
            if message.role in (Role.ASSISTANT, Role.USER):
                return message
        return None


_LOOKED_AT = 64
"""Newest messages of a path among which such an answer can be: nobody says more while one comes."""


def written_elsewhere(conversation: Conversation) -> tuple[ChatMessage, ...]:
    """Return the answers on the path that are on their way, and not from here; mostly there are none."""
    own = conversation.running
    return tuple(
        message
        for message in islice(reversed(conversation.messages), _LOOKED_AT)
        if message.state is AnswerState.STREAMING and (own is None or own.message_id != message.message_id)
    )
