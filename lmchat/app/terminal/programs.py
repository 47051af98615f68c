"""Editor, pager, browser, viewer and notifications of the desktop."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from time import monotonic

from lmchat.base.errors import FileRefused, LMChatError, WrongUse
from lmchat.base.files.disk import ensure_folder, locked
from lmchat.base.processes.child import run_in_terminal, start_in_background
from lmchat.base.processes.environment import (
    command_words,
    environment_for_others,
    find_program,
    is_over_ssh,
)
from lmchat.base.safe_text import safe_line, safe_text, with_line_feeds

BELL = "\x07"
_OPEN_PROGRAM = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"
_TIME_TO_FAIL_S = 2.0  # a browser that has not failed by then has started
_SHOWN_OVER_SSH = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")  # lead to the user's screen
_MAX_STEM_CHARS = 50  # file systems allow 255 bytes, four a character
_TITLE = "lmchat"
_LONGEST_CHARS = 120  # of a notification
_WITH_OSC_777 = ("rxvt", "foot")  # beginnings of $TERM


async def open_in_browser(address: str, *, environ: Mapping[str, str]) -> bool:
    """Return False for another scheme, and if no browser outside this terminal starts."""
    if not address.lower().startswith(("http://", "https://")):
        return False
    return await asyncio.to_thread(_open, address, environ)


async def open_file(
    name: str,
    data: bytes,
    *,
    folders: ExitStack,
    environ: Mapping[str, str],
) -> str:
    """Open a copy in the system's viewer, which reads it later; `folders` removes its folder.

    Return the path if no viewer could be started, else "". Raises `FileRefused`.
    """
    copy = await asyncio.to_thread(_private_copy, name, data, folders)
    return "" if await asyncio.to_thread(_open, copy.as_uri(), environ) else str(copy)


def _private_copy(
    name: str, data: bytes, folders: ExitStack, locked_in: Path | None = None
) -> Path:
    """Copy into a new folder, which `folders` removes; in `locked_in`, hold the copy, too.

    Raises `FileRefused`.
    """
    path = PurePath(name)
    try:
        # Only the last part of the name, so that `../a.md` stays in the folder. It is cut, as a
        # file system may refuse the long name of an imported chat. A viewer of Windows keeps a file
        # that it has open.
        if locked_in is not None:
            ensure_folder(locked_in)
        folder = folders.enter_context(
            TemporaryDirectory(prefix="lmchat-", dir=locked_in, ignore_cleanup_errors=True)
        )
        copy = Path(folder) / f"{path.stem[:_MAX_STEM_CHARS]}{path.suffix}"
        if locked_in is not None:
            folders.enter_context(locked(copy))
        copy.write_bytes(data)
    except OSError as error:
        raise FileRefused(
            f"A copy of {path.name} cannot be written.",
            next_step=f"Check {locked_in or 'the folder for temporary files'}.",
        ) from error
    return copy


def notification(kind: str, words: str, environ: Mapping[str, str]) -> str:
    """Return the output that makes the terminal notify the user.

    tmux passes it on only if configured, so the bell is added.
    """
    if kind == "none":
        return ""
    if kind != "desktop":
        return BELL

    words = safe_line(words, limit=_LONGEST_CHARS).replace(";", ",")  # OSC 777 has fields with `;`
    text = f"\x1b]9;{words}\x07"
    if environ.get("TERM", "").startswith(_WITH_OSC_777) or "VTE_VERSION" in environ:
        text = f"\x1b]777;notify;{_TITLE};{words}\x07"
    if "TMUX" not in environ:
        return text
    doubled = text.replace("\x1b", "\x1b\x1b")  # wrapped, tmux wants ESC twice
    return f"\x1bPtmux;{doubled}\x1b\\{BELL}"


def _open(address: str, environ: Mapping[str, str]) -> bool:
    """Open an address with Python's `webbrowser`, in a process of its own.

    Without `TERM`, it finds no browser that runs in a terminal. `PATH` gets absolute folders only,
    so that no program of the current folder starts. Over ssh, macOS and Windows would open it on a
    screen that the user does not see.
    """
    if is_over_ssh(environ) and not any(environ.get(name) for name in _SHOWN_OVER_SSH):
        return False
    environment = environment_for_others(environ)
    environment.pop("TERM", None)
    if "WSL_DISTRO_NAME" in environment:
        environment.setdefault("BROWSER", "wslview")  # opens the browser of Windows
    if sys.platform == "darwin":
        # From Python 3.14 on, `webbrowser` opens files in the browser, and macOS asks for the
        # permission to control that.
        environment.setdefault("BROWSER", "open")
    folders = environment.get("PATH", os.defpath).split(os.pathsep)
    environment["PATH"] = os.pathsep.join(
        folder for folder in folders if Path(folder).is_absolute()
    )
    # `-I`: no Python module of the current folder either
    command = [sys.executable, "-I", "-c", _OPEN_PROGRAM, address]
    process = start_in_background(command, environment=environment)
    try:
        return process.wait(_TIME_TO_FAIL_S) == 0
    except subprocess.TimeoutExpired:  # the browser runs in this process
        process.returncode = 0  # else Python warns of a process that still runs
        return True


_AT_ONCE_S = 1.0  # an editor with its own window returns before that
_EDITOR_VARIABLES = ("VISUAL", "EDITOR")
_WAITS = {"--wait", "-w", "--block", "-b", "-f", "--nofork"}  # options of such editors
_EDITORS = ("sensible-editor", "nano", "vim", "vi", "notepad")
_PAGERS = ("less", "more")


class Editor:
    """The user's editor, for one text."""

    def __init__(
        self, text: str, *, environ: Mapping[str, str], parent: Path | None = None
    ) -> None:
        """The file is in a folder of its own below `parent`, while the editor runs."""
        self.saved_text = text
        """As the editor has saved it, as far as `read` or `run` knows."""
        self.at_once_s = _AT_ONCE_S
        self._has_line_end = text.endswith("\n")
        self._parent = parent
        self._environ = environ
        self._file: Path | None = None  # None before the editor runs

    async def run(self) -> str:
        """Return the edited text; the caller has suspended the screen.

        The event loop keeps running, for an answer. Cancelling kills the editor. Raises
        `LMChatError` if no editor can be run, or if it fails, returns at once or leaves no UTF-8
        text.
        """
        argv = editor_command(self._environ)
        start_s = monotonic()
        before = self.saved_text
        data = before.encode(errors="replace")
        folders = ExitStack()
        try:
            self._file = await asyncio.to_thread(
                _private_copy, "prompt.md", data, folders, self._parent
            )
            exit_code = await _run([*argv, str(self._file)], self._environ, variable="EDITOR")
            is_text = await self._read()
        except OSError as error:
            text = f"The text cannot be edited: {error.strerror or error}; nothing was changed."
            if isinstance(error, FileNotFoundError):
                text = "The editor deleted the file; nothing was changed."
            raise FileRefused(text, details=str(error)) from error
        finally:
            self._file = None
            await asyncio.to_thread(folders.close)
        if not is_text:
            raise FileRefused(
                "The edited file is not UTF-8 text; some of its letters cannot be read.",
                next_step="Save it as UTF-8.",
            )
        if exit_code:
            is_changed = self.saved_text != before
            result = "what it had saved was kept" if is_changed else "nothing was changed"
            raise LMChatError(
                f"{_program_name(argv)} ended with status {exit_code}; {result}.",
                next_step="Set $EDITOR to another program.",
            )
        is_at_once = monotonic() - start_s < self.at_once_s
        variable = next((name for name in _EDITOR_VARIABLES if self._environ.get(name)), "")
        if is_at_once and self.saved_text == before and variable and not _WAITS & {*argv}:
            command = safe_line(self._environ[variable], limit=200)  # as `flatpak run org.a.Edit`
            raise LMChatError(
                f"{_program_name(argv)} returned at once; nothing was changed.",
                next_step=f"If it opens a window, set {variable} to: {command} --wait",
            )
        return self.saved_text

    async def read(self) -> None:
        """Update `saved_text` from the file of the running editor."""
        if self._file is not None:
            with suppress(OSError):  # no file, or the editor has just ended
                await self._read()

    async def _read(self) -> bool:
        """Return whether it is UTF-8 text. Raises `OSError`."""
        if self._file is None:
            return True
        data = await asyncio.to_thread(self._file.read_bytes)
        is_text = True
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            is_text = False
            text = data.decode("utf-8-sig", errors="replace")
        text = with_line_feeds(text)
        # editors add a line end to the last line of a file
        self.saved_text = text if self._has_line_end else text.removesuffix("\n")
        return is_text


