"""Programs that lmchat runs around the terminal: editor, pager, and small ones with a time limit."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

from lmchat.errors import FileRefused, LMChatError, WrongUse
from lmchat.files import command_for, environment_for_others, find_program
from lmchat.text import safe_line, safe_text

_EDITORS = ("sensible-editor", "nano", "vim", "vi")
_PAGERS = ("less", "more")


async def run(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str],
    timeout_s: float,
    data: bytes = b"",
    has_output: bool = True,
) -> bytes | None:
    """Run a program with data on its stdin; return what it prints, None if it fails or takes too long.

    Programs that hold a clipboard stay in the background with their output open, so that reading it would
    never end: they are run without `has_output`.
    """
    with suppress(OSError):
        process = await asyncio.create_subprocess_exec(
            *command_for(argv, environ),
            stdin=PIPE,
            stdout=PIPE if has_output else DEVNULL,
            stderr=DEVNULL,
            env=environment_for_others(environ),
            start_new_session=True,  # what stays in the background outlives the window
        )
        try:
            async with asyncio.timeout(timeout_s):
                output, _ = await process.communicate(data)
                return (output or b"") if process.returncode == 0 else None
        except TimeoutError:
            return None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            await _end(process)
    return None


async def edit_text(text: str, *, environ: Mapping[str, str] = os.environ) -> str:
    """Return a text as the user has edited it; the caller has suspended the screen.

    The event loop goes on, so that an arriving answer is not cut. If this is cancelled, the editor is ended.

    Raises:
        LMChatError: no editor could be run, it failed, or it left no text.
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
        WrongUse: there is none, or the variable cannot be read as a command.
    """
    if argv := _command(("VISUAL", "EDITOR"), _EDITORS, environ):
        return argv
    raise WrongUse("No editor is set.", hint="Set $EDITOR, as in: export EDITOR=nano")


async def page_text(text: str, *, environ: Mapping[str, str] = os.environ) -> None:
    """Show a text until the user leaves the pager; the caller has suspended the screen.

    Raises:
        WrongUse: no pager could be run.
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
        await process.communicate(safe_text(text).encode(errors="replace"))
    finally:
        await _end(process)


def pager_command(environ: Mapping[str, str]) -> list[str]:
    """Return the command of $PAGER or a pager that is installed.

    Raises:
        WrongUse: there is none, or the variable cannot be read as a command.
    """
    if argv := _command(("PAGER",), _PAGERS, environ):
        return argv
    raise WrongUse("No pager is installed.", hint="Set $PAGER, as in: export PAGER=less")


def _command(variables: Sequence[str], installed: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    for name in variables:
        if value := environ.get(name, "").strip():
            try:
                return shlex.split(value)
            except ValueError as error:
                raise WrongUse(
                    f"${name} is no command: {safe_line(value, limit=60)}", hint=f"{error}."
                ) from error
    path = environ.get("PATH", os.defpath)
    return next(([found] for name in installed if (found := find_program(name, path))), [])


async def _run_in_terminal(argv: list[str], environ: Mapping[str, str]) -> None:
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
        await _end(process)
    if status:
        raise LMChatError(f"{name} ended with status {status}; nothing was changed.")


async def _end(process: Process) -> None:
    """Leave no program behind, whatever interrupted us."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


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
