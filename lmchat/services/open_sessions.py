"""The open sessions, and the messages that wait in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import Enum, auto
from itertools import takewhile

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.config.settings import COMPACT_PROMPT, EFFORTS, ChatSettings, Profile
from lmchat.domain.message import (
    AnswerState,
    ChatMessage,
    Role,
    SentThoughts,
    new_id,
    now,
    take_files,
    text_message,
)
from lmchat.domain.request import Sampling
from lmchat.domain.server import Target
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import RequestInvalid, WrongUse
from lmchat.services.attachments import DraftFiles
from lmchat.services.backend import Backend
from lmchat.services.compacting import COMPACT_FROM, makes_room, older_part
from lmchat.services.context_meter import ContextMeter, ContextPlan, ContextUse, plan_context
from lmchat.services.conversation import Conversation, TurnSettings, still_answering
from lmchat.services.ports import ChatStore
from lmchat.services.save_queue import SavedTexts, SaveQueue
from lmchat.services.tool_loop import ApprovalAsked
from lmchat.services.tools import Toolbox
from lmchat.text import safe_line

FIRST_READ = 64
NO_PROFILE = "none"  # returns to the settings without a profile
_NO_EFFORT = "default"  # lets the server decide
LEVELS = (*EFFORTS, _NO_EFFORT)


class Queued(Struct, frozen=True, kw_only=True):
    """A message that waits for the end of the running answer, for a server, or for a model."""

    text: str
    is_held: bool = False


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
        path = self.conversation.messages
        return list(takewhile(lambda one: one.role is Role.TOOL, reversed(path)))[::-1]

    @property
    def running_calls(self) -> list[ChatMessage]:
        """The calls of the running turn that have no result yet."""
        calls = self.last_calls if self.conversation.is_running else []
        return [call for call in calls if call.state is AnswerState.STREAMING]

    @property
    def session_id(self) -> str:
        return self.conversation.header.session_id

    @property
    def is_busy(self) -> bool:
        return self.phase is not TurnPhase.NONE or self.conversation.is_running

    @property
    def is_waiting(self) -> bool:
        return not self.is_busy and bool(self.queue) and not self.queue[-1].is_held

    def require_idle(self) -> None:
        """Raise `RequestInvalid` if an answer is on its way."""
        if self.is_busy:
            raise still_answering()

    def hold(self, text: str = "") -> None:
        waiting = (
            [text, *(one.text for one in self.queue)] if text else [one.text for one in self.queue]
        )
        self.queue[:] = [Queued(text=one, is_held=True) for one in waiting]


class OpenSessions:
    """The open sessions, and the settings of the next turn."""

    def __init__(
        self,
        *,
        chat: ChatSettings,
        backend: Backend,
        store: ChatStore,
        profile_name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.chat = self._first_chat = chat
        self.profile_name = self._first_profile = profile_name  # profile in use; empty without one
        self.target: Target | None = None
        self.save_queue = SaveQueue(store)
        self.drafts = SavedTexts(store, is_draft=True)
        self.bookmarks = SavedTexts(store, is_draft=False)
        self.files = DraftFiles(store)
        self.meter = ContextMeter()
        self.toolbox: Toolbox | None = None  # tools that models may call, if any are configured
        self.unread: set[str] = set()  # sessions whose answer ended while another was shown
        self._backend = backend
        self._store = store
        self._clock = clock
        self._sessions: dict[str, OpenSession] = {}
        self.shown = self.begin()

    def begin(self) -> OpenSession:
        moment = now()
        header = SessionHeader(session_id=new_id(), title="", created_at=moment, updated_at=moment)
        return self.show(self._make(Session(header=header), self.chat.system_prompt))

    async def load(self, session_id: str) -> OpenSession:
        """Return a session to `show`: from memory where that has more than the disk."""
        if (live := self._live(session_id)) is not None:
            return live
        session = await self._store.open_session(session_id, count=FIRST_READ)
        # a turn may have begun in it while it was read
        return self._live(session_id) or self._make(session)

    def show_path(self, session: Session) -> OpenSession:
        opened = self._sessions.get(session.header.session_id)
        if opened is None:
            return self.show(self._make(session))
        opened.conversation.show_path(session)
        return self.show(opened)

    def show(self, opened: OpenSession) -> OpenSession:
        """Show a session; others stay open while memory has more of them than the disk."""
        self.shown = opened
        self._sessions = {key: one for key, one in self._sessions.items() if self._live(key)}
        self._sessions[opened.session_id] = opened
        self.unread.discard(opened.session_id)
        return opened

    def _live(self, session_id: str) -> OpenSession | None:
        one = self._sessions.get(session_id)
        is_live = one is not None and (
            one.is_busy or one.queue or self.save_queue.is_unsaved(session_id)
        )
        return one if is_live else None

    def _make(self, session: Session, system_prompt: str = "") -> OpenSession:
        conversation = Conversation(
            session,
            backend=self._backend,
            save_queue=self.save_queue,
            meter=self.meter,
            system_prompt=system_prompt,
            clock=self._clock,
        )
        return OpenSession(conversation)

    @property
    def streaming(self) -> frozenset[str]:
        return frozenset(key for key, one in self._sessions.items() if one.conversation.is_running)

    @property
    def with_question(self) -> frozenset[str]:
        """The other sessions in which a tool call waits for the user."""
        others = ((key, one) for key, one in self._sessions.items() if one is not self.shown)
        return frozenset(key for key, one in others if one.asked is not None)

    @property
    def has_tools(self) -> bool:
        """Whether some tool is offered to the model, as far as the servers have started."""
        toolbox, target = self.toolbox, self.target
        if toolbox is None or target is None or not toolbox.can_use(target):
            return False
        return any(toolbox.is_on(self.shown.session_id, tool) for tool in toolbox.tools)

    @property
    def asking(self) -> tuple[OpenSession, ...]:
        return tuple(one for one in self._sessions.values() if one.is_busy)

    def unsaved(self) -> list[SessionHeader]:
        opened = [one for key, one in self._sessions.items() if self.save_queue.is_unsaved(key)]
        return [one.conversation.header for one in opened]

    async def save_all(self) -> None:
        """Wait until every answer that ended, and all that could not be written, has been saved."""
        for opened in list(self._sessions.values()):
            await opened.conversation.wait_until_saved()
        await self.save_queue.write_unsaved()

    def is_shown(self, conversation: Conversation) -> bool:
        return conversation is self.shown.conversation

    def turn_settings(self) -> TurnSettings:
        """Return what the next turn uses; raises `RequestInvalid` without a loaded server and model."""
        target, chat = self.target, self.chat
        if target is None:
            hint = "lmchat keeps checking; F5 checks now, Ctrl+O lists models."
            raise RequestInvalid("No model server found yet.", hint=hint, kind="no_server")
        if target.is_loading:
            words = f"{target.product} is still loading its model."
            raise RequestInvalid(words, hint="Try again when it is loaded.", kind="loading")
        if not target.model_id:
            words = target.product.in_text("No LM Studio model selected")
            raise RequestInvalid(words, hint="Choose one with Ctrl+O.", kind="model_missing")
        return TurnSettings(
            target=target,
            sampling=sampling_of(chat),
            is_truncating=chat.auto_truncate,
            toolbox=self.toolbox,
        )

    def use_profile(self, name: str, profiles: Mapping[str, Profile]) -> Profile:
        """Take over the settings of a profile; raises `WrongUse` for an unknown one."""
        if name == NO_PROFILE and name not in profiles:
            if self._first_profile:
                words = f"lmchat was started with --profile {self._first_profile}."
                raise WrongUse(words, hint="To use no profile, start it without this option.")
            self.profile_name, self.chat = "", self._first_chat
            return Profile()
        if name not in profiles:
            hint = (
                f"Configured: {', '.join(profiles)}." if profiles else "No profiles are configured."
            )
            unknown = f"Unknown profile: {safe_line(name, limit=40)}."
            raise WrongUse(unknown if name else "Type a name after /profile.", hint=hint)
        self.profile_name = name
        self.chat = self._first_chat.with_profile(profiles[name])
        return profiles[name]

    def use_effort(self, level: str) -> None:
        """Set the reasoning effort, or let the server decide; raises `WrongUse` for an unknown one."""
        if level not in LEVELS:
            unknown = f"Unknown reasoning effort: {safe_line(level, limit=20)}."
            hint = f"The levels are {', '.join(LEVELS)}."
            raise WrongUse(unknown if level else "Type a level after /effort.", hint=hint)
        effort = "" if level == _NO_EFFORT else level
        self.chat = replace(self.chat, reasoning_effort=effort)
        self._first_chat = replace(self._first_chat, reasoning_effort=effort)

    def context_use(self) -> ContextUse | None:
        conversation = self.shown.conversation
        if not conversation.has_all_messages:
            return None
        use = self.meter.use(self.target, conversation.messages)
        if conversation.turn is None or not conversation.is_running:
            return use
        return replace(use, tokens=use.tokens + conversation.turn.tokens, is_estimated=True)

    def plan(self, draft: str = "") -> ContextPlan | None:
        """Return what of the shown session would be sent with a draft; None where that is not known."""
        conversation, target = self.shown.conversation, self.target
        if target is None or target.context is None or not conversation.has_all_messages:
            return None
        path = conversation.messages
        if draft:
            text, files = take_files(draft)
            message = text_message(Role.USER, text)
            path = path.added(replace(message, parts=(*files.values(), *message.parts)))
        factor = self.meter.factor(target)
        return plan_context(
            path,
            limit=target.context,
            max_tokens=self.chat.max_tokens,
            factor=factor,
            sent_thoughts=target.sent_thoughts,
        )

    @property
    def compact_prompt(self) -> str:
        return self.chat.compact_prompt.strip() or COMPACT_PROMPT

    def can_compact(self, opened: OpenSession, draft: str = "") -> bool:
        """Whether most of the window is full with a draft, and there are older messages to summarise."""
        messages = opened.conversation.messages
        use = self.meter.use(self.target, messages)
        tokens = use.tokens + self.meter.draft_tokens(self.target, draft)
        is_full = use.limit is not None and tokens >= COMPACT_FROM * use.limit
        sent_thoughts = self.target.sent_thoughts if self.target else SentThoughts.NONE
        older = older_part(messages, self.compact_prompt)
        return is_full and makes_room(older, messages, use.tokens, sent_thoughts)

    @property
    def has_to_wait(self) -> bool:
        return self.shown.is_busy or self.target is None or self.target.is_loading

    def enqueue(self, text: str) -> None:
        self.shown.queue.append(Queued(text=text))

    def pop_waiting(self) -> list[tuple[OpenSession, str]]:
        """Take out what waited for a model, one message a session."""
        waiting = [one for one in self._sessions.values() if one.is_waiting]
        held = (
            sum(1 for _ in takewhile(lambda queued: queued.is_held, one.queue)) for one in waiting
        )
        return [(one, one.queue.pop(first).text) for one, first in zip(waiting, held, strict=True)]

    def hold_waiting(self) -> None:
        for one in self._sessions.values():
            if one.queue and not one.is_busy:
                one.hold()

    def pop_queued(self, index: int) -> str:
        queue = self.shown.queue
        return queue.pop(index).text if queue and index < len(queue) else ""

    def next_after(self, opened: OpenSession) -> str | None:
        """Return the message to send after a turn; after a failure all of them are held."""
        turn = opened.conversation.turn
        if opened is not self.shown:
            self.unread.add(opened.session_id)
        if turn is not None and turn.state in (AnswerState.FAILED, AnswerState.INTERRUPTED):
            opened.hold()
            return None
        return opened.queue.pop(0).text if opened.queue else None

    def last_answer(self) -> ChatMessage | None:
        """Return the newest answer of the shown session, or the prompt that never got one."""
        said = (Role.ASSISTANT, Role.USER)
        return next(
            (one for one in reversed(self.shown.conversation.messages) if one.role in said), None
        )


def sampling_of(chat: ChatSettings) -> Sampling:
    """Return the sampling parameters of the settings."""
    return Sampling(**{name: getattr(chat, name) for name in Sampling.__struct_fields__})
