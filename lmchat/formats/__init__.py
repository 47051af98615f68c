"""Sessions as text, out (`exports`) and in (`imports`); `json_sessions` is lmchat's own JSON, both.

Entrances: `exports.render.render`, and `imports.reader.import_chats`, a generator of results. One
bad record costs that record. Must not know the store; whoever calls them saves.
"""

from __future__ import annotations
