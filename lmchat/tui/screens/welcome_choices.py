"""What the welcome page offers beside the places: built-in engine, files of this disk, an address; pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from lmchat.domain.engine import DemoOffer, ModelFile
from lmchat.services.candidates import MachineState
from lmchat.text import safe_line
from lmchat.tui import formatting

ADDRESS = "address"
"""Key of the row that asks for an address."""
DEMO = "demo"
"""Key of the row that offers the demo model on the built-in engine."""
FILES = "files"
"""Key of the row that offers the model files of this disk."""
INSTALL = "install"
"""Key of the row that says how to get the built-in engine."""

_NAMED = 2
_NAME_CHARS = 32


class Choice(Struct, frozen=True, kw_only=True):
    """Something that can be done beside going to a place."""

    key: str
    """What tells it from others."""
    title: str
    """What it does."""
    words: str
    """What there is to know about it; it has passed the filter."""


TYPE_ADDRESS = Choice(key=ADDRESS, title="Type an address", words="A server on another port or host")
"""The choice that is always there."""


def choices(here: MachineState) -> tuple[Choice, ...]:
    """Return what is offered, the built-in engine first where it is installed."""
    if here.engine_command:
        missing = f"Not installed: {safe_line(here.engine_command)}"
        return TYPE_ADDRESS, Choice(key=INSTALL, title="Get the built-in engine", words=missing)
    offered: list[Choice] = []
    if here.offer is not None:
        has_demo = any(file.is_demo for file in here.files)
        words = _demo_words(here.offer, has_demo=has_demo)
        offered.append(Choice(key=DEMO, title="Try the built-in engine", words=words))
    own = [file for file in here.files if not file.is_demo]
    if here.offer is not None and own:
        offered.append(Choice(key=FILES, title="Use a model file of this disk", words=file_words(own)))
    return (*offered, TYPE_ADDRESS)


def file_words(files: Sequence[ModelFile]) -> str:
    """Return how many files there are, with the first of them."""
    named = [
        " ".join(
            word
            for word in (
                safe_line(file.name, limit=_NAME_CHARS),
                safe_line(file.quantization, limit=10) if file.quantization not in file.name else "",
                formatting.size(file.size_bytes),
            )
            if word
        )
        for file in files[:_NAMED]
    ]
    others = len(files) - len(named)
    return f"{len(files)} found: {', '.join(named)}{f', and {others} more' if others else ''}"


def _demo_words(offer: DemoOffer, *, has_demo: bool) -> str:
    name = safe_line(offer.name, limit=_NAME_CHARS)
    if has_demo:
        return f"{name}, a demo model, is on this disk."
    size = formatting.size(offer.download_bytes)
    return f"{name}, a demo model: {size} once, {safe_line(offer.licence)}. Asks before it fetches."
