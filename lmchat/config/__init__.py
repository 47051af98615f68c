"""`config.toml`, `credentials.toml`, `state.toml`: settings, API keys, state of the last run.

Entrance: `load.load(file, environ, flags)`. Must not know: what a setting does.
"""

from __future__ import annotations
