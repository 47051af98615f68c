"""Lets the user edit a text in the editor of their choice."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

from lmchat.errors import FileRefused, LMChatError, WrongUse
from lmchat.files import command_for, environment_for_others, find_program
from lmchat.terminal.processes import end
from lmchat.text import safe_line, safe_text

_FALLBACKS = ("sensible-editor", "nano", "vim", "vi")


async def edit_text(text: str, *, environ: Mapping[str, str] = os.environ) -> str:
    """Return what the user made of a text; the caller has suspended the screen.

    The event loop goes on meanwhile, so an answer that arrives is not cut. If this is cancelled, the editor
    is ended, so that the terminal is free.

    Raises:
        LMChatError: No editor could be run, it failed, or what it left is no text.
    """
    argv = editor_command(environ)
    folder = await asyncio.to_thread(_prepare, text)
    try:
        await _run_in_terminal([*argv, str(folder / "prompt.md")], environ)
        edited = await asyncio.to_thread(_read, folder / "prompt.md")
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    return edited if text.endswith("\n") else edited.removesuffix("\n")


def editor_command(environ: Mapping[str, str]) -> list[str]:
    """Return the command of $VISUAL, $EDITOR or an editor that is installed.

    Raises:
        WrongUse: There is none, or the variable cannot be read as a command.
    """
    for name in ("VISUAL", "EDITOR"):
        if value := environ.get(name, "").strip():
            return command_of(name, value)
    for fallback in _FALLBACKS:
        if found := find_program(fallback, environ.get("PATH", os.defpath)):
            return [found]
    raise WrongUse("No editor is set.", hint="Set $EDITOR, as in: export EDITOR=nano")


def command_of(name: str, value: str) -> list[str]:
    """Split the value of a variable as a shell would.

    Raises:
        WrongUse: A quote is not closed.
    """
    try:
        return shlex.split(value)
    except ValueError as error:
        raise WrongUse(f"${name} is no command: {safe_line(value, limit=60)}", hint=f"{error}.") from error


async def _run_in_terminal(argv: list[str], environ: Mapping[str, str]) -> None:
    """Run a program that takes over the terminal, and wait for its end.

    Raises:
        LMChatError: It cannot be run, or says that it failed.
    """
    name = safe_line(Path(argv[0]).name, limit=40)
    try:
        process = await asyncio.create_subprocess_exec(
            *command_for(argv, environ), env=environment_for_others(environ)
        )
    except OSError as error:
        raise WrongUse(
            f"{name} cannot be run.",
            hint="Set $EDITOR to a program that is installed.",
            details=str(error),
        ) from error
    try:
        status = await process.wait()
    finally:
        await end(process)
    if status:
        raise LMChatError(f"{name} ended with status {status}; nothing was changed.")


def _prepare(text: str) -> Path:
    try:
        folder = Path(mkdtemp(prefix="lmchat-"))  # only the user can look into it
        (folder / "prompt.md").write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise FileRefused("No file for the editor can be written.", details=str(error)) from error
    return folder


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileRefused("What the editor left is no text in UTF-8; nothing was changed.") from error
    except OSError as error:
        raise FileRefused("The editor left no file; nothing was changed.", details=str(error)) from error


_PAGERS = ("less", "more")


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
    for fallback in _PAGERS:
        if found := find_program(fallback, environ.get("PATH", os.defpath)):
            return [found]
    raise WrongUse("No pager is installed.", hint="Set $PAGER, as in: export PAGER=less")
