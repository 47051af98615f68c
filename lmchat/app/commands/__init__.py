"""Table of chat commands, the parser of a typed one, and what the screen and the plain chat share.

Entrances: `table.COMMANDS`, and `shared.SHARED` with its `Front`, which both are.
"""
