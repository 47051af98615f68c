"""Safe access to the disk; everything blocks. Must not know what a file means."""

from __future__ import annotations
