"""Shows a long text in the pager of the user's choice."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from contextlib import suppress

from lmchat.errors import WrongUse
from lmchat.files import command_for, environment_for_others, find_program
from lmchat.terminal.editor import command_of
from lmchat.terminal.processes import end
from lmchat.text import safe_text

_FALLBACKS = ("less", "more")


async def page_text(text: str, *, environ: Mapping[str, str] = os.environ) -> None:
    """Show a text until the user leaves the pager; the caller has suspended the screen.

    Raises:
        WrongUse: No pager could be run.
    """
    argv = pager_command(environ)
    try:
        process = await asyncio.create_subprocess_exec(
            *command_for(argv, environ), stdin=PIPE, env=environment_for_others(environ)
        )
    except OSError as error:
        raise WrongUse(
            "The pager cannot be run.", hint="Set $PAGER, as in: export PAGER=less", details=str(error)
        ) from error
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # left before its end was read
            await process.communicate(safe_text(text).encode(errors="replace"))
        await process.wait()
    finally:
        await end(process)


def pager_command(environ: Mapping[str, str]) -> list[str]:
    """Return the command of $PAGER or a pager that is installed.

    Raises:
        WrongUse: There is none, or the variable cannot be read as a command.
    """
    if value := environ.get("PAGER", "").strip():
        return command_of("PAGER", value)
    for fallback in _FALLBACKS:
        if found := find_program(fallback, environ.get("PATH", os.defpath)):
            return [found]
    raise WrongUse("No pager is installed.", hint="Set $PAGER, as in: export PAGER=less")
