"""Protocols of the backend, by which the rest of lmchat names all model servers together.

`client.HttpServerClient` is the real backend; tests have a stand-in. Only `cli` and `api` import
it. Chats and the screen are handed the backend, so that they load no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from lmchat.metrics import Metrics, RateLimit
from lmchat.servers.discovery.finder import ServerSource
from lmchat.servers.discovery.model_lists import ModelLists
from lmchat.servers.discovery.status import ServerStatus
from lmchat.servers.events import PromptProgress, StreamEvent
from lmchat.servers.local.engine import Engine
from lmchat.servers.model import ModelInfo, ModelList
from lmchat.servers.products.server_api import OnPull
from lmchat.servers.request import (
    ChatRequest,
    ForwardedReply,
    ForwardedRequest,
    TemplateText,
)
from lmchat.servers.sending.prepared_request import PreparedRequest
from lmchat.sessions.message import AnswerState, AnswerStats


class AnswerSource(Protocol):
    """All model servers as a turn uses them: for answers. Its methods may raise `LMChatError`."""

    model_lists: ModelLists

    def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Send a request and yield its events up to `StreamFinished`; use it with `aclosing`."""

    def read_ahead(self, request: ChatRequest) -> AsyncGenerator[PromptProgress, None]:
        """Let the server read a prompt into its cache, and yield how far it is.

        It is not treated as a chat request: it does not wait for others, and no limit and no metric
        counts it. If the model is not in memory, or the prompt was not read to its end, an
        `LMChatError` is raised. Closing the generator closes the connection; what the server has
        read until then stays in its cache.
        """

    async def end_thought(self, request: ChatRequest, answer_id: str) -> bool:
        """Ask the server of a running answer to end the model's thought, so that it answers.

        `answer_id` is the server's name of the answer (`ModelNamed`). Return False if the server
        cannot. True does not prove that a thought was ended: servers also agree if the model does
        not think. Raises no `LMChatError`.
        """

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """Let the server count the tokens of a request without answering it.

        The last message may be empty. Return None if the server cannot count, does not answer in
        time, or would have to load the model.
        """


class ServerClient(AnswerSource, ServerSource, Protocol):
    """All model servers; every coroutine method and stream may raise `LMChatError`."""

    def forget_lists(self) -> None:
        """Ask all servers for their models with the next look, also those that this disturbs."""

    def cached_models(self) -> ModelList:
        """Return the models as they were read last, with running loads; no server is asked."""

    def forward(
        self, request: ForwardedRequest, on_end: Callable[[AnswerState, AnswerStats], None]
    ) -> AbstractAsyncContextManager[ForwardedReply]:
        """Pass on a request of another program, and yield the reply of the server as it comes.

        After the block, `on_end` gets state and stats of the request, if it was sent.
        """

    async def prepare(self, request: ChatRequest) -> PreparedRequest:
        """Return a request as `stream` would send it first; send nothing."""

    async def template_text(self, request: ChatRequest) -> TemplateText:
        """Let the server apply its chat template to a request without answering it.

        Raises `ServerRejected` if it cannot, or if it would have to load or wake the model.
        """

    def load(self, model: ModelInfo, *, context: int | None = None) -> asyncio.Task[None]:
        """Begin to load a model; the task ends when it is loaded, or raises why it is not.

        The model counts as loading at once (`ModelLists`). Cancelling the task stops the load, if
        possible. `context` is the size of the window in tokens; None leaves that to the server.
        """

    async def unload(self, model: ModelInfo) -> None: ...

    async def pull(self, server: ServerStatus, name: str, on_pull: OnPull) -> ModelInfo:
        """Let a server download a model, and return it with what is known; cancelling stops it.

        `ServerRejected` is raised, too, if the model is larger than what is free on the disk.
        """

    async def remove(self, model: ModelInfo) -> None:
        """Let the server of a model delete it from its disk."""

    async def download_file(
        self, engine: Engine, url: str, agrees: Callable[[str], Awaitable[bool]], on_pull: OnPull
    ) -> Path | None:
        """Download a GGUF file for the engine; see `local/download.py`."""

    def allow(self, host: str) -> None:
        """Put a host ("host" or "host:port") on the allow-list, for this run."""

    def metrics(self) -> Metrics: ...

    def reset_metrics(self) -> None: ...

    def rate_limit(self) -> RateLimit:
        """Return how many requests the limit of requests a minute allows now."""

    async def aclose(self) -> None: ...
