"""Models on this disk: search, choice and memory needs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from lmchat.domain.engine import ModelFile
from lmchat.engine.download import DemoModel, is_whole
from lmchat.engine.gguf import Header, NotGguf, read_header
from lmchat.errors import WrongUse
from lmchat.files import NO_WAIT, OPEN_FLAGS, path_of, read_plain
from lmchat.machine.other_programs import jan_folders, lm_studio_folders
from lmchat.text import similar

_MOST_FILES = 500
_MOST_SETTINGS_BYTES = 1 << 20
_DEEPEST = 8
_SUFFIX = ".gguf"
_NAMELESS = "model"  # jan's name for every file; the folder has the model's name
_PART = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})$")
_QUANTIZATION = re.compile(
    r"(?:^|[-._])((?:I?Q\d|BF16|F16|F32|MXFP4|TQ\d)(?:_\w+)?)$", re.IGNORECASE
)
_OLLAMA_MODEL = "application/vnd.ollama.image.model"
_OLLAMA_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_OLLAMA_LIBRARY = ("registry.ollama.ai", "library")
_CGROUP = Path("/sys/fs/cgroup")
_OVERHEAD = 1.15
"""Memory for file, window and computing per file size; measured 1.3 for the smallest, 1.1 for 8B."""
_SHARE_OF_MEMORY = 0.25  # larger models answer slowly without a graphics card
_GB = 1e9
_NOTHING = (None, Header())


T = TypeVar("T")


class _Settings(msgspec.Struct):
    """Settings of LM Studio."""

    downloads_folder: str = msgspec.field(default="", name="downloadsFolder")


class _Layer(msgspec.Struct):
    media_type: str = msgspec.field(default="", name="mediaType")
    digest: str = ""


class _Manifest(msgspec.Struct):
    """Manifest of a model of Ollama."""

    layers: tuple[_Layer, ...] = ()


class ModelSearch:
    """Search limited in depth and number; unreadable files are skipped."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def models(self, folders: Mapping[Path, str]) -> Iterator[ModelFile]:
        paths = (
            (path, source) for folder, source in folders.items() for path in self._files(folder)
        )
        found = (self._model(path, source) for path, source in paths)
        return islice((model for model in found if model is not None), _MOST_FILES)

    def _files(self, top: Path) -> Iterator[Path]:
        """Walk a folder by name; follow links, but each folder once."""
        for base, folders, names in os.walk(top, followlinks=True):
            folder = Path(base)
            folders.sort()
            if self._is_new(folder):
                yield from (
                    folder / name for name in sorted(names) if name.lower().endswith(_SUFFIX)
                )
            else:
                folders.clear()
            if len(folder.parts) - len(top.parts) >= _DEEPEST:
                folders.clear()

    def _model(self, path: Path, source: str) -> ModelFile | None:
        part = _PART.match(path.stem)
        is_later_part = part is not None and int(part["number"]) != 1
        if is_later_part or not self._is_new(path):
            return None
        model, header = look_at(path) or _NOTHING
        return replace(model, source=source) if model and header.can_chat else None

    def _is_new(self, path: Path) -> bool:
        """Return whether the file is new under any name: links may form circles."""
        real = os.path.realpath(path)
        is_new = real not in self._seen
        self._seen.add(real)
        return is_new


def found_on_disk(environ: Mapping[str, str]) -> Iterator[ModelFile]:
    """Yield the models of other programs; may take long on a slow disk, and hang on a lost one."""
    with suppress(RuntimeError):  # no home folder is known
        home = Path(environ.get("HOME") or Path.home())
        yield from ModelSearch().models(model_folders(home, environ))
        yield from ollama_models(ollama_folders(home, environ))


def listed(found: Iterable[ModelFile], demo: DemoModel, folder: Path) -> tuple[ModelFile, ...]:
    """Return all models with unique names, the demo model last; a folder's name tells namesakes apart.

    A damaged demo model is none: it is offered once more.
    """
    named: dict[str, ModelFile] = {}
    for model in (*found, *([demo.file_in(folder)] if is_whole(demo, folder) else [])):
        name = model.name
        if name in named:
            name = f"{model.path.parent.name}/{model.name}"
        while name in named:
            name = f"{name}~"
        named[name] = replace(model, name=name)
    return tuple(named.values())


def named_model(named: str, models: Sequence[ModelFile]) -> ModelFile:
    """Return the model with this file or name; raises `WrongUse` if it is missing or cannot chat."""
    for model in models:
        if named.casefold() == model.name.casefold():
            return model
    path = path_of(named)
    if path.exists() or named.lower().endswith(_SUFFIX):
        return _model_at(path.absolute(), models)
    meant = similar(named, tuple(model.name for model in models))
    raise WrongUse(
        f"There is no model {named} on this disk.",
        hint=f"Did you mean {meant}?"
        if meant
        else "`lmchat models --local` lists the model files.",
    )


def best_model(models: Sequence[ModelFile], last: str = "") -> ModelFile | None:
    """Return the last used model, else the largest with room, else the smallest; the demo model last."""
    if used := next((model for model in models if model.name == last), None):
        return used
    own = sorted(
        (model for model in models if not model.is_demo), key=lambda model: model.size_bytes
    )
    available = available_bytes()
    fitting = [model for model in own if needed_bytes(model) <= available]
    swift = [model for model in fitting if needed_bytes(model) <= available * _SHARE_OF_MEMORY]
    return next(iter(swift[-1:] or fitting[:1] or models[-1:]), None)


