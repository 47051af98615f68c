"""Model files on this disk: GGUF files in the folders of other programs, and the choice of one."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import EngineUnavailable, WrongUse
from lmchat.base.files.disk import current_folder, expanded_path
from lmchat.base.files.folder_walk import folders_below
from lmchat.base.matching import closest_word
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import BUILT_IN, LoadState, ModelInfo
from lmchat.core.servers.products import PRODUCTS

_SUFFIX = ".gguf"
_NAMELESS = "model"  # then its folder has the model's name
# such as that of "qwen3-00001-of-00003"
_PART = re.compile(r"-(?P<number>\d{5})-of-(?P<count>\d{5})$")
# "-Q4_K_M", ".IQ2_XS", "_BF16", ":q8_0"; the group is without the separator
_QUANTIZATION = re.compile(
    r"(?:^|[-._:])((?:I?Q\d|BF16|F16|F32|MXFP4|TQ\d)(?:_\w+)?)$", re.IGNORECASE
)
_ENCODERS = ("mmproj", "embed")  # in names of encoders, which cannot chat
_HUB_NAME = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?::(?P<wanted>.+))?")
USUAL = "Q4_K_M"  # quantization that a name of the hub means if it has none
_OVERHEAD = 1.15
"""Memory per file size; measured 1.3 for the smallest, 1.1 for 8B."""
_FAST_SHARE = 0.25
"""Share of the free memory; larger models need a graphics card to be fast."""


class ModelFile(Struct, frozen=True, kw_only=True):
    """Model on this disk."""

    path: Path  # of the first part
    name: str  # unique among the listed files
    size_bytes: int  # of all parts
    source: str = ""  # `LM Studio`, `Ollama`, …
    quantization: str = ""  # if the name tells it
    parts: int = 1
    is_demo: bool = False

    @property
    def needed_bytes(self) -> int:
        """Estimate of the memory that serving it takes."""
        return int(self.size_bytes * _OVERHEAD)

    def info(self, endpoint: Endpoint, state: LoadState) -> ModelInfo:
        return ModelInfo(
            model_id=self.name,
            endpoint=endpoint,
            product=BUILT_IN,
            state=state,
            quantization=self.quantization,
            size_bytes=self.size_bytes,
            owned_by=self.source,  # where it is from
        )


@contextmanager
def writing_to(folder: Path, subject: str) -> Iterator[None]:
    """Turn an `OSError` while a model is written to a folder into `EngineUnavailable`."""
    try:
        yield
    except OSError as error:
        raise EngineUnavailable(
            f"{subject} cannot be written to {folder}: {error.strerror or error}.",
            next_step="Check the free space and the permissions there, or set LMCHAT_HOME to "
            "another folder.",
            kind="fetch",
        ) from error


def hub_name(name: str) -> tuple[str, str] | None:
    """Return repository and wanted file or quantization of `USER/REPO[:QUANT|FILE]`.

    None for another name, such as the path of a file.
    """
    match = _HUB_NAME.fullmatch(name)
    if match is None or match["repo"].lower().endswith(_SUFFIX):
        return None
    return match["repo"], match["wanted"] or ""


def wanted_of(paths: Iterable[Path], wanted: str) -> list[Path]:
    """Return the paths that a file's name or a quantization means, `Q4_K_M` if it is empty.

    Then a single path is returned whatever its quantization.
    """
    candidates = [*paths]
    if not wanted and len(candidates) == 1:
        return candidates
    ending = re.compile(rf"(?:^|[-._]){re.escape(wanted or USUAL)}$", re.IGNORECASE)
    return [
        path
        for path in candidates
        if ending.search(model_name(path)) or f"/{path.as_posix()}".endswith(f"/{wanted}")
    ]


def parts_of(path: Path) -> Iterator[Path]:
    """Yield the files of a model, which need not exist; none for another part than the first."""
    part = _PART.search(path.stem)
    if part is None:
        yield path
    elif int(part["number"]) == 1:
        for number in range(1, int(part["count"]) + 1):
            yield path.with_stem(f"{model_name(path)}-{number:05}-of-{part['count']}")


def model_name(path: Path) -> str:
    return _PART.sub("", path.stem)


def quantization_of(name: str) -> str:
    """Return the quantization at the end of a model's name, or ""."""
    found = _QUANTIZATION.search(name)
    return found[1].upper() if found else ""


def is_encoder(name: str) -> bool:
    """Whether a model's name is that of an encoder, which cannot chat."""
    return any(word in name.casefold() for word in _ENCODERS)


def available_bytes() -> int:
    """Return the memory that is free without swapping."""
    import psutil  # noqa: PLC0415 - not needed for a list of models

    return psutil.virtual_memory().available


def find_models_on_disk(environ: Mapping[str, str]) -> Iterator[ModelFile]:
    """Yield the chat models of other programs; may take long, and hang on a lost disk."""
    home = Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - never raises
    sources: dict[Path, str] = {}  # by folder, which need not exist
    for product in PRODUCTS:
        for folder in product.program.model_folders(environ, home):
            sources.setdefault(folder, product.name)
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    hub = Path(environ.get("HF_HOME") or cache / "huggingface") / "hub"
    sources.setdefault(Path(environ.get("HF_HUB_CACHE") or hub), "Hugging Face")
    yield from gguf_models(sources)


