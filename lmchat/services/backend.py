"""All servers: those that the proxy client reaches, and the built-in engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial

from msgspec.structs import replace

from lmchat.errors import ServerRejected, ServerUnavailable, StreamInterrupted
from lmchat.servers.discovery.probe_result import ProbeResult, Verdict
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.engine.model_files import EngineState, ModelFile
from lmchat.servers.events import ModelLoading, PromptProgress, RequestQueued, StreamEvent
from lmchat.servers.model import BUILT_IN, LoadState, ModelInfo, ModelList
from lmchat.servers.request import (
    SERVER_DECIDES,
    ChatRequest,
    ForwardedReply,
    ForwardedRequest,
    LoadOptions,
    OutgoingRequest,
    TemplateText,
)
from lmchat.services.ports import Engine, ServerClient
from lmchat.sessions.stats import Budget, Metrics, TurnRecord
from lmchat.slots import Slots

STARTS_AGAIN = "The next request starts it again."
_EXIT_WAIT_S = 1.0  # a connection breaks before the system reports that the process has ended
_VERDICTS = {EngineState.OFF: Verdict.NO_MODEL, EngineState.CRASHED: Verdict.SERVER_ERROR}
"""Verdicts on an engine that does not answer requests; on one in another state: loading."""
_LOAD_STATES = {EngineState.READY: LoadState.LOADED, EngineState.LOADING: LoadState.LOADING}
"""States of the model that the engine serves; in another state of the engine: not loaded."""
_FIELDS_OF_RUNNING_ENGINE = (
    "params",
    "quantization",
    "context_loaded",
    "context_max",
    "capabilities",
    "is_blind",
    "keeps_thoughts",
    "slots",
)
"""Fields of a model that the running engine reports, if its file does not have them."""


class Backend:
    """The `ServerClient` of all servers; also starts the engine before a request to it."""

    def __init__(
        self,
        client: ServerClient,
        engine: Engine | None = None,
    ) -> None:
        self._client = client
        self._engine = engine
        self._engine_models: tuple[ModelInfo, ...] = ()  # as they were last listed
        self._engine_slots = Slots()
        """One is held by each answer of the engine, which loads another model only afterwards."""

    async def detect(self, *, expected: Sequence[Endpoint] = ()) -> tuple[ProbeResult, ...]:
        """Probe the usual and the `expected` addresses at once; best result first.

        If the engine has an address, its result is the first, in place of the probed one.
        """
        results = await self._client.detect(expected=expected)
        engine = self._engine
        if engine is None or engine.endpoint is None:
            return results
        others = [probed for probed in results if probed.endpoint != engine.endpoint]
        return (await self._check_engine(engine, engine.endpoint), *others)

    async def check(self, endpoint: Endpoint) -> ProbeResult:
        if engine := self._engine_at(endpoint):
            return await self._check_engine(engine, endpoint)
        return await self._client.check(endpoint)

    async def try_key(self, endpoint: Endpoint, key: str) -> ProbeResult:
        return await self._client.try_key(endpoint, key)

    async def models(self, endpoint: Endpoint, *, is_refresh: bool = False) -> ModelList:
        if engine := self._engine_at(endpoint):
            probed = await self._check_engine(engine, endpoint, is_refresh=is_refresh)
            return ModelList(models=probed.models)
        return await self._client.models(endpoint, is_refresh=is_refresh)

    def cached_models(self) -> ModelList:
        """Return the models that were last listed, those of the engine first."""
        engine = self._engine
        listed = self._client.cached_models()
        if engine is None or engine.endpoint is None:
            return listed
        others = [model for model in listed.models if model.endpoint != engine.endpoint]
        return replace(listed, models=(*self._engine_models, *others))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Send a turn and yield its events; close it with `aclosing`."""
        engine = self._engine_at(request.endpoint)
        stream = self._client.stream(request)
        if engine is not None:
            stream = self._stream_of_engine(engine, request, stream)
        async with aclosing(stream) as events:
            async for event in events:
                yield event

    async def _stream_of_engine(
        self, engine: Engine, request: ChatRequest, stream: AsyncGenerator[StreamEvent, None]
    ) -> AsyncGenerator[StreamEvent, None]:
        """Load the model of a request unless the engine serves it, then yield the stream's events.

        While the engine has no free slot, this request waits. If the stream breaks because
        the engine has crashed, `StreamInterrupted` with the reason is raised, and the next request
        starts the engine again; if it has not crashed, the error of the stream is raised.
        """
        count = partial(self._count_engine_slots, engine, request.model)
        if self._engine_slots.must_wait(count):
            yield RequestQueued()
        async with self._engine_slots.one_slot(count), aclosing(stream) as events:
            if not _serves(engine, request.model):
                yield ModelLoading()
                await self._start_engine(engine, request.model)
            try:
                async for event in events:
                    yield event
            except (ServerUnavailable, StreamInterrupted) as error:
                reason = await engine.why_crashed(_EXIT_WAIT_S)
                if reason is None:
                    raise
                hint = f"{reason.hint} {STARTS_AGAIN}".lstrip()
                raise StreamInterrupted(
                    reason.message, hint=hint, details=reason.details
                ) from error

    async def read_ahead(self, request: ChatRequest) -> AsyncGenerator[PromptProgress, None]:
        """Let a server read a prompt; the engine only if it serves the model now."""
        self._require_served(request)
        async with aclosing(self._client.read_ahead(request)) as steps:
            async for progress in steps:
                yield progress

    @asynccontextmanager
    async def forward(
        self, request: ForwardedRequest, on_end: Callable[[TurnRecord], None]
    ) -> AsyncIterator[ForwardedReply]:
        async with self._client.forward(request, on_end) as reply:
            yield reply

    async def end_thought(self, request_id: str) -> bool:
        return await self._client.end_thought(request_id)

    async def keeps_answer(self, request: ChatRequest) -> bool:
        return await self._client.keeps_answer(request)

    def leave_answers(self) -> None:
        self._client.leave_answers()

    async def count_tokens(self, request: ChatRequest) -> int | None:
        """Let the server count the tokens; None if the engine would have to load the model."""
        engine = self._engine_at(request.endpoint)
        if engine is not None and not _serves(engine, request.model):
            return None
        return await self._client.count_tokens(request)

    async def outgoing(self, request: ChatRequest) -> OutgoingRequest:
        return await self._client.outgoing(request)

    async def template_text(self, request: ChatRequest) -> TemplateText:
        """Let a server apply its chat template; the engine only if it serves the model now."""
        self._require_served(request)
        return await self._client.template_text(request)

    async def load(
        self,
        model: ModelInfo,
        *,
        options: LoadOptions = SERVER_DECIDES,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load a model; the engine does so after the answer that it is writing."""
        if engine := self._engine_at(model.endpoint):
            async with self._engine_slots.one_slot(_only_one):
                await self._start_engine(engine, model.model_id, context=options.context)
        else:
            await self._client.load(model, options=options, on_progress=on_progress)

    async def unload(self, model: ModelInfo) -> None:
        if engine := self._engine_at(model.endpoint):
            await engine.unload()
        else:
            await self._client.unload(model)

    def allow(self, host: str) -> None:
        self._client.allow(host)

    def metrics(self) -> Metrics:
        return self._client.metrics()

    def budget(self) -> Budget | None:
        return self._client.budget()

    async def aclose(self) -> None:
        await self._client.aclose()
        if self._engine is not None:
            await self._engine.stop()

    def _engine_at(self, endpoint: Endpoint) -> Engine | None:
        """Return the engine if it was made and has this address."""
        engine = self._engine
        return engine if engine is not None and engine.endpoint == endpoint else None

    def _require_served(self, request: ChatRequest) -> None:
        """Raise `ServerRejected` if a request is to the engine, which has not loaded its model.

        The message is about the text of a chat template: a failure to read ahead is not shown.
        """
        engine = self._engine_at(request.endpoint)
        if engine is not None and not _serves(engine, request.model):
            raise ServerRejected(
                "The model is not in memory, so the engine cannot show the text.",
                kind="model_not_loaded",
                hint="Load it first: Ctrl+O, then Ctrl+L. The JSON needs no model.",
            )

    async def _start_engine(
        self, engine: Engine, model_name: str, *, context: int | None = None
    ) -> None:
        """Start the engine with the model file of this name.

        Raises `ServerRejected` if the engine was not last asked for this file and no folder has it.
        `context` is the size of the context window in tokens; None lets the engine choose.
        """
        file = engine.model
        if file is None or file.name != model_name:
            files_by_name = {file.name: file for file in await engine.files()}
            file = files_by_name.get(model_name)
        if file is None:
            raise ServerRejected(
                f"There is no model {model_name} on this disk anymore.",
                kind="model_missing",
                hint="`lmchat models --local` lists them.",
            )
        await engine.start(file, context=context)

    def _count_engine_slots(self, engine: Engine, model_name: str) -> int:
        """Return how many requests may run at once, a new one for this model included.

        It is 1 if the engine does not serve this model now, so that the request, which loads it,
        waits for all other answers. It is also 1 if the engine has not reported its slots.
        """
        if not _serves(engine, model_name):
            return 1
        for model in self._engine_models:
            if model.state is LoadState.LOADED:
                return model.slots or 1
        return 1

    async def _check_engine(
        self, engine: Engine, endpoint: Endpoint, *, is_refresh: bool = False
    ) -> ProbeResult:
        """Return the engine as a result with all its model files, and set `_engine_models`.

        An engine that is ready is probed. If it is not, or does not answer, its state gives the
        verdict.
        """
        files = _with_named_file(await engine.files(is_refresh=is_refresh), engine.model)
        probed: ProbeResult | None = None
        if engine.state is EngineState.READY:
            probed = await self._client.check(endpoint)
        if probed is None or not probed.verdict.is_server:
            probed = await _silent_engine(engine, endpoint)
        reported = probed.models[0] if probed.models else None  # an engine serves one model
        models = tuple(_model_info(file, endpoint, engine, reported) for file in files)
        self._engine_models = models
        next_step = probed.next_step
        if probed.verdict is Verdict.NO_MODEL:
            next_step = "Choose a model file"
        return replace(
            probed,
            product=BUILT_IN,
            models=models,
            next_step=next_step,
            is_own=True,  # it runs as the user has started it, so it comes before servers found
        )


def _with_named_file(files: Sequence[ModelFile], named: ModelFile | None) -> Sequence[ModelFile]:
    """Return the files of the searched folders, after `named` if that is in none of them.

    The user can name a file outside these folders by its path. That file hides another one of its
    name, since requests have the name alone.
    """
    if named is None or any(file.path == named.path for file in files):
        return files
    return [named, *(file for file in files if file.name != named.name)]


async def _silent_engine(engine: Engine, endpoint: Endpoint) -> ProbeResult:
    """Return the result for an engine that does not answer, with the reason if it crashed."""
    reason = await engine.why_crashed()
    probed = ProbeResult(
        endpoint=endpoint,
        product=BUILT_IN,
        verdict=_VERDICTS.get(engine.state, Verdict.LOADING),
    )
    if reason is None:
        return probed
    return replace(probed, detail=reason.message, next_step=reason.hint or STARTS_AGAIN)


def _only_one() -> int:
    """Return 1 as the number of slots: a load then waits until all answers have ended."""
    return 1


def _serves(engine: Engine, model_name: str) -> bool:
    """Return whether the engine answers with this model now."""
    model = engine.model
    return engine.state is EngineState.READY and model is not None and model.name == model_name


def _model_info(
    file: ModelFile, endpoint: Endpoint, engine: Engine, reported: ModelInfo | None
) -> ModelInfo:
    """Return the model of a file.

    If the engine has loaded it and has reported it under this name, `reported` fills in the fields
    that the file does not tell.
    """
    state = LoadState.NOT_LOADED
    if engine.model is not None and engine.model.path == file.path:
        state = _LOAD_STATES.get(engine.state, LoadState.NOT_LOADED)
    model = file.info(endpoint, state)
    if reported is None or state is not LoadState.LOADED or reported.model_id != file.name:
        return model
    missing = [name for name in _FIELDS_OF_RUNNING_ENGINE if not getattr(model, name)]
    return replace(model, **{name: getattr(reported, name) for name in missing})
