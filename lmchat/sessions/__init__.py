"""Messages, parts, versions, branches and statistics. Values without I/O.

Entrance: `message.ChatMessage`, `session.Session`. Must not know: servers, disk, screens.
"""

from __future__ import annotations
