"""The built-in engine: its state, its model files, its demo model and the download of that."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from msgspec import Struct

from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import BUILT_IN, LoadState, ModelInfo


class EngineState(Enum):
    """State of the engine's child process."""

    OFF = "off"
    LOADING = "loading"
    READY = "ready"
    CRASHED = "crashed"


class ModelFile(Struct, frozen=True, kw_only=True):
    """A model on this disk."""

    path: Path
    name: str  # unique among the listed files
    size_bytes: int  # of all its files
    source: str = ""  # program whose folder holds it: `LM Studio`, `Ollama`, …
    quantization: str = ""
    parts: int = 1  # number of its files
    is_demo: bool = False  # whether it is the model that lmchat can download

    def info(self, endpoint: Endpoint, state: LoadState = LoadState.UNKNOWN) -> ModelInfo:
        """Return the model as a server lists it, for the built-in engine at an address."""
        return ModelInfo(
            model_id=self.name,
            endpoint=endpoint,
            product=BUILT_IN,
            state=state,
            quantization=self.quantization,
            size_bytes=self.size_bytes,
            owned_by=self.source,
        )


class DemoOffer(Struct, frozen=True, kw_only=True):
    """The demo model, which can be downloaded to `folder`."""

    name: str
    licence: str
    download_bytes: int
    folder: Path
