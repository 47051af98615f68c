"""Which settings hold, where they come from, what the last run left: all TOML files of the user.

Entrance: `load.load(file, environ, flags)`. Must not know: what a setting does.
"""

from __future__ import annotations
