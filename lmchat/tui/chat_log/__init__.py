"""The log: a `ScrollView` that paints lines.

Messages are data and not widgets, so a frame costs the same in a session of any length. Entrance:
`chat_log.ChatLog`. `Viewport` alone moves the position; `update_screen` alone knows what follows a
change. Must not know: how a turn runs, where it is saved, Markdown's grammar.

A page is the width and the styles that lines are laid out for; there is none before the first
messages are on the screen. Here, the screen is the part of the log that is shown. Rows of the
screen are counted from its top, and rows of the log from the first message. A call is a tool call.
"""

from __future__ import annotations
