"""`config.toml`: its sections and keys, its reading with all problems at once, and the example."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct, ValidationError, convert, field
from msgspec.structs import fields

from lmchat.config.settings import (
    EFFORT,
    EFFORTS,
    FUNCTIONS,
    SECRET,
    ChatSettings,
    EndpointSettings,
    LimitSettings,
    LocalSettings,
    McpSettings,
    Preset,
    Profile,
    SamplingSettings,
    ServeSettings,
    Settings,
    TimeoutSettings,
    ToolSettings,
    UiSettings,
    effort_of,
)
from lmchat.files.disk import read_plain
from lmchat.matching import closest_word
from lmchat.safe_text import header_value

TYPE_WORDS = {
    str: "a string in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[str, ...]: 'a list of strings, for example ["a", "b"]',
    TimeoutSettings: "a table like [timeouts]",
    Mapping[str, str]: 'a table of strings, for example { NAME = "value" }',
    Mapping[str, float]: 'a table of token numbers and biases, for example { "15043" = 5 }',
}
"""Words for the types of settings, for messages."""
KEYS_HELP = 'Your own keyboard keys: COMMAND = "key" or "key,key". F1 lists the commands.'
APPROVAL_HELP = (
    "Whether the tools of a server run, or one of them; `python` is the server of tools.py."
)


class Row(Struct, frozen=True):
    """One key of a table: its type, limits and help."""

    name: str  # also the field in the settings
    annotation: Any  # `Annotated[TYPE, META]`, with the limits and the help in a `Meta`

    @property
    def _declared_type(self) -> Any:
        """Type of the annotation without its `Meta`."""
        declared_type, _ = get_args(self.annotation)
        return declared_type

    @property
    def meta(self) -> Meta:
        """Limits and help, as `setting` returns them."""
        meta: Meta
        _, meta = get_args(self.annotation)
        return meta

    @property
    def is_list(self) -> bool:
        """Whether the key takes a list; settings hold lists as tuples."""
        return get_origin(self._declared_type) is tuple

    @property
    def choices(self) -> tuple[str, ...]:
        """The only valid values, or the only valid items of a list; empty: any are valid.

        Among them, "" means unset. A reasoning effort may also be a number of tokens.
        """
        if self.is_effort:
            return ("", *EFFORTS)
        declared = self._declared_type
        item = get_args(declared)[0] if self.is_list else declared
        return get_args(item) if get_origin(item) is Literal else ()

    @property
    def type(self) -> Any:
        """One of the types of `TYPE_WORDS`: choices count as `str`, and so do items of lists."""
        if self.is_list:
            return tuple[str, ...]
        return str if self.choices else self._declared_type

    @property
    def help(self) -> str:
        return self.meta.description or ""

    @property
    def example(self) -> Any:
        """Value for the example file where the key has no default; None without one."""
        return self.meta.examples[0] if self.meta.examples else None

    @property
    def is_secret(self) -> bool:
        """Whether the value is an API key."""
        return self.meta.extra == SECRET

    @property
    def is_effort(self) -> bool:
        """Whether the value is a reasoning effort."""
        return self.meta.extra == EFFORT

    @property
    def limits(self) -> str:
        """Words for what a value of the right type must be; "" without choices or a range."""
        if self.choices:
            words = "one of " + ", ".join(f'"{choice}"' for choice in self.choices if choice)
            if self.is_effort:
                words += ", or a number of tokens"
            return words
        # every number that has a smallest value has a largest one too
        return "" if self.meta.ge is None else f"from {self.meta.ge} to {self.meta.le}"

    def fault(self, value: Any) -> str:
        """Return what is wrong with a value, as words that follow the name of the key."""
        if self.is_effort:
            value = str(value)  # a number of tokens may be written without quotes
        if not _fits(value, self.type):
            return f"must be {TYPE_WORDS[self.type]}"
        if self.is_secret:
            return _api_key_fault(value)
        if _fits(value, self.annotation):
            return ""
        if self.is_list:  # it has the right type, so an item is not among the choices
            unknown_items = [item for item in value if item not in self.choices]
            return f'"{unknown_items[0]}" is not {self.limits}'
        # the only limit of a text without choices is `min_length`
        return f"must be {self.limits}" if self.limits else "must not be empty"

    def normal(self, value: Any) -> object:
        """Return a valid value as the settings need it: a number of tokens becomes a text."""
        if self.is_secret:
            return value.strip()
        return effort_of(value) or "" if self.is_effort else value


class Section(Struct, frozen=True, kw_only=True):
    """One table of the file; `settings` is the struct that holds its values."""

    name: str  # empty for top-level keys
    help: str
    settings: type[Struct]

    def key(self, name: str) -> str:
        """Return the full name of a key of the table: `chat.seed`."""
        return f"{self.name}.{name}" if self.name else name

    @property
    def rows(self) -> Mapping[str, Row]:
        """Rows by the names of their keys."""
        return _rows(self.settings)


@cache
def _rows(settings: type[Struct]) -> Mapping[str, Row]:
    """Return a row for each annotated field of a struct; its other fields are other tables."""
    rows: dict[str, Row] = {}
    for name, hint in get_type_hints(settings, include_extras=True).items():
        # the annotation is the whole hint, or the first type of `Annotated[…] | None`
        for annotation in (hint, *get_args(hint)):
            if get_origin(annotation) is Annotated:
                rows[name] = Row(name, annotation)
    return rows


def _fits(value: object, annotation: Any) -> bool:
    """Return whether a value has an annotated type and is within its limits.

    Infinite numbers and NaN, which TOML can write, are never valid.
    """
    try:
        converted = convert(value, annotation)
    except ValidationError:
        return False
    return not isinstance(converted, float) or math.isfinite(converted)


def _api_key_fault(api_key: str) -> str:
    """Return why an API key cannot be sent, without a quote of it; "" if it can be sent."""
    try:
        header_value(api_key)
    except ValueError as error:
        return str(error)
    return ""


TOP = Section(name="", help="", settings=Settings)
TIMEOUTS = Section(name="timeouts", help="Timeouts in seconds.", settings=TimeoutSettings)
TOOLS = Section(
    name="tools",
    help="Tools that models can call, with your approval.",
    settings=ToolSettings,
)
ENDPOINT = Section(
    name="endpoints",
    help="A server to check before the usual addresses; repeat this section for more servers.",
    settings=EndpointSettings,
)
MCP = Section(
    name="mcp",
    help="A server of tools (MCP) to start or to connect to; repeat this section for more servers.",
    settings=McpSettings,
)
MODEL = Section(
    name="models",
    help="Sampling for models whose name fits the pattern, in place of that in [chat]; the first "
    "pattern that fits counts.",
    settings=SamplingSettings,
)
PROFILE = Section(
    name="profiles",
    help="A named set of options that overrides [chat]; select it with --profile NAME.",
    settings=Profile,
)
PROMPT = Section(
    name="prompts",
    help="A prompt to send by its name (a preset): /p NAME on the screen, or lmchat ask -p NAME.",
    settings=Preset,
)
SECTIONS = (
    TOP,
    Section(
        name="chat",
        help="Options for the model; unset options are not sent.",
        settings=ChatSettings,
    ),
    Section(name="limits", help="Limits on requests.", settings=LimitSettings),
    Section(name="serve", help="Limits of `lmchat serve`.", settings=ServeSettings),
    TIMEOUTS,
    Section(name="ui", help="Look of the screen.", settings=UiSettings),
    Section(
        name="local",
        help="The built-in engine, which `lmchat --local` starts.",
        settings=LocalSettings,
    ),
    TOOLS,
)
"""Tables of fixed keys that appear once; neither `[keys]` nor `[tools.approval]` is one."""

KeyPath = tuple[str | int, ...]
"""Place of a value in a file: names of tables and keys; numbers from 0 for arrays of tables.

