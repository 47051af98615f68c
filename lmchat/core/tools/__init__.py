"""Tools for models, and how they are run: MCP servers, and functions of `tools.py`.

Must not know: approval, turns, screens.
"""

from __future__ import annotations
