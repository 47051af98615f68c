"""Safe access to the disk. Everything here blocks.

Entrance: `disk.read_plain`, `disk.write_atomically`. Must not know: what a file means.
"""

from __future__ import annotations