def available_bytes() -> int:
    """Return the free memory without swapping, within a container's limit."""
    import psutil  # noqa: PLC0415 - where only the list of models is wanted, memory is not looked at

    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # without a limit, memory.max is a word
        limit, used = (
            int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current")
        )
        rows = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        # what the files of the container take in memory can be given back
        free = min(free, max(0, limit - used + int(rows.get("file", 0))))
    return free


def needed_bytes(model: ModelFile) -> int:
    """Return the estimated memory to serve a model."""
    return int(model.size_bytes * _OVERHEAD)


def memory_words(model: ModelFile) -> str:
    """Return need and supply in brackets; empty if the model fits."""
    available = available_bytes()
    if needed_bytes(model) <= available:
        return ""
    return (
        f" (it needs about {needed_bytes(model) / _GB:.1f} GB, {available / _GB:.1f} GB are free)"
    )


def warning(model: ModelFile) -> str:
    """Return a sentence if a model will hardly fit, else ""."""
    words = memory_words(model)
    return f"{model.name} may be too large for the memory of this machine{words}." if words else ""


def look_at(path: Path) -> tuple[ModelFile, Header] | None:
    """Return a GGUF file and its header; None if it is another, is unreadable or lacks a part."""
    part = _PART.match(path.stem)
    stem = part["stem"] if part else path.stem
    numbers = range(1, int(part["count"]) + 1) if part else ()
    parts = [path.with_stem(f"{stem}-{number:05}-of-{len(numbers):05}") for number in numbers] or [
        path
    ]
    try:
        str(path).encode()  # the library has no type for other names
        size = sum(one.stat().st_size for one in parts)
        # without O_NONBLOCK, a pipe in place of the file would be waited for
        with os.fdopen(os.open(path, os.O_RDONLY | NO_WAIT | OPEN_FLAGS), "rb") as file:
            header = read_header(file)
    except (OSError, NotGguf, UnicodeEncodeError):
        return None
    name = path.parent.name if stem == _NAMELESS else stem
    quantization = _QUANTIZATION.search(name)
    model = ModelFile(
        path=path,
        name=name,
        size_bytes=size,
        quantization=header.quantization or (quantization[1].upper() if quantization else ""),
        architecture=header.architecture,
        context_max=header.context_max,
        parts=len(parts),
    )
    return model, header


def model_folders(home: Path, environ: Mapping[str, str]) -> dict[Path, str]:
    """Return the model folders of other programs, existing or not, with the program's name."""
    folders = {
        "LM Studio": _lm_studio(home),
        "Jan": jan_folders(environ, home),
        "llama.cpp": _llama_cpp(home, environ),
        "Hugging Face": _hugging_face(home, environ),
    }
    return {path: source for source, paths in folders.items() for path in paths}


def ollama_folders(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield Ollama's possible model folders."""
    if named := environ.get("OLLAMA_MODELS", "").strip():
        yield Path(named)
    yield home / ".ollama" / "models"
    if sys.platform == "linux":
        yield Path("/usr/share/ollama/.ollama/models")


def ollama_models(folders: Iterable[Path]) -> Iterator[ModelFile]:
    """Yield Ollama's models; only blobs named by a manifest are opened."""
    look_once = cache(look_at)  # several names may share a blob
    for folder in folders:
        # at the depth of manifests: registry, owner, model, tag
        for manifest in sorted((folder / "manifests").glob("*/*/*/*")):
            layers = _decoded(manifest, _Manifest).layers
            digest = next((one.digest for one in layers if one.media_type == _OLLAMA_MODEL), "")
            if not (blob := _OLLAMA_DIGEST.fullmatch(digest)):
                continue
            model, header = look_once(folder / "blobs" / f"sha256-{blob[1]}") or _NOTHING
            if model and header.can_chat:
                registry, owner, name, tag = manifest.parts[-4:]
                owned = name if (registry, owner) == _OLLAMA_LIBRARY else f"{owner}/{name}"
                yield replace(model, name=f"{owned}:{tag}", source="Ollama")


def _model_at(path: Path, models: Sequence[ModelFile]) -> ModelFile:
    if known := next((model for model in models if model.path == path), None):
        return known
    if not path.is_file():
        raise WrongUse(
            f"There is no file {path}.", hint="`lmchat models --local` lists the model files here."
        )
    found = look_at(path)
    if found is None:
        raise WrongUse(
            f"{path} is not a complete GGUF file.",
            hint="If a model has several files, pass the first one; all of them must exist.",
        )
    model, header = found
    if not header.can_chat:
        kind = header.kind or header.architecture or "a vocabulary"
        raise WrongUse(f"{path} is not a chat model, but {kind}.", hint="Choose another file.")
    return model


def _lm_studio(home: Path) -> Iterator[Path]:
    for base in lm_studio_folders(home):
        yield from _absolute(_decoded(base / "settings.json", _Settings).downloads_folder)
        yield base / "models"


def _llama_cpp(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    yield from _absolute(environ.get("LLAMA_CACHE", ""))
    cache_folder = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    yield Path(environ.get("XDG_CACHE_HOME") or cache_folder) / "llama.cpp"


def _hugging_face(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    for name, below in (("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub")):
        yield from (named / below for named in _absolute(environ.get(name, "")))
    yield Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "huggingface" / "hub"


def _decoded(path: Path, kind: type[T]) -> T:
    """Return a small file of JSON; an empty value if it is unreadable."""
    try:
        return msgspec.json.decode(read_plain(path, limit=_MOST_SETTINGS_BYTES), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return kind()


def _absolute(named: str) -> Iterator[Path]:
    """Yield a path if the text is one."""
    if named and "\0" not in named and Path(named).is_absolute():
        yield Path(named)
