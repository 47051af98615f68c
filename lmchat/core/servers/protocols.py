"""Protocols of the backend, by which the rest of lmchat names all model servers together.

Only `cli` and `api` import `client.HttpServerClient`: chats and the screen load no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from lmchat.base.metrics import RateLimit, RequestCounters
from lmchat.core.servers.discovery.finder import ServerSource
from lmchat.core.servers.discovery.model_lists import ModelLists
from lmchat.core.servers.discovery.status import ServerStatus
from lmchat.core.servers.events import PromptProgress, StreamEvent
from lmchat.core.servers.local.engine import Engine
from lmchat.core.servers.model import ModelInfo, ModelList
from lmchat.core.servers.products.server_api import ModelMemory, OnPull
from lmchat.core.servers.request import (
    ChatRequest,
    ForwardedReply,
    ForwardedRequest,
)
from lmchat.core.servers.sending.prepared_request import PreparedRequest
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import AnswerState, AnswerStats


class AnswerSource(Protocol):
    """All model servers as a turn uses them. Its methods may raise `LMChatError`."""

    model_lists: ModelLists

    def memory(self, target: Target) -> ModelMemory:
        """Return what is known of the model since the last start of its server."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events up to `StreamFinished`; use it with `aclosing`."""

    def read_ahead(self, request: ChatRequest) -> AsyncGenerator[PromptProgress, None]:
        """Let the server read a prompt into its cache, and yield how far it is.

        No limit and no metric counts it. Raises `LMChatError` if the model is not in memory, or the
        prompt was not read to its end. What is read until the generator is closed stays in the
        cache.
        """

    async def end_thought(self, target: Target, answer_id: str) -> bool:
        """Ask the server of a running answer to end the thought; return False if it cannot.

        `answer_id` is the server's name of the answer (`ModelNamed`). Servers also agree if the
        model does not think. Raises no `LMChatError`.
        """

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """Return None if the server cannot count in time, or would have to load the model.

        The last message may be empty.
        """


class ModelSource(ServerSource, Protocol):
    """All servers and their models; every coroutine method may raise `LMChatError`."""

    def forget_lists(self) -> None:
        """Ask all servers for their models with the next look, also those that it disturbs."""

    def cached(self) -> ModelList:
        """Return the models as they were read last, with running loads."""

    def load(self, model: ModelInfo, *, context: int | None = None) -> asyncio.Task[None]:
        """Start to load a model, which counts as loading at once (`ModelLists`).

        The task raises why it is not loaded; cancelling it stops the load, if possible. `context`
        is in tokens.
        """

    async def unload(self, model: ModelInfo) -> None: ...

    async def pull(self, server: ServerStatus, name: str, on_pull: OnPull) -> ModelInfo:
        """Cancelling stops the download. Raises `ServerRejected`, also if the disk has no room."""

    async def remove(self, model: ModelInfo) -> None:
        """Let the server delete a model from its disk."""

    async def download_file(
        self, engine: Engine, name: str, agrees: Callable[[str], Awaitable[bool]], on_pull: OnPull
    ) -> Path | None:
        """Download a model of the hub for the engine; None if the user does not agree.

        `agrees` gets the file, its size, host, folder and free space. See `local/hub.py`.
        """


class ServerClient(AnswerSource, Protocol):
    """All model servers; every coroutine method and stream may raise `LMChatError`."""

    counters: RequestCounters

    @property
    def models(self) -> ModelSource: ...

    def forward(
        self, request: ForwardedRequest, on_end: Callable[[AnswerState, AnswerStats], None]
    ) -> AbstractAsyncContextManager[ForwardedReply]:
        """After the block, `on_end` gets state and stats, if the request was sent."""

    async def prepare(self, request: ChatRequest) -> PreparedRequest:
        """Return a request as `stream` would send it first."""

    def allow(self, host: str) -> None:
        """Put "host" or "host:port" on the allow-list, for this run."""

    def rate_limit(self) -> RateLimit:
        """Return how many requests are allowed now."""

    async def aclose(self) -> None: ...
