"""Imports by name: nothing else names a leaf from outside of it."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lmchat.base.errors import WrongUse

_HOUSES = ("lmchat.app.leaves", "lmchat.core")


def no_leaf_error(name: str) -> WrongUse:
    """`name` is that of a leaf, or of a command of one."""
    return WrongUse(
        f"This build of lmchat has no {name}.", next_step="`lmchat --help` lists what it has."
    )


def leaf(name: str, without: Any = None) -> Any:
    """Import `leaf.module:function`.

    A build without the leaf returns `without`; if that is None, it raises `WrongUse`.
    """
    package = name.replace(":", ".").partition(".")[0]
    if house := _house_of(package):
        return import_function(f"{house}.{name}")
    if without is None:
        raise no_leaf_error(package)
    return without


def import_function(name: str) -> Any:
    """Import `module:function`: a start imports only what its command needs."""
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)


def has_leaf(name: str) -> bool:
    return bool(_house_of(name))


def _house_of(name: str) -> str:
    for house in _HOUSES:
        with suppress(ModuleNotFoundError):  # a build without this house
            if find_spec(f"{house}.{name}") is not None:
                return house
    return ""
