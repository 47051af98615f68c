"""Child processes, signals, threads and background tasks.

Entrance: `child.ChildProcess`, `child.run_program`. Must not know: what the program does. A child
ends with its stdin or its process group.
"""

from __future__ import annotations
