"""MCP servers in the JSON files of LM Studio, Claude and other programs, below `mcpServers`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lmchat.config.settings import McpSettings
from lmchat.config.toml import words_and_place
from lmchat.errors import FileRefused
from lmchat.files.disk import read_plain
from lmchat.safe_text import json_text

_VARIABLE = re.compile(r"\$\{(\w+)\}")  # as Claude Code writes it


class ForeignServers(Struct, frozen=True, kw_only=True):
    """Servers of a file, without the values of their variables."""

    servers: tuple[McpSettings, ...]
    refused: Mapping[str, str]  # a sentence on why a server cannot be used, by its name


class _ForeignServer(Struct):
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, Any] = {}
    cwd: str = ""
    url: str = ""
    headers: Mapping[str, str] = {}


class _ServersFile(Struct, rename="camel"):
    mcp_servers: dict[str, Any] = {}
    projects: dict[str, Any] = {}  # of Claude Code, by their folders


def read_mcp_servers(file: Path, folder: Path, name: str = "") -> ForeignServers:
    """Return the servers of a file, and of the project `folder` in Claude Code's own file.

    With `name`, only the one of this name. Raises `OSError`, or `FileRefused` if there are none.
    """
    hint = 'A file of servers is JSON such as {"mcpServers": {"time": {"command": "uvx"}}}.'
    try:
        data = read_plain(file)
        content = msgspec.json.decode(json_text(data), type=_ServersFile)
        project = msgspec.convert(content.projects.get(str(folder), {}), _ServersFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"{file} is not a file of MCP servers: {error}."
        raise FileRefused(message, hint=hint) from None
    entries = content.mcp_servers | project.mcp_servers
    if name:
        entries = {name: entries[name]} if name in entries else {}
    if not entries:
        raise FileRefused(f"{file} has no {name or 'server'} below mcpServers.", hint=hint)
    # servers of a project start in its folder
    return servers_of(entries, str(file.parent) if file.name == ".mcp.json" else "")


def servers_of(entries: Mapping[str, Any], folder: str = "") -> ForeignServers:
    """Return the servers of a table, by name; those that are programs start in `folder`."""
    servers: list[McpSettings] = []
    refused: dict[str, str] = {}
    for name, entry in entries.items():
        try:
            servers.append(_server(name, msgspec.convert(entry, _ForeignServer), folder))
        except msgspec.ValidationError as error:
            words, place = words_and_place(error)
            refused[name] = f"{place}: {words}.".lstrip(".: ")
        except ValueError as error:
            refused[name] = f"{error}."
    return ForeignServers(servers=tuple(servers), refused=refused)


def _server(name: str, entry: _ForeignServer, folder: str) -> McpSettings:
    """Raises `ValueError` with the reason why it cannot be used."""
    if "/" in name:
        raise ValueError('its name has a "/"')
    for text in (entry.command, *entry.args, entry.url, entry.cwd):
        if "${" in text:
            raise ValueError(f"lmchat does not know what to put into {text}")
    values = {
        "name": name,
        "command": entry.command,
        "args": entry.args,
        "url": entry.url,
        "cwd": str(Path(folder, entry.cwd)) if folder or entry.cwd else "",
        "env": {key: f"${{{_variable(value, key)}}}" for key, value in entry.env.items()},
        "headers_env": {
            key: _variable(value, f"{name}_{key}".upper()) for key, value in entry.headers.items()
        },
    }
    return msgspec.convert({key: value for key, value in values.items() if value}, McpSettings)


def _variable(value: object, name: str) -> str:
    """Return the variable that a value is taken from, or a new one for a value written out."""
    match = _VARIABLE.fullmatch(str(value))
    return match[1] if match else re.sub(r"\W", "_", name)
