"""Search for models on this disk: GGUF files in folders of other programs, and Ollama's blobs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.engine import ModelFile
from lmchat.engine.gguf import Header, NotGguf, read_header
from lmchat.files import NO_WAIT, OPEN_FLAGS, read_plain
from lmchat.machine.other_programs import jan_folders, lm_studio_folders

SUFFIX = ".gguf"
_MOST_FILES = 500
_MOST_SETTINGS_BYTES = 1 << 20
_DEEPEST = 8  # levels of folders
_NAMELESS = "model"  # jan's name for every file; the folder has the model's name
_PART = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})$")
_QUANTIZATION = re.compile(
    r"(?:^|[-._])((?:I?Q\d|BF16|F16|F32|MXFP4|TQ\d)(?:_\w+)?)$", re.IGNORECASE
)
_OLLAMA_MODEL = "application/vnd.ollama.image.model"
_OLLAMA_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_OLLAMA_LIBRARY = ("registry.ollama.ai", "library")

T = TypeVar("T")


class GgufFile(Struct, frozen=True, kw_only=True):
    """GGUF file of any kind, as its header describes it."""

    model: ModelFile
    header: Header


class _Settings(Struct):
    """Settings of LM Studio."""

    downloads_folder: str = msgspec.field(default="", name="downloadsFolder")


class _Layer(Struct):
    media_type: str = msgspec.field(default="", name="mediaType")
    digest: str = ""


class _Manifest(Struct):
    """Manifest of a model of Ollama."""

    layers: tuple[_Layer, ...] = ()


class ModelSearch:
    """Search limited in depth and number; unreadable files are skipped."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def models(self, folders: Mapping[Path, str]) -> Iterator[ModelFile]:
        """Return the chat models below folders, each with the name of its program."""
        return islice(self._models(folders), _MOST_FILES)

    def _models(self, folders: Mapping[Path, str]) -> Iterator[ModelFile]:
        for folder, source in folders.items():
            for path in self._files(folder):
                model = self._model(path)
                if model is not None:
                    yield replace(model, source=source)

    def _files(self, top: Path) -> Iterator[Path]:
        """Walk a folder by name; follow links, but each folder once."""
        for base, folders, names in os.walk(top, followlinks=True):
            folder = Path(base)
            is_new = self._is_new(folder)
            if is_new:
                yield from (
                    folder / name for name in sorted(names) if name.lower().endswith(SUFFIX)
                )
            depth = len(folder.parts) - len(top.parts)
            if is_new and depth < _DEEPEST:
                folders.sort()
            else:
                folders.clear()

    def _model(self, path: Path) -> ModelFile | None:
        part = _PART.match(path.stem)
        is_later_part = part is not None and int(part["number"]) != 1
        if is_later_part or not self._is_new(path):
            return None
        return _chat_model_at(path)

    def _is_new(self, path: Path) -> bool:
        """Return whether the file is new under any name: links may form circles."""
        real = os.path.realpath(path)
        is_new = real not in self._seen
        self._seen.add(real)
        return is_new


def find_models_on_disk(environ: Mapping[str, str]) -> Iterator[ModelFile]:
    """Yield the models of other programs; may take long on a slow disk, and hang on a lost one."""
    with suppress(RuntimeError):  # no home folder is known
        home = Path(environ.get("HOME") or Path.home())
        yield from ModelSearch().models(model_folders(home, environ))
        yield from ollama_models(ollama_folders(home, environ))


