"""`config.toml`: its reading, with all problems at once, each with its key and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args, get_origin

from msgspec import Meta, Struct, ValidationError, convert

from lmchat.config.settings import Settings, declared
from lmchat.config.toml import TomlError, plain_words, read_toml
from lmchat.matching import did_you_mean

# Place of a value in a file: names of tables and keys; numbers from 0 for arrays of tables.
# `("endpoints", 0, "url")` is the key `url` in the first `[[endpoints]]`.
KeyPath = tuple[str | int, ...]
Values = dict[str, Any]  # values of a table by their keys, as TOML gives them
# settings of earlier versions, which have no effect
_RETIRED: tuple[tuple[str, str], ...] = (
    ("chat", "detach"),
    ("chat", "keep_loaded_s"),
    ("tools", "offer_when_unknown"),
    ("keys", "message.compare"),
    ("keys", "message.select"),
    ("keys", "message.select_first"),
    ("keys", "message.select_last"),
    ("keys", "queue.edit"),
    ("keys", "queue.remove"),
    ("keys", "session.trash"),
    ("keys", "trash"),
)
# names in the files of other programs, and what to write here
_FOREIGN = {
    "base_url": "endpoint",
    "api_base": "endpoint",
    "host": "endpoint",
    "url": "endpoint",
    "providers": "[[endpoints]]",
    "model_providers": "[[endpoints]]",
    "servers": "[[endpoints]]",
    "mcp_servers": "[[mcp]]",
    "mcpServers": "[[mcp]]",
    "keybindings": "[keys]",
    "keymap": "[keys]",
    "presets": "[prompts.NAME]",
    "templates": "[prompts.NAME]",
}
_PARTS = 3  # of the name of a value that is checked alone, such as `profiles.short.top_p`


class Problem(Struct, frozen=True, kw_only=True):
    """A problem of the configuration, or a note on a setting without effect."""

    source: str  # file, environment variable or flag, in words for the user
    reason: str  # what is wrong, without a full stop; in a sentence, it follows the key
    key: str = ""  # full name of the key; empty if the problem is not about one key
    line: int | None = None  # counted from 1

    @property
    def sentence(self) -> str:
        """Such as `config.toml, line 3: limits.retries: expected int <= 20 (…)`."""
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        return ": ".join(filter(None, (place, self.key, self.reason)))


class ConfigFile(Struct, frozen=True, kw_only=True):
    """Settings of a configuration file; if it has a problem, only those of `[keys]` and `[ui]`."""

    text: str = ""  # empty, too, if the file cannot be parsed
    tables: Values = {}  # parsed text; empty if the file has a problem
    settings: Settings = Settings()
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    exists: bool = True


def read_config(path: Path, *, is_required: bool) -> ConfigFile:
    """Read and check a file; a missing one is a problem only if it `is_required`.

    A file that the user has named is required.
    """
    try:
        # a file that the user has named may be a pipe
        tables, text = read_toml(path, Values, may_stream=is_required)
    except (FileNotFoundError, NotADirectoryError):
        if is_required:
            return _unreadable(path, "there is no such file")
        return ConfigFile(exists=False)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}; --config FILE names another file"
        return _unreadable(path, reason)
    except TomlError as error:
        return _unreadable(path, error.reason, error.line)

    def told(key_path: KeyPath, reason: str) -> Problem:
        line = line_of(text, key_path)
        return Problem(source=str(path), line=line, key=key_of(key_path), reason=reason)

    notes: list[Problem] = []
    for section, key in _RETIRED:
        table = tables.get(section)
        if isinstance(table, dict) and table.pop(key, None) is not None:
            notes.append(told((section, key), "has no effect any more; delete the line"))
    problems: tuple[Problem, ...] = ()
    try:
        settings = convert(tables, Settings)
    except ValidationError:
        faults = _faults_in(tables)
        problems = tuple(told(*fault) for fault in faults.items())
        # These two are kept unless they have a fault: `cli/screen_settings.py` then finds their
        # other problems, so that the user sees all at once.
        names = {"keys", "ui"} & tables.keys() - {key_path[0] for key_path in faults if key_path}
        settings = convert({name: tables[name] for name in names}, Settings)
        tables = {}
    return ConfigFile(
        text=text, tables=tables, settings=settings, problems=problems, notes=tuple(notes)
    )


def _unreadable(path: Path, reason: str, line: int | None = None) -> ConfigFile:
    """Return the default settings, with the reason why the file cannot be read."""
    problem = Problem(source=str(path), reason=reason, line=line)
    return ConfigFile(problems=(problem,), exists=path.exists())


def _faults_in(tables: Values) -> dict[KeyPath, str]:
    """Return why values are wrong, by their places. Each is converted alone, so all are found.

    Of a list of tables, the first wrong value is found.
    """
    faults: dict[KeyPath, str] = {}
    for key_path, value in (*_leaves(tables, ()), ((), tables)):
        if not key_path and faults:  # checks between keys need keys that are right
            break
        part = value
        for name in reversed(key_path):
            part = {name: part}
        try:
            convert(part, Settings)
        except ValidationError as error:
            place, reason = fault_of(error, key_path, value)
            faults.setdefault(place, reason)
    return faults


def _leaves(table: Values, above: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for name, value in table.items():
        key_path = (*above, name)
        if isinstance(value, dict) and value and len(key_path) < _PARTS:
            yield from _leaves(value, key_path)
        else:
            yield key_path, value


def fault_of(error: ValidationError, part: KeyPath, value: Any) -> tuple[KeyPath, str]:
    """Return place and reason of an error in a value that was converted alone, at `part`."""
    _, _, place = str(error).partition(" - at `$")
    found: list[str | int] = []
    for index, (name, number) in enumerate(re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", place)):
        if number == "..." and index >= len(part):  # a name in a list: msgspec does not tell it
            break
        found.append(name or (part[index] if number == "..." else int(number)))
    key_path = tuple(found)
    words = plain_words(error)
    if match := re.fullmatch("object missing required field (.*)", words):
        return (*key_path, match[1]), "missing"
    if match := re.fullmatch("object contains unknown field (.*)", words, re.DOTALL):
        return (*key_path, match[1]), _unknown(key_path, match[1], value)
    if error.__cause__ is not None:  # of `__post_init__`, which knows its whole table alone
        return max(key_path, part, key=len), words
    kind, meta = _declared_at(key_path)
    if "regex" in words and meta.extra:
        words = f"expected {meta.extra['expected']}"
    elif len(part) > len(key_path) and get_origin(_declared_at(key_path[:-1])[0]) is Mapping:
        words = f'a name with a dot needs quotes: "{".".join(map(str, part[1:]))}"'
    heading = _heading(key_of(key_path), kind)
    hint = f"write {heading}" if heading else meta.description
    return key_path, f"{words} ({hint})"


def _unknown(above: KeyPath, name: str, value: Any) -> str:
    """Return what to write in place of an unknown name below `above`."""
    top_level = declared(Settings)
    if len(above) == _PARTS - 1 and isinstance(value, dict):  # `[profiles.short.v2]`
        names = [*map(str, above[1:]), name]
        while len(value) == 1 and isinstance(inner := next(iter(value.values())), dict):
            names += value
            value = inner
        return f'unknown; a name with a dot needs quotes: [{above[0]}."{".".join(names)}"]'
    if name in _FOREIGN and not above:
        return f"unknown; write {_FOREIGN[name]}"
    if name in top_level:
        heading = _heading(name, top_level[name][0])
        return f"unknown here; write {heading or f'{name} above all sections'}"
    for section, (kind, _) in top_level.items():
        if _is_table(kind) and name in declared(kind):
            return f"unknown here; it belongs below [{section}]"
    known = tuple(declared(_declared_at(above)[0]))
    meant = did_you_mean(name, known)
    return f"unknown{meant}" if meant != "." else f"unknown; known are {', '.join(known)}"


def _declared_at(key_path: KeyPath) -> tuple[Any, Meta]:
    """Return type and `Meta` of the value at a place."""
    kind: Any = Settings
    meta = Meta()
    for step in key_path:
        if _is_table(kind):
            kind, meta = declared(kind)[str(step)]
        else:  # of `Mapping[str, ITEM]` or `tuple[ITEM, ...]`
            kind = get_args(kind)[1 if get_origin(kind) is Mapping else 0]
    return kind, meta


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _heading(key: str, kind: Any) -> str:
    """Return the heading of a table; empty for another value, and in an array of tables."""
    if "[" in key:
        return ""
    if get_origin(kind) is Mapping:
        return f"[{key}.NAME]" if _is_table(get_args(kind)[1]) else f"[{key}]"
    if get_origin(kind) is tuple and _is_table(get_args(kind)[0]):
        return f"[[{key}]]"
    return f"[{key}]" if _is_table(kind) else ""


def key_of(key_path: KeyPath) -> str:
    """Return the full name of a key for people, such as `endpoints[1].url`, counted from 1."""
    full_name = ""
    for step in key_path:
        full_name += f"[{step + 1}]" if isinstance(step, int) else f".{step}"
    return full_name.removeprefix(".")


def line_of(text: str, key_path: KeyPath) -> int | None:
    """Return the line of a key, counted from 1; for one that has no line, that of its table."""
    lines = _lines(text)
    while key_path and key_path not in lines:
        key_path = key_path[:-1]
    return lines.get(key_path)


_STRINGS = re.compile(
    r"""#[^\n]*|"{3}(?:\\.|[^\\])*?"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""", re.DOTALL
)
_NAME_OF_LINE = re.compile(r"""((?:[\w.\s-]|"(?:\\.|[^"\\])*"|'[^']*')+)=""")


