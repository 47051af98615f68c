"""Handlers of the commands of `lmchat`; each gets the `Context` and returns the exit code.

The table in `cli/subcommands.py` names them, and `cli/run.py` imports the one that is called.
"""
