"""What differs from system to system: locks, signals, ends of programs, folders of other programs."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType

from lmchat.files import read_plain

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CAN_RENAME_OPEN_FILES = fcntl is not None
Place = tuple[str, str, Path]  # format, name of the program, file or folder
_FAR = 1 << 30  # byte that stands for the whole file: on Windows, locked bytes cannot be read

ENDING = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if name in signal.Signals.__members__ and hasattr(signal, name)
)
"""Signals that ask a program to end."""


def interrupt_at_end() -> list[int]:
    """Make these signals interrupt the program as Ctrl+C does; return the list that gets their numbers."""
    ended: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        ended.append(number)
        signal.raise_signal(signal.SIGINT)

    for number in ENDING:
        if number != signal.SIGINT:
            signal.signal(number, end)
    return ended


def try_lock(descriptor: int, *, is_shared: bool = False) -> bool:
    """Lock an open file without waiting; return whether nobody else has it.

    The system releases the lock when the process ends, however it ends. Raises `OSError` where the file
    system has no locks.
    """
    try:
        if fcntl is None:
            _lock_byte(descriptor)
        else:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _lock_byte(descriptor: int) -> None:
    try:
        import msvcrt  # noqa: PLC0415 - only Windows has it
    except ImportError as error:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)) from error
    os.lseek(descriptor, _FAR, os.SEEK_SET)
    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]


def end_program(pid: int, *, is_forced: bool = False) -> None:
    """Ask a program that leads a session, and those that it started, to end; or kill them."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL if is_forced else signal.SIGTERM)
        else:
            _end_tree(pid)


def _end_tree(pid: int) -> None:
    """Kill a process and its children: Windows knows no request to end."""
    import psutil  # noqa: PLC0415 - for Windows, and slow to import

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (*process.children(recursive=True), process):
            with suppress(psutil.Error):
                one.kill()


def places(environ: Mapping[str, str], home: Path) -> list[Place]:
    """Return the places that exist, each once."""
    found: dict[Path, Place] = {}
    for source, program, paths in _known(environ, home):
        for path in paths:
            with suppress(OSError):
                if path.exists():
                    found.setdefault(path.resolve(), (source, program, path))
    return list(found.values())


def lm_studio_folders(home: Path) -> list[Path]:
    """Return the folders that LM Studio may use, which need not exist; first the one it was moved to."""
    folders = [home / ".cache" / "lm-studio", home / ".lmstudio"]
    with suppress(OSError):
        named = read_plain(home / ".lmstudio-home-pointer").decode(errors="replace").strip()
        folders[:0] = [Path(named)] if named and "\0" not in named else []
    return folders


def jan_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folders in which Jan may keep its data; their place depends on its version."""
    share, config = _folders_of_programs(environ, home)
    bases = [one / name for one in share + config for name in ("Jan", "jan")]
    moved = [Path(folder) for base in bases if (folder := _jan_folder(base / "settings.json"))]
    return [*moved, *(base / "data" for base in bases), home / "jan"]


def _folders_of_programs(environ: Mapping[str, str], home: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders of the system for data and for settings."""
    share = [Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")]
    config = [Path(environ.get("XDG_CONFIG_HOME") or home / ".config")]
    if sys.platform == "darwin":
        share.append(home / "Library" / "Application Support")
    elif sys.platform == "win32":
        share.append(Path(environ.get("APPDATA") or home / "AppData" / "Roaming"))
    return share, config + share[1:]


def _known(environ: Mapping[str, str], home: Path) -> Iterator[tuple[str, str, list[Path]]]:
    share, config = _folders_of_programs(environ, home)
    yield "lmstudio", "LM Studio", [one / "conversations" for one in lm_studio_folders(home)]
    yield "jan", "Jan", [one / "threads" for one in jan_folders(environ, home)]
    web_ui = "open-webui/lib/python*/site-packages/open_webui/data/webui.db"
    tools = [
        found for tool in ("uv/tools", "pipx/venvs") for found in share[0].glob(f"{tool}/{web_ui}")
    ]
    yield "openwebui", "Open WebUI", [*_named(environ, "DATA_DIR", "webui.db"), *tools]
    yield "elia", "elia", [one / "elia" / "elia.sqlite" for one in share]
    oterm = [one / "oterm" / "store.db" for one in share]
    yield "oterm", "oterm", [*_named(environ, "OTERM_DATA_DIR", "store.db"), *oterm]
    parllama = [one / "chats" for one in (home / ".parllama", share[0] / "parllama")]
    yield "parllama", "parllama", [*_named(environ, "PARLLAMA_DATA_DIR", "chats"), *parllama]
    llm = [one / "io.datasette.llm" / "logs.db" for one in config]
    yield "llm", "llm", [*_named(environ, "LLM_USER_PATH", "logs.db"), *llm]


def _jan_folder(settings: Path) -> str:
    """Return the data folder that Jan's settings name."""
    with suppress(OSError, ValueError, AttributeError, RecursionError):
        return str(json.loads(read_plain(settings)).get("data_folder") or "").partition("\0")[0]
    return ""


def _named(environ: Mapping[str, str], variable: str, name: str) -> list[Path]:
    folder = environ.get(variable)
    return [Path(folder) / name] if folder else []
