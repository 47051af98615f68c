"""`config.toml`: its tables and keys, its reading with all problems at once, and the example.

A key is what the file can set, such as `theme`. Its value may be a table of further keys, such as
`[ui]`. A section is a table of fixed keys; the section "" is the top level of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import fields

from lmchat.config.settings import Settings
from lmchat.files.disk import read_plain
from lmchat.matching import did_you_mean

_EXPECTED = {
    str: "a string in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[str, ...]: 'a list of strings, for example ["a", "b"]',
}


class Key(Struct, frozen=True):
    """A key of a table, or an entry of an array or mapping: its type, limits and help.

    Its value is a single value or list, a table of fixed keys (`[chat]`), an array of tables
    (`[[endpoints]]`), or a mapping (`[profiles.NAME]`). The user names the keys of a mapping.
    """

    # Also the field in the settings. For an entry of an array or mapping, a heading: see `inside`.
    name: str
    type: Any  # of the value, without `| None`
    meta: Meta = Meta()  # limits, help and example, as `setting` returns them
    is_optional: bool = False  # whether the settings have None for a key that is not set

    @property
    def table(self) -> type[Struct] | None:
        """Type of the table or tables in its value; None if there is none."""
        # the type itself, or what an array or a mapping of tables holds
        for inner in (self.type, *get_args(self.type)):
            if isinstance(inner, type) and issubclass(inner, Struct):
                return inner
        return None

    @property
    def is_one_table(self) -> bool:
        """Whether its value is a table of fixed keys."""
        return self.type is self.table

    @property
    def is_mapping(self) -> bool:
        """Whether the user names the keys of its table."""
        return get_origin(self.type) is Mapping

    @property
    def help(self) -> str:
        return self.meta.description or ""

    @property
    def example(self) -> Any:
        """Value for the example file where the key has no default; None without one."""
        return self.meta.examples[0] if self.meta.examples else None

    @property
    def expected(self) -> str:
        """What a value must be, in words that follow "must be" in a problem."""
        # `tuple` and `(str, ...)` for a type such as `tuple[str, ...]`
        kind, arguments = get_origin(self.type), get_args(self.type)
        if self.meta.extra:  # a setting with a pattern, which says itself what is expected
            return str(self.meta.extra["expected"])
        if kind is Literal:
            return f"one of {_quoted(arguments)}"
        if kind is tuple and get_origin(arguments[0]) is Literal:
            return f"a list of {_quoted(get_args(arguments[0]))}"
        if self.is_mapping or self.table:
            if self.example:
                return f"a table, for example {toml_value(self.example)}"
            heading = f"[{self.name}.NAME]" if self.is_mapping else f"[{self.name}]"
            if kind is tuple:  # an array of tables
                heading = f"[{heading}]"
            return f"a table: write {heading}"
        expected = _EXPECTED[self.type]
        if self.meta.ge is not None:  # every number with a smallest value has a largest one too
            expected += f" from {self.meta.ge} to {self.meta.le}"
        if self.meta.min_length:
            expected += ", not empty"
        return expected

    def inside(self, step: str | int) -> Key:
        """Return the key of an inner value, to check that value on its own.

        `step` is the name of the inner value, or its index in an array of tables.
        """
        if self.is_one_table:
            return table_keys(self.type)[str(step)]
        # The name of the new key is a heading without its outer brackets, which `expected` adds:
        # `profiles.NAME` for `[profiles.NAME]`, `[endpoints]` for `[[endpoints]]`.
        if self.is_mapping:
            _, item = get_args(self.type)  # of `Mapping[str, ITEM]`
            return Key(f"{self.name}.{step}", item)
        item, _ = get_args(self.type)  # of `tuple[ITEM, ...]`
        return Key(f"[{self.name}]", item)


@cache
def table_keys(table: type[Struct]) -> Mapping[str, Key]:
    """Return the keys of a table, one for each field of its class, by name."""
    found: dict[str, Key] = {}
    for name, hint in get_type_hints(table, include_extras=True).items():
        # a hint is `Annotated[TYPE, META]`, or for an optional field `Annotated[TYPE, META] | None`
        is_optional = get_origin(hint) is not Annotated
        annotated = get_args(hint)[0] if is_optional else hint
        declared_type, meta = get_args(annotated)
        found[name] = Key(name, declared_type, meta, is_optional)
    return found


def value_keys(table: type[Struct]) -> list[Key]:
    """Return the keys of a table that are written as `NAME = VALUE`, and not as `[NAME]`."""
    found = table_keys(table).values()
    # Tables and mappings have headings. But an optional one, such as the timeouts of one server,
    # is written inline.
    return [key for key in found if key.is_optional or not (key.is_mapping or key.table)]


def sections() -> dict[str, Key]:
    """Return the sections by their names; "" has the top level."""
    tables = {key.name: key for key in table_keys(Settings).values() if key.is_one_table}
    return {"": Key("", Settings), **tables}


def _quoted(choices: Iterable[str]) -> str:
    """Return choices as they are written in the file, without an empty one, which means unset."""
    return ", ".join(f'"{choice}"' for choice in choices if choice)


# Place of a value in a file: names of tables and keys; numbers from 0 for arrays of tables.
# `("endpoints", 0, "url")` is the key `url` in the first `[[endpoints]]`.
KeyPath = tuple[str | int, ...]
Values = dict[str, Any]  # values of a table by their keys, as TOML gives them
_RETIRED = {("chat", "detach")}
"""Settings of earlier versions, by table and key; they have no effect, and are no problem."""
_Fault = tuple[KeyPath, str]  # place of a wrong value, and why it is wrong


class Problem(Struct, frozen=True, kw_only=True):
    """A problem of the configuration."""

    source: str  # file, environment variable or flag, in words for the user
    reason: str  # what is wrong, without a full stop; in a sentence, it follows the key
    key: str = ""  # full name of the key; empty if the problem is not about one key
    line: int | None = None  # counted from 1

    @property
    def sentence(self) -> str:
        """The problem in words, such as `config.toml, line 3: limits.retries must be a number`."""
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        words = f"{self.key} {self.reason}" if self.key else self.reason
        return f"{place}: {words}"


class ConfigFile(Struct, frozen=True, kw_only=True):
    """Settings of a configuration file; if it has a problem, only those of `[keys]` and `[ui]`."""

    text: str = ""  # empty, too, if the file cannot be parsed
    tables: Values = {}  # parsed text; empty if the file has a problem
    settings: Settings = Settings()
    problems: tuple[Problem, ...] = ()
    exists: bool = True


def read_config(path: Path, *, is_required: bool) -> ConfigFile:
    """Read and check a file; a missing one is a problem only if it `is_required`.

    A file that the user has named is required.
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
        return _unreadable(path, f"is not valid TOML: {reason[:1].lower()}{reason[1:]}", line)
    for table, key in _RETIRED:
        if isinstance(tables.get(table), dict):
            tables[table].pop(key, None)

    try:
        return ConfigFile(text=text, tables=tables, settings=convert(tables, Settings))
    except ValidationError:
        faults = _faults_in(Key("", Settings), tables, ())
        problems = tuple(
            Problem(
                source=str(path),
                line=line_of(text, key_path),
                key=key_of(key_path),
                reason=reason,
            )
            for key_path, reason in faults
        )
        # These two are kept unless they have a fault: `cli/screen_settings.py` then finds their
        # other problems, so that the user sees all at once.
        names = {"keys", "ui"} & tables.keys() - {key_path[0] for key_path, _ in faults if key_path}
        settings = convert({name: tables[name] for name in names}, Settings)
        return ConfigFile(text=text, settings=settings, problems=problems)


