"""External programs: editor, pager, browser, small tools; and notifications."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from lmchat.errors import FileRefused, LMChatError, WrongUse
from lmchat.files import command_for, environment_for_others, find_program, is_runnable
from lmchat.machine.scratch import ScratchFolders
from lmchat.machine.system import end_program
from lmchat.text import safe_line, safe_text

_EDITORS = ("sensible-editor", "nano", "vim", "vi")
_PAGERS = ("less", "more")
BELL = "\x07"
_OPEN = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"
_TIME_TO_FAIL_S = 2.0  # a browser that has not failed by then has started
_IN_THE_TERMINAL = ("lynx", "w3m", "links", "links2", "elinks", "www-browser", "browsh", "carbonyl")
_TITLE = "lmchat"
_LONGEST = 120
_ONLY_OSC_9 = ("iTerm.app", "WezTerm", "ghostty", "WarpTerminal")
_ONLY_OSC_777 = ("rxvt", "foot")


async def run(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str],
    timeout_s: float,
    data: bytes = b"",
    has_output: bool = True,
) -> bytes | None:
    """Run a program with data on its stdin; return its output, None on failure or timeout.

    Clipboard tools stay in the background with their output open: they need `has_output=False`.
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
                end_program(process.pid, is_forced=True)
            await _end(process)
    return None


async def edit_text(
    text: str, *, environ: Mapping[str, str] = os.environ, scratch: ScratchFolders | None = None
) -> str:
    """Return a text edited by the user; the caller has suspended the screen.

    The event loop keeps running for an arriving answer. Cancelling ends the editor. Raises `LMChatError`
    if no editor could be run, it failed, or it left no text.
    """
    argv = editor_command(environ)
    scratch = scratch or ScratchFolders()
    folder = await asyncio.to_thread(_prepare, text, scratch)
    try:
        if status := await _run_in_terminal([*argv, str(folder / "prompt.md")], environ, "EDITOR"):
            name = safe_line(Path(argv[0]).name, limit=40)
            raise LMChatError(
                f"{name} ended with status {status}; nothing was changed.",
                hint="Set $EDITOR to another program.",
            )
        edited = await asyncio.to_thread(_read, folder / "prompt.md")
    finally:
        await asyncio.to_thread(scratch.remove, folder)
    return edited if text.endswith("\n") else edited.removesuffix("\n")


def editor_command(environ: Mapping[str, str]) -> list[str]:
    """Return the command of $VISUAL, $EDITOR or an installed editor; raises `WrongUse`."""
    if argv := _command(("VISUAL", "EDITOR"), _EDITORS, environ):
        return argv
    raise WrongUse("No editor is set.", hint="Set $EDITOR, for example: export EDITOR=nano")


async def page_text(text: str, *, environ: Mapping[str, str] = os.environ) -> None:
    """Show a text in the pager; the caller has suspended the screen. Raises `WrongUse`."""
    argv = _command(("PAGER",), _PAGERS, environ)
    if not argv:
        raise WrongUse("No pager is installed.", hint="Set $PAGER, for example: export PAGER=less")
    await _run_in_terminal(argv, environ, "PAGER", safe_text(text).encode(errors="replace"))


def _command(
    variables: Sequence[str], installed: Sequence[str], environ: Mapping[str, str]
) -> list[str]:
    for name in variables:
        if value := environ.get(name, "").strip():
            try:
                return shlex.split(value)
            except ValueError as error:
                raise WrongUse(
                    f"${name} is not a command: {safe_line(value, limit=60)}", hint=f"{error}."
                ) from error
    path = environ.get("PATH", os.defpath)
    return next(([found] for name in installed if (found := find_program(name, path))), [])


