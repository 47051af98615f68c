"""Table of chat commands, and the reasons why a command cannot act on a message.

Entrance: `table.COMMANDS`. Both the screen and the plain chat use it. Must not know: either.
"""
