"""Changes of the `[[mcp]]` tables in `config.toml` that leave all other lines as they are.

They are edits of the text: tomlkit takes the comments above the next section for a part of the
table that is removed. What an edit has made is read before it is written.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from lmchat.config.file import Values, line_of, outline
from lmchat.config.settings import McpSettings, non_default_values
from lmchat.config.toml import toml_value
from lmchat.errors import ConfigError
from lmchat.files.disk import explain_system_error, locked, read_plain, write_atomically


def add_servers(file: Path, servers: Sequence[McpSettings], hosts: Sequence[str]) -> None:
    """Add tool servers, and hosts to `allowed_hosts`; raises `LMChatError`."""
    added = ""
    for server in servers:
        added += "\n[[mcp]]\n"
        for key, value in non_default_values(server).items():
            added += f"{key} = {toml_value(value)}\n"

    def add(text: str, values: Values) -> str:
        if hosts:
            if "allowed_hosts" in values:
                begin, items = r"(?m)^allowed_hosts\s*=\s*\[", toml_value(hosts).strip("[]")
                text = re.sub(begin, lambda found: f"{found[0]}{items}, ", text, count=1)
            else:
                text = f"allowed_hosts = {toml_value(hosts)}\n{text}"
            values["allowed_hosts"] = [*hosts, *values.get("allowed_hosts", [])]
        values["mcp"] = [*values.get("mcp", []), *tomllib.loads(added)["mcp"]]
        line_end = "" if text.endswith("\n") else "\n"
        return f"{text}{line_end}{added}".lstrip()

    _change(file, add)


def remove_server(file: Path, name: str) -> None:
    """Remove a tool server, which the file has; raises `LMChatError`."""

    def remove(text: str, values: Values) -> str:
        index = [table["name"] for table in values["mcp"]].index(name)
        del values["mcp"][index]
        if not values["mcp"]:
            del values["mcp"]
        bare_text = outline(text)
        bare_lines = bare_text.split("\n")
        begin = (line_of(bare_text, ("mcp", index)) or 1) - 1
        end = begin + 1
        while end < len(bare_lines) and not re.match(r"\s*\[(?!mcp\.)", bare_lines[end]):
            end += 1
        while re.match(r"\s*(#|$)", bare_lines[end - 1]):  # comments are about what follows
            end -= 1
        lines = text.split("\n")
        if begin and not lines[begin - 1].strip():
            begin -= 1
        return "\n".join(lines[:begin] + lines[end:])

    _change(file, remove)


def _change(file: Path, change: Callable[[str, Values], str]) -> None:
    """Write the text that `change` returns, if it has the values that `change` has made.

    The file has been read before, so that it is UTF-8 and TOML.
    """
    try:
        with locked(file):
            text = read_plain(file).decode("utf-8-sig") if file.exists() else ""
            values = tomllib.loads(text)
            changed = change(text, values)
            if tomllib.loads(changed) != values:
                raise ValueError  # noqa: TRY301 - as for a text that is not TOML
            write_atomically(file, changed.encode())
    except OSError as error:
        raise explain_system_error(error, file) from error
    except ValueError:
        message = f"{file} has a form that lmchat cannot edit; it is unchanged."
        raise ConfigError(message, hint="Edit [[mcp]] in it yourself.") from None
