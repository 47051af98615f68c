"""What the program needs of the built-in engine, as a protocol; `cli` brings the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lmchat.domain.engine import DemoOffer, EngineState, FetchProgress, ModelFile
from lmchat.domain.server import Endpoint
from lmchat.errors import EngineUnavailable


class Engine(Protocol):
    """A model server of our own; its methods raise `EngineUnavailable`, which says what helps."""

    key: str
    """What a client has to show."""
    model: ModelFile | None
    """What it serves, or was told to serve last."""

    @property
    def endpoint(self) -> Endpoint | None:
        """Its address, which stays whatever it serves; None before it was first started."""
        ...

    @property
    def state(self) -> EngineState:
        """What it is doing."""
        ...

    async def files(self, *, is_refresh: bool = False) -> tuple[ModelFile, ...]:
        """List the models on this disk, those of other programs too; looks once, and again when asked to."""
        ...

    async def choose(self, named: str = "", *, last: str = "") -> ModelFile | None:
        """Return the model to begin with: the named one, the last used one, or what suits this machine.

        None where this disk has no model. Raises `WrongUse` where there is none of that name.
        """
        ...

    async def check(self) -> None:
        """Find out whether it can run here, so that nothing is fetched in vain; takes a second."""
        ...

    async def offer(self) -> DemoOffer:
        """Return what a person needs to know to consent to the fetch of the demo model."""
        ...

    async def has_demo(self) -> bool:
        """Whether the demo model is on this disk, whole."""
        ...

    async def fetch(self, told: Callable[[FetchProgress], None]) -> ModelFile:
        """Fetch the demo model, tell how far that is, and return it; cancelled, it leaves nothing behind."""
        ...

    async def warning(self, model: ModelFile) -> str:
        """Return a sentence where a model will hardly fit into memory, else nothing."""
        ...

    def reserve(self) -> Endpoint:
        """Return the address at which it will answer; it stays the same until `stop`."""
        ...

    async def start(self, model: ModelFile, *, context: int | None = None) -> Endpoint:
        """Serve a model, in place of what was served before; return when it is ready.

        Where it serves this model already, nothing happens, unless `context` asks for another window.
        """
        ...

    async def why_crashed(self, wait_s: float = 0.0) -> EngineUnavailable | None:
        """Return why it has ended by itself, after waiting a little for that; None where it has not."""
        ...

    async def unload(self) -> None:
        """Serve nothing for now; the address stays."""
        ...

    async def stop(self) -> None:
        """End it."""
        ...
