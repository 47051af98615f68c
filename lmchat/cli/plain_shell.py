"""`!COMMAND` in the plain chat: runs a command of the user's shell for the next prompt."""

from __future__ import annotations

import asyncio

from lmchat.attachments.shell_command import ShellCommand, output_attachment
from lmchat.cli.plain_turns import PlainTurns


async def run_shell_command(turns: PlainTurns, line: str) -> None:
    """Run the line `!COMMAND`, and attach its output to the next prompt.

    Ctrl+C stops the command; what it has printed until then is attached.
    """
    command = ShellCommand(line.removeprefix("!").strip(), turns.context.environ_of_programs)
    turns.output.note("Running. Ctrl+C stops it.")
    try:
        await command.run()
    except asyncio.CancelledError:
        command.stop()
        turns.output.note("")  # ends the line on which Ctrl+C was pressed
        turns.add_file(output_attachment(command))
        raise
    turns.add_file(output_attachment(command))
