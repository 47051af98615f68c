"""Which model servers are installed here, whether they run or not: programs on PATH and folders of data.

`installed_products(environ, home, lm_studio)` is what others call. It reads names of files only: nothing is
started, nothing is opened. It touches the disk, so it is called in a thread.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from lmchat.domain.candidate import Installed
from lmchat.domain.server import Product


class _Known(Struct, frozen=True, kw_only=True):
    """Where a product leaves traces."""

    product: Product
    """Which."""
    programs: tuple[str, ...] = ()
    """Names on PATH, best first."""
    folders: tuple[str, ...] = ()
    """Below the home folder, or absolute."""
    start: tuple[str, ...] = ()
    """What follows the program's path to start its server; empty where more must be known."""
    start_words: str = ""
    """How a person starts it."""
    start_words_app: str = ""
    """The same where only the application is there; empty: `start_words`."""


_KNOWN = (
    _Known(
        product=Product.LM_STUDIO,
        programs=("lms",),
        folders=("/Applications/LM Studio.app", "Applications/LM Studio.app"),
        start=("server", "start"),
        start_words="lms server start",
        start_words_app="Open LM Studio: Developer, Start server",
    ),
    _Known(
        product=Product.JAN,
        programs=("jan",),
        folders=(
            ".local/share/Jan/data",
            "Library/Application Support/Jan/data",
            "/Applications/Jan.app",
            "Applications/Jan.app",
        ),
        start_words="Open Jan: Settings, Local API Server, Start",
    ),
    _Known(
        product=Product.LLAMA_CPP,
        programs=("llama-server",),
        folders=(".cache/llama.cpp", "Library/Caches/llama.cpp"),
        start_words="llama-server -m MODEL.gguf",
    ),
    _Known(
        product=Product.OLLAMA,
        programs=("ollama",),
        folders=(".ollama", "/usr/share/ollama/.ollama", "/Applications/Ollama.app"),
        start=("serve",),
        start_words="ollama serve",
    ),
    _Known(product=Product.VLLM, programs=("vllm",), start_words="vllm serve MODEL"),
    _Known(product=Product.SGLANG, programs=("sglang",), start_words="sglang serve MODEL"),
    _Known(product=Product.LITELLM, programs=("litellm",), start_words="litellm --model MODEL"),
)
"""In the order in which servers are looked for."""


def installed_products(
    environ: Mapping[str, str], home: Path | None, lm_studio: Path | None
) -> tuple[Installed, ...]:
    """Return what is installed, in the order in which servers are looked for.

    Args:
        environ: For `PATH`.
        home: The user's folder; None where there is none.
        lm_studio: LM Studio's own folder, which the user may have moved; its program stands in it, too.
    """
    found = []
    for known in _KNOWN:
        own = lm_studio if known.product is Product.LM_STUDIO else None
        program = _program(known.programs, environ, own)
        folder = _folder(known.folders, home, own)
        if program or folder:
            is_app_only = bool(folder and not program and known.start_words_app)
            found.append(
                Installed(
                    product=known.product,
                    program=program,
                    folder=folder,
                    start=(program, *known.start) if program and known.start else (),
                    start_words=known.start_words_app if is_app_only else known.start_words,
                )
            )
    return tuple(found)


def _program(names: Iterable[str], environ: Mapping[str, str], own: Path | None) -> str:
    places = environ.get("PATH") or os.defpath
    if own is not None:
        places = os.pathsep.join((places, str(own / "bin")))
    return next((path for name in names if (path := shutil.which(name, path=places))), "")


def _folder(names: Iterable[str], home: Path | None, own: Path | None) -> str:
    roots = [own] if own is not None else []
    roots += [Path(name) for name in names if Path(name).is_absolute()]
    roots += [home / name for name in names if home is not None]
    return next((str(root) for root in roots if _is_folder(root)), "")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a folder above it may not be entered
        return False
