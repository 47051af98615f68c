"""MCP servers that `lmchat tools add NAME` installs, and the files of other programs."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from msgspec import Struct

from lmchat.extras import install_words, packages_of
from lmchat.processes.child import ChildProcess
from lmchat.processes.environment import environment_for_others, with_absolute_program

_STDERR = 2


class KnownServer(Struct, frozen=True, kw_only=True):
    """A server of the package index."""

    requirement: str  # of an exact version, which was read and tried
    command: str
    description: str
    takes_folders: bool = False  # whether its arguments are the folders that it may use


KNOWN_SERVERS: Mapping[str, KnownServer] = {
    "time": KnownServer(
        requirement="mcp-server-time==2026.10.19",
        command="mcp-server-time",
        description="time in any zone",
    ),
    "fetch": KnownServer(
        requirement="mcp-server-fetch==2026.10.24",
        command="mcp-server-fetch",
        description="pages of the web as text",
    ),
    "search": KnownServer(
        requirement="duckduckgo-mcp-server==0.7.0",
        command="duckduckgo-mcp-server",
        description="search with DuckDuckGo",
    ),
    "files": KnownServer(
        requirement="filesystem-mcp==1.0.2",
        command="filesystem-mcp",
        description="read and write files in folders that you name",
        takes_folders=True,
    ),
}


def install_server_words(server: KnownServer) -> list[str]:
    """Return the command that installs a server beside lmchat, with an SDK that lmchat can use."""
    return install_words([server.requirement, *packages_of("tools")])


def is_installed(server: KnownServer) -> bool:
    """Return whether just this version is installed beside lmchat."""
    package, _, version = server.requirement.partition("==")
    with suppress(PackageNotFoundError):
        return metadata.version(package) == version
    return False


async def install(words: list[str], environ: Mapping[str, str]) -> int:
    """Run an install command, whose output goes to stderr, and return its exit code.

    It runs outside of the current folder, from which Python would import. Raises `OSError`.
    """
    child = await ChildProcess.start(
        with_absolute_program(words, environ),
        environment=environment_for_others(environ),
        folder=Path(sys.prefix),
        output=_STDERR,
        errors=_STDERR,
    )
    try:
        await child.communicate(b"")
    finally:
        if child.exit_code is None:
            await child.end()
    importlib.invalidate_caches()
    return child.exit_code or 0


def files_of_programs(home: Path, folder: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return where LM Studio, Claude, Cursor and VS Code keep servers, of this user and project."""
    data = home / ".config"
    if sys.platform == "darwin":
        data = home / "Library/Application Support"
    elif os.name == "nt":
        data = Path(environ.get("APPDATA", home / "AppData/Roaming"))
    return [
        home / ".lmstudio/mcp.json",
        home / ".cache/lm-studio/mcp.json",
        data / "Claude/claude_desktop_config.json",
        home / ".claude.json",
        home / ".cursor/mcp.json",
        data / "Code/User/mcp.json",
        folder / ".mcp.json",
        folder / ".cursor/mcp.json",
        folder / ".vscode/mcp.json",
    ]
