"""Table of chat commands, the parser of a typed one, and the words of `/set`.

`conditions.py` has the reasons why a command cannot act on a message.

Entrance: `table.COMMANDS`. Both the screen and the plain chat use it. Must not know: either.
"""