def read_gguf_file(path: Path) -> GgufFile | None:
    """Return a GGUF file; None if it is another, is unreadable or lacks a part."""
    part = _PART.match(path.stem)
    stem = part["stem"] if part else path.stem
    count = int(part["count"]) if part else 0
    numbers = range(1, count + 1)
    parts = [path.with_stem(f"{stem}-{number:05}-of-{count:05}") for number in numbers] or [path]
    try:
        str(path).encode()  # the library has no type for other names
        size = sum(file.stat().st_size for file in parts)
        # without O_NONBLOCK, a pipe in place of the file would be waited for
        with os.fdopen(os.open(path, os.O_RDONLY | NO_WAIT | OPEN_FLAGS), "rb") as source:
            header = read_header(source)
    except (OSError, NotGguf, UnicodeEncodeError):
        return None
    name = path.parent.name if stem == _NAMELESS else stem
    model = ModelFile(
        path=path,
        name=name,
        size_bytes=size,
        quantization=header.quantization or _quantization_in(name),
        architecture=header.architecture,
        context_max=header.context_max,
        parts=len(parts),
    )
    return GgufFile(model=model, header=header)


def _chat_model_at(path: Path) -> ModelFile | None:
    file = read_gguf_file(path)
    return file.model if file and file.header.can_chat else None


def _quantization_in(name: str) -> str:
    found = _QUANTIZATION.search(name)
    return found[1].upper() if found else ""


def model_folders(home: Path, environ: Mapping[str, str]) -> dict[Path, str]:
    """Return the model folders of other programs, existing or not, with the program's name."""
    sources = {
        "LM Studio": _lm_studio(home),
        "Jan": jan_folders(environ, home),
        "llama.cpp": _llama_cpp(home, environ),
        "Hugging Face": _hugging_face(home, environ),
    }
    folders: dict[Path, str] = {}
    for source, paths in sources.items():
        folders.update(dict.fromkeys(paths, source))
    return folders


def ollama_folders(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield Ollama's possible model folders."""
    named = environ.get("OLLAMA_MODELS", "").strip()
    if named:
        yield Path(named)
    yield home / ".ollama" / "models"
    if sys.platform == "linux":
        yield Path("/usr/share/ollama/.ollama/models")


def ollama_models(folders: Iterable[Path]) -> Iterator[ModelFile]:
    """Yield Ollama's models; only blobs named by a manifest are opened."""
    read_once = cache(_chat_model_at)  # several names may share a blob
    for folder in folders:
        # at the depth of manifests: registry, owner, model, tag
        for manifest in sorted((folder / "manifests").glob("*/*/*/*")):
            digest = _digest_in(manifest)
            model = read_once(folder / "blobs" / f"sha256-{digest}") if digest else None
            if model is not None:
                registry, owner, name, tag = manifest.parts[-4:]
                is_of_library = (registry, owner) == _OLLAMA_LIBRARY
                owned = name if is_of_library else f"{owner}/{name}"
                yield replace(model, name=f"{owned}:{tag}", source="Ollama")


def _digest_in(manifest: Path) -> str:
    """Return the digest of the blob with the model; empty without one."""
    for layer in _decoded(manifest, _Manifest).layers:
        if layer.media_type == _OLLAMA_MODEL:
            digest = _OLLAMA_DIGEST.fullmatch(layer.digest)
            return digest[1] if digest else ""
    return ""


def _lm_studio(home: Path) -> Iterator[Path]:
    for base in lm_studio_folders(home):
        yield from _absolute(_decoded(base / "settings.json", _Settings).downloads_folder)
        yield base / "models"


def _llama_cpp(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    yield from _absolute(environ.get("LLAMA_CACHE", ""))
    caches = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    yield Path(environ.get("XDG_CACHE_HOME") or caches) / "llama.cpp"


def _hugging_face(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        yield from _absolute(environ.get(name, ""))
    for folder in _absolute(environ.get("HF_HOME", "")):
        yield folder / "hub"
    yield Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "huggingface" / "hub"


def _decoded(path: Path, form: type[T]) -> T:
    """Return a small file of JSON; an empty value if it is unreadable."""
    try:
        return msgspec.json.decode(read_plain(path, max_bytes=_MOST_SETTINGS_BYTES), type=form)
    except (OSError, ValueError, RecursionError):  # no such file, or no JSON of this form
        return form()


def _absolute(named: str) -> Iterator[Path]:
    """Yield a path if the text is one."""
    if named and "\0" not in named and Path(named).is_absolute():
        yield Path(named)
