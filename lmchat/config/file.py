"""Read a configuration file: what of it holds, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath

from msgspec import Struct, field

from lmchat.config.problems import Fault, Path, Problem, line_of, similar
from lmchat.config.rows import (
    ENDPOINT,
    PROFILE,
    REQUIRED_OF_ENDPOINT,
    SECTIONS,
    TIMEOUTS,
    TOP,
    Kind,
    Row,
    Section,
    wrong,
)
from lmchat.files import read_plain

Values = dict[str, object]
"""Checked values of one table, by the name of their row."""

_TABLES = tuple(section.name for section in SECTIONS if section.name)
_FORMS = ("keys", "endpoints", "profiles")


class FileContent(Struct, kw_only=True):
    """What a file says, as far as it is right."""

    sections: dict[str, Values] = field(default_factory=dict)
    """Values by table; the keys above all tables under an empty name."""
    keys: dict[str, str] = field(default_factory=dict)
    """`[keys]`."""
    endpoints: list[Values] = field(default_factory=list)
    """`[[endpoints]]`."""
    profiles: dict[str, Values] = field(default_factory=dict)
    """`[profiles.NAME]`."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with it."""
    is_there: bool = False
    """Whether there is such a file."""


def read_file(path: FilePath, *, is_required: bool = False) -> FileContent:
    """Read and check a file; one that is not there is empty, unless it is required."""
    try:
        data = read_plain(path, may_stream=is_required)
    except (FileNotFoundError, NotADirectoryError):
        if not is_required:
            return FileContent()
        return _unreadable(path, "there is no such file")
    except OSError as error:
        return _unreadable(path, f"cannot be read: {error.strerror or error}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return _unreadable(path, "is not UTF-8 text", line)
    return _content(path, text)


def _content(path: FilePath, text: str) -> FileContent:
    import tomllib  # noqa: PLC0415 - a start without a file shall not wait for it

    try:
        table = tomllib.loads(text)
    except RecursionError:
        return _broken(path, "Nested too deeply (at end of document)", text)
    except tomllib.TOMLDecodeError as error:
        return _broken(path, str(error), text)
    content = FileContent(is_there=True)
    faults = _fill(content, table)
    content.problems = tuple(
        Problem(
            source=str(path),
            line=line_of(text, fault.path),
            key=fault.key,
            reason=fault.reason,
            suggestion=fault.suggestion,
        )
        for fault in faults
    )
    return content


def _unreadable(path: FilePath, reason: str, line: int | None = None) -> FileContent:
    return FileContent(problems=(Problem(source=str(path), reason=reason, line=line),), is_there=True)


def _broken(path: FilePath, message: str, text: str) -> FileContent:
    """Turn the parser's "Invalid value (at line 3, column 5)" or "(at end of document)" into a problem."""
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    last = text.rstrip().count("\n") + 1
    line = int(found[1]) if found and found[1] else last
    reason = message[: found.start()] if found else message
    return _unreadable(path, f"is not TOML: {reason[:1].lower()}{reason[1:]}", line)


def _fill(content: FileContent, table: Mapping[str, object]) -> list[Fault]:
    faults: list[Fault] = []
    top = {name: value for name, value in table.items() if name not in (*_TABLES, *_FORMS)}
    content.sections[""] = _check(TOP, top, (), faults, words=(*_TABLES, *_FORMS))
    for section in SECTIONS:
        if section.name in table:
            content.sections[section.name] = _check(section, table[section.name], (section.name,), faults)
    content.keys = _check_keys(table.get("keys", {}), faults)
    content.endpoints = _check_endpoints(table.get("endpoints", []), faults)
    content.profiles = _check_profiles(table.get("profiles", {}), faults)
    return faults


def _check(
    section: Section, table: object, path: Path, faults: list[Fault], *, words: tuple[str, ...] = ()
) -> Values:
    if not isinstance(table, dict):
        faults.append(Fault(path=path, reason=f"must be a table: write [{section.name}]"))
        return {}
    rows = {row.name: row for row in section.rows}
    values: Values = {}
    for name, value in table.items():
        row = rows.get(name)
        if row is None:
            suggestion = similar(name, (*rows, *words))
            faults.append(Fault(path=(*path, name), reason="is not known", suggestion=suggestion))
        elif reason := wrong(row, value):
            faults.append(Fault(path=(*path, name), reason=reason))
        else:
            values[name] = _settled(row, value, (*path, name), faults)
    return values


def _settled(row: Row, value: object, path: Path, faults: list[Fault]) -> object:
    if row.kind is Kind.TIMEOUTS:
        return _check(TIMEOUTS, value, path, faults)
    return tuple(value) if isinstance(value, list) else value


def _check_keys(table: object, faults: list[Fault]) -> dict[str, str]:
    if not isinstance(table, dict):
        faults.append(Fault(path=("keys",), reason="must be a table: write [keys]"))
        return {}
    for name, value in table.items():
        if not isinstance(value, str):
            faults.append(Fault(path=("keys", name), reason="must be a text in quotes"))
    return {name: value for name, value in table.items() if isinstance(value, str)}


def _check_endpoints(tables: object, faults: list[Fault]) -> list[Values]:
    if not isinstance(tables, list):
        faults.append(Fault(path=("endpoints",), reason="must be a list of tables: write [[endpoints]]"))
        return []
    found: list[Values] = []
    for number, table in enumerate(tables):
        path: Path = ("endpoints", number)
        values = _check(ENDPOINT, table, path, faults)
        named = table if isinstance(table, dict) else {}
        missing = [name for name in REQUIRED_OF_ENDPOINT if name not in named]
        faults.extend(Fault(path=(*path, name), reason="is missing") for name in missing)
        if all(name in values for name in REQUIRED_OF_ENDPOINT):
            found.append(values)
    return found


def _check_profiles(tables: object, faults: list[Fault]) -> dict[str, Values]:
    if not isinstance(tables, dict):
        faults.append(Fault(path=("profiles",), reason="must be tables: write [profiles.NAME]"))
        return {}
    return {name: _check(PROFILE, table, ("profiles", name), faults) for name, table in tables.items()}
