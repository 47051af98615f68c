"""Tool servers in `mcp.json`, in the form of LM Studio, Claude Desktop and Cursor."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import asdict, replace

from lmchat.base.errors import ConfigError, FileRefused, RequestInvalid
from lmchat.base.files.disk import (
    OWNER_ONLY,
    explain_system_error,
    locked,
    read_plain,
    write_atomically,
)
from lmchat.base.safe_text import header_value, json_text
from lmchat.core.config.settings import McpSettings, declared, non_default_values
from lmchat.core.config.toml import message_and_place

FILE_NAME = "mcp.json"  # beside `config.toml`
_TABLES = ("mcpServers", "servers", "context_servers")  # the second is VS Code's, the third Zed's
_FORM = '{"mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}}}'
_URL_KEYS = ("url", "httpUrl", "serverUrl")  # the second is Gemini's, the third Windsurf's
_TEXT = r'"(?:\\.|[^"\\])*"?'  # the rest of the file if it is open: then it is no JSON
_COMMENTS = rf"({_TEXT})|//[^\n]*|/\*(?s:.*?\*/|.*)"
_LAST_COMMAS = rf"({_TEXT})|,(?=\s*[}}\]])"
_Value = TypeVar("_Value")
_VARIABLE = r"\$\{(?:env:)?([^}]*?)(?::-([^}]*))?\}"


class ServersFile(Struct, frozen=True, kw_only=True):
    """Servers of a file, by name, and why others cannot be used."""

    servers: Mapping[str, McpSettings] = {}
    refused: Mapping[str, str]  # sentences


def read_servers(file: Path, name: str = "") -> ServersFile:
    """With `name`, only that server. Raises `OSError`, and `FileRefused` for another form."""
    _, table, _ = _read(file)
    return servers_of({key: table[key] for key in table if not name or key == name})


def servers_of(entries: Mapping[str, Any]) -> ServersFile:
    """Return the servers of a table; what lmchat does not know in an entry is left out."""
    servers: dict[str, McpSettings] = {}
    refused: dict[str, str] = {}
    for name, entry in entries.items():
        try:
            servers[name] = _server(name, entry)
        except ValidationError as error:
            text, place = message_and_place(error)
            _, meta = declared(McpSettings).get(place.removeprefix("."), (None, Meta()))
            if meta.extra and "matching regex" in text:
                text = f"expected {meta.extra['expected']}"
            refused[name] = f"{place}: {text}.".lstrip(".: ")
    return ServersFile(servers=servers, refused=refused)


def _server(name: str, entry: Any) -> McpSettings:
    """Raises `ValidationError`."""
    known = {
        key: value for key, value in convert(entry, dict[str, Any]).items() if value is not None
    }
    if "sse" in (known.get("type"), known.get("transport")):
        raise ValidationError("the type sse is not supported; many servers have /mcp, too")
    known["url"] = next((known[key] for key in _URL_KEYS if key in known), "")
    for key in ("env", "headers"):  # null for what to leave out
        if isinstance(pairs := known.get(key), dict):
            known[key] = {name: _text(text) for name, text in pairs.items() if text is not None}
    if isinstance(args := known.get("args"), list):
        known["args"] = [*map(_text, args)]
    fields = {key: known[key] for key in McpSettings.__struct_fields__ if key in known}
    return convert(fields | {"name": name}, McpSettings)


def _text(value: Any) -> Any:
    return value if isinstance(value, str | None) else json.dumps(value)


def write_servers(file: Path, servers: Iterable[McpSettings] = (), *, without: str = "") -> None:
    """Add servers, or remove one; all else in the file stays. Raises `LMChatError`."""
    entries = {server.name: non_default_values(server) for server in servers}
    for entry in entries.values():
        del entry["name"]
    try:
        with locked(file):
            content: dict[str, Any] = {_TABLES[0]: {}}
            table = content[_TABLES[0]]
            is_plain = True
            if file.exists():
                content, table, is_plain = _read(file)
                file.chmod(OWNER_ONLY)  # it may hold keys
            if not is_plain:
                next_step = f"Delete {without} in it." if without else _to_paste(entries)
                raise ConfigError(
                    f"{file} has comments or last commas, so that lmchat does not change it.",
                    next_step=next_step,
                )
            if taken := entries.keys() & table.keys():  # also one that lmchat cannot use
                raise ConfigError(
                    f"{file} has a server {', '.join(taken)} already.",
                    next_step="Choose another name.",
                )
            table |= entries
            if without:
                table.pop(without, None)
            write_atomically(file, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    except OSError as error:
        raise explain_system_error(error, file) from error


def _to_paste(entries: Mapping[str, Any]) -> str:
    """Show no value that may be a key."""
    for entry in entries.values():
        for key in {"env", "headers"} & entry.keys():
            values = entry[key].items()
            entry[key] = {name: text if "${" in text else "VALUE" for name, text in values}
    return f"Paste among its servers: {json.dumps(entries, ensure_ascii=False)[1:-1]}"


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Return the content, its table of servers, and whether no comment or last comma is in it."""
    data = read_plain(file)
    try:
        text = json_text(data)
        plain = re.sub(_COMMENTS, lambda found: found[1] or "\n" * found[0].count("\n"), text)
        plain = re.sub(_LAST_COMMAS, lambda found: found[1] or "", plain)
        content = json.loads(plain) if plain.strip() else {}
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}: {error.msg}"
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text: save it as UTF-8"
    except (ValueError, RecursionError):  # a number of 5,000 digits
        reason = "a number in it is too long, or it is nested too deep"
    else:
        if content == {}:  # nothing is in it yet
            content[_TABLES[0]] = {}
        for key in _TABLES:
            if isinstance(content, dict) and isinstance(content.get(key), dict):
                return content, content[key], plain == text
        reason = f"it has no {' or '.join(_TABLES)}"
    raise FileRefused(
        f"{file} is not a file of MCP servers: {reason}.", next_step=f"It is JSON such as {_FORM}."
    )


