"""The models on this disk: files that can be served, found within a time, told by their headers."""

from __future__ import annotations

import difflib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.engine import ModelFile
from lmchat.engine import download
from lmchat.engine.gguf import Header, NotGguf, read_header
from lmchat.errors import WrongUse
from lmchat.files import path_of, read_plain

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


SEARCH_S = 2.0
"""After this, what was found is all that is told; a disk that is slow or on the network must not stop us."""
_MOST_FOLDERS = 20_000
_MOST_FILES = 500
_DEEPEST = 8
_SUFFIX = ".gguf"
_NAMELESS = "model"
"""How Jan calls every file; the folder bears the name."""
_PART = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})$")


class Search:
    """One search, bounded in time and number; what cannot be read is passed over."""

    def __init__(self, *, within_s: float = SEARCH_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end_s = clock() + within_s
        self._folders_left = _MOST_FOLDERS
        self._seen: set[tuple[int, int]] = set()

    def models(self, folders: Iterable[Folder]) -> Iterator[ModelFile]:
        """Yield what can be served, folder by folder."""
        count = 0
        for folder in folders:
            for path in self._files(folder.path, 0):
                model = self._model(path, folder.source)
                if model is not None:
                    count += 1
                    yield model
                if count >= _MOST_FILES:
                    return

    def is_in_time(self) -> bool:
        """Whether it may go on."""
        return self._folders_left > 0 and self._clock() < self._end_s

    def _files(self, folder: Path, depth: int) -> Iterator[Path]:
        """Walk through a folder in the order of names; links to folders are followed, each folder once."""
        if depth > _DEEPEST or not self.is_in_time() or not self._is_new(folder):
            return
        self._folders_left -= 1
        below: list[Path] = []
        for name, is_folder in _entries(folder):
            if is_folder:
                below.append(folder / name)
            elif name.lower().endswith(_SUFFIX):
                yield folder / name
        for one in below:
            yield from self._files(one, depth + 1)

    def _model(self, path: Path, source: str) -> ModelFile | None:
        part = _PART.match(path.stem)
        if (part and int(part["number"]) != 1) or not self.is_in_time():
            return None
        if not self._is_new(path):
            return None
        found = look_at(path)
        return replace(found.model, source=source) if found is not None and found.header.can_chat else None

    def _is_new(self, path: Path) -> bool:
        """Whether neither it nor another name of it was seen: links may go in circles."""
        try:
            status = path.stat()
        except (OSError, ValueError):
            return False
        key = (status.st_dev, status.st_ino)
        is_new = key not in self._seen
        self._seen.add(key)
        return is_new


class Found(Struct, frozen=True, kw_only=True):
    """A GGUF file, whatever it holds."""

    model: ModelFile
    """As a model."""
    header: Header
    """What it says of itself."""


def look_at(path: Path) -> Found | None:
    """Return what a file is; None where it is no GGUF file, cannot be read, or lacks one of its parts."""
    try:
        parts = _parts(path)
        size = sum(_size(one) for one in parts)
        # a pipe in place of a file would be waited for, without O_NONBLOCK for ever
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            header = read_header(file)
    except (OSError, ValueError, NotGguf):
        return None
    model = ModelFile(
        path=path,
        name=_name(path),
        size_bytes=size,
        quantization=header.quantization or _named_quantization(path),
        architecture=header.architecture,
        title=header.title,
        context_max=header.context_max,
        parts=len(parts),
    )
    return Found(model=model, header=header)


def with_own_names(models: Sequence[ModelFile]) -> tuple[ModelFile, ...]:
    """Return the models so that no two have the same name: where they do, the folder comes before it."""
    counts: dict[str, int] = {}
    named: list[ModelFile] = []
    for model in models:
        name = model.name
        if counts.get(name):
            name = f"{model.path.parent.name}/{model.name}"
        while counts.get(name):
            name = f"{name}~"
        counts[name] = 1
        named.append(replace(model, name=name))
    return tuple(named)


def _entries(folder: Path) -> list[tuple[str, bool]]:
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, _is_folder(entry)) for entry in entries]
    except (OSError, ValueError):
        return []
    return sorted(found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _parts(path: Path) -> list[Path]:
    part = _PART.match(path.stem)
    if part is None:
        return [path]
    names = (
        f"{part['stem']}-{n:05d}-of-{part['count']}{path.suffix}" for n in range(1, int(part["count"]) + 1)
    )
    return [path.with_name(name) for name in names]


def _size(path: Path) -> int:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(path)
    return status.st_size


def _name(path: Path) -> str:
    part = _PART.match(path.stem)
    stem = part["stem"] if part else path.stem
    return path.parent.name if stem == _NAMELESS else stem


def _named_quantization(path: Path) -> str:
    """Return what the name of the file says, as most of them do."""
    found = re.search(r"(?:^|[-._])((?:I?Q\d|BF16|F16|F32|MXFP4|TQ\d)(?:_\w+)?)$", _name(path), re.IGNORECASE)
    return found[1].upper() if found else ""


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
    return replace(found.model, name=_ollama_name(manifest), source="Ollama")


def _blob(layer: Any) -> str:
    """Return the number of the blob with the model; nothing for other layers, and for what is no number."""
    if not isinstance(layer, dict) or layer.get("mediaType") != _MODEL:
        return ""
    digest = _DIGEST.fullmatch(str(layer.get("digest", "")))
    return digest[1] if digest else ""


def _ollama_name(manifest: Path) -> str:
    registry, owner, model, tag = manifest.parts[-4:]
    if (registry, owner) == _LIBRARY:
        return f"{model}:{tag}"
    return f"{owner}/{model}:{tag}"


_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_OVERHEAD = 1.15
"""Beside the file: the window and what is computed with; measured 1.3 for the smallest, 1.1 for 8B."""
_GB = 1e9


def available_bytes() -> int | None:
    """Return what can be had without swapping, also in a container; None where nothing tells."""
    amounts = [one for one in (_free(), _left_in_container()) if one is not None]
    return min(amounts, default=None)


def needed_bytes(model: ModelFile) -> int:
    """Return about what it takes to serve a model."""
    return int(model.size_bytes * _OVERHEAD)


def memory_words(model: ModelFile) -> str:
    """Return need and supply, in brackets for a sentence; nothing where the file would fit."""
    available = available_bytes()
    if available is None or needed_bytes(model) <= available:
        return ""
    return f" (it needs about {needed_bytes(model) / _GB:.1f} GB, {available / _GB:.1f} GB are free)"


def warning(model: ModelFile) -> str:
    """Return a sentence where a model will hardly fit, else nothing."""
    words = memory_words(model)
    return f"{model.name} may be too large for the memory of this machine{words}." if words else ""


def _free() -> int | None:
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _left_in_container() -> int | None:
    """Return what a limit of the container leaves; what its files take in memory can be given back."""
    try:
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(stat.get("file", 0)))
    except (OSError, ValueError):
        return None


