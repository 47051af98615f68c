"""Sessions as text: `exports` writes it, `imports` reads it, `json_sessions` is lmchat's own JSON.

Entrances: `exports.render.render`, and `imports.reader.read_chats`, a generator of sessions. If a
record is bad, only that record is lost. Must not know the store: the callers save.
"""

from __future__ import annotations
