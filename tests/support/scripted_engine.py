"""A built-in engine that plays what a test says, without any process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from lmchat.domain.engine import DemoOffer, EngineState, FetchProgress, ModelFile
from lmchat.domain.server import Endpoint
from lmchat.errors import EngineUnavailable

ADDRESS = Endpoint(scheme="http", host="127.0.0.1", port=45_678)
OFFER = DemoOffer(
    name="demo",
    licence="Apache-2.0",
    download_bytes=93_000_000,
    folder=Path("/home/ada/.cache/lmchat/engine"),
)
DEMO = ModelFile(path=OFFER.folder / "demo.gguf", name="demo", size_bytes=98_000_000, is_demo=True)


def file(name: str, **more: object) -> ModelFile:
    known = {
        "size_bytes": 4_700_000_000,
        "quantization": "Q4_K_M",
        "source": "LM Studio",
        "context_max": 32768,
    }
    return ModelFile(path=Path("/models") / f"{name}.gguf", name=name, **(known | more))  # type: ignore[arg-type]


class ScriptedEngine:
    """Has the files that it is given; a name in `failures` fails with the error there, once."""

    def __init__(self, *files: ModelFile) -> None:
        self.key = "key-of-this-run"
        self.model: ModelFile | None = None
        self.endpoint: Endpoint | None = None
        self.state = EngineState.OFF
        self.has_whole_demo = True
        self.failures: dict[str, EngineUnavailable] = {}
        self.contexts: list[int | None] = []
        self.started: list[str] = []
        self.crash: EngineUnavailable | None = None
        self.warns = ""
        self.progress = asyncio.Event()
        self.fetches = 0
        self.cut = 0
        self.ready = asyncio.Event()
        self.ready.set()
        self.is_stopped = False
        self._files = files

    async def files(self, *, is_refresh: bool = False) -> tuple[ModelFile, ...]:
        return self._files

    async def choose(self, named: str = "", *, last: str = "") -> ModelFile | None:
        wanted = [one for one in self._files if one.name in (named, last)]
        return next(iter(wanted or self._files), None)

    async def check(self) -> None:
        self._fail("check")

    async def offer(self) -> DemoOffer:
        return OFFER

    async def has_demo(self) -> bool:
        return self.has_whole_demo

    async def fetch(self, told: Callable[[FetchProgress], None]) -> ModelFile:
        self.fetches += 1
        told(FetchProgress(done_bytes=31_000_000, total_bytes=93_000_000))
        try:
            await self.progress.wait()
        except asyncio.CancelledError:
            self.cut += 1
            raise
        self._fail("fetch")
        self.has_whole_demo = True
        self._files = (*(one for one in self._files if not one.is_demo), DEMO)
        return DEMO

    async def warning(self, model: ModelFile) -> str:
        return self.warns

    def reserve(self) -> Endpoint:
        self.endpoint = ADDRESS
        return ADDRESS

    async def start(self, model: ModelFile, *, context: int | None = None) -> Endpoint:
        self.contexts.append(context)
        self.model, self.crash = model, None
        self.state = EngineState.LOADING
        await self.ready.wait()
        self.state = EngineState.OFF
        self._fail(model.name)
        self.state = EngineState.READY
        self.started.append(model.name)
        return self.reserve()

    async def why_crashed(self, wait_s: float = 0.0) -> EngineUnavailable | None:
        return self.crash

    async def unload(self) -> None:
        self.state = EngineState.OFF

    async def stop(self) -> None:
        self.is_stopped = True
        self.state = EngineState.OFF

    def breaks(self, sentence: str) -> None:
        """Be a child that has ended by itself."""
        self.state = EngineState.CRASHED
        self.crash = EngineUnavailable(sentence, details="the end of its log")

    def _fail(self, name: str) -> None:
        if error := self.failures.pop(name, None):
            raise error
