"""Changes of `config.toml` that leave every other line as it is, with its comments.

They are edits of the text: tomlkit takes the comments above the next section for a part of the
table that is removed. What an edit has made is read before it is written.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lmchat.config.file import line_of, outline
from lmchat.config.settings import McpSettings, non_default_values
from lmchat.config.toml import toml_value
from lmchat.errors import ConfigError
from lmchat.files.disk import explain_system_error, locked, read_plain, write_atomically


def add_servers(file: Path, servers: Sequence[McpSettings], hosts: Sequence[str]) -> None:
    """Add tool servers, and hosts to `allowed_hosts`; raises `LMChatError`."""
    tables = [non_default_values(server) for server in servers]

    def add(values: dict[str, Any], lines: list[str]) -> None:
        if hosts:
            _add_hosts(hosts, lines)
            values["allowed_hosts"] = [*hosts, *values.get("allowed_hosts", [])]
        for table in tables:
            while lines and not lines[-1]:
                del lines[-1]
            pairs = (f"{key} = {toml_value(value)}" for key, value in table.items())
            lines += [*([""] if lines else []), "[[mcp]]", *pairs, ""]
        values["mcp"] = [*values.get("mcp", []), *tables]

    _change(file, add)


def _add_hosts(hosts: Sequence[str], lines: list[str]) -> None:
    text = outline("\n".join(lines))
    added = toml_value(hosts)
    if line := line_of(text, ("allowed_hosts",)):
        lines[line - 1] = lines[line - 1].replace("[", added.replace("]", ", "), 1)
        return
    bare_lines = text.split("\n")
    headings = (number for number, line in enumerate(bare_lines) if line.startswith("["))
    place = _end_of_values(bare_lines, next(headings, len(lines)))
    lines[place:place] = [f"allowed_hosts = {added}", *([] if lines[place:][:1] == [""] else [""])]


def _end_of_values(lines: Sequence[str], end: int) -> int:
    """Return the end without blank lines and comments before it, which are about what follows."""
    while end and re.match(r"\s*(#|$)", lines[end - 1]):
        end -= 1
    return end


def remove_server(file: Path, name: str) -> None:
    """Remove a tool server, which the file has; raises `LMChatError`."""

    def remove(values: dict[str, Any], lines: list[str]) -> None:
        text = outline("\n".join(lines))
        bare_lines = text.split("\n")
        names = [table["name"] for table in values["mcp"]]
        begin = (line_of(text, ("mcp", names.index(name))) or 1) - 1
        end = begin + 1
        while end < len(lines) and not re.match(r"\s*\[(?!mcp\.)", bare_lines[end]):
            end += 1
        del lines[begin : _end_of_values(bare_lines, end)]
        while begin and not lines[begin - 1] and lines[begin:][:1] in ([], [""]):
            begin -= 1
            del lines[begin]
        del values["mcp"][names.index(name)]
        if not values["mcp"]:
            del values["mcp"]

    _change(file, remove)


def _change(file: Path, change: Callable[[dict[str, Any], list[str]], None]) -> None:
    """Change values and lines of the file in the same way; it stays as it is if they then differ.

    It has been read before, so that it is UTF-8 and TOML.
    """
    try:
        with locked(file):
            data = read_plain(file) if file.exists() else b""
            line_end = "\r\n" if b"\r\n" in data else "\n"
            text = data.decode("utf-8-sig").replace("\r\n", "\n")
            values, lines = tomllib.loads(text), text.split("\n")
            change(values, lines)
            if tomllib.loads("\n".join(lines)) != _plain(values):
                raise ValueError  # noqa: TRY301 - as for a text that is not TOML
            write_atomically(file, line_end.join(lines).encode())
    except OSError as error:
        raise explain_system_error(error, file) from error
    except ValueError:
        message = f"{file} has a form that lmchat cannot edit; it is unchanged."
        raise ConfigError(message, hint="Edit [[mcp]] in it yourself.") from None


def _plain(value: Any) -> Any:
    """Return values with lists in place of tuples, as in a file that was read."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [*map(_plain, value)] if isinstance(value, tuple | list) else value
