"""The built-in engine: its state, its model files and its demo model."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from msgspec import Struct

from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint, LoadState, ModelInfo


class EngineState(Enum):
    """State of the child process."""

    OFF = "off"
    LOADING = "loading"
    READY = "ready"
    CRASHED = "crashed"


class ModelFile(Struct, frozen=True, kw_only=True):
    """A model on this disk."""

    path: Path
    name: str  # unique among the listed files
    size_bytes: int
    source: str = ""  # program whose folder holds it: `LM Studio`, `Ollama`, …
    quantization: str = ""
    architecture: str = ""
    context_max: int | None = None
    parts: int = 1
    is_demo: bool = False

    def info(self, endpoint: Endpoint, state: LoadState = LoadState.UNKNOWN) -> ModelInfo:
        """Return the model as the built-in engine serves it at an address."""
        return ModelInfo(
            model_id=self.name,
            endpoint=endpoint,
            product=Product.BUILT_IN,
            state=state,
            quantization=self.quantization,
            context_max=self.context_max,
            size_bytes=self.size_bytes,
            owned_by=self.source,
        )


class DemoOffer(Struct, frozen=True, kw_only=True):
    """A model that can be downloaded."""

    name: str
    licence: str
    download_bytes: int
    folder: Path


class FetchProgress(Struct, frozen=True, kw_only=True):
    """Progress of a download."""

    done_bytes: int
    total_bytes: int

    @property
    def fraction(self) -> float:
        return min(self.done_bytes / self.total_bytes, 1.0) if self.total_bytes else 0.0
