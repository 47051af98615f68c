"""MCP servers in the files of other programs, below `mcpServers`, or `servers` in VS Code.

LM Studio, Cursor, Claude Desktop, Claude Code and VS Code write them in JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lmchat.config.settings import McpSettings
from lmchat.config.toml import words_and_place
from lmchat.errors import FileRefused
from lmchat.files.disk import read_plain

_VARIABLE = re.compile(r"\$\{(?:env:)?(\w+)\}")  # as Claude Code writes it, or VS Code and Cursor
_TRANSPORTS = ("", "stdio", "http", "streamable-http", "streamableHttp")
_PROJECT_FOLDERS = (".vscode", ".cursor")


class ForeignServers(Struct, frozen=True, kw_only=True):
    """Servers of a file, without the values of their variables."""

    servers: tuple[McpSettings, ...] = ()
    refused: Mapping[str, str] = {}  # why a server cannot be used, by its name


class _ForeignServer(Struct, rename="camel"):
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, Any] = {}
    cwd: str = ""
    url: str = ""
    headers: Mapping[str, str] = {}
    type: str = ""
    disabled: bool = False


class _ServersFile(Struct, rename="camel"):
    mcp_servers: dict[str, Any] | None = None
    servers: dict[str, Any] | None = None
    projects: dict[str, Any] = {}  # of Claude Code, by their folders


def read_mcp_servers(file: Path, folder: Path) -> ForeignServers:
    """Return the servers of a file, and of the project `folder` in Claude Code's own file.

    Raises `OSError`, or `FileRefused` if it has no servers in this form.
    """
    try:
        content = msgspec.json.decode(read_plain(file), type=_ServersFile)
        project = msgspec.convert(content.projects.get(str(folder), {}), _ServersFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unknown(file, str(error)) from None
    tables = [content.mcp_servers, content.servers, project.mcp_servers]
    if all(table is None for table in tables):
        raise _unknown(file, "it has neither mcpServers nor servers")
    servers: list[McpSettings] = []
    refused: dict[str, str] = {}
    for name, entry in chain.from_iterable((table or {}).items() for table in tables):
        try:
            servers.append(
                _server(name, msgspec.convert(entry, _ForeignServer), _start_folder(file))
            )
        except msgspec.ValidationError as error:
            words, place = words_and_place(error)
            refused[name] = f"{place}: {words}".lstrip(".: ")
        except ValueError as error:
            refused[name] = str(error)
    return ForeignServers(servers=tuple(servers), refused=refused)


def _unknown(file: Path, reason: str) -> FileRefused:
    hint = 'A file of servers is JSON such as {"mcpServers": {"time": {"command": "uvx"}}}.'
    return FileRefused(f"{file} is not a file of MCP servers: {reason}.", hint=hint)


def _start_folder(file: Path) -> str:
    """Return the folder in which a project's own servers start; "" for another file."""
    if file.name == ".mcp.json":
        return str(file.parent)
    folder = file.parent
    is_project = folder.name in _PROJECT_FOLDERS and folder.parent != Path.home()
    return str(folder.parent) if is_project else ""


def _server(name: str, entry: _ForeignServer, folder: str) -> McpSettings:
    """Return the settings of a server; raises `ValueError` with the reason why it has none."""
    if "/" in name:
        raise ValueError('its name has a "/"')
    if entry.disabled:
        raise ValueError("it is switched off there")
    if entry.type not in _TRANSPORTS:
        raise ValueError(f"its transport {entry.type} is not one of lmchat's")
    for text in (entry.command, *entry.args, entry.url, entry.cwd):
        if "${" in text:
            raise ValueError(f"lmchat does not know what to put into {text}")
    prefix = re.sub(r"\W", "_", name).upper()
    values: dict[str, Any] = {
        "name": name,
        "command": entry.command,
        "args": entry.args,
        "url": entry.url,
        "cwd": str(Path(folder, entry.cwd)) if folder or entry.cwd else "",
        "env": {key: f"${{{_variable(value) or key}}}" for key, value in entry.env.items()} or None,
        "headers_env": {
            key: _variable(value) or re.sub(r"\W", "_", f"{prefix}_{key}").upper()
            for key, value in entry.headers.items()
        }
        or None,
    }
    return msgspec.convert(values, McpSettings)


def _variable(value: object) -> str:
    """Return the variable that a value is taken from; "" for a value that is written out."""
    match = _VARIABLE.fullmatch(value) if isinstance(value, str) else None
    return match[1] if match else ""
