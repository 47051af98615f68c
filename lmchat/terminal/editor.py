"""Editor and pager of the user, in the terminal that the screen has released for them."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from lmchat.errors import FileRefused, LMChatError, WrongUse
from lmchat.files import find_program
from lmchat.machine.process import run_in_terminal
from lmchat.text import safe_line, safe_text

_EDITORS = ("sensible-editor", "nano", "vim", "vi")
_PAGERS = ("less", "more")
_FILE_NAME = "prompt.md"


async def edit_text(
    text: str, *, folders: ExitStack, environ: Mapping[str, str] = os.environ
) -> str:
    """Let the user edit a text in an editor, and return the edited text.

    The caller has suspended the screen. The event loop keeps running, so that an answer can arrive.
    Cancelling kills the editor. The file is removed at the end, or before if `folders` is closed.
    Raises `LMChatError` if no editor can be run, or if it fails or leaves no file of UTF-8 text.
    """
    argv = editor_command(environ)
    file = await asyncio.to_thread(_write_text, text, folders)
    try:
        exit_code = await _run([*argv, str(file)], environ, "EDITOR")
        if exit_code:
            raise LMChatError(
                f"{_program_name(argv)} ended with status {exit_code}; nothing was changed.",
                hint="Set $EDITOR to another program.",
            )
        edited = await asyncio.to_thread(_read, file)
    finally:
        await asyncio.to_thread(file.unlink, missing_ok=True)
    # editors add a line end to the last line of a file, also if it had none
    return edited if text.endswith("\n") else edited.removesuffix("\n")


def editor_command(environ: Mapping[str, str]) -> list[str]:
    """Return the command in $VISUAL or $EDITOR, else the path of the first installed editor.

    Raises `WrongUse` if none exists, or if the variable is no command.
    """
    argv = _command(("VISUAL", "EDITOR"), _EDITORS, environ)
    if not argv:
        raise WrongUse("No editor is set.", hint="Set $EDITOR, for example: export EDITOR=nano")
    return argv


async def page_text(text: str, *, environ: Mapping[str, str] = os.environ) -> None:
    """Show a text in the pager of $PAGER, else in the first installed one.

    The caller has suspended the screen. Raises `WrongUse` if there is no pager, or if it cannot be
    run.
    """
    argv = _command(("PAGER",), _PAGERS, environ)
    if not argv:
        hint = "Set $PAGER, for example: export PAGER=less"
        raise WrongUse("No pager is installed.", hint=hint)
    await _run(argv, environ, "PAGER", safe_text(text).encode(errors="replace"))


def _command(
    variables: Sequence[str], installed: Sequence[str], environ: Mapping[str, str]
) -> list[str]:
    """Return the words of the command in the first of `variables` that is set.

    If none is set, return the path of the first of the programs `installed` that exists. Return an
    empty list if none exists. Raises `WrongUse` for a variable that is no command.
    """
    for name in variables:
        value = environ.get(name, "").strip()
        if value:
            try:
                return shlex.split(value)
            except ValueError as error:
                words = f"${name} is not a command: {safe_line(value, limit=60)}"
                raise WrongUse(words, hint=f"{error}.") from error
    for name in installed:
        program = find_program(name, environ.get("PATH", os.defpath))
        if program:
            return [program]
    return []


async def _run(
    argv: list[str], environ: Mapping[str, str], variable: str, data: bytes | None = None
) -> int:
    """Run a program in the terminal, and return its exit code; raises `WrongUse`.

    `variable` is the environment variable that names the program; `data` is its input.
    """
    try:
        return await run_in_terminal(argv, environ=environ, data=data)
    except OSError as error:
        raise WrongUse(
            f"{_program_name(argv)} cannot be run.",
            hint=f"Set ${variable} to a program that is installed.",
            details=str(error),
        ) from error


def _program_name(argv: Sequence[str]) -> str:
    """Return the name of the program of a command for a message, without its folder."""
    return safe_line(Path(argv[0]).name, limit=40)


def _write_text(text: str, folders: ExitStack) -> Path:
    """Write a text to a file in a new private folder, and return the file; raises `FileRefused`."""
    try:
        file = Path(folders.enter_context(TemporaryDirectory(prefix="lmchat-"))) / _FILE_NAME
        file.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        words = "The temporary file for the editor cannot be written."
        raise FileRefused(words, details=str(error)) from error
    return file


def _read(file: Path) -> str:
    """Return the text of the edited file; raises `FileRefused` if it is gone or not UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        words = "The edited file is not UTF-8 text; nothing was changed."
        raise FileRefused(words, hint="Save it as UTF-8.") from error
    except OSError as error:
        words = "The editor deleted the file; nothing was changed."
        raise FileRefused(words, details=str(error)) from error
