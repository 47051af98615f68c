"""Table of chat commands, the reasons why one cannot act on a message, and the words of `/set`.

Entrance: `table.COMMANDS`. Both the screen and the plain chat use it. Must not know: either.
"""
