"""Merging of flags, environment, file and defaults, with origins and problems."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.config.rows import ENDPOINT, MCP, PROFILE, PROMPT, SECTIONS, TIMEOUTS, TOP, Row, Section
from lmchat.config.settings import FUNCTIONS, Approval, Secret, Setting, Settings, TimeoutSettings
from lmchat.errors import ConfigError
from lmchat.files import read_plain
from lmchat.text import similar

VARIABLES: tuple[tuple[str, str], ...] = (
    ("LMCHAT_ENDPOINT", "endpoint"),
    ("LLM_BASE_URL", "endpoint"),
    ("LMCHAT_MODEL", "model"),
    ("LLM_MODEL", "model"),
    ("OPENAI_MODEL", "model"),
    ("LMCHAT_API_KEY", "api_key"),
    ("LMCHAT_SYSTEM_PROMPT", "chat.system_prompt"),
    ("SYSTEM_PROMPT", "chat.system_prompt"),
    ("LLM_TIMEOUT", "timeouts.first_token_s"),
    ("LLM_MAX_RETRIES", "limits.retries"),
)
"""Environment variables and their keys; for one key the first that is set wins."""

KeyPath = tuple[
    str | int, ...
]  # place in a file: names of tables and keys, numbers for arrays of tables
Values = dict[str, Any]
Layer = tuple[str, object, str]  # key, value and origin
_TABLES = ("keys", *(section.name for section in (*SECTIONS[1:], MCP, ENDPOINT, PROFILE, PROMPT)))
_KEY = Row("keys", str, Setting(""))
_APPROVAL = Row("approval", str, Setting("", words=tuple(Approval)))


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
        what = f"{self.key} {self.reason}" if self.key else self.reason
        return f"{place}: {what}" + (
            f"; did you mean {self.suggestion}?" if self.suggestion else ""
        )


class Flags(Struct, frozen=True, kw_only=True):
    """Values of the command line; None where it says nothing."""

    endpoint: str | None = None
    model: str | None = None
    system_prompt: str | None = None
    effort: str | None = None
    profile: str | None = None
    allowed_hosts: tuple[str, ...] = ()  # added to those of the file


class Loaded(Secret, frozen=True, kw_only=True):
    """Merged settings, their origins and problems."""

    settings: Settings  # without the wrong values
    file: Path
    text: str = ""
    has_file: bool = False
    origins: Mapping[str, str] = field(
        default_factory=dict
    )  # by full key; other keys have their default
    problems: tuple[Problem, ...] = ()
    key_endpoint: str = (
        ""  # address that is set in the same place as `api_key`: the file or the environment
    )

    def sound(self) -> Loaded:
        """Return itself; raises `ConfigError` with the first problem."""
        if not self.problems:
            return self
        more = len(self.problems) - 1
        raise ConfigError(
            self.problems[0].sentence + (f" (and {more} more)" if more else ""),
            hint="`lmchat config check` lists all problems."
            if more
            else "Correct it, then try again.",
            details="\n".join(problem.sentence for problem in self.problems),
        )


def load(
    path: Path, environ: Mapping[str, str], flags: Flags | None = None, *, is_required: bool = False
) -> Loaded:
    """Merge the file with environment and flags; `is_required`: a missing file is a problem."""
    flags = flags or Flags()
    file = _read(path, is_required=is_required)
    problems = list(file.problems)
    environment = list(_environment(environ, problems))
    tables: Values = {section.name: dict(file.values.get(section.name, {})) for section in SECTIONS}
    origins = {
        section.key(name): f"file ({path.name})"
        for section in SECTIONS
        for name in tables[section.name]
    }
    named = {key: value for key, value, _ in environment}
    key_endpoint = named.get("endpoint") if "api_key" in named else tables[""].get("endpoint")
    if flags.endpoint is not None and not flags.endpoint.strip():
        problems.append(Problem(source='--endpoint ""', reason="write it as http://HOST:PORT"))
    layers = [*environment, *_profile(flags.profile, file.values.get("profiles", {}), problems)]
    layers += [
        (key, value, f"flag ({option})")
        for key, value, option in (
            ("endpoint", flags.endpoint, "--endpoint"),
            ("model", flags.model, "--model"),
            ("chat.system_prompt", flags.system_prompt, "--system"),
            ("chat.reasoning_effort", flags.effort, "--effort"),
        )
        if value is not None
    ]
    if flags.allowed_hosts:
        before = f"{origins['allowed_hosts']}, " if "allowed_hosts" in origins else ""
        hosts = (*tables[""].get("allowed_hosts", ()), *flags.allowed_hosts)
        layers.append(("allowed_hosts", hosts, f"{before}flag (--allow-host)"))
    for key, value, origin in layers:
        table, _, name = key.rpartition(".")
        tables[table][name] = value
        origins[key] = origin
    settings = _settings(tables, file.values)
    return Loaded(
        settings=settings,
        file=path,
        text=file.text,
        has_file=file.is_there,
        origins=origins,
        problems=tuple(problems),
        key_endpoint=str(key_endpoint or ""),
    )


def _settings(tables: Values, file: Values) -> Settings:
    parts: Values = {one.name: one.settings(**tables[one.name]) for one in SECTIONS[1:]}
    parts["tools"] = replace(parts["tools"], approval=file.get("tools.approval", {}))
    endpoints = [
        one | {"timeouts": TimeoutSettings(**(tables["timeouts"] | one["timeouts"]))}
        if "timeouts" in one
        else one
        for one in file.get("endpoints", ())
    ]
    for section, found in ((MCP, file.get("mcp", ())), (ENDPOINT, endpoints)):
        parts[section.name] = tuple(section.settings(**one) for one in found)
    for section in (PROFILE, PROMPT):
        named = file.get(section.name, {})
        parts[section.name] = {name: section.settings(**one) for name, one in named.items()}
    return Settings(**tables[""], **parts, keys=file.get("keys", {}))


def _profile(name: str | None, profiles: Values, problems: list[Problem]) -> Iterator[Layer]:
    """Yield the settings of the profile that a flag names."""
    if name is not None and name not in profiles:
        meant = similar(name, tuple(profiles))
        known = (
            f"profiles: {', '.join(profiles)}"
            if profiles
            else f"add [profiles.{name}] to config.toml"
        )
        reason = "unknown profile" + ("" if meant else f"; {known}")
        problems.append(Problem(source=f"--profile {name}", reason=reason, suggestion=meant))
    for key, value in profiles.get(name or "", {}).items():
        if value != "" or key == "system_prompt":
            yield "model" if key == "model" else f"chat.{key}", value, f"profile {name}"


def _environment(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[Layer]:
    """Yield the settings of variables; empty variables count as unset."""
    seen: set[str] = set()
    for variable, key in VARIABLES:
        text = environ.get(variable, "")
        if not text.strip() or key in seen:
            continue
        table, _, name = key.rpartition(".")
        row = next(section for section in SECTIONS if section.name == table).rows[name]
        value: object = text if name == "system_prompt" else text.strip()
        if row.type in (int, float):
            with suppress(ValueError):  # other text is refused below
                value = row.type(text)
        if reason := row.fault(value):
            problems.append(
                Problem(source=f"environment variable {variable}", reason=f"({key}) {reason}")
            )
        else:
            seen.add(key)
            yield key, value, f"environment ({variable})"


class _File(Struct, kw_only=True):
    """Valid values of a file, and its problems."""

    text: str = ""
    values: Values = field(default_factory=dict)  # by table; top-level keys under an empty name
    problems: tuple[Problem, ...] = ()
    is_there: bool = True


def _read(path: Path, *, is_required: bool) -> _File:
    try:
        data = read_plain(path, may_stream=is_required)
    except (FileNotFoundError, NotADirectoryError):
        return _unreadable(path, "there is no such file") if is_required else _File(is_there=False)
    except OSError as error:
        return _unreadable(path, f"cannot be read: {error.strerror or error}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _unreadable(path, "is not UTF-8 text", data[: error.start].count(b"\n") + 1)
    import tomllib  # noqa: PLC0415 - a start without a file shall not wait for it

    try:
        table = tomllib.loads(text)
    except (RecursionError, tomllib.TOMLDecodeError) as error:
        message = str(error) if isinstance(error, ValueError) else "Nested too deeply"
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
        line = int(place[1]) if place and place[1] else text.rstrip().count("\n") + 1
        reason = message[: place.start()] if place else message
        return _unreadable(path, f"is not valid TOML: {reason[:1].lower()}{reason[1:]}", line)
    check = _Check(str(path), text)
    return _File(text=text, values=check.file(table), problems=tuple(check.problems))


def _unreadable(path: Path, reason: str, line: int | None = None) -> _File:
    return _File(problems=(Problem(source=str(path), reason=reason, line=line),))


class _Check:
    """Check of a file's tables against the rows."""

    def __init__(self, source: str, text: str) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._text = text

    def file(self, table: Values) -> Values:
        top = {name: value for name, value in table.items() if name not in _TABLES}
        values: Values = {"": self._section(TOP, top, (), words=_TABLES)}
        tools = table.get("tools")
        approval = tools.pop("approval", {}) if isinstance(tools, dict) else {}
        for section in SECTIONS[1:]:
            words = ("approval",) if section.name == "tools" else ()
            values[section.name] = self._section(
                section, table.get(section.name, {}), (section.name,), words
            )
        mcp = self._usable(self._servers(MCP, table))
        return values | {
            "keys": self._named(table.get("keys", {}), ("keys",), _KEY),
            "tools.approval": self._approvals(approval, (FUNCTIONS, *(one["name"] for one in mcp))),
            "mcp": mcp,
            "endpoints": [one for _, one in self._servers(ENDPOINT, table)],
            "profiles": self._profiles(PROFILE, table),
            "prompts": self._presets(self._profiles(PROMPT, table)),
        }

    def _note(self, path: KeyPath, reason: str, suggestion: str = "") -> None:
        key, line = key_of(path), line_of(self._text, path)
        self.problems.append(
            Problem(source=self._source, line=line, key=key, reason=reason, suggestion=suggestion)
        )

    def _table(self, value: Any, path: KeyPath, form: str) -> Values:
        if isinstance(value, dict):
            return value
        self._note(path, f"must be {form}")
        return {}

    def _section(
        self, section: Section, table: object, path: KeyPath, words: tuple[str, ...] = ()
    ) -> Values:
        """Return the sound values; none where a required one is missing or wrong."""
        values: Values = {}
        if not isinstance(table, dict):
            self._note(path, f"must be a table: write [{section.name}]")
            return values
        for name, value in table.items():
            if name not in section.rows:
                self._note((*path, name), "is unknown", similar(name, (*section.rows, *words)))
            elif reason := section.rows[name].fault(value):
                self._note((*path, name), reason)
            elif section.rows[name].type is TimeoutSettings:
                values[name] = self._section(TIMEOUTS, value, (*path, name))
            elif section.rows[name].about.is_secret:
                values[name] = value.strip()
            else:
                values[name] = tuple(value) if isinstance(value, list) else value
        required = [name for name, row in section.rows.items() if row.about.is_required]
        for name in required:
            if name not in table:
                self._note((*path, name), "is missing")
        return values if all(name in values for name in required) else {}

    def _named(self, table: object, path: KeyPath, row: Row) -> Values:
        """Return the values of a table whose names are free; each is as `row` says."""
        found = self._table(table, path, f"a table: write [{key_of(path)}]")
        faults = {name: row.fault(value) for name, value in found.items()}
        for name in filter(faults.get, faults):
            self._note((*path, name), faults[name])
        return {name: value for name, value in found.items() if not faults[name]}

    def _approvals(self, table: object, servers: tuple[str, ...]) -> Values:
        path = ("tools", "approval")
        found = self._named(table, path, _APPROVAL)
        for name in found:
            if (server := name.partition("/")[0]) not in servers:
                reason = f'is for the server "{server}", which is not configured'
                self._note((*path, name), reason, similar(server, servers))
        return found

    def _profiles(self, section: Section, file: Values) -> Values:
        """Return the values of the tables of a section, by name."""
        path = (section.name,)
        found = self._table(
            file.get(section.name, {}), path, f"tables: write [{section.name}.NAME]"
        )
        return {name: self._section(section, table, (*path, name)) for name, table in found.items()}

    def _presets(self, found: Values) -> Values:
        """Return the presets that have a text, and a name that can be typed before other words."""
        spaced = [name for name in found if name.split() != [name]]
        for name in spaced:
            self._note(("prompts", name), "must have a name without spaces")
        return {name: values for name, values in found.items() if values and name not in spaced}

    def _servers(self, section: Section, file: Values) -> list[tuple[int, Values]]:
        """Return the values of each table of an array, with its number."""
        tables = file.get(section.name, [])
        if not isinstance(tables, list):
            self._note(
                (section.name,), f"must be tables: write [[{section.name}]] above each server"
            )
            return []
        found = [
            self._section(section, one, (section.name, number)) for number, one in enumerate(tables)
        ]
        return [(number, values) for number, values in enumerate(found) if values]

    def _usable(self, servers: list[tuple[int, Values]]) -> list[Values]:
        """Return the tool servers that have a name of their own and either a command or an address."""
        usable: dict[str, Values] = {}
        for number, values in servers:
            name = values["name"]
            if name in (*usable, FUNCTIONS):
                reason = f'"{name}" is taken by another server or by tools.py; choose another name'
                self._note(("mcp", number, "name"), reason)
            elif "/" in name:
                self._note(("mcp", number, "name"), 'must not contain "/"')
            elif bool(values.get("command")) == bool(values.get("url")):
                self._note(("mcp", number), "needs command or url, but not both")
            else:
                usable[name] = values
        return list(usable.values())


def key_of(path: KeyPath) -> str:
    """Return the full name of a key, such as `endpoints[1].url`."""
    return "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path)[1:]


def line_of(text: str, path: KeyPath) -> int | None:
    """Return the line of a key, or of the table it should be in, counted from 1; None if there is none.

    The parser reports no lines, so bisection finds the first prefix of the text that has the value.
    """
    import tomllib  # noqa: PLC0415 - needed for a file with a fault only

    lines = text.split("\n")

    def has(number: int, wanted: KeyPath) -> bool:
        for end in range(number, len(lines) + 1):  # on to the end of a statement of many lines
            try:
                value: Any = tomllib.loads("\n".join(lines[:end]) + "\n")
                reduce(lambda one, part: one[part], wanted, value)
            except tomllib.TOMLDecodeError:
                continue
            except (KeyError, IndexError, TypeError):
                return False
            return True
        return False

    for depth in range(len(path), 0, -1):
        line = (
            bisect_left(
                range(1, len(lines) + 1), x=True, key=lambda number: has(number, path[:depth])
            )
            + 1
        )
        if line <= len(lines):
            return line
    return None