_SHARE_OF_MEMORY = 0.25
"""A model that takes more of what is free answers slowly on a machine without a graphics card."""


def found_on_disk(environ: Mapping[str, str]) -> Iterator[ModelFile]:
    """Yield what other programs of this user have; slow on a slow disk, without end on one that is lost."""
    home = _home(environ)
    if home is not None:
        search = Search()
        yield from search.models(model_folders(home, environ))
        yield from ollama_models(ollama_folders(home, environ), search.is_in_time)


def listed(found: Iterable[ModelFile], demo_model: download.DemoModel, folder: Path) -> tuple[ModelFile, ...]:
    """Return what can be served, each under a name of its own, the demo model last."""
    own = [download.model_file(demo_model, folder)] if download.is_there(demo_model, folder) else []
    return with_own_names([*found, *own])


def named_model(named: str, models: Sequence[ModelFile]) -> ModelFile:
    """Return the model that a person named, by its file or by the name it is listed under.

    Raises:
        WrongUse: there is none, or it cannot be talked to.
    """
    for model in models:
        if named.casefold() == model.name.casefold():
            return model
    path = path_of(named)
    if path.exists() or named.lower().endswith(_SUFFIX):
        return _model_at(path.absolute(), models)
    meant = next(iter(difflib.get_close_matches(named, [model.name for model in models], n=1)), "")
    raise WrongUse(
        f"There is no model {named} on this disk.",
        hint=f"Did you mean {meant}?" if meant else "`lmchat models --local` lists what there is.",
    )


def best_model(models: Sequence[ModelFile], last: str = "") -> ModelFile | None:
    """Return the last used one, else the largest that leaves room, else the smallest; the demo model last."""
    if used := next((model for model in models if model.name == last), None):
        return used
    own = sorted((model for model in models if not model.is_demo), key=lambda model: model.size_bytes)
    available = available_bytes()
    if available is not None:
        fitting = [model for model in own if needed_bytes(model) <= available]
        swift = [model for model in fitting if needed_bytes(model) <= available * _SHARE_OF_MEMORY]
        own = swift[-1:] or fitting[:1]
    return next(iter(own[:1] or models[-1:]), None)


def _model_at(path: Path, models: Sequence[ModelFile]) -> ModelFile:
    if listed := next((model for model in models if model.path == path), None):
        return listed
    if not path.is_file():
        raise WrongUse(
            f"There is no file {path}.", hint="`lmchat models --local` lists the model files here."
        )
    found = look_at(path)
    if found is None:
        raise WrongUse(
            f"{path} is no whole GGUF file.",
            hint="Of a model in several files, name the first; all must be there.",
        )
    if not found.header.can_chat:
        kind = found.header.kind or found.header.architecture or "a vocabulary"
        raise WrongUse(f"{path} is no model that one can talk to, but {kind}.", hint="Name another file.")
    return found.model


def _home(environ: Mapping[str, str]) -> Path | None:
    named = environ.get("HOME", "")
    if named:
        return Path(named)
    try:
        return Path.home()
    except RuntimeError:
        return None
