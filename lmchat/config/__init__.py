"""Settings and their origins, API keys, the state of the last run: all TOML files of the user.

Entrance: `load.load(file, environ, flags)`. Must not know: what a setting does.
"""

from __future__ import annotations
