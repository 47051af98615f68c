"""The signs of the log, for terminals with and without them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """One cell each, but for `more`."""

    bar: str
    """Marks a block at its left edge."""
    edge: str
    """A thin rule from top to bottom."""
    rule: str
    """A thin rule from left to right."""
    bullet: str
    """An item of a list."""
    failed: str
    """Something failed."""
    dot: str
    """Between two pieces of a line."""
    more: str
    """Cut, or still going on."""
    less: str
    """Before the number of a version."""
    greater: str
    """After the number of a version."""


UNICODE = Signs(bar="▌", edge="│", rule="─", bullet="•", failed="×", dot="·", more="…", less="‹", greater="›")
ASCII = Signs(bar="|", edge="|", rule="-", bullet="o", failed="x", dot=".", more="...", less="<", greater=">")
