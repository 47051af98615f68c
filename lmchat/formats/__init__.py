"""Sessions as text, out and in. One bad record costs that record.

Entrances: `importing.import_chats`, a generator of results, and `exporting.render`. Must not know
the store; whoever calls them saves.
"""

from __future__ import annotations
