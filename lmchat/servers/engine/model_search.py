"""Search for models on this disk: GGUF files in folders of other programs, and Ollama's blobs.

Ollama keeps a model as a blob, a file named after its hash; a manifest, one for each name of the
model, says which blobs it consists of. A split model consists of several GGUF files.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from glob import glob
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lmchat.files.disk import read_plain
from lmchat.files.paths import jan_folders, lm_studio_folders
from lmchat.servers.engine.model_files import ModelFile

SUFFIX = ".gguf"
_MAX_JSON_BYTES = 1024 * 1024
_NAMELESS = "model"  # Jan's name for the file of every model, whose folder has the model's name
# name of a file of a model that is split: "qwen3-00001-of-00003"
_SPLIT_NAME = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})$")
# ending of a name that is a quantization: "-Q4_K_M", ".IQ2_XS", "_BF16", ":q8_0"; the group has
# no separator before it
_QUANTIZATION = re.compile(
    r"(?:^|[-._:])((?:I?Q\d|BF16|F16|F32|MXFP4|TQ\d)(?:_\w+)?)$", re.IGNORECASE
)
_ENCODERS = ("mmproj", "embed")  # in names of models that cannot chat
_OLLAMA_MODEL = "application/vnd.ollama.image.model"  # type of the layer that is the model
_OLLAMA_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_OLLAMA_LIBRARY = ("registry.ollama.ai", "library")  # registry and owner, left out of names

T = TypeVar("T")


class _LMStudioSettings(Struct):
    """The settings of LM Studio that lmchat reads."""

    downloads_folder: str = msgspec.field(default="", name="downloadsFolder")


class _OllamaLayer(Struct):
    """Part of a model of Ollama: the model itself, its template or its licence."""

    media_type: str = msgspec.field(default="", name="mediaType")
    digest: str = ""


class _OllamaManifest(Struct):
    """Manifest of a model of Ollama, which names its parts."""

    layers: tuple[_OllamaLayer, ...] = ()


def find_models_on_disk(environ: Mapping[str, str]) -> Iterator[ModelFile]:
    """Yield the chat models that other programs keep on this disk.

    It may take long on a slow disk, and hang on a lost one. If the home folder is not known, yield
    nothing.
    """
    try:
        home = Path(environ.get("HOME") or Path.home())
    except RuntimeError:  # no home folder is known
        return
    yield from gguf_models(_model_folders(home, environ))
    ollama_folders = [*_absolute(environ.get("OLLAMA_MODELS", "")), home / ".ollama" / "models"]
    if sys.platform == "linux":
        ollama_folders.append(Path("/usr/share/ollama/.ollama/models"))
    yield from _ollama_models(ollama_folders)


def gguf_models(sources: Mapping[Path, str]) -> Iterator[ModelFile]:
    """Yield the chat models in GGUF files below folders; what cannot be read is skipped.

    `sources` has the name of the program by each folder.
    """
    visited: set[str] = (
        set()
    )  # real paths: links may lead to one from several places, or in circles

    def is_first_visit(path: Path) -> bool:
        real_path = os.path.realpath(path)
        is_first = real_path not in visited
        visited.add(real_path)
        return is_first

    for top, source in sources.items():
        for base, folders, names in os.walk(top, followlinks=True):
            folder = Path(base)
            if not is_first_visit(folder):
                folders.clear()  # `os.walk` continues with those that are left in its list
                continue
            folders.sort()
            for name in sorted(names):
                path = folder / name
                if path.suffix.lower() == SUFFIX and is_first_visit(path):
                    model = model_at(path)
                    if model is not None and _can_chat(model.name):
                        yield replace(model, source=source)


def model_at(path: Path) -> ModelFile | None:
    """Return the model in a file; of a split model, `path` is the first file.

    Return None if it is no regular file, if another file of a split model is missing, or if the
    path is not UTF-8.
    """
    name, files = path.stem, [path]
    if split := _SPLIT_NAME.match(name):
        name, count = split["stem"], int(split["count"])
        parts = range(1, count + 1)
        files = [path.with_stem(f"{name}-{number:05}-of-{count:05}") for number in parts]
    if path not in files[:1]:
        return None
    try:
        str(path).encode()  # the library cannot open a name that is not UTF-8
        states = [file.stat() for file in files]
    except (OSError, UnicodeEncodeError):
        return None
    if not all(stat.S_ISREG(state.st_mode) for state in states):
        return None
    if name == _NAMELESS:
        name = path.parent.name
    return ModelFile(
        path=path,
        name=name,
        size_bytes=sum(state.st_size for state in states),
        quantization=_quantization_in(name),
        parts=len(files),
    )


def _can_chat(name: str) -> bool:
    """Return whether a model of this name may answer; encoders of images and texts do not."""
    return not any(word in name.casefold() for word in _ENCODERS)


def _quantization_in(name: str) -> str:
    """Return the quantization that a name ends with, such as `Q4_K_M`; "" without one."""
    quantization = _QUANTIZATION.search(name)
    return quantization[1].upper() if quantization else ""


def _model_folders(home: Path, environ: Mapping[str, str]) -> dict[Path, str]:
    """Return the folders in which other programs keep models, each with the program's name.

    Not all of them exist. Ollama's folders have another form and are not among them.
    """
    caches = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    on_mac = home / "Library" / "Caches" if sys.platform == "darwin" else caches
    sources: dict[Path, str] = {}
    for base in lm_studio_folders(home):
        settings = _read_json(base / "settings.json", _LMStudioSettings)
        for folder in (*_absolute(settings.downloads_folder), base / "models"):
            sources[folder] = "LM Studio"
    for folder in jan_folders(environ, home):
        sources[folder] = "Jan"
    for folder in (*_absolute(environ.get("LLAMA_CACHE", "")), on_mac / "llama.cpp"):
        sources[folder] = "llama.cpp"
    hubs = [*_absolute(environ.get("HF_HUB_CACHE", "")), caches / "huggingface" / "hub"]
    hubs += [folder / "hub" for folder in _absolute(environ.get("HF_HOME", ""))]
    for folder in hubs:
        sources[folder] = "Hugging Face"
    return sources


def _ollama_models(folders: Iterable[Path]) -> Iterator[ModelFile]:
    """Yield the chat models of Ollama, once for each of their names.

    Only blobs that a manifest names as a model are looked at.
    """
    for folder in folders:
        manifests = folder / "manifests"
        # Path.glob would raise an error for a folder that may not be entered
        names = glob("*/*/*/*", root_dir=manifests)  # noqa: PTH207 - REGISTRY/OWNER/MODEL/TAG
        for path in sorted(names):
            registry, owner, name, tag = Path(path).parts
            own_name = f"{name}:{tag}"
            if (registry, owner) != _OLLAMA_LIBRARY:
                own_name = f"{owner}/{own_name}"
            if not _can_chat(own_name):
                continue
            for layer in _read_json(manifests / path, _OllamaManifest).layers:
                digest = _OLLAMA_DIGEST.fullmatch(layer.digest)
                if layer.media_type != _OLLAMA_MODEL or digest is None:
                    continue
                model = model_at(folder / "blobs" / f"sha256-{digest[1]}")
                if model is not None:
                    quantization = _quantization_in(own_name)
                    yield replace(model, name=own_name, source="Ollama", quantization=quantization)


def _read_json(path: Path, struct_type: type[T]) -> T:
    """Return the value in a small file of JSON; the type's default value if that fails."""
    try:
        data = read_plain(path, max_bytes=_MAX_JSON_BYTES)
        return msgspec.json.decode(data, type=struct_type)
    except (OSError, ValueError, RecursionError):  # no such file, or no JSON of this type
        return struct_type()


def _absolute(text: str) -> list[Path]:
    """Return a text from outside as a path if it is an absolute one, else nothing."""
    is_absolute = text and "\0" not in text and Path(text).is_absolute()
    return [Path(text)] if is_absolute else []
