"""Sessions as text: `exports` writes it, `reader` reads it, `json_sessions` is lmchat's own JSON.

Must not know the store: the callers save.
"""

from __future__ import annotations
