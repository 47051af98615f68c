"""Extras of lmchat: packages that are installed only for those who need them."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires


def install_command(extra: str) -> str:
    """Return the command by which a person adds the packages of an extra to this environment.

    It uses pip; without pip it uses uv, if that is there. It names the packages and not lmchat,
    which may have been installed from a folder that is gone.
    """
    command = [sys.executable, "-m", "pip", "install"]
    if importlib.util.find_spec("pip") is None and shutil.which("uv"):
        command = ["uv", "pip", "install", "--python", sys.executable]
    return shlex.join([*command, *(_packages(extra) or [f"lmchat[{extra}]"])])


def _packages(extra: str) -> list[str]:
    """Return the packages of an extra, as `pypdf[crypto]>=6`; none if lmchat is not installed."""
    try:
        lines = requires("lmchat") or []
    except PackageNotFoundError:
        return []
    rows = [line.partition(";") for line in lines]
    return [name.strip() for name, _, condition in rows if f"'{extra}'" in condition]
