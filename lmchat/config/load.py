"""Merging of flags, environment, file and defaults, with origins and problems."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.config.rows import ENDPOINT, PROFILE, REQUIRED_OF_ENDPOINT, SECTIONS, TIMEOUTS, TOP, Section
from lmchat.config.settings import (
    ChatSettings,
    EndpointSettings,
    LimitSettings,
    LocalSettings,
    Profile,
    Settings,
    TimeoutSettings,
    UiSettings,
)
from lmchat.errors import ConfigError
from lmchat.files import read_plain

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

KeyPath = tuple[str | int, ...]  # place in a file: names of tables and keys, numbers for arrays of tables
Values = dict[str, Any]
_TABLES = (*(section.name for section in SECTIONS if section.name), "keys", "endpoints", "profiles")


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
        return f"{place}: {what}" + (f"; did you mean {self.suggestion}?" if self.suggestion else "")


class Flags(Struct, frozen=True, kw_only=True):
    """Values of the command line; None where it says nothing."""

    endpoint: str | None = None
    model: str | None = None
    system_prompt: str | None = None
    effort: str | None = None
    profile: str | None = None
    allowed_hosts: tuple[str, ...] = ()  # added to those of the file


class Loaded(Struct, frozen=True, kw_only=True):
    """Merged settings, their origins and problems."""

    settings: Settings  # without the wrong values
    file: Path
    text: str = ""
    has_file: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)  # by full key; other keys have their default
    problems: tuple[Problem, ...] = ()
    key_endpoint: str = ""  # address that `api_key` belongs to: from the same source, else the effective one

    def __repr__(self) -> str:
        """Hide the API keys."""
        return f"<{type(self).__name__}>"

    def sound(self) -> Loaded:
        """Return itself; raises `ConfigError` with the first problem."""
        if not self.problems:
            return self
        more = len(self.problems) - 1
        raise ConfigError(
            self.problems[0].sentence + (f" (and {more} more)" if more else ""),
            hint="`lmchat config check` lists all problems.",
            details="\n".join(problem.sentence for problem in self.problems),
        )


def load(
    path: Path, environ: Mapping[str, str], flags: Flags | None = None, *, is_required: bool = False
) -> Loaded:
    """Merge the file with environment and flags; `is_required`: a missing file is a problem."""
    flags = flags or Flags()
    file = _read(path, is_required=is_required)
    environment, problems = _read_environment(environ)
    values = {section.name: file.values.get(section.name, {}).copy() for section in SECTIONS}
    origins = {
        section.key(name): f"file ({path.name})" for section in SECTIONS for name in values[section.name]
    }

    def put(key: str, value: object, origin: str) -> None:
        table, _, name = key.rpartition(".")
        values[table][name] = value
        origins[key] = origin

    for key, (value, variable) in environment.items():
        put(key, value, f"environment ({variable})")
    if flags.profile is not None:
        profiles = file.values.get("profiles", {})
        if flags.profile not in profiles:
            reason = _no_profile(flags.profile, tuple(profiles))
            problems.append(Problem(source=f"--profile {flags.profile}", reason=reason))
        for name, value in profiles.get(flags.profile, {}).items():
            if value != "" or name == "system_prompt":
                put("model" if name == "model" else f"chat.{name}", value, f"profile {flags.profile}")
    for key, value, option in (
        ("endpoint", flags.endpoint, "--endpoint"),
        ("model", flags.model, "--model"),
        ("chat.system_prompt", flags.system_prompt, "--system"),
        ("chat.reasoning_effort", flags.effort, "--effort"),
    ):
        if value is not None:
            put(key, value, f"flag ({option})")
    if flags.allowed_hosts:
        before = f"{origins['allowed_hosts']}, " if "allowed_hosts" in origins else ""
        hosts = (*values[""].get("allowed_hosts", ()), *flags.allowed_hosts)
        put("allowed_hosts", hosts, f"{before}flag (--allow-host)")
    settings = _settings(values, file.values)
    if "api_key" in environment:
        named_with_key = environment.get("endpoint", ("", ""))[0]
    else:
        named_with_key = file.values.get("", {}).get("endpoint", "")
    return Loaded(
        settings=settings,
        file=path,
        text=file.text,
        has_file=file.is_there,
        origins=origins,
        problems=(*file.problems, *problems),
        key_endpoint=str(named_with_key or settings.endpoint),
    )


def _settings(values: Mapping[str, Values], file: Values) -> Settings:
    timeouts = TimeoutSettings(**values["timeouts"])
    endpoints = [
        one | {"timeouts": replace(timeouts, **one["timeouts"])} if "timeouts" in one else one
        for one in file.get("endpoints", ())
    ]
    return Settings(
        **values[""],
        chat=ChatSettings(**values["chat"]),
        limits=LimitSettings(**values["limits"]),
        timeouts=timeouts,
        ui=UiSettings(**values["ui"]),
        local=LocalSettings(**values["local"]),
        keys=file.get("keys", {}),
        endpoints=tuple(EndpointSettings(**one) for one in endpoints),
        profiles={name: Profile(**one) for name, one in file.get("profiles", {}).items()},
    )


def _no_profile(name: str, known: tuple[str, ...]) -> str:
    if meant := similar(name, known):
        more = f"did you mean {meant}?"
    else:
        more = f"there are {', '.join(known)}" if known else "there are none"
    return f"there is no profile {name!r}; {more}"


def _read_environment(environ: Mapping[str, str]) -> tuple[dict[str, tuple[object, str]], list[Problem]]:
    """Return value and variable by key, and problems; empty variables count as unset."""
    found: dict[str, tuple[object, str]] = {}
    problems: list[Problem] = []
    for name, key in VARIABLES:
        text = environ.get(name, "")
        if not text.strip() or key in found:
            continue
        table, _, row = key.rpartition(".")
        section = next(one for one in SECTIONS if one.name == table)
        value = _parsed(text if row == "system_prompt" else text.strip(), section.type_of(row))
        if reason := section.wrong(row, value):
            problems.append(Problem(source=f"environment variable {name}", reason=f"({key}) {reason}"))
        else:
            found[key] = (value, name)
    return found, problems


def _parsed(text: str, type_: object) -> object:
    """Return a number where one is expected; other text is refused later."""
    try:
        return type_(text) if type_ is int or type_ is float else text
    except ValueError:
        return text


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
    except RecursionError:
        return _broken(path, "Nested too deeply (at end of document)", text)
    except tomllib.TOMLDecodeError as error:
        return _broken(path, str(error), text)
    check = _Check()
    values = check.file(table)
    problems = tuple(
        Problem(
            source=str(path),
            line=line_of(text, place),
            key=_key(place),
            reason=reason,
            suggestion=suggestion,
        )
        for place, reason, suggestion in check.faults
    )
    return _File(text=text, values=values, problems=problems)


def _unreadable(path: Path, reason: str, line: int | None = None) -> _File:
    return _File(problems=(Problem(source=str(path), reason=reason, line=line),))


def _broken(path: Path, message: str, text: str) -> _File:
    """Convert a parser message such as "Invalid value (at line 3, column 5)" to a problem."""
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    line = int(found[1]) if found and found[1] else text.rstrip().count("\n") + 1
    reason = message[: found.start()] if found else message
    return _unreadable(path, f"is not TOML: {reason[:1].lower()}{reason[1:]}", line)


class _Check:
    """Check of a file's tables against the rows."""

    def __init__(self) -> None:
        self.faults: list[tuple[KeyPath, str, str]] = []  # place, reason and suggestion

    def file(self, table: Mapping[str, Any]) -> Values:
        top = {name: value for name, value in table.items() if name not in _TABLES}
        values: Values = {"": self._section(TOP, top, (), words=_TABLES)}
        for section in SECTIONS:
            if section.name in table:
                values[section.name] = self._section(section, table[section.name], (section.name,))
        values["keys"] = self._keys(table.get("keys", {}))
        values["endpoints"] = self._endpoints(table.get("endpoints", []))
        values["profiles"] = self._profiles(table.get("profiles", {}))
        return values

    def _note(self, path: KeyPath, reason: str, suggestion: str = "") -> None:
        self.faults.append((path, reason, suggestion))

    def _section(
        self, section: Section, table: object, path: KeyPath, *, words: tuple[str, ...] = ()
    ) -> Values:
        if not isinstance(table, dict):
            self._note(path, f"must be a table: write [{section.name}]")
            return {}
        names = tuple(row.name for row in section.rows)
        values: Values = {}
        for name, value in table.items():
            if name not in names:
                self._note((*path, name), "is not known", similar(name, (*names, *words)))
            elif reason := section.wrong(name, value):
                self._note((*path, name), reason)
            elif isinstance(value, dict):  # the time-outs of one endpoint
                values[name] = self._section(TIMEOUTS, value, (*path, name))
            else:
                values[name] = tuple(value) if isinstance(value, list) else value
        return values

    def _keys(self, table: object) -> dict[str, str]:
        if not isinstance(table, dict):
            self._note(("keys",), "must be a table: write [keys]")
            return {}
        for name, value in table.items():
            if not isinstance(value, str):
                self._note(("keys", name), "must be a text in quotes")
        return {name: value for name, value in table.items() if isinstance(value, str)}

    def _endpoints(self, tables: object) -> list[Values]:
        if not isinstance(tables, list):
            self._note(("endpoints",), "must be a list of tables: write [[endpoints]]")
            return []
        found: list[Values] = []
        for number, table in enumerate(tables):
            values = self._section(ENDPOINT, table, ("endpoints", number))
            for name in REQUIRED_OF_ENDPOINT:
                if not isinstance(table, dict) or name not in table:
                    self._note(("endpoints", number, name), "is missing")
            if all(name in values for name in REQUIRED_OF_ENDPOINT):
                found.append(values)
        return found

    def _profiles(self, tables: object) -> dict[str, Values]:
        if not isinstance(tables, dict):
            self._note(("profiles",), "must be tables: write [profiles.NAME]")
            return {}
        return {name: self._section(PROFILE, table, ("profiles", name)) for name, table in tables.items()}


