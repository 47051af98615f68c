"""Where other programs of this user keep their models, in the order in which they are listed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from lmchat.files import read_plain

_MOST_BYTES = 1 << 20


class Folder(Struct, frozen=True, kw_only=True):
    """A folder with models."""

    path: Path
    """Where."""
    source: str
    """Whose it is."""


def model_folders(home: Path, environ: Mapping[str, str]) -> tuple[Folder, ...]:
    """Return the folders that may hold models; whether they are there is not looked at."""
    found = [
        *(Folder(path=path, source="LM Studio") for path in _lm_studio(home)),
        *(Folder(path=path, source="Jan") for path in _jan(home, environ)),
        *(Folder(path=path, source="llama.cpp") for path in _llama_cpp(home, environ)),
        Folder(path=_hugging_face(home, environ), source="Hugging Face"),
    ]
    return tuple({folder.path: folder for folder in reversed(found)}.values())[::-1]


def ollama_folders(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield where Ollama may keep its models."""
    if named := environ.get("OLLAMA_MODELS", "").strip():
        yield Path(named)
    yield home / ".ollama" / "models"
    if sys.platform == "linux":
        yield Path("/usr/share/ollama/.ollama/models")


def read_json(path: Path) -> Any:
    """Return what a small file of another program holds; None where it cannot be read or is no JSON."""
    try:
        return json.loads(read_plain(path, limit=_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def _lm_studio(home: Path) -> Iterator[Path]:
    for base in (_lm_studio_home(home), home / ".lmstudio", home / ".cache" / "lm-studio"):
        settings = read_json(base / "settings.json")
        if named := _named(settings, "downloadsFolder"):
            yield named
        yield base / "models"


def _lm_studio_home(home: Path) -> Path:
    """Return the folder that LM Studio says it moved to."""
    try:
        named = read_plain(home / ".lmstudio-home-pointer", limit=_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return home / ".lmstudio"
    return _absolute(named.strip()) or home / ".lmstudio"


def _jan(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Jan tells its data folder in the settings of the program, of which there are two generations."""
    share = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    if sys.platform == "darwin":
        share = config = home / "Library" / "Application Support"
    for base in (share, config):
        for name in ("Jan", "jan"):
            if named := _named(read_json(base / name / "settings.json"), "data_folder"):
                yield named
            yield base / name / "data"
    yield home / "jan"


def _llama_cpp(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    if named := _absolute(environ.get("LLAMA_CACHE", "")):
        yield named
    cache = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    yield Path(environ.get("XDG_CACHE_HOME") or cache) / "llama.cpp"


def _hugging_face(home: Path, environ: Mapping[str, str]) -> Path:
    for name, below in (("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub")):
        if named := _absolute(environ.get(name, "")):
            return named / below
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "huggingface" / "hub"


def _named(settings: Any, key: str) -> Path | None:
    value = settings.get(key) if isinstance(settings, dict) else None
    return _absolute(value) if isinstance(value, str) else None


def _absolute(named: str) -> Path | None:
    """Return a folder that is named in full; a name with a NUL is none."""
    path = Path(named)
    return path if named and "\0" not in named and path.is_absolute() else None
