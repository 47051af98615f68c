"""`config.toml`, `mcp.json`, `credentials.toml`, `state.toml`: settings, tools, keys, last state.

Entrance: `load.load(file, environ, flags)`. Must not know: what a setting does.
"""

from __future__ import annotations
