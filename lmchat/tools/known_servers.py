"""MCP servers that `lmchat tools add NAME` installs, and the files of other programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from msgspec import Struct


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


def is_installed(server: KnownServer) -> bool:
    """Whether just this version is installed beside lmchat."""
    package, _, version = server.requirement.partition("==")
    with suppress(PackageNotFoundError):
        return metadata.version(package) == version
    return False


def files_of_programs(home: Path, folder: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return where LM Studio and Claude keep servers, of this user and project."""
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
        folder / ".mcp.json",
    ]
