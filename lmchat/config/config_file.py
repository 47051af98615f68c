"""Reading and checking of `config.toml`."""

from __future__ import annotations

import re
from bisect import bisect_left
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from lmchat.config.sections import (
    ENDPOINT,
    MCP,
    PROFILE,
    PROMPT,
    SECTIONS,
    TIMEOUTS,
    TOOLS,
    TOP,
    Row,
    Section,
)
from lmchat.config.settings import FUNCTIONS, TimeoutSettings
from lmchat.files import read_plain
from lmchat.text import closest_word

KeyPath = tuple[str | int, ...]
"""Place in a file: names of tables and keys, numbers for arrays of tables."""
Values = dict[str, Any]

_SUBTABLES = {
    "": ("keys", *(section.name for section in (*SECTIONS[1:], MCP, ENDPOINT, PROFILE, PROMPT))),
    "tools": ("approval",),
}
"""Tables below a section that are no keys of it."""
_KEY_ROW = Row("keys", Annotated[str, Meta()])
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class Problem(Struct, frozen=True, kw_only=True):
    """A problem of the configuration."""

    source: str  # file, environment variable or flag
    reason: str
    key: str = ""  # full name of the key; empty if the file cannot be read
    line: int | None = None  # counted from 1
    suggestion: str = ""

    @property
    def sentence(self) -> str:
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        fault = f"{self.key} {self.reason}".lstrip()
        question = f"; did you mean {self.suggestion}?" if self.suggestion else ""
        return f"{place}: {fault}{question}"


class ConfigFile(Struct, frozen=True, kw_only=True):
    """Valid values of a configuration file, and its problems."""

    text: str = ""
    values: Values = field(default_factory=dict)  # by table; top-level keys under an empty name
    problems: tuple[Problem, ...] = ()
    exists: bool = True


def read_config(path: Path, *, is_required: bool) -> ConfigFile:
    """Read and check a file; a missing one is a problem only if it `is_required`."""
    try:
        data = read_plain(path, may_stream=is_required)
    except (FileNotFoundError, NotADirectoryError):
        if is_required:
            return _unreadable(path, "there is no such file")
        return ConfigFile(exists=False)
    except OSError as error:
        return _unreadable(path, f"cannot be read: {error.strerror or error}")
    return _checked(path, data)


def _checked(path: Path, data: bytes) -> ConfigFile:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _unreadable(path, "is not UTF-8 text", data[: error.start].count(b"\n") + 1)

    import tomllib  # noqa: PLC0415 - a start without a file shall not wait for it

    last_line = text.rstrip().count("\n") + 1
    try:
        table = tomllib.loads(text)
    except RecursionError:
        return _unreadable(path, "is not valid TOML: nested too deeply", last_line)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        line = int(place[1]) if place and place[1] else last_line
        reason = _TOML_PLACE.sub("", str(error))
        return _unreadable(path, f"is not valid TOML: {reason[:1].lower()}{reason[1:]}", line)

    check = _Check(str(path), text)
    return ConfigFile(text=text, values=check.file(table), problems=tuple(check.problems))


def _unreadable(path: Path, reason: str, line: int | None = None) -> ConfigFile:
    return ConfigFile(problems=(Problem(source=str(path), reason=reason, line=line),))


