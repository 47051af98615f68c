"""Interfaces to servers, disk and tools."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol

from lmchat.servers.discovery.catalogue import ModelSource
from lmchat.servers.discovery.probe_result import ProbeResult
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.events import PromptProgress, StreamEvent
from lmchat.servers.model import ModelInfo
from lmchat.servers.request import (
    SERVER_DECIDES,
    ChatRequest,
    ForwardedReply,
    ForwardedRequest,
    LoadOptions,
    OutgoingRequest,
    TemplateText,
    Tool,
)
from lmchat.sessions.message import ChatMessage, TokenProbabilities
from lmchat.sessions.session import MessagePath, SearchHit, Session, SessionHeader
from lmchat.sessions.stats import Budget, Metrics, TurnRecord
from lmchat.tools.tool import ToolResult, ToolServer


class FigureStore(Protocol):
    """Figures of turns on the disk, also of temporary chats."""

    async def add_turn_record(self, row: TurnRecord) -> None: ...

    async def turn_records(self, *, since: datetime | None = None) -> tuple[TurnRecord, ...]:
        """Return the figures of turns that ended after `since`, oldest first."""

    async def speeds(self) -> Mapping[tuple[str, str], float]:
        """Return median tokens per second by (endpoint URL, model)."""


class ChatStore(Protocol):
    """The disk; every method runs off the event loop and may raise `StoreUnavailable`."""

    @property
    def figures(self) -> FigureStore: ...

    # The file

    async def open(self) -> str:
        """Open the file; return a notice about it, if any."""

    async def daily_check(self) -> str:
        """Check and copy the file once a day; return a notice about it, if any."""

    async def aclose(self) -> None: ...

    # Sessions

    async def list_sessions(self, *, is_trash: bool = False) -> tuple[SessionHeader, ...]: ...

    async def find(self, id_or_prefix: str) -> str:
        """Return the full id of a session for its first 4 or more characters, or for "last".

        Raises `SessionNotFound`.
        """

    async def open_session(self, session_id: str, *, count: int | None = None) -> Session:
        """Read a session with its chosen path, or with the last `count` messages of it."""

    async def update_session(self, session_id: str, changes: Mapping[str, object]) -> SessionHeader:
        """Change `title`, `is_pinned`, `is_archived`, `deleted_at`, `tags` or `sampling`."""

    async def fork(self, session_id: str, message_id: str) -> Session:
        """Copy the path up to a message into a new session."""

    async def purge(self, *session_ids: str, is_with_messages: bool = False) -> None:
        """Delete sessions permanently, with all files that have their text.

        If `is_with_messages`, delete also all messages of other sessions that were deleted.
        """

    async def deleted_message_count(self) -> int:
        """Return how many deleted messages of all sessions can be restored."""

    async def import_session(self, session: Session) -> SessionHeader | None:
        """Write a session with all branches, all or nothing, and return None.

        If a session with its id exists, write nothing, and return the header of that.
        """

    async def search(self, query: str, *, limit: int = 20) -> tuple[SearchHit, ...]:
        """Return at most `limit` messages that contain the words of a query."""

    # Messages

    async def read_back(
        self, session_id: str, message_id: str, *, count: int
    ) -> tuple[MessagePath, str | None]:
        """Read the last `count` messages of the path that ends with the message `message_id`.

        Return them and the id of the message before them; that is None if the first message of the
        session was read.
        """

    async def has_message(self, message_id: str) -> bool:
        """Return whether a message exists, also a deleted one that can be restored."""

    async def append(self, session: SessionHeader, message: ChatMessage) -> None:
        """Write a message durably as the new leaf; the first one creates the session."""

    async def append_branch(
        self, session: SessionHeader, messages: Sequence[ChatMessage]
    ) -> Session:
        """Write messages that follow each other, all or none, and return the path with them."""

    async def begin_answer(
        self, session_id: str, message: ChatMessage, *, has_prompt: bool = True
    ) -> None:
        """Create the file of an answer that is about to stream, and its row in the database.

        `has_prompt` is False if its prompt is not on the disk; then `finish` writes the row.
        """

    async def add_entries(self, message_id: str, pieces: Sequence[tuple[str, str]]) -> None:
        """Append pieces to the file of a running answer.

        A piece is the kind of a text and its next characters. Pieces after the piece `RESET` of
        `sessions/message.py` replace all earlier ones.
        """

    async def finish(
        self, session_id: str, message: ChatMessage, choices: Sequence[TokenProbabilities] = ()
    ) -> None:
        """Write an ended answer durably, and delete the file of its pieces.

        `choices` are those of its tokens; without any, those that are stored stay.
        """

    async def token_choices(self, message_id: str) -> tuple[TokenProbabilities, ...]:
        """Return the choices of the tokens of an answer; none if they were not asked for."""

    async def delete_message(self, session_id: str, message_id: str) -> Session:
        """Hide a message and those below it until `restore_message`; return the path left."""

    async def restore_message(self, session_id: str, message_id: str) -> Session:
        """Undo the deletion of a message, and return the path with it."""

    async def last_deleted_message(self, session_id: str) -> str | None:
        """Return the id of the message that was deleted last; None if none exists."""

    async def set_excluded(
        self, session_id: str, message_ids: Sequence[str], *, is_excluded: bool
    ) -> None:
        """Take messages out of all requests, or put them back; they stay in the session."""

    # Branches

    async def tree(self, session_id: str) -> tuple[ChatMessage, ...]:
        """Return the messages of all branches, oldest first."""

    async def set_leaf(self, session_id: str, message_id: str) -> Session:
        """Choose and return the path through a message, down to the newest leaf below it."""

    # Attached files

    async def save_file(self, data: bytes) -> str:
        """Write the content of an attached file durably, once, and return its digest."""

    async def read_file(self, digest: str) -> bytes:
        """Return the content of an attached file.

        Raises `StoreUnavailable` if it is missing or damaged.
        """

    # Prompts, drafts and reading positions

    async def prompt_history(self, *, limit: int = 200) -> tuple[str, ...]:
        """Return earlier prompts, newest first, each once; none of deleted sessions."""

    async def draft(self, session_id: str) -> str:
        """Return the draft of a session, or an empty text."""

    async def save_draft(self, session_id: str, text: str) -> None:
        """Save a draft; an empty one is removed."""

    async def bookmark(self, session_id: str) -> str:
        """Return the reading position of a session as a text, or an empty text."""

    async def save_bookmark(self, session_id: str, bookmark: str) -> None: ...


class ModelServer(Protocol):
    """The part of all model servers that turns use; all of it may raise `LMChatError`."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Send a turn and yield its events, up to `StreamFinished`; close it with `aclosing`."""

    def read_ahead(self, request: ChatRequest) -> AsyncGenerator[PromptProgress, None]:
        """Let the server read a prompt into its cache, and yield how far it is.

        It is no chat request: it does not wait for others, and no limit and no metric counts it. If
        the model is not in memory, or the prompt was not read to its end, an `LMChatError` is
        raised. Closing the generator closes the connection; what the server has read until then
        stays in its cache.
        """

    async def end_thought(self, request_id: str) -> bool:
        """Ask the server of a running request to end the model's thought, so that it answers.

        Return False if the server cannot, or the request does not run. True does not prove that a
        thought was ended: servers also agree if the model does not think. Raises no `LMChatError`.
        """

    async def keeps_answer(self, request: ChatRequest) -> bool:
        """Return whether the server still has the answer that a request with `is_replay` wants."""

    def leave_answers(self) -> None:
        """From now on, closing a stream does not stop an answer that its server keeps."""

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """Let the server count the tokens of a request without answering it.

        The last message may be empty. Return None if it cannot, if it is busy, or if it would have
        to load the model.
        """