`("endpoints", 0, "url")` is the key `url` in the first `[[endpoints]]`.
"""
Values = dict[str, Any]
"""Values of a table by their keys."""

# ending of a message of the TOML parser: " (at line 3, column 7)" or " (at end of document)"
_TOML_POSITION = r" \(at (?:line (\d+), column \d+|end of document)\)$"


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
    """Valid values of a configuration file, and its problems.

    `values` holds what `msgspec.convert` makes into `Settings`, without what is wrong.
    """

    text: str = ""
    values: Values = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    exists: bool = True


def read_config(path: Path, *, is_required: bool) -> ConfigFile:
    """Read and check a file; a missing one is a problem only if it `is_required`.

    It is required if the user has named it. A file that cannot be read or parsed has no values, and
    one problem.
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
    return _parse_and_check(path, data)


def _parse_and_check(path: Path, data: bytes) -> ConfigFile:
    """Return the valid values of a file's content and its problems.

    If the content is not UTF-8 or no TOML, there are no values and one problem.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return _unreadable(path, "is not UTF-8 text", line)

    import tomllib  # noqa: PLC0415 - a start without a file shall not wait for it

    last_line = text.rstrip().count("\n") + 1  # for errors at the end, which have no line number
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        return _unreadable(path, "is not valid TOML: nested too deeply")
    except tomllib.TOMLDecodeError as error:
        position = re.search(_TOML_POSITION, str(error))
        line = int(position[1]) if position and position[1] else last_line
        # the parser begins its message with a capital; here it follows a colon
        reason = re.sub(_TOML_POSITION, "", str(error))
        return _unreadable(path, f"is not valid TOML: {reason[:1].lower()}{reason[1:]}", line)

    reader = _Reader(str(path), text)
    values = reader.read_file(tables)
    return ConfigFile(text=text, values=values, problems=tuple(reader.problems))


def _unreadable(path: Path, reason: str, line: int | None = None) -> ConfigFile:
    """Return a file without values, whose only problem is about the file as a whole."""
    return ConfigFile(problems=(Problem(source=str(path), reason=reason, line=line),))


class _Reader:
    """Reads the tables of a file: what is wrong is left out, and added to `problems`."""

    def __init__(self, source: str, text: str) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._text = text

    def read_file(self, file: Values) -> Values:
        """Return the valid values of a whole file."""
        values = self._table(file, Settings, ())
        servers = self._without_taken_names(values.get("mcp", []))
        values |= {"mcp": servers} if "mcp" in values else {}
        for name in list(values.get("prompts", {})):
            if name.split() != [name]:  # it is typed after /p
                self._add_problem(("prompts", name), "must have a name without spaces")
                del values["prompts"][name]
        names = (FUNCTIONS, *(server["name"] for server in servers))
        for name in values.get("tools", {}).get("approval", {}):
            server = name.partition("/")[0]
            if server not in names:
                reason = f'is for the server "{server}", which is not configured'
                suggestion = closest_word(server, names)
                self._add_problem(("tools", "approval", name), reason, suggestion)
        return values

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

    def _table(self, table: object, settings: type[Struct], key_path: KeyPath) -> Values:
        """Return the valid values of a table; {} if it cannot be used.

        It cannot if it is no table, lacks a required key, or its keys do not fit each other.
        """
        if not isinstance(table, dict):
            self._add_problem(key_path, f"must be a table: write [{key_of(key_path)}]")
            return {}
        values: Values = {}
        hints = _hints(settings)
        for name, value in table.items():
            if name in hints:
                self._read_into(values, name, value, settings, (*key_path, name))
            else:
                self._add_problem((*key_path, name), "is unknown", closest_word(name, tuple(hints)))
        for name in _required(settings):
            if name not in table:
                self._add_problem((*key_path, name), "is missing")
        if any(name not in values for name in _required(settings)):
            return {}
        try:
            convert(values, settings)
        except ValidationError as error:  # of `__post_init__`
            self._add_problem(key_path, str(error))
            return {}
        return values

    def _read_into(
        self, values: Values, name: str, value: Any, settings: type[Struct], key_path: KeyPath
    ) -> None:
        """Put a valid value of a table into `values`: a table, tables, or the value of a key."""
        hint = _hints(settings)[name]
        inner = _struct_in(hint)
        row = _rows(settings).get(name)
        if get_origin(hint) is tuple and inner is not None:
            if not isinstance(value, list):
                reason = f"must be tables: write [[{name}]] above each server"
                self._add_problem(key_path, reason)
                return
            entries = [self._table(item, inner, (*key_path, i)) for i, item in enumerate(value)]
            values[name] = list(filter(None, entries))
        elif inner is not None and get_origin(hint) is not Mapping:
            values[name] = self._table(value, inner, key_path)
        elif row is not None:
            if reason := row.fault(value):
                self._add_problem(key_path, reason)
            else:
                values[name] = row.normal(value)
        elif not isinstance(value, dict):
            form = (
                f"tables: write [{name}.NAME]" if inner else f"a table: write [{key_of(key_path)}]"
            )
            self._add_problem(key_path, f"must be {form}")
        elif inner is not None:
            tables = {
                key: self._table(item, inner, (*key_path, key)) for key, item in value.items()
            }
            values[name] = {
                key: item for key, item in tables.items() if item or not _required(inner)
            }
        else:
            item_row = Row(name, Annotated[get_args(hint)[1], Meta()])
            values[name] = {}
            for key, item in value.items():
                if reason := item_row.fault(item):
                    self._add_problem((*key_path, key), reason)
                else:
                    values[name][key] = item

    def _without_taken_names(self, servers: list[Values]) -> list[Values]:
        """Return tool servers without those whose name another one has."""
        valid: dict[str, Values] = {}
        for number, server in enumerate(servers):
            name = server["name"]
            if name in (*valid, FUNCTIONS):
                reason = f'"{name}" is taken by another server or by tools.py; choose another name'
                self._add_problem(("mcp", number, "name"), reason)
            else:
                valid[name] = server
        return list(valid.values())


@cache
def _hints(settings: type[Struct]) -> Mapping[str, Any]:
    """Return the types of the fields of a struct, without their `Meta`."""
    return get_type_hints(settings)


def _required(settings: type[Struct]) -> list[str]:
    return [name.name for name in fields(settings) if name.required]


def _struct_in(hint: Any) -> type[Struct] | None:
    """Return the struct in a type such as `tuple[McpSettings, ...]` or `Mapping[str, Profile]`."""
    for inner in (hint, *get_args(hint)):
        if isinstance(inner, type) and issubclass(inner, Struct):
            return inner
    return None


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
            heads = [
                number for number, line in enumerate(lines) if line.lstrip().startswith(f"[[{name}")
            ]
            found = heads[step] if step < len(heads) else found
            continue
        name = step
        pattern = re.compile(rf"[^=#]*(?<![\w-]){re.escape(name)}(?![\w-])")
        rest = range(found or 0, len(lines))
        found = next((number for number in rest if pattern.match(lines[number])), found)
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


def example_text() -> str:
    """Return the text of the example file: a block of lines for each table.

    Tables that appear once show the default values; `section.settings()` has them.
    """
    blocks = [_HEAD]
    for section in SECTIONS:
        head = [f"# {section.help}", f"[{section.name}]"] if section.name else []
        blocks.append(_block(head, section.rows.values(), section.settings()))

    approvals = '# "files/read_text" = "always"\n# python = "always"\n'
    blocks.append(f"# {APPROVAL_HELP}\n[tools.approval]\n{approvals}")

    # two servers: one that is started by a command, one at an address; the keys for the address
    # are the last two of the table
    *rows_of_command, url, headers = MCP.rows.values()
    blocks.append(_block([f"# {MCP.help}", "# [[mcp]]"], rows_of_command))
    blocks.append(_block(["# [[mcp]]", '# name = "wiki"'], (url, headers)))

    blocks.append(f'# {KEYS_HELP}\n[keys]\n# search = "ctrl+k"\n')
    named_tables = (
        (ENDPOINT, "[[endpoints]]"),
        (MODEL, '[models."qwen3*"]'),
        (PROFILE, "[profiles.short]"),
        (PROMPT, "[prompts.french]"),
    )
    for section, name in named_tables:
        blocks.append(_block([f"# {section.help}", f"# {name}"], section.rows.values()))
    return "\n".join(blocks)


def toml_value(value: object) -> str:
    """Return a value as TOML on one line; TOML writes strings and numbers as JSON does."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{name} = {toml_value(item)}" for name, item in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


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