@lru_cache(maxsize=1)
def _lines(text: str) -> Mapping[KeyPath, int]:
    """Return the lines of headings and keys in a text that is valid TOML."""
    import tomllib  # noqa: PLC0415 - as in `read_toml`

    # lines of a long string may look like headings and keys
    text = _STRINGS.sub(lambda hit: "\n" * hit[0].count("\n") or hit[0], text)
    lines: dict[KeyPath, int] = {}
    tables_in: dict[KeyPath, int] = {}  # index of the current table of each array
    table: KeyPath = ()
    for number, line in enumerate(text.split("\n"), 1):
        is_heading = line.lstrip().startswith("[")
        name = _NAME_OF_LINE.match(line)
        try:
            inner: Any = tomllib.loads(line if is_heading else f"{name[1]}=0" if name else "")
        except tomllib.TOMLDecodeError:  # inside of a list
            continue
        key_path: KeyPath = () if is_heading else table
        while isinstance(inner, dict) and inner:
            step, inner = next(iter(inner.items()))
            key_path = (*key_path, step)
            lines.setdefault(key_path, number)
            if isinstance(inner, list):
                tables_in[key_path] = tables_in.get(key_path, -1) + 1
                inner = inner[0]
            if key_path in tables_in:
                key_path = (*key_path, tables_in[key_path])
                lines.setdefault(key_path, number)
        if is_heading:
            table = key_path
    return lines