def similar(word: str, words: tuple[str, ...]) -> str:
    """Return the most similar word, or ""."""
    import difflib  # noqa: PLC0415 - needed for a misspelt word only

    return next(iter(difflib.get_close_matches(word, words, n=1, cutoff=0.6)), "")


def _key(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def line_of(text: str, path: KeyPath) -> int | None:
    """Return the line (from 1) that sets a value or the table around it.

    The standard parser reports no lines. So this finds the first prefix of the text that has the value.
    """
    import tomllib  # noqa: PLC0415 - needed for a file with a fault only

    lines = text.split("\n")

    def has(number: int, wanted: KeyPath) -> bool:
        for end in range(number, len(lines) + 1):  # on to the end of a statement of many lines
            try:
                return _has(tomllib.loads("\n".join(lines[:end]) + "\n"), wanted)
            except tomllib.TOMLDecodeError:
                continue
        return False

    for depth in range(len(path), 0, -1):
        line = bisect_left(range(1, len(lines) + 1), x=True, key=lambda number: has(number, path[:depth])) + 1
        if line <= len(lines):
            return line
    return None


def _has(value: Any, path: KeyPath) -> bool:
    try:
        for part in path:
            value = value[part]
    except (KeyError, IndexError, TypeError):
        return False
    return True