class ServerClient(ModelServer, ModelSource, Protocol):
    """All model servers; every coroutine method and stream may raise `LMChatError`."""

    async def check(self, endpoint: Endpoint, *, key: str | None = None) -> ProbeResult:
        """Probe one address; a server that is away is no error. A `key` is tried, and not kept."""

    def forward(
        self, request: ForwardedRequest, on_end: Callable[[TurnRecord], None]
    ) -> AbstractAsyncContextManager[ForwardedReply]:
        """Pass on a request of another program, and yield the reply of the server as it comes.

        `on_end` gets its figures after the block, if the request was sent.
        """

    async def outgoing(self, request: ChatRequest) -> OutgoingRequest:
        """Return what `stream` would send first for a request; send nothing.

        The random id under which the server would keep the answer is left out: if the user sends a
        copy of the request, nothing would stop its answer.
        """

    async def template_text(self, request: ChatRequest) -> TemplateText:
        """Let the server apply its chat template to a request without answering it.

        Raises `ServerRejected` if it cannot, or if it would have to load or wake the model.
        """

    async def load(
        self,
        model: ModelInfo,
        *,
        options: LoadOptions = SERVER_DECIDES,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load a model and return when it is loaded.

        `on_progress` gets the fraction that is loaded, from 0 to 1.
        """

    async def unload(self, model: ModelInfo) -> None: ...

    def allow(self, host: str) -> None:
        """Put a host ("host" or "host:port") on the allow-list, for this run."""

    def metrics(self) -> Metrics: ...

    def budget(self) -> Budget | None:
        """Return how many requests are left; None before the first request."""

    async def aclose(self) -> None: ...


class ToolHost(Protocol):
    """Tool servers, each of which starts at its first use and again after its end."""

    @property
    def servers(self) -> tuple[ToolServer, ...]:
        """The servers as last reported, with the names of their tools in requests."""

    async def list_servers(self, *, again: bool = False) -> tuple[ToolServer, ...]:
        """Start all servers that do not run, and return them when each is ready or has failed.

        Servers that have failed are started once more only if `again`.
        """

    async def call(
        self, tool: Tool, arguments: Mapping[str, Any], *, timeout_s: float
    ) -> ToolResult:
        """Run a tool; errors, crashes and timeouts are results. Cancelling cancels the call."""

    async def aclose(self) -> None: ...
