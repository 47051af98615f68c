"""Child processes, signals, threads and background tasks.

Must not know what the program does. A child ends with its stdin or its process group.
"""

from __future__ import annotations