def editor_command(environ: Mapping[str, str]) -> list[str]:
    """Raises `WrongUse`."""
    argv = _command(_EDITOR_VARIABLES, _EDITORS, environ)
    if not argv:
        raise WrongUse(
            "No editor is set.", next_step="Set $EDITOR, for example: export EDITOR=nano"
        )
    return argv


async def show_in_pager(text: str, *, environ: Mapping[str, str]) -> None:
    """The caller has suspended the screen. Raises `WrongUse`."""
    argv = _command(("PAGER",), _PAGERS, environ)
    if not argv:
        raise WrongUse(
            "No pager is installed.", next_step="Set $PAGER, for example: export PAGER=less"
        )
    # that of Windows reads the code page of the terminal
    encoding = "oem" if Path(argv[0]).name.lower() == "more.com" else "utf-8"
    data = safe_text(text).encode(encoding, errors="replace")
    await _run(argv, environ, variable="PAGER", data=data)


def _command(
    variables: Sequence[str], usual_programs: Sequence[str], environ: Mapping[str, str]
) -> list[str]:
    """Raises `WrongUse` for a variable that is no command."""
    for name in variables:
        value = environ.get(name, "").strip()
        if value:
            try:
                return command_words(value)
            except ValueError as error:
                raise WrongUse(
                    f"${name} is not a command: {safe_line(value, limit=60)}", next_step=f"{error}."
                ) from error
    for name in usual_programs:
        program = find_program(name, environ.get("PATH", os.defpath))
        if program:
            return [program]
    return []


async def _run(
    argv: list[str], environ: Mapping[str, str], variable: str, data: bytes | None = None
) -> int:
    """Raises `WrongUse`."""
    try:
        exit_code = await run_in_terminal(argv, environ=environ, data=data)
    except OSError as error:
        raise WrongUse(
            f"{_program_name(argv)} cannot be run.",
            next_step=f"Set ${variable} to a program that is installed.",
            details=str(error),
        ) from error
    return exit_code


def _program_name(argv: Sequence[str]) -> str:
    return safe_line(Path(argv[0]).name, limit=40)
