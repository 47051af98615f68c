"""Imports by name: nothing else outside of `lmchat.leaves` names a leaf."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lmchat.errors import WrongUse

_LEAVES = "lmchat.leaves"


def no_leaf_error(name: str) -> WrongUse:
    """`name` is that of a leaf, or of a command of one."""
    message = f"This build of lmchat has no {name}."
    return WrongUse(message, next_step="`lmchat --help` lists what it has.")


def leaf(name: str, without: Any = None) -> Any:
    """Import `leaf.module:function`.

    A build without the leaf returns `without`; if that is None, it raises `WrongUse`.
    """
    package = name.replace(":", ".").partition(".")[0]
    if has_leaf(package):
        return import_function(f"{_LEAVES}.{name}")
    if without is None:
        raise no_leaf_error(package)
    return without


def import_function(name: str) -> Any:
    """Import `module:function`: a start imports only what its command needs."""
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)


def has_leaf(name: str) -> bool:
    return find_spec(f"{_LEAVES}.{name}") is not None
