"""The terminal around the program, and the desktop around that.

Entrance: `output.Output` for commands, the other modules for the screen. Must not know: Textual,
sessions.
"""

from __future__ import annotations
