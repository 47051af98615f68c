"""Safe access to the disk; everything blocks."""

from __future__ import annotations
