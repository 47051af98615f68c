"""`config.toml`: its tables and keys, its reading with all problems at once, and the example."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct, ValidationError, convert, field
from msgspec.structs import fields

from lmchat.config.settings import EFFORTS, FUNCTIONS, Settings, effort_of
from lmchat.files.disk import read_plain
from lmchat.matching import closest_word

_TYPE_WORDS = {
    str: "a string in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[str, ...]: 'a list of strings, for example ["a", "b"]',
}


class Row(Struct, frozen=True):
    """A key of a table: its type, limits and help. Its value may be a table, or several."""

    name: str  # also the field in the settings
    type: Any
    meta: Meta = Meta()
    is_optional: bool = False  # whether the settings have None for a key that is not set

    @property
    def table(self) -> type[Struct] | None:
        """Type of the tables that it holds: one, an array, or each with a name; else None."""
        for inner in (self.type, *get_args(self.type)):
            if isinstance(inner, type) and issubclass(inner, Struct):
                return inner
        return None

    @property
    def is_mapping(self) -> bool:
        """Whether the user names the keys of its table."""
        return get_origin(self.type) is Mapping

    @property
    def is_section(self) -> bool:
        """Whether it is written as `[NAME]`, and not as `NAME = VALUE`."""
        return not self.is_optional and (self.is_mapping or self.table is not None)

    @property
    def help(self) -> str:
        return self.meta.description or ""

    @property
    def example(self) -> Any:
        """Value for the example file where the key has no default; None without one."""
        return self.meta.examples[0] if self.meta.examples else None

    @property
    def words(self) -> str:
        """Words for what a value must be."""
        kind, arguments = get_origin(self.type), get_args(self.type)
        if self.name == "reasoning_effort":
            return f"one of {_quoted(EFFORTS)}, or a number of tokens"
        if kind is Literal:
            return f"one of {_quoted(arguments)}"
        if kind is tuple and get_origin(arguments[0]) is Literal:
            return f"a list of {_quoted(get_args(arguments[0]))}"
        if self.is_mapping or self.table:
            if self.example:
                return f"a table, for example {toml_value(self.example)}"
            if self.is_mapping:
                return f"tables: write [{self.name}.NAME]"
            if kind is tuple:
                return f"tables: write [[{self.name}]] above each server"
            return f"a table: write [{self.name}]"
        words = _TYPE_WORDS[self.type]
        if self.meta.ge is not None:  # every number with a smallest value has a largest one too
            words += f" from {self.meta.ge} to {self.meta.le}"
        if self.meta.min_length:
            words += ", not empty"
        if self.meta.pattern:  # of an API key
            words += " without control characters and letters beyond ASCII"
        return words

    def inside(self, step: str | int) -> Row:
        """Return the row of a key of its table, or of one of its tables or values."""
        if self.type is self.table:
            return rows(self.type)[str(step)]
        # `Mapping[str, ITEM]` or `tuple[ITEM, ...]`
        item = get_args(self.type)[1 if self.is_mapping else 0]
        return Row(f"{self.name}.{step}" if self.is_mapping else f"[{self.name}]", item)


@cache
def rows(settings: type[Struct]) -> Mapping[str, Row]:
    """Return a row for each field of a table, by name."""
    found: dict[str, Row] = {}
    for name, hint in get_type_hints(settings, include_extras=True).items():
        # the annotation is the whole hint, or the first type of `Annotated[…] | None`
        is_optional = get_origin(hint) is not Annotated
        declared_type, meta = get_args(get_args(hint)[0] if is_optional else hint)
        found[name] = Row(name, declared_type, meta, is_optional)
    return found


def values_of(settings: type[Struct]) -> list[Row]:
    """Return the rows of a table that are written as `NAME = VALUE`."""
    return [row for row in rows(settings).values() if not row.is_section]


def sections() -> dict[str, Row]:
    """Return the tables of fixed keys by name; "" for the top level."""
    tables = {row.name: row for row in rows(Settings).values() if row.type is row.table}
    return {"": Row("", Settings), **tables}


def _quoted(choices: Iterable[str]) -> str:
    """Return choices as they are written in the file; an empty one, which means unset, is not."""
    return ", ".join(f'"{choice}"' for choice in choices if choice)


KeyPath = tuple[str | int, ...]
"""Place of a value in a file: names of tables and keys; numbers from 0 for arrays of tables.

