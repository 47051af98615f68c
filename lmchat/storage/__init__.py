"""The disk: sessions and figures; nothing else opens these files."""

from __future__ import annotations
