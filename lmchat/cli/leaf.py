"""Search for a leaf by its name: nothing else outside of `lmchat.leaves` names one."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lmchat.errors import WrongUse

_LEAVES = "lmchat.leaves"


class MissingLeafError(WrongUse):
    """This build lacks a leaf, or a command of one."""

    def __init__(self, name: str) -> None:
        message = f"This build of lmchat has no {name}."
        super().__init__(message, next_step="`lmchat --help` lists what it has.")


def leaf(name: str, without: Any = None) -> Any:
    """Import `leaf.module:function`.

    A build without the leaf returns `without`; if that is None, it raises
    `MissingLeafError`.
    """
    module, _, function = name.partition(":")
    package = module.partition(".")[0]
    if has_leaf(package):
        return getattr(import_module(f"{_LEAVES}.{module}"), function)
    if without is None:
        raise MissingLeafError(package)
    return without


def has_leaf(name: str) -> bool:
    return find_spec(f"{_LEAVES}.{name}") is not None