def moved(tables: Any) -> ServersFile:
    """Return the servers that earlier versions had in `config.toml`, as `[[mcp]]`."""
    entries: dict[str, Any] = {}
    for table in tables if isinstance(tables, list) else ():
        if isinstance(table, dict):
            entry = table | {"disabled": table.get("enabled") is False}
            if isinstance(variables := table.get("headers_env"), dict):
                entry["headers"] = {key: f"${{{name}}}" for key, name in variables.items()}
            entries[str(table.get("name", ""))] = entry
    return servers_of(entries)


def variables_in(settings: object) -> list[str]:
    """Return the names of the user's variables whose values a server gets."""
    text = msgspec.json.encode(settings).decode()
    return [*dict.fromkeys(name for name, _ in re.findall(_VARIABLE, text))]


def refuse_missing(server: str, kind: str, name: str) -> NoReturn:
    reason = f"The environment variable {name} of the server {server} is not set."
    next_step = "Set it, or write its value there."
    if not re.fullmatch(r"\w+", name):
        reason = f"The server {server} has ${{{name}}}, which lmchat does not know."
        next_step = "Write its value there, or ${NAME} for an environment variable."
    raise RequestInvalid(reason, next_step=next_step, kind=kind)


def checked_headers(server: str, kind: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the values to send; raise `RequestInvalid` for characters that no header can hold."""
    checked: dict[str, str] = {}
    for header, value in headers.items():
        try:
            checked[header] = header_value(value)
        except ValueError as error:
            # the error is the end of a sentence: "has control characters or …"
            raise RequestInvalid(
                f"The header {header} of the server {server} {error}.",
                next_step="Set it again without them.",
                kind=kind,
            ) from None
    return checked


def expanded(value: _Value, environ: Mapping[str, str], missing: Callable[[str], str]) -> _Value:
    """Put in the values of `${NAME}`, `${env:NAME}` and `${NAME:-default}`.

    `missing` gets names that have none.
    """

    def value_of(found: re.Match[str]) -> str:
        name = found[1]
        if name in environ:
            return environ[name]
        return missing(name) if found[2] is None else found[2]

    def put_in(value: Any) -> Any:
        if isinstance(value, Struct):
            return replace(value, **put_in(asdict(value)))
        if isinstance(value, str):
            return re.sub(_VARIABLE, value_of, value)
        if isinstance(value, dict):
            return {key: put_in(item) for key, item in value.items()}
        return tuple(map(put_in, value)) if isinstance(value, tuple) else value

    with_values: _Value = put_in(value)
    return with_values
