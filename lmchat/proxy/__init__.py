"""The only way to the network. For programs: `from lmchat.proxy import Client`."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

_STUB = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
MODULES = {name: module for module, name in re.findall(r"from (\S+) import (\w+) as", _STUB)}
"""Modules of the public names, as type checkers read them; imported when a name is asked for."""
__all__ = list(MODULES)


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *MODULES])
