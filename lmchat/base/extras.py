"""Extras of lmchat: packages that are installed only for those who need them."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_UNQUOTED_ON_WINDOWS = re.compile(r"[\w.:/\\+-]+")


def install_command(extra: str, *, platform: str = sys.platform) -> str:
    """Name the packages and not lmchat, which may come from a folder that is gone.

    On Windows, the command fits cmd and PowerShell.
    """
    words = _install_words(_packages_of(extra), platform)
    if platform != "win32":
        return shlex.join(words)
    return " ".join(word if _UNQUOTED_ON_WINDOWS.fullmatch(word) else f'"{word}"' for word in words)


def _install_words(packages: Sequence[str], platform: str) -> list[str]:
    environment = Path(sys.prefix)
    if (environment / "pipx_metadata.json").exists() and shutil.which("pipx"):
        return ["pipx", "inject", environment.name, *packages]
    managed = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"  # PEP 668
    if sys.prefix == sys.base_prefix and managed.exists():
        packages = ["--break-system-packages", *packages]  # as lmchat was installed there
    if importlib.util.find_spec("pip") is None:
        if shutil.which("uv"):
            return ["uv", "pip", "install", "--python", sys.executable, *packages]
        return ["pip", "--python", sys.executable, "install", *packages]  # of another Python
    if platform == "win32" and not _UNQUOTED_ON_WINDOWS.fullmatch(sys.executable):
        # for PowerShell, a word in quotes at the beginning is no command
        return ["py", "-m", "pip", "--python", sys.executable, "install", *packages]
    return [sys.executable, "-m", "pip", "install", *packages]


def _packages_of(extra: str) -> list[str]:
    """Return names such as `pypdf[crypto]>=6`; without metadata, the extra alone."""
    from importlib.metadata import PackageNotFoundError, requires  # noqa: PLC0415 - few messages need it

    rows: list[tuple[str, str, str]] = []
    with suppress(PackageNotFoundError):
        rows = [line.partition(";") for line in requires("lmchat") or []]
    named = [name.strip() for name, _, condition in rows if f"'{extra}'" in condition]
    return named or [f"lmchat[{extra}]"]
