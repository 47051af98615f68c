"""Messages, parts, versions, branches and figures of sessions. Values without I/O.

Entrance: `message.ChatMessage`, `session.Session`. Must not know: servers, disk, screens.
"""

from __future__ import annotations
