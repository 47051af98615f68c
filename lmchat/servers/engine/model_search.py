"""Search for models on this disk: GGUF files in folders of other programs.

A split model consists of several files.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec.structs import replace

from lmchat.files.disk import is_absolute_path
from lmchat.servers.engine.model_files import ModelFile
from lmchat.servers.products import PRODUCTS

SUFFIX = ".gguf"
_NAMELESS = "model"  # name of a file whose folder has the model's name
# name of a file of a model that is split: "qwen3-00001-of-00003"
_SPLIT_NAME = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})$")
# ending of a name that is a quantization: "-Q4_K_M", ".IQ2_XS", "_BF16", ":q8_0"; the group has
# no separator before it
_QUANTIZATION = re.compile(
    r"(?:^|[-._:])((?:I?Q\d|BF16|F16|F32|MXFP4|TQ\d)(?:_\w+)?)$", re.IGNORECASE
)
_ENCODERS = ("mmproj", "embed")  # in names of models that cannot chat


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


def gguf_models(sources: Mapping[Path, str]) -> Iterator[ModelFile]:
    """Yield the chat models in GGUF files below folders; what cannot be read is skipped.

    `sources` has the name of the program by each folder.
    """
    # real paths: links may lead to one from several places, or in circles
    visited: set[str] = set()

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
    quantization = _QUANTIZATION.search(name)
    return ModelFile(
        path=path,
        name=name,
        size_bytes=sum(state.st_size for state in states),
        quantization=quantization[1].upper() if quantization else "",
        parts=len(files),
    )


def _can_chat(name: str) -> bool:
    """Return whether a model of this name may answer; encoders of images and texts do not."""
    return not any(word in name.casefold() for word in _ENCODERS)


def _model_folders(home: Path, environ: Mapping[str, str]) -> dict[Path, str]:
    """Return the folders in which other programs keep models, each with the program's name.

    Not all of them exist.
    """
    sources: dict[Path, str] = {}
    for product in PRODUCTS:
        for folder in product.model_folders(environ, home):
            sources.setdefault(folder, product.name)
    caches = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    hubs = [
        environ.get("HF_HUB_CACHE", ""),
        str(caches / "huggingface" / "hub"),
        os.path.join(environ.get("HF_HOME", ""), "hub"),  # noqa: PTH118 - relative without it
    ]
    for hub in filter(is_absolute_path, hubs):
        sources.setdefault(Path(hub), "Hugging Face")
    return sources
