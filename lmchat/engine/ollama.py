"""Ollama's models: a manifest names the blob that holds the model, so no blob need be tried."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lmchat.domain.engine import ModelFile
from lmchat.engine.disk import look_at
from lmchat.engine.folders import read_json

_MOST_MODELS = 200
_MODEL = "application/vnd.ollama.image.model"
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_LIBRARY = ("registry.ollama.ai", "library")


def ollama_models(folders: Iterable[Path]) -> Iterator[ModelFile]:
    """Yield what Ollama has, under the names that it calls them by."""
    left = _MOST_MODELS
    for folder in folders:
        for manifest in _manifests(folder / "manifests"):
            left -= 1
            if left < 0:
                return
            model = _model(folder, manifest)
            if model is not None:
                yield model


def _manifests(folder: Path) -> Iterator[Path]:
    """Yield the files at the depth at which manifests lie: registry, owner, model, tag."""
    try:
        yield from sorted(path for path in folder.glob("*/*/*/*") if path.is_file())
    except OSError:
        return


def _model(folder: Path, manifest: Path) -> ModelFile | None:
    told = read_json(manifest)
    layers = told.get("layers") if isinstance(told, dict) else None
    blob = next((one for layer in layers if (one := _blob(layer))), "") if isinstance(layers, list) else ""
    found = look_at(folder / "blobs" / f"sha256-{blob}") if blob else None
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