def _unreadable(path: Path, reason: str, line: int | None = None) -> ConfigFile:
    """Return the default settings, with the reason why the file cannot be read."""
    problem = Problem(source=str(path), reason=reason, line=line)
    return ConfigFile(problems=(problem,), exists=path.exists())


def _faults_in(key: Key, value: Any, key_path: KeyPath) -> list[_Fault]:
    """Check the value of a key, and all values inside it; return those that are wrong.

    `value` is as TOML gives it, and `key_path` is its place. The values inside are checked first.
    If one of them is wrong, its fault is enough, and the value around it is not checked.
    """
    faults: list[_Fault] = []
    # an array of tables; a list of texts holds no keys, and is checked as a whole
    if key.table and get_origin(key.type) is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            faults += _faults_in(key.inside(index), item, (*key_path, index))
    elif key.is_mapping and isinstance(value, dict):
        for name, item in value.items():
            faults += _faults_in(key.inside(name), item, (*key_path, name))
    elif key.is_one_table and isinstance(value, dict):
        known = table_keys(key.type)
        for name, item in value.items():
            if name in known:
                faults += _faults_in(key.inside(name), item, (*key_path, name))
            else:
                reason = f"is unknown{did_you_mean(name, tuple(known))}".removesuffix(".")
                faults.append(((*key_path, name), reason))
        for field in fields(key.type):
            if field.required and field.name not in value:
                faults.append(((*key_path, field.name), "is missing"))
    if not faults:
        try:
            convert(value, Annotated[key.type, key.meta])
        except ValidationError as error:
            # an error of `__post_init__`, about keys that do not fit each other, is its cause
            faults.append((key_path, str(error.__cause__ or f"must be {key.expected}")))
    return faults


