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
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lmchat.files.disk import read_plain
from lmchat.files.paths import jan_folders, lm_studio_folders
from lmchat.servers.engine.model_files import ModelFile

SUFFIX = ".gguf"
_MAX_FILES = 500
_MAX_JSON_BYTES = 1024 * 1024
_MAX_DEPTH = 8  # levels of folders below the folder that is searched
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


class ModelSearch:
    """Search for GGUF files, limited in depth and number; unreadable files are skipped."""

    def __init__(self) -> None:
        self._visited: set[str] = set()  # real paths of files and folders

    def find_models(self, sources: Mapping[Path, str]) -> Iterator[ModelFile]:
        """Yield the chat models below folders, at most `_MAX_FILES`.

        `sources` has the name of the program by each folder.
        """
        return islice(self._all_models(sources), _MAX_FILES)

    def _all_models(self, sources: Mapping[Path, str]) -> Iterator[ModelFile]:
        """Yield the chat models below folders, in any number."""
        for folder, source in sources.items():
            for path in self._find_files(folder):
                model = self._visit_file(path)
                if model is not None:
                    yield replace(model, source=source)

    def _find_files(self, top: Path) -> Iterator[Path]:
        """Yield the files below a folder that have the ending of GGUF files, in order of names.

        Links are followed, but each folder is visited once.
        """
        for base, folders, names in os.walk(top, followlinks=True):
            folder = Path(base)
            is_first_visit = self._visit(folder)
            if is_first_visit:
                for name in sorted(names):
                    if name.lower().endswith(SUFFIX):
                        yield folder / name

            # `os.walk` continues with the folders that are left in its list, in this order
            depth = len(folder.parts) - len(top.parts)
            if is_first_visit and depth < _MAX_DEPTH:
                folders.sort()
            else:
                folders.clear()

    def _visit_file(self, path: Path) -> ModelFile | None:
        """Return the chat model in a file; None if it has none.

        Return None also for a later file of a split model, and for a file that was visited.
        """
        split = _SPLIT_NAME.match(path.stem)
        is_later_part = split is not None and int(split["number"]) != 1
        if is_later_part or not self._visit(path):
            return None
        model = model_at(path)
        return model if model is not None and _can_chat(model.name) else None

    def _visit(self, path: Path) -> bool:
        """Note that a file or folder is visited; return whether it is the first time.

        Links may lead to one file or folder from several places, or in circles.
        """
        real_path = os.path.realpath(path)
        is_first_visit = real_path not in self._visited
        self._visited.add(real_path)
        return is_first_visit


def find_models_on_disk(environ: Mapping[str, str]) -> Iterator[ModelFile]:
    """Yield the chat models that other programs keep on this disk.

    It may take long on a slow disk, and hang on a lost one. If the home folder is not known, yield
    nothing.
    """
    try:
        home = Path(environ.get("HOME") or Path.home())
    except RuntimeError:  # no home folder is known
        return
    yield from ModelSearch().find_models(model_folders(home, environ))
    yield from ollama_models(ollama_folders(home, environ))


def model_at(path: Path) -> ModelFile | None:
    """Return the model in a file; of a split model, `path` is the first file.

    Return None if it is no regular file, if another file of a split model is missing, or if the
    path is not UTF-8.
    """
    stem, files = _files_of_model(path)
    try:
        str(path).encode()  # the library cannot open a name that is not UTF-8
        states = [file.stat() for file in files]
    except (OSError, UnicodeEncodeError):
        return None
    if not all(stat.S_ISREG(state.st_mode) for state in states):
        return None
    name = path.parent.name if stem == _NAMELESS else stem
    return ModelFile(
        path=path,
        name=name,
        size_bytes=sum(state.st_size for state in states),
        quantization=_quantization_in(name),
        parts=len(files),
    )


def _files_of_model(path: Path) -> tuple[str, list[Path]]:
    """Return the name of a model without the number of a file, and all its files in order."""
    split = _SPLIT_NAME.match(path.stem)
    if split is None:
        return path.stem, [path]
    stem = split["stem"]
    count = int(split["count"])
    files = [path.with_stem(f"{stem}-{number:05}-of-{count:05}") for number in range(1, count + 1)]
    return stem, files or [path]  # a name may end with "-00001-of-00000"


