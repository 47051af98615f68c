"""A backend that plays what it is told: the seam under services and screen."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from pathlib import Path

from msgspec.structs import replace

from lmchat.base.errors import EngineUnavailable, LMChatError
from lmchat.base.metrics import RateLimit, RequestCounters
from lmchat.core.servers.discovery.model_lists import ModelLists
from lmchat.core.servers.discovery.status import ServerStatus
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import (
    ModelNamed,
    PromptProgress,
    PullProgress,
    ReasoningDelta,
    RequestSent,
    StreamEvent,
    StreamFinished,
    TextDelta,
    UsageReported,
)
from lmchat.core.servers.local.demo import SMOLLM2
from lmchat.core.servers.local.engine import Engine
from lmchat.core.servers.local.gguf import ModelFile
from lmchat.core.servers.model import LoadState, ModelInfo, ModelList
from lmchat.core.servers.products.server_api import ModelMemory, OnPull
from lmchat.core.servers.request import (
    ChatRequest,
    ForwardedReply,
    ForwardedRequest,
)
from lmchat.core.servers.sending.prepared_request import PreparedRequest
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import AnswerState, AnswerStats

ENDPOINT = Endpoint.parse("http://localhost:1234")
Step = StreamEvent | Exception | asyncio.Event | float
"""What a script is made of; a number is a pause in seconds."""


def model(name: str = "qwen3-8b", **more: object) -> ModelInfo:
    known: dict[str, object] = {
        "endpoint": ENDPOINT,
        "product": "LM Studio",
        "state": LoadState.LOADED,
        "params": "8B",
        "quantization": "Q4_K_M",
        "context_loaded": 8192,
        "context_max": 32768,
    }
    return ModelInfo(model_id=name, **(known | more))  # type: ignore[arg-type]


def target(name: str = "qwen3-8b", **more: object) -> Target:
    return Target(endpoint=ENDPOINT, product="LM Studio", model=model(name, **more))


def probed(verdict: str = "", *models: ModelInfo, **more: object) -> ServerStatus:
    known: dict[str, object] = {
        "endpoint": ENDPOINT,
        "product": "LM Studio",
    }
    server = ServerStatus(
        reason=verdict,
        models=models,
        **(known | more),  # type: ignore[arg-type]
    )
    latency_ms = 3.0 if server.is_model_server and "latency_ms" not in more else server.latency_ms
    return replace(server, latency_ms=latency_ms)


def answer_steps(text: str = "Lettuce does well.", *, thought: str = "") -> list[Step]:
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1].rstrip(" ")
    return [
        RequestSent(),
        ModelNamed(model="qwen3-8b"),
        *([ReasoningDelta(text=thought)] if thought else []),
        *(TextDelta(text=word) for word in words if word),
        UsageReported(prompt_tokens=20, completion_tokens=len(words), tokens_per_second=42.3),
        StreamFinished(reason="stop"),
    ]


def set_options(request: ChatRequest) -> dict[str, object]:
    """Return the sampling options of a request, without a seed that lmchat has drawn."""
    options = request.sampling.options
    if request.has_drawn_seed:
        del options["seed"]
    return options


async def is_event(step: object) -> bool:
    """Raise an error and wait at a gate; return whether it is neither."""
    if isinstance(step, Exception):
        raise step
    if isinstance(step, asyncio.Event):
        await step.wait()
    elif isinstance(step, float):
        await asyncio.sleep(step)
    else:
        return True
    return False


async def read(events) -> list:
    async with aclosing(events) as stream:
        return [event async for event in stream]


class ScriptedBackend:
    """Plays one script a request; a script is events, errors to raise, and gates to wait at.

    It has its models itself.
    """

    def __init__(
        self, *scripts: Sequence[Step], results: Sequence[ServerStatus] | None = None
    ) -> None:
        self.scripts = list(scripts)
        self.requests: list[ChatRequest] = []
        self.asked = asyncio.Event()
        self.stopped = 0
        self.results = tuple(results) if results is not None else (probed("", model()),)
        self.checks = self.looks = 0
        self.keys: list[str] = []
        self.good_key = "sk-good"
        self.loaded: list[str] = []
        self.load_contexts: list[int | None] = []
        self.pulled: list[str] = []
        self.pull_script: list[PullProgress | Exception | asyncio.Event] = []
        self.removed: list[str] = []
        self.file = Path()  # that an address has
        self.allowed: list[str] = []
        self.is_closed = False
        self.counters = RequestCounters()
        self.tokens: int | Exception | None = None
        """What a count of a prompt gives."""
        self.counts: list[ChatRequest] = []
        self.read_ahead_requests: list[ChatRequest] = []
        self.cancelled_read_aheads = 0
        self.is_reading = asyncio.Event()
        self.reading_script: list[PromptProgress | Exception | asyncio.Event] = []
        """What each request to read ahead plays."""
        self.prepared_requests: list[ChatRequest] = []
        self.thoughts_to_end: list[tuple[Target, str]] = []
        """Requests and ids of the answers whose thought was to end."""
        self.engine: ScriptedEngine | None = None
        """The built-in engine, which requests to its address start."""
        self.engine_models: tuple[ModelInfo, ...] = ()
        self.model_lists = ModelLists()
        self.memories: defaultdict[tuple[Endpoint, str], ModelMemory] = defaultdict(ModelMemory)

    @property
    def models(self) -> ScriptedBackend:
        return self

    def memory(self, target: Target) -> ModelMemory:
        return self.memories[target.endpoint, target.model_id]

    def engine_at(self, endpoint: Endpoint) -> ScriptedEngine | None:
        return self.engine if self.engine is not None and self.engine.endpoint == endpoint else None

    async def detect(
        self, *, named: Sequence[Endpoint] = (), is_counted: bool = True
    ) -> tuple[ServerStatus, ...]:
        self.looks += 1
        if self.engine is not None and self.engine.endpoint is not None:
            own = await self.check(self.engine.endpoint)
            return (own, *(one for one in self.results if one.endpoint != own.endpoint))
        return self.results

    async def check(self, endpoint: Endpoint, *, key: str = "") -> ServerStatus:
        if key:
            self.keys.append(key)
            verdict = "" if key == self.good_key else "key_rejected"
            found = probed(verdict, model())
            if verdict == "":
                self.results = (found,)
            return found
        self.checks += 1
        if engine := self.engine_at(endpoint):
            own = await engine.probe(self._check)
            self.engine_models = own.models
            return own
        return await self._check(endpoint)

    async def _check(self, endpoint: Endpoint) -> ServerStatus:
        for one in self.results:
            if one.endpoint == endpoint:
                return one
        return ServerStatus(endpoint=endpoint, product="LM Studio", reason="offline")

    def forget_lists(self) -> None: ...

    def cached(self) -> ModelList:
        models = [m for one in self.results for m in one.models if not self.engine_at(one.endpoint)]
        shown = map(self.model_lists.with_load, (*self.engine_models, *models))
        return ModelList(models=tuple(shown), age_s=40)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        engine = self.engine_at(request.target.endpoint)
        serving = engine.serving(request.target.model_id, lambda: None) if engine else nullcontext()
        async with serving, aclosing(self._play(request)) as events:
            async for event in events:
                yield event

    async def _play(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        self.requests.append(request)
        self.asked.set()
        script = self.scripts.pop(0) if self.scripts else answer_steps()
        self.counters.add(total_requests=1)
        try:
            for step in script:
                if await is_event(step):
                    yield step
            self.counters.add(successful_requests=1)
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise
        except LMChatError:
            self.counters.add(failed_requests=1)
            raise

    def forward(
        self, request: ForwardedRequest, on_end: Callable[[AnswerState, AnswerStats], None]
    ) -> AbstractAsyncContextManager[ForwardedReply]:
        raise AssertionError("a screen forwards nothing")

    async def read_ahead(self, request: ChatRequest) -> AsyncGenerator[PromptProgress, None]:
        self.read_ahead_requests.append(request)
        self.is_reading.set()
        try:
            for step in self.reading_script:
                if await is_event(step):
                    yield step
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled_read_aheads += 1
            raise

    async def count_tokens(self, request: ChatRequest) -> int | None:
        self.counts.append(request)
        if isinstance(self.tokens, Exception):
            raise self.tokens
        return self.tokens

    async def prepare(self, request: ChatRequest) -> PreparedRequest:
        self.prepared_requests.append(request)
        prepared = PreparedRequest.of(request, self.model_lists, self.memory(request.target))
        prepared.has_key = True
        return prepared

    async def end_thought(self, target: Target, answer_id: str) -> bool:
        self.thoughts_to_end.append((target, answer_id))
        return True

    def load(self, model: ModelInfo, *, context: int | None = None) -> asyncio.Task[None]:
        return self.model_lists.load(model, lambda _: self.load_now(model, context))

    async def load_now(self, model: ModelInfo, context: int | None) -> None:
        if engine := self.engine_at(model.endpoint):
            await engine.load(model.model_id, context=context)
            return
        self.loaded.append(model.model_id)
        self.load_contexts.append(context)

    async def unload(self, model: ModelInfo) -> None:
        self.loaded.remove(model.model_id)

    async def pull(self, server: ServerStatus, name: str, on_pull: OnPull) -> ModelInfo:
        """Play the script of a download: how far it is, gates to wait at, and errors to raise."""
        self.pulled.append(name)
        for step in self.pull_script:
            if await is_event(step):
                on_pull(step)
        return model(name, endpoint=server.endpoint, product=server.product)

    async def download_file(
        self, engine: Engine, name: str, agrees: Callable[[str], Awaitable[bool]], on_pull: OnPull
    ) -> Path | None:
        if not await agrees(f"{self.file.name} of {name}"):
            return None
        self.pulled.append(name)
        for step in self.pull_script:
            if isinstance(step, PullProgress):
                on_pull(step)
        return self.file

    async def remove(self, model: ModelInfo) -> None:
        self.removed.append(model.model_id)

    def allow(self, host: str) -> None:
        self.allowed.append(host)

    def rate_limit(self) -> RateLimit:
        return RateLimit(left=60 - len(self.requests), limit=60)

    async def aclose(self) -> None:
        self.is_closed = True


ADDRESS = Endpoint(scheme="http", host="localhost", port=45_678)
_FOLDER = Path("/home/ada/.cache/lmchat/engine")
DEMO = ModelFile(path=_FOLDER / "demo.gguf", name="demo", size_bytes=98_000_000, is_demo=True)


def file(name: str, **more: object) -> ModelFile:
    known = {
        "size_bytes": 4_700_000_000,
        "quantization": "Q4_K_M",
        "source": "LM Studio",
    }
    return ModelFile(path=Path("/models") / f"{name}.gguf", name=name, **(known | more))  # type: ignore[arg-type]


def llama(*scripts: Sequence[Step], **of_model: object) -> ScriptedBackend:
    """Return a backend of llama.cpp, which continues texts and ends thoughts."""
    known = replace(model(**of_model), product="llama.cpp")
    return ScriptedBackend(*scripts, results=[probed("", known, product="llama.cpp")])


class ScriptedEngine(Engine):
    """Has the files that it is given; a name in `failures` fails with the error there, once."""

    demo = replace(SMOLLM2, name="demo")
    folder = _FOLDER
    is_loading = False
    is_ready = False
    slot = None

    def __init__(self, *files: ModelFile) -> None:
        self.key = "key-of-this-run"
        self.model: ModelFile | None = None
        self.endpoint: Endpoint | None = None
        self.failures: dict[str, EngineUnavailable] = {}
        self.started: list[str] = []
        self.crash: EngineUnavailable | None = None
        self.progress = asyncio.Event()
        self.fetches = 0
        self.cut = 0
        self.ready = asyncio.Event()
        self.ready.set()
        self.is_stopped = False
        self.missing = ""  # name of the hub that no file has
        self._files = files

    async def has_to_download(self, named: str) -> bool:
        return bool(named) and named == self.missing

    async def files(self, *, is_refresh: bool = False) -> tuple[ModelFile, ...]:
        return self._files

    async def choose(self, named: str = "", *, last: str = "") -> ModelFile | None:
        wanted = [one for one in self._files if one.name in (named, last)]
        model = next(iter(wanted or self._files), None)
        if model is None:
            self._fail("check")
        return model

    async def fetch(self, report: Callable[[str], None]) -> ModelFile:
        self.fetches += 1
        try:
            while not self.progress.is_set():
                report("12 s")
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cut += 1
            raise
        self._fail("fetch")
        self._files = (*(one for one in self._files if not one.is_demo), DEMO)
        return DEMO

    def reserve_address(self) -> Endpoint:
        self.endpoint = ADDRESS
        return ADDRESS

    async def start(self, model: ModelFile, *, context: int | None = None) -> Endpoint:
        self.model = model
        self.crash = None
        self.is_loading = True
        self.is_ready = False
        await self.ready.wait()
        self.is_loading = False
        self._fail(model.name)
        self.is_ready = True
        self.started.append(model.name)
        return self.reserve_address()

    async def crash_error(self, wait_s: float = 0.0) -> EngineUnavailable | None:
        return self.crash

    async def stop(self) -> None:
        self.is_stopped = True
        self.is_ready = False

    def breaks(self, sentence: str) -> None:
        """Be a child that has ended by itself."""
        self.is_ready = False
        self.crash = EngineUnavailable(sentence, details="the end of its log")

    def _fail(self, name: str) -> None:
        if error := self.failures.pop(name, None):
            raise error


class Held(asyncio.Event):
    """What a method waits for; `reached` tells that it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()


def hold(thing: object, method: str) -> Held:
    """Let a method wait until the event is set."""
    gate = Held()
    call = getattr(thing, method)

    async def wait(*given: object, **more: object) -> object:
        gate.reached.set()
        await gate.wait()
        return await call(*given, **more)

    setattr(thing, method, wait)
    return gate


def half(text: str, gate: asyncio.Event | None = None, rest: str = "") -> list[Step]:
    return [
        RequestSent(),
        TextDelta(text=text),
        gate or asyncio.Event(),
        *([TextDelta(text=rest)] if rest else []),
        StreamFinished(reason="stop"),
    ]