`("endpoints", 0, "url")` is the key `url` in the first `[[endpoints]]`.
"""
Values = dict[str, Any]
"""Values of a table by their keys."""


class Problem(Struct, frozen=True, kw_only=True):
    """A problem of the configuration."""

    source: str  # file, environment variable or flag
    reason: str
    key: str = ""  # full name of the key; empty if the problem is not about one key
    line: int | None = None  # counted from 1
    suggestion: str = ""  # a known name that is similar to an unknown one

    @property
    def sentence(self) -> str:
        """The problem for a person, as `config.toml, line 3: limits.retries must be a number`."""
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        fault = f"{self.key} {self.reason}".lstrip()
        question = f"; did you mean {self.suggestion}?" if self.suggestion else ""
        return f"{place}: {fault}{question}"


class ConfigFile(Struct, frozen=True, kw_only=True):
    """Settings of a configuration file, without what is wrong in it, and its problems."""

    text: str = ""
    tables: Values = field(default_factory=dict)  # what the settings were made of
    settings: Settings = Settings()
    problems: tuple[Problem, ...] = ()
    exists: bool = True


def read_config(path: Path, *, is_required: bool) -> ConfigFile:
    """Read and check a file; a missing one is a problem only if it `is_required`.

    It is required if the user has named it. A file that cannot be read or parsed sets nothing, and
    has one problem.
    """
    try:
        # a file that the user has named may be a pipe
        data = read_plain(path, may_stream=is_required)
    except (FileNotFoundError, NotADirectoryError):
        if is_required:
            return _unreadable(path, "there is no such file")
        return ConfigFile(exists=False)
    except OSError as error:
        return _unreadable(path, f"cannot be read: {error.strerror or error}")

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _unreadable(path, "is not UTF-8 text", data[: error.start].count(b"\n") + 1)

    import tomllib  # noqa: PLC0415 - a start without a file shall not wait for it

    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # such as "Invalid value (at line 3, column 7)", or "(at end of document)"
        reason, _, position = str(error).partition(" (at ")
        found = re.search(r"\d+", position)
        line = int(found[0]) if found else text.rstrip().count("\n") + 1
        reason = f"is not valid TOML: {reason[:1].lower()}{reason[1:]}"
        return _unreadable(path, reason, line)

    checker = _Checker(str(path), text)
    try:
        settings = convert(tables, Settings)
    except ValidationError:
        tables = checker.valid(Row("", Settings), tables, ())
        settings = convert(tables, Settings)
    checker.check_names(settings)
    problems = tuple(checker.problems)
    return ConfigFile(text=text, tables=tables, settings=settings, problems=problems)


def _unreadable(path: Path, reason: str, line: int | None = None) -> ConfigFile:
    """Return a file without settings, whose only problem is about the file as a whole."""
    return ConfigFile(problems=(Problem(source=str(path), reason=reason, line=line),))


class _Checker:
    """Finds the problems of a file."""

    def __init__(self, source: str, text: str) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._text = text

    def valid(self, row: Row, value: Any, key_path: KeyPath) -> Any:
        """Return a value without what is wrong in it; None if nothing can be used.

        A number of tokens as reasoning effort comes into its form.
        """
        if row.name == "reasoning_effort":
            value = effort_of(value) or value
        if row.table and get_origin(row.type) is tuple and isinstance(value, list):
            entries = [
                self.valid(row.inside(i), item, (*key_path, i)) for i, item in enumerate(value)
            ]
            value = [entry for entry in entries if entry is not None]
        elif (row.type is row.table or row.is_mapping) and isinstance(value, dict):
            value = self._valid_table(row, value, key_path)
            if value is None:
                return None
        try:
            convert(value, Annotated[row.type, row.meta])
        except ValidationError as error:
            # its cause is an error of `__post_init__`, about keys that do not fit each other
            self._add_problem(key_path, str(error.__cause__ or f"must be {row.words}"))
            return None
        return value

    def _valid_table(self, row: Row, table: Values, key_path: KeyPath) -> Values | None:
        """Return the valid values of a table; None if a required key is missing or wrong."""
        known = table if row.is_mapping else rows(row.type)
        values: Values = {}
        for key, item in table.items():
            if key not in known:
                self._add_problem((*key_path, key), "is unknown", closest_word(key, tuple(known)))
                continue
            value = self.valid(row.inside(key), item, (*key_path, key))
            if value is not None:
                values[key] = value
        required = [] if row.is_mapping else [f.name for f in fields(row.type) if f.required]
        for key in required:
            if key not in table:
                self._add_problem((*key_path, key), "is missing")
        return None if set(required) - values.keys() else values

    def check_names(self, settings: Settings) -> None:
        """Add a problem for each tool server whose name is taken."""
        names = [FUNCTIONS]
        for number, server in enumerate(settings.mcp):
            if server.name in names:
                reason = f'"{server.name}" is taken by another server or by tools.py'
                self._add_problem(("mcp", number, "name"), reason)
            names.append(server.name)

    def _add_problem(self, key_path: KeyPath, reason: str, suggestion: str = "") -> None:
        """Add a problem of the value at a place, with the line of that place in the file."""
        problem = Problem(
            source=self._source,
            line=line_of(self._text, key_path),
            key=key_of(key_path),
            reason=reason,
            suggestion=suggestion,
        )
        self.problems.append(problem)


def key_of(key_path: KeyPath) -> str:
    """Return the full name of a key, such as `endpoints[1].url`; arrays are counted from 1."""
    full_name = ""
    for step in key_path:
        full_name += f"[{step + 1}]" if isinstance(step, int) else f".{step}"
    return full_name.removeprefix(".")


def line_of(text: str, key_path: KeyPath) -> int | None:
    """Return the line of a key, counted from 1; for a missing key, the line of its table.

    It is a plain search: each name of the path is sought before the `=` of a line, from the line
    of the name before it on. What is within an inline table has the line of that.
    """
    lines = text.splitlines()
    found: int | None = None
    name = ""
    for step in key_path:
        if isinstance(step, int):
            pattern, number = rf"\s*\[\[\s*{re.escape(name)}", step
        else:
            name = step
            pattern, number = rf"[^=#]*(?<![\w-]){re.escape(name)}(?![\w-])", 0
        hits = [index for index in range(found or 0, len(lines)) if re.match(pattern, lines[index])]
        found = hits[number] if number < len(hits) else found
    return None if found is None else found + 1


_HEAD = """\
# Configuration of lmchat. Every setting is optional; commented-out lines show the default or \
an example.
# `lmchat config path` prints where this file belongs, `lmchat config check` finds problems in it,
# `lmchat config show` prints the effective settings and where each comes from (flag, \
environment, this file).
"""
_HELP_COLUMN = 44  # where the help of a setting begins, behind its value
_MAX_COLUMNS = 110  # of a line; the help of a longer one is a line of its own
_NAMES = {
    "endpoints": "[[endpoints]]",
    "models": '[models."qwen3*"]',
    "profiles": "[profiles.short]",
    "prompts": "[prompts.french]",
}
"""How the example file begins the tables that the user names."""


def example_text() -> str:
    """Return the text of the example file: a block of lines for each table.

    Tables that appear once show the default values.
    """
    blocks = [_HEAD]
    for name, section in sections().items():
        head = [f"# {section.help}", f"[{name}]"] if name else []
        blocks.append(_block(head, values_of(section.type), section.type()))
    blocks.append(_named_values("tools.approval", rows(sections()["tools"].type)["approval"]))

    tables = rows(Settings)
    # two servers: one that is started by a command, one at an address; the keys for the address
    # are the last two of the table
    mcp = tables["mcp"]
    *rows_of_command, url, headers = rows(get_args(mcp.type)[0]).values()
    blocks.append(_block([f"# {mcp.help}", "# [[mcp]]"], rows_of_command))
    blocks.append(_block(["# [[mcp]]", '# name = "wiki"'], (url, headers)))

    blocks.append(_named_values("keys", tables["keys"]))
    for name, example in _NAMES.items():
        row = tables[name]
        blocks.append(_block([f"# {row.help}", f"# {example}"], rows(row.inside("").type).values()))
    return "\n".join(blocks)


def _named_values(name: str, row: Row) -> str:
    """Return the lines of a table whose keys the user names."""
    lines = [f"# {_toml_key(key)} = {toml_value(value)}" for key, value in row.example.items()]
    return "\n".join([f"# {row.help}", f"[{name}]", *lines]) + "\n"


def toml_value(value: object) -> str:
    """Return a value as TOML on one line; TOML writes strings and numbers as JSON does."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{_toml_key(name)} = {toml_value(item)}" for name, item in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _block(head: list[str], rows: Iterable[Row], defaults: object = None) -> str:
    """Return the lines of a table: its head and a line for each key.

    `defaults` is an object with the default of each key as a field; None: no key has a default.
    """
    lines = [_line(row, getattr(defaults, row.name, "")) for row in rows]
    return "\n".join([*head, *lines]) + "\n"


def _line(row: Row, default: object) -> str:
    """Return the line of a key: its value, and its help as a comment.

    The value is the default of the key, or an example if the default is empty. If value and help
    are too long for one line, the help is a line above.
    """
    is_unset = default in (None, "", ())
    value = row.example if is_unset and row.example is not None else default
    setting = f"# {row.name} = {toml_value(value)}"
    line = f"{setting:<{_HELP_COLUMN}}  # {row.help}"
    if len(setting) > _HELP_COLUMN or len(line) > _MAX_COLUMNS:
        return f"# {row.help}:\n{setting}"
    return line
