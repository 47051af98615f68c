"""The disk: sessions and statistics; nothing else opens these files."""

from __future__ import annotations
