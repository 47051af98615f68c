"""The terminal around the program, and the desktop around that.

Must not know Textual or sessions.
"""

from __future__ import annotations