def key_of(key_path: KeyPath) -> str:
    """Return the full name of a key for people, such as `endpoints[1].url`, counted from 1."""
    full_name = ""
    for step in key_path:
        full_name += f"[{step + 1}]" if isinstance(step, int) else f".{step}"
    return full_name.removeprefix(".")


def line_of(text: str, key_path: KeyPath) -> int | None:
    """Return the line of a key, counted from 1; for a missing key, the line of its table.

    This is a plain search. Each name of the path is looked for before the `=` of a line, from the
    line of the previous name on. A key within an inline table has the line of that table. Return
    None if no name is found.
    """
    lines = text.splitlines()
    found: int | None = None  # index of the line of the step before
    name = ""
    for step in key_path:
        if isinstance(step, int):  # the index of a table among those with the heading `[[NAME]]`
            pattern, hit_index = rf"\s*\[\[\s*{re.escape(name)}", step
        else:
            name = step
            pattern, hit_index = rf"[^=#]*(?<![\w-]){re.escape(name)}(?![\w-])", 0
        hits = [index for index in range(found or 0, len(lines)) if re.match(pattern, lines[index])]
        if hit_index < len(hits):
            found = hits[hit_index]
    return None if found is None else found + 1


_HEAD = """\
# Configuration of lmchat. Every setting is optional; commented-out lines show the default or \
an example.
# `lmchat config path` prints where this file belongs, `lmchat config check` finds problems in it,
# `lmchat config show` prints the effective settings and where each comes from (flag, \
environment, this file).
"""
_HELP_COLUMN = 44  # where the help of a setting begins, behind its value
_MAX_COLUMNS = 110  # in a line with value and help; if it is longer, the help is a line above
# Headings of mappings and arrays of tables in the example file.
_HEADINGS = {
    "approval": "[tools.approval]",
    "keys": "[keys]",
    "mcp": "[[mcp]]",
    "endpoints": "[[endpoints]]",
    "models": '[models."qwen3*"]',
    "profiles": "[profiles.short]",
    "prompts": "[prompts.french]",
}


def example_text() -> str:
    """Return the text of the example file: a block of lines for each table.

    Sections show the default values, other tables show examples.
    """
    blocks = [_HEAD]
    for name, section in sections().items():
        head = [f"# {section.help}", f"[{name}]"] if name else []
        lines = [_line(key, getattr(section.type(), key.name)) for key in value_keys(section.type)]
        blocks.append("\n".join([*head, *lines, ""]))
    # `approval` is a key of [tools], but has a heading of its own
    approval = table_keys(sections()["tools"].type)["approval"]
    tables = {**table_keys(Settings), "approval": approval}
    for name, heading in _HEADINGS.items():
        key = tables[name]
        lines = []
        if key.example:
            pairs = key.example.items()
            lines = [f"# {_toml_key(inner)} = {toml_value(value)}" for inner, value in pairs]
        elif key.table:
            # "" as the default: each key shows its example, if it has one
            lines = [_line(inner, "") for inner in table_keys(key.table).values()]
        blocks.append("\n".join([f"# {key.help}", f"# {heading}", *lines, ""]))
    return "\n".join(blocks)


def toml_value(value: object) -> str:
    """Return a value as TOML on one line; TOML writes strings and numbers as JSON does."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{_toml_key(name)} = {toml_value(item)}" for name, item in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def _line(key: Key, default: object) -> str:
    """Return the line of a key: its value, and its help as a comment.

    The value is the default of the key, or an example if the default is empty. If value and help
    are too long for one line, the help is a line above.
    """
    is_unset = default in (None, "", ())
    value = key.example if is_unset and key.example is not None else default
    setting = f"# {key.name} = {toml_value(value)}"
    line = f"{setting:<{_HELP_COLUMN}}  # {key.help}"
    if len(setting) > _HELP_COLUMN or len(line) > _MAX_COLUMNS:
        return f"# {key.help}:\n{setting}"
    return line
