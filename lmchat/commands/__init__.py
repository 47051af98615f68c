"""What can be asked for in a chat: the table of commands, and what each needs of a message.

Entrance: `table.COMMANDS`. Both the screen and the plain chat use it; it must not know either.
"""