def gguf_models(sources: Mapping[Path, str]) -> Iterator[ModelFile]:
    """Yield the chat models below folders, named by program; skip unreadable ones."""
    # links may lead to a file from several places, or in circles
    visited: set[str] = set()
    for top, source in sources.items():
        for folder, folders, names in folders_below(top, follows_links=True):
            if not _visit(folder, visited):
                folders.clear()  # nothing below it is visited
                continue
            folders.sort()
            for name in sorted(names):
                path = folder / name
                if path.suffix.lower() != _SUFFIX or not _visit(path, visited):
                    continue
                model = _model_at(path)
                if model and not is_encoder(model.name):
                    yield replace(model, source=source)


def model_in(file: str) -> Iterator[ModelFile]:
    """Yield the model in a file; nothing if it has none, or is gone."""
    if file and (model := _model_at(Path(file))):
        yield model


def _visit(path: Path, visited: set[str]) -> bool:
    """Add the real path to `visited`; return whether it was not there."""
    # `realpath` follows any number of links by calling itself; the system refuses more than 40
    if not os.path.exists(path):  # noqa: PTH110 - Path raises for some names
        return False
    real_path = os.path.realpath(path)
    is_first = real_path not in visited
    visited.add(real_path)
    return is_first


def _model_at(path: Path) -> ModelFile | None:
    """Return the model in a file, the first one if it is split.

    None for another part, a missing part, no regular file, or a path that is not UTF-8.
    """
    try:
        str(path).encode()  # the library cannot open a name that is not UTF-8
        states = [file.stat() for file in parts_of(path)]
    except (OSError, UnicodeEncodeError):
        return None
    if not states or not all(stat.S_ISREG(state.st_mode) for state in states):
        return None
    name = model_name(path)
    if name == _NAMELESS:  # a file “model.gguf” in a folder with the name of the model
        name = path.parent.name
    return ModelFile(
        path=path,
        name=name,
        size_bytes=sum(state.st_size for state in states),
        quantization=quantization_of(name),
        parts=len(states),
    )


def with_unique_names(models: Iterable[ModelFile]) -> tuple[ModelFile, ...]:
    """Put the folder before a taken name (`folder/name`), and more folders as needed."""
    by_name: dict[str, ModelFile] = {}
    for model in models:
        name = model.name
        folder = model.path.parent
        while name in by_name and folder.name:  # the root has an empty name
            name = f"{folder.name}/{name}"
            folder = folder.parent
        by_name[name] = replace(model, name=name)
    return tuple(by_name.values())


def find_named_model(name_or_path: str, models: Sequence[ModelFile]) -> ModelFile:
    """Return the model of a name, in any case, or of a path; raise `WrongUse`."""
    name = hub_name(name_or_path)
    # `expanded_path` refuses a colon on Windows
    path = current_folder() / name_or_path if name else expanded_path(name_or_path).absolute()
    for model in models:
        if name_or_path.casefold() == model.name.casefold() or path == model.path:
            return model
    if name:
        repo, wanted = name
        # `USER/REPO` is a folder, as of LM Studio; in the cache of the hub, `models--USER--REPO`
        folder = f"/{repo}/".casefold()
        of_repo = {
            model.path: model
            for model in models
            if folder in model.path.as_posix().replace("--", "/").casefold()
        }
        if len(found := wanted_of(of_repo, wanted)) == 1:
            return of_repo[found[0]]
    # Path.is_file raises for a long name, and a folder that may not be entered
    if os.path.isfile(path):  # noqa: PTH113
        file = _model_at(path)
        if file is None:
            raise WrongUse(
                f"{path} is not a complete model file.",
                next_step="If a model has several files, pass the first one; all of them must "
                "exist.",
            )
        return file
    if "://" in name_or_path:  # it is not quoted: it may hold a password
        raise WrongUse(
            "An address cannot be a model.",
            next_step="Download the file, as with curl, then name it: -m FILE. Models of "
            "huggingface.co have a name: -m USER/REPO.",
        )
    next_step = "`lmchat models --local` lists the model files."
    if name_or_path.lower().endswith(_SUFFIX):
        raise WrongUse(f"{path} does not exist, or cannot be read.", next_step=next_step)
    suggestion = closest_word(name_or_path, tuple(model.name for model in models))
    if suggestion:
        next_step = f"Did you mean {suggestion}?"
    raise WrongUse(f"There is no model {name_or_path} on this disk.", next_step=next_step)


def best_model(models: Sequence[ModelFile], last: str = "") -> ModelFile | None:
    """Return the last used model, else the largest fast one, else the smallest.

    A fast one needs at most `_FAST_SHARE` of the free memory. The demo model is only chosen if
    there is no other.
    """
    for model in models:
        if model.name == last:
            return model
    candidates = [model for model in models if not model.is_demo] or models  # only the demo model
    limit = available_bytes() * _FAST_SHARE
    fast = [model for model in candidates if model.needed_bytes <= limit]
    if fast:
        return max(fast, key=lambda model: model.size_bytes)
    return min(candidates, key=lambda model: model.size_bytes, default=None)
