"""The log: a `ScrollView` that paints lines. Entrance: `chat_log.ChatLog`.

Messages are data and not widgets, so a frame costs the same in a session of any length. `Viewport`
alone moves the position. Must not know how a turn runs, where it is saved, or Markdown's grammar.
Rows of the screen are counted from its top, rows of the log from the first message.
"""

from __future__ import annotations
