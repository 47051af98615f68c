"""The log: a `ScrollView` that paints lines. Entrance: `chat_log.ChatLog`.

Messages are data and not widgets, so a frame costs the same in a session of any length. `Viewport`
alone moves the position. Rows of the screen are counted from its top, rows of the log from the
first message.
"""

from __future__ import annotations
