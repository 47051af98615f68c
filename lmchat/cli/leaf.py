"""Search for a leaf by its name: nothing else outside of `lmchat.leaves` names one."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def leaf(name: str) -> Any:
    """Import `leaf.module:function`."""
    module, _, function = name.partition(":")
    return getattr(import_module(f"lmchat.leaves.{module}"), function)