def _can_chat(name: str) -> bool:
    """Return whether a model of this name may answer; encoders of images and texts do not."""
    return not any(word in name.casefold() for word in _ENCODERS)


def _quantization_in(name: str) -> str:
    """Return the quantization that a name ends with, such as `Q4_K_M`; "" without one."""
    quantization = _QUANTIZATION.search(name)
    return quantization[1].upper() if quantization else ""


def model_folders(home: Path, environ: Mapping[str, str]) -> dict[Path, str]:
    """Return the folders in which other programs keep models, each with the program's name.

    Not all of them exist. Ollama's folders have another form and are not among them.
    """
    by_program = {
        "LM Studio": _lm_studio_models(home),
        "Jan": jan_folders(environ, home),
        "llama.cpp": _llama_cpp_caches(home, environ),
        "Hugging Face": _hugging_face_caches(home, environ),
    }
    sources: dict[Path, str] = {}
    for program, folders in by_program.items():
        for folder in folders:
            sources[folder] = program
    return sources


def ollama_folders(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders in which Ollama may keep its models."""
    configured = environ.get("OLLAMA_MODELS", "").strip()
    if configured:
        yield Path(configured)
    yield home / ".ollama" / "models"
    if sys.platform == "linux":
        yield Path("/usr/share/ollama/.ollama/models")


def ollama_models(folders: Iterable[Path]) -> Iterator[ModelFile]:
    """Yield the chat models of Ollama, once for each of their names.

    Only blobs that a manifest names as a model are looked at.
    """
    for folder in folders:
        manifests = folder / "manifests"
        # Path.glob would raise an error for a folder that may not be entered
        names = glob("*/*/*/*", root_dir=manifests)  # noqa: PTH207 - REGISTRY/OWNER/MODEL/TAG
        for name in sorted(names):
            manifest = manifests / name
            digest = _model_digest(manifest)
            model = model_at(folder / "blobs" / f"sha256-{digest}") if digest else None
            own_name = _ollama_name(manifest)
            if model is not None and _can_chat(own_name):
                quantization = _quantization_in(own_name)
                yield replace(model, name=own_name, source="Ollama", quantization=quantization)


def _ollama_name(manifest: Path) -> str:
    """Return Ollama's name of the model of a manifest, as `qwen3:8b` or `owner/model:tag`."""
    registry, owner, name, tag = manifest.parts[-4:]
    is_of_library = (registry, owner) == _OLLAMA_LIBRARY
    return f"{name}:{tag}" if is_of_library else f"{owner}/{name}:{tag}"


def _model_digest(manifest: Path) -> str:
    """Return the digest of the blob that a manifest names as the model; "" without one."""
    for layer in _read_json(manifest, _OllamaManifest).layers:
        if layer.media_type == _OLLAMA_MODEL:
            digest = _OLLAMA_DIGEST.fullmatch(layer.digest)
            return digest[1] if digest else ""
    return ""


def _lm_studio_models(home: Path) -> Iterator[Path]:
    """Yield LM Studio's possible model folders: the one in its settings, and the usual ones."""
    for base in lm_studio_folders(home):
        settings = _read_json(base / "settings.json", _LMStudioSettings)
        yield from _if_absolute(settings.downloads_folder)
        yield base / "models"


def _llama_cpp_caches(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders that llama.cpp may download models to."""
    yield from _if_absolute(environ.get("LLAMA_CACHE", ""))
    caches = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    yield Path(environ.get("XDG_CACHE_HOME") or caches) / "llama.cpp"


def _hugging_face_caches(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders that Hugging Face's libraries may download models to."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        yield from _if_absolute(environ.get(variable, ""))
    for folder in _if_absolute(environ.get("HF_HOME", "")):
        yield folder / "hub"
    yield Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "huggingface" / "hub"


def _read_json(path: Path, struct_type: type[T]) -> T:
    """Return the value in a small file of JSON; the type's default value if that fails."""
    try:
        data = read_plain(path, max_bytes=_MAX_JSON_BYTES)
        return msgspec.json.decode(data, type=struct_type)
    except (OSError, ValueError, RecursionError):  # no such file, or no JSON of this type
        return struct_type()


def _if_absolute(text: str) -> Iterator[Path]:
    """Yield a text from outside as a path if it is an absolute one, else nothing."""
    if text and "\0" not in text and Path(text).is_absolute():
        yield Path(text)
