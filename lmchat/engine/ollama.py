"""Ollama's models: a manifest names the blob that holds the model, so no blob need be tried."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lmchat.domain.engine import ModelFile
from lmchat.engine.disk import Found, look_at
from lmchat.engine.folders import read_json

_MOST_MODELS = 200
_MODEL = "application/vnd.ollama.image.model"
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_LIBRARY = ("registry.ollama.ai", "library")


def ollama_models(
    folders: Iterable[Path], is_in_time: Callable[[], bool] = lambda: True
) -> Iterator[ModelFile]:
    """Yield what Ollama has, under the names that it calls them by, for as long as there is time."""
    left = _MOST_MODELS
    seen: dict[Path, Found | None] = {}  # many names may be those of one blob
    for folder in folders:
        for manifest in _manifests(folder / "manifests", is_in_time):
            left -= 1
            if left < 0 or not is_in_time():
                return
            model = _model(folder, manifest, seen)
            if model is not None:
                yield model


def _manifests(folder: Path, is_in_time: Callable[[], bool]) -> Iterator[Path]:
    """Yield the files at the depth at which manifests lie: registry, owner, model, tag."""
    try:
        paths = takewhile(lambda _: is_in_time(), folder.glob("*/*/*/*"))
        yield from sorted(path for path in paths if path.is_file())
    except OSError:
        return


def _model(folder: Path, manifest: Path, seen: dict[Path, Found | None]) -> ModelFile | None:
    told = read_json(manifest)
    layers = told.get("layers") if isinstance(told, dict) else None
    blob = next((one for layer in layers if (one := _blob(layer))), "") if isinstance(layers, list) else ""
    if not blob:
        return None
    path = folder / "blobs" / f"sha256-{blob}"
    if path not in seen:
        seen[path] = look_at(path)
    found = seen[path]
    if found is None or not found.header.can_chat:
        return None
    return replace(found.model, name=_name(manifest), source="Ollama")


def _blob(layer: Any) -> str:
    """Return the number of the blob with the model; nothing for other layers, and for what is no number."""
    if not isinstance(layer, dict) or layer.get("mediaType") != _MODEL:
        return ""
    digest = _DIGEST.fullmatch(str(layer.get("digest", "")))
    return digest[1] if digest else ""


def _name(manifest: Path) -> str:
    registry, owner, model, tag = manifest.parts[-4:]
    if (registry, owner) == _LIBRARY:
        return f"{model}:{tag}"
    return f"{owner}/{model}:{tag}"
