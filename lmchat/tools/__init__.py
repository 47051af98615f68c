"""Which tools exist, and how one is run: MCP servers, and functions of `tools.py`.

Must not know: approval, turns, screens.
"""

from __future__ import annotations
