"""What an import has left out."""

from __future__ import annotations

from msgspec import Struct


class Skipped(Struct, frozen=True, kw_only=True):
    """A part of a file that could not be brought over, or not all of it."""

    where: str
    """Which part, in words."""
    reason: str
    """Why, as the rest of a sentence."""
