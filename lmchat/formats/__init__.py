"""Sessions as text: `exports` writes it, `imports` reads it, `json_sessions` is lmchat's own JSON.

Entrances: `exports.render.render`, and `imports.reader.read_chats`. Must not know the store: the
callers save.
"""

from __future__ import annotations