class _Check:
    """Check of a file's tables; its methods return the valid values and note the problems."""

    def __init__(self, source: str, text: str) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._text = text

    def file(self, table: Values) -> Values:
        values: Values = {"": self._section(TOP, table, ())}
        for section in SECTIONS[1:]:
            values[section.name] = self._section(
                section, table.get(section.name, {}), (section.name,)
            )
        values["mcp"] = self._tool_servers(table)
        values["keys"] = self._named(table.get("keys", {}), ("keys",), _KEY_ROW)
        values["tools.approval"] = self._approvals(table, [own["name"] for own in values["mcp"]])
        values["endpoints"] = list(self._array(ENDPOINT, table).values())
        values["profiles"] = self._tables(PROFILE, table)
        values["prompts"] = self._presets(table)
        return values

    def _note(self, path: KeyPath, reason: str, suggestion: str = "") -> None:
        problem = Problem(
            source=self._source,
            line=line_of(self._text, path),
            key=key_of(path),
            reason=reason,
            suggestion=suggestion,
        )
        self.problems.append(problem)

    def _section(self, section: Section, table: object, path: KeyPath) -> Values:
        """Check a table of fixed keys; it is empty where a required key is missing or wrong."""
        if not isinstance(table, dict):
            self._note(path, f"must be a table: write [{section.name}]")
            return {}
        values: Values = {}
        subtables = _SUBTABLES.get(section.name, ())
        for name, value in table.items():
            if name in subtables:
                continue
            row = section.rows.get(name)
            if row is None:
                suggestion = closest_word(name, (*section.rows, *subtables))
                self._note((*path, name), "is unknown", suggestion)
            elif reason := row.fault(value):
                self._note((*path, name), reason)
            else:
                values[name] = self._value(row, value, path)

        for name in section.required:
            if name not in table:
                self._note((*path, name), "is missing")
        has_required = all(name in values for name in section.required)
        return values if has_required else {}

    def _value(self, row: Row, value: Any, path: KeyPath) -> object:
        if row.type is TimeoutSettings:
            return self._section(TIMEOUTS, value, (*path, row.name))
        if row.is_secret:
            return value.strip()
        return tuple(value) if row.is_list else value

    def _named(self, table: object, path: KeyPath, row: Row) -> Values:
        """Check a table whose keys have any name; each value is as `row` says."""
        if not isinstance(table, dict):
            self._note(path, f"must be a table: write [{key_of(path)}]")
            return {}
        values: Values = {}
        for name, value in table.items():
            if reason := row.fault(value):
                self._note((*path, name), reason)
            else:
                values[name] = value
        return values

    def _tables(self, section: Section, file: Values) -> Values:
        """Check tables whose names are chosen by the user."""
        tables = file.get(section.name, {})
        if not isinstance(tables, dict):
            self._note((section.name,), f"must be tables: write [{section.name}.NAME]")
            return {}
        return {
            name: self._section(section, table, (section.name, name))
            for name, table in tables.items()
        }

    def _array(self, section: Section, file: Values) -> dict[int, Values]:
        """Check an array of tables; return the valid ones by their number."""
        tables = file.get(section.name, [])
        if not isinstance(tables, list):
            reason = f"must be tables: write [[{section.name}]] above each server"
            self._note((section.name,), reason)
            return {}
        found = {
            number: self._section(section, table, (section.name, number))
            for number, table in enumerate(tables)
        }
        return {number: values for number, values in found.items() if values}

    def _tool_servers(self, file: Values) -> list[Values]:
        """Check that each has a name of its own, and either a command or an address."""
        valid: dict[str, Values] = {}
        for number, values in self._array(MCP, file).items():
            name = values["name"]
            if name in (*valid, FUNCTIONS):
                reason = f'"{name}" is taken by another server or by tools.py; choose another name'
                self._note(("mcp", number, "name"), reason)
            elif "/" in name:
                self._note(("mcp", number, "name"), 'must not contain "/"')
            elif bool(values.get("command")) == bool(values.get("url")):
                self._note(("mcp", number), "needs command or url, but not both")
            else:
                valid[name] = values
        return list(valid.values())

    def _presets(self, file: Values) -> Values:
        """Check that each has a text, and a name that can be typed before other words."""
        valid: Values = {}
        for name, values in self._tables(PROMPT, file).items():
            if name.split() != [name]:
                self._note(("prompts", name), "must have a name without spaces")
            elif values:
                valid[name] = values
        return valid

    def _approvals(self, file: Values, mcp_names: list[str]) -> Values:
        path = ("tools", "approval")
        tools = file.get("tools")
        table = tools.get("approval", {}) if isinstance(tools, dict) else {}
        approvals = self._named(table, path, TOOLS.rows["approve"])
        servers = (FUNCTIONS, *mcp_names)
        for name in approvals:
            server = name.partition("/")[0]
            if server not in servers:
                reason = f'is for the server "{server}", which is not configured'
                self._note((*path, name), reason, closest_word(server, servers))
        return approvals


def key_of(path: KeyPath) -> str:
    """Return the full name of a key, such as `endpoints[1].url`."""
    parts = (f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def line_of(text: str, path: KeyPath) -> int | None:
    """Return the line of a key, or of the table it should be in, counted from 1; None without one.

    The parser reports no lines, so bisection finds the first prefix of the text that has the value.
    """
    lines = text.split("\n")
    for depth in range(len(path), 0, -1):
        prefix = _Prefix(lines, path[:depth])
        line = bisect_left(range(len(lines)), x=True, key=prefix.has_value) + 1
        if line <= len(lines):
            return line
    return None


class _Prefix(Struct, frozen=True):
    """The first lines of a file, up to a value."""

    lines: list[str]
    path: KeyPath

    def has_value(self, last: int) -> bool:
        """Whether the lines up to `last`, and the rest of its statement, hold the value."""
        import tomllib  # noqa: PLC0415 - needed for a file with a problem only

        for end in range(last + 1, len(self.lines) + 1):
            try:
                value: Any = tomllib.loads("\n".join(self.lines[:end]) + "\n")
            except tomllib.TOMLDecodeError:
                continue
            try:
                for part in self.path:
                    value = value[part]
            except (KeyError, IndexError, TypeError):
                return False
            return True
        return False
