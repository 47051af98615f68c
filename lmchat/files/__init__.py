"""Safe access to the disk. Everything here blocks. Must not know: what a file means."""

from __future__ import annotations