async def _run_in_terminal(
    argv: list[str], environ: Mapping[str, str], variable: str, data: bytes | None = None
) -> int:
    """Run a program that the user talks to; return its status."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command_for(argv, environ),
            stdin=None if data is None else PIPE,
            env=environment_for_others(environ),
        )
    except OSError as error:
        raise WrongUse(
            f"{safe_line(Path(argv[0]).name, limit=40)} cannot be run.",
            hint=f"Set ${variable} to a program that is installed.",
            details=str(error),
        ) from error
    try:
        await process.communicate(data)
    finally:
        await _end(process)
    return process.returncode or 0


async def _end(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _prepare(text: str, scratch: ScratchFolders) -> Path:
    try:
        folder = scratch.make()
        (folder / "prompt.md").write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise FileRefused(
            "The temporary file for the editor cannot be written.", details=str(error)
        ) from error
    return folder


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileRefused(
            "The edited file is not UTF-8 text; nothing was changed.", hint="Save it as UTF-8."
        ) from error
    except OSError as error:
        raise FileRefused(
            "The editor deleted the file; nothing was changed.", details=str(error)
        ) from error


async def open_page(address: str, *, environ: Mapping[str, str] = os.environ) -> bool:
    """Open a web page; False without a browser outside this terminal."""
    if not address.lower().startswith(("http://", "https://")):
        return False
    return await asyncio.to_thread(_open, address, _browser_environment(environ))


async def open_file(
    name: str,
    data: bytes,
    *,
    scratch: ScratchFolders,
    environ: Mapping[str, str] = os.environ,
) -> bool:
    """Open a copy of a file in the system's viewer; False without one. The copy is in `scratch`."""

    def write() -> Path:
        folder = scratch.make()
        (folder / PurePath(name).name).write_bytes(data)
        return folder / PurePath(name).name

    try:
        copy = await asyncio.to_thread(write)
    except OSError as error:
        hint = "Check the folder for temporary files."
        raise FileRefused(
            "The viewer's copy cannot be written.", hint=hint, details=str(error)
        ) from error
    return await asyncio.to_thread(_open, copy.as_uri(), _browser_environment(environ))


def notification(how: str, words: str, environ: Mapping[str, str]) -> str:
    """Return the bytes of a notification: `bell`, `desktop` (OSC 9 or 777) or `none`.

    Unknown terminals get both sequences and skip one; known ones would notify twice. tmux passes them on
    only if configured, so the bell is added.
    """
    if how != "desktop":
        return "" if how == "none" else BELL
    words = safe_line(words, limit=_LONGEST).replace(";", ",")
    osc_9, osc_777 = f"\x1b]9;{words}\x07", f"\x1b]777;notify;{_TITLE};{words}\x07"
    if environ.get("TERM_PROGRAM") in _ONLY_OSC_9 or "KITTY_WINDOW_ID" in environ:
        text = osc_9
    elif environ.get("TERM", "").startswith(_ONLY_OSC_777):
        text = osc_777
    else:
        text = osc_9 + osc_777
    if "TMUX" not in environ:
        return text
    doubled = text.replace("\x1b", "\x1b\x1b")
    return f"\x1bPtmux;{doubled}\x1b\\{BELL}"


def _browser_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without browsers that need the terminal."""
    kept = environment_for_others(environ)
    kept.pop("TERM", None)
    kept["PATH"] = os.pathsep.join(
        filter(is_runnable, kept.get("PATH", os.defpath).split(os.pathsep))
    )
    wished = kept.pop("BROWSER", "wslview" if "WSL_DISTRO_NAME" in kept else "").split(os.pathsep)
    names = {one: PurePath((one.split() or [""])[0]).name for one in wished}
    if browsers := [one for one in wished if names[one] and names[one] not in _IN_THE_TERMINAL]:
        kept["BROWSER"] = os.pathsep.join(browsers)
    return kept


def _open(address: str, environ: Mapping[str, str]) -> bool:
    """Run the standard library's browser search without output to the terminal."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _OPEN, address],
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        env=environ,
        start_new_session=True,
    )
    try:
        return process.wait(_TIME_TO_FAIL_S) == 0
    except subprocess.TimeoutExpired:
        process.returncode = 0  # the browser runs in it, and is not waited for
        return True
