"""`config.toml`: its sections and keys, its reading with all problems at once, and the example."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct, ValidationError, convert, field

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
        """Return what is wrong with a value, as words that follow the name of the key.

        Return "" if it is valid. Of a table of timeouts only the type is checked: its keys have
        rows of their own.
        """
        if self.type is TimeoutSettings:
            return "" if isinstance(value, dict) else self._type_fault
        if self.is_effort:
            value = str(value)  # a number of tokens may be written without quotes
        if not _fits(value, self.type):
            return self._type_fault
        if self.is_secret:
            return _api_key_fault(value)
        if _fits(value, self.annotation):
            return ""
        if self.is_list:  # it has the right type, so an item is not among the choices
            unknown_items = [item for item in value if item not in self.choices]
            return f'"{unknown_items[0]}" is not {self.limits}'
        # the only limit of a text without choices is `min_length`
        return f"must be {self.limits}" if self.limits else "must not be empty"

    @property
    def _type_fault(self) -> str:
        """Words for a value of a wrong type."""
        return f"must be {TYPE_WORDS[self.type]}"


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

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the keys without which the table cannot be used.

        They have a `min_length`, as they must not be empty; other keys have a default.
        """
        return tuple(name for name, row in self.rows.items() if row.meta.min_length)


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

_SUBTABLES = {
    "": (
        "keys",
        *(section.name for section in (*SECTIONS[1:], MCP, ENDPOINT, MODEL, PROFILE, PROMPT)),
    ),
    "tools": ("approval",),
}
"""Names within a section, by the name of the section, that are tables and no keys of it.

These tables are checked as sections of their own, or their keys have names chosen by the user.
"""
_KEY_ROW = Row("keys", Annotated[str, Meta()])  # each value of `[keys]` is a string
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

    `values` has an entry for each of `SECTIONS`, with the values by key; top-level keys are under
    the name "". `keys` and `tools.approval` are such tables too. `endpoints` and `mcp` are lists of
    tables; `models`, `profiles` and `prompts` are tables by name.
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

    check = _FileCheck(str(path), text)
    values = check.check_file(tables)
    return ConfigFile(text=text, values=values, problems=tuple(check.problems))


def _unreadable(path: Path, reason: str, line: int | None = None) -> ConfigFile:
    """Return a file without values, whose only problem is about the file as a whole."""
    return ConfigFile(problems=(Problem(source=str(path), reason=reason, line=line),))


class _FileCheck:
    """Check of the tables of a file.

    Each method that checks something returns the valid values, and adds what is wrong to
    `problems`.
    """

    def __init__(self, source: str, text: str) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._text = text

    def check_file(self, file: Values) -> Values:
        """Return the valid values of a parsed file by table, as `ConfigFile.values` holds them."""
        values: Values = {"": self._check_section(TOP, file, ())}
        for section in SECTIONS[1:]:  # the first one is `TOP`
            table = file.get(section.name, {})
            values[section.name] = self._check_section(section, table, (section.name,))

        values["mcp"] = self._check_tool_servers(file)
        values["keys"] = self._check_named_values(file.get("keys", {}), ("keys",), _KEY_ROW)
        mcp_names = [server["name"] for server in values["mcp"]]
        values["tools.approval"] = self._check_approvals(file, mcp_names)
        values["endpoints"] = list(self._check_array(ENDPOINT, file).values())
        values["models"] = self._check_named_tables(MODEL, file)
        values["profiles"] = self._check_named_tables(PROFILE, file)
        values["prompts"] = self._check_presets(file)
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

    def _check_section(self, section: Section, table: object, key_path: KeyPath) -> Values:
        """Return the valid values of a table of fixed keys, by key.

        Each unknown, wrong or missing key is a problem. Return {} if `table` is no table, or a
        required key is missing or wrong. `key_path` is the place of the table.
        """
        if not isinstance(table, dict):
            self._add_problem(key_path, f"must be a table: write [{section.name}]")
            return {}
        values: Values = {}
        subtables = _SUBTABLES.get(section.name, ())
        for name, value in table.items():
            if name in subtables:
                continue
            row = section.rows.get(name)
            if row is None:
                suggestion = closest_word(name, (*section.rows, *subtables))
                self._add_problem((*key_path, name), "is unknown", suggestion)
            elif reason := row.fault(value):
                self._add_problem((*key_path, name), reason)
            else:
                values[name] = self._normalize_value(row, value, (*key_path, name))

        for name in section.required:
            if name not in table:
                self._add_problem((*key_path, name), "is missing")
        has_required = all(name in values for name in section.required)
        return values if has_required else {}

    def _normalize_value(self, row: Row, value: Any, key_path: KeyPath) -> object:
        """Return a valid value in the form that the settings need.

        Of a table of timeouts, the valid values are returned. A secret loses the blanks around it,
        a list becomes a tuple, and a number of tokens as reasoning effort becomes a text. Other
        values stay as they are.
        """
        if row.type is TimeoutSettings:
            return self._check_section(TIMEOUTS, value, key_path)
        if row.is_secret:
            return value.strip()
        if row.is_effort:
            return effort_of(value) or ""  # None: the value is "", which means unset
        return tuple(value) if row.is_list else value

    def _check_named_values(self, table: object, key_path: KeyPath, row: Row) -> Values:
        """Return the valid values of a table whose keys have any name; `row` is for all of them.

        Return {} if `table` is no table.
        """
        if not isinstance(table, dict):
            self._add_problem(key_path, f"must be a table: write [{key_of(key_path)}]")
            return {}
        values: Values = {}
        for name, value in table.items():
            if reason := row.fault(value):
                self._add_problem((*key_path, name), reason)
            else:
                values[name] = value
        return values

    def _check_named_tables(self, section: Section, file: Values) -> Values:
        """Return the valid values of each `[SECTION.NAME]`, by the name that the user chose.

        A table that cannot be used has {} as its values.
        """
        tables = file.get(section.name, {})
        if not isinstance(tables, dict):
            self._add_problem((section.name,), f"must be tables: write [{section.name}.NAME]")
            return {}
        return {
            name: self._check_section(section, table, (section.name, name))
            for name, table in tables.items()
        }

    def _check_array(self, section: Section, file: Values) -> dict[int, Values]:
        """Return the valid values of each `[[SECTION]]` that can be used, by its number.

        The number is counted from 0, as in a `KeyPath`.
        """
        tables = file.get(section.name, [])
        if not isinstance(tables, list):
            reason = f"must be tables: write [[{section.name}]] above each server"
            self._add_problem((section.name,), reason)
            return {}
        valid: dict[int, Values] = {}
        for number, table in enumerate(tables):
            values = self._check_section(section, table, (section.name, number))
            if values:  # empty where a required key is missing
                valid[number] = values
        return valid

    def _check_tool_servers(self, file: Values) -> list[Values]:
        """Return the valid tables of `[[mcp]]`, in order.

        Each needs a name of its own, without `/`, and either a command or an address.
        """
        valid: dict[str, Values] = {}
        for number, values in self._check_array(MCP, file).items():
            name = values["name"]
            has_command = bool(values.get("command"))
            has_address = bool(values.get("url"))
            if name in (*valid, FUNCTIONS):
                reason = f'"{name}" is taken by another server or by tools.py; choose another name'
                self._add_problem(("mcp", number, "name"), reason)
            elif "/" in name:  # a key of `[tools.approval]` is `SERVER/TOOL`
                self._add_problem(("mcp", number, "name"), 'must not contain "/"')
            elif has_command == has_address:
                self._add_problem(("mcp", number), "needs command or url, but not both")
            else:
                valid[name] = values
        return list(valid.values())

    def _check_presets(self, file: Values) -> Values:
        """Return the valid `[prompts.NAME]` by name; a name must be one word, to be typed."""
        valid: Values = {}
        for name, values in self._check_named_tables(PROMPT, file).items():
            is_one_word = name.split() == [name]
            if not is_one_word:
                self._add_problem(("prompts", name), "must have a name without spaces")
            elif values:
                valid[name] = values
        return valid

    def _check_approvals(self, file: Values, mcp_names: list[str]) -> Values:
        """Return the valid approvals of `[tools.approval]`, by `SERVER` or `SERVER/TOOL`.

        An approval for a server that is not configured is a problem. It is returned too, and has no
        effect.
        """
        key_path = ("tools", "approval")
        tools = file.get("tools")
        # a `tools` that is no table was reported as a section
        table = tools.get("approval", {}) if isinstance(tools, dict) else {}
        approvals = self._check_named_values(table, key_path, TOOLS.rows["approve"])
        servers = (FUNCTIONS, *mcp_names)
        for name in approvals:
            server = name.partition("/")[0]
            if server not in servers:
                reason = f'is for the server "{server}", which is not configured'
                self._add_problem((*key_path, name), reason, closest_word(server, servers))
        return approvals


def key_of(key_path: KeyPath) -> str:
    """Return the full name of a key, such as `endpoints[1].url`; arrays are counted from 1."""
    full_name = ""
    for step in key_path:
        full_name += f"[{step + 1}]" if isinstance(step, int) else f".{step}"
    return full_name.removeprefix(".")


def line_of(text: str, key_path: KeyPath) -> int | None:
    """Return the line of a key, counted from 1; for a missing key, the line of its table.

    If the table is missing too, it is the line of the table around that, or None without one.

    The parser does not say in which line it found a value. So beginnings of the file are parsed:
    one that ends before the line of the value lacks it, and each longer one has it. Bisection
    finds the shortest beginning that has it; its last line is the line of the value.
    """
    lines = text.split("\n")
    for depth in range(len(key_path), 0, -1):
        search = _ValueSearch(lines, key_path[:depth])
        index = bisect_left(range(len(lines)), x=True, key=search.is_present_after)
        if index < len(lines):
            return index + 1
    return None


class _ValueSearch(Struct, frozen=True):
    """Search for the line of a value in a file that is valid TOML."""

    lines: list[str]
    key_path: KeyPath

    def is_present_after(self, index: int) -> bool:
        """Return whether the lines up to this index, counted from 0, hold the value.

        The last statement of these lines may continue on the next ones. So lines are added until
        all of them together are valid TOML.
        """
        import tomllib  # noqa: PLC0415 - needed for a file with a problem only

        for line_count in range(index + 1, len(self.lines) + 1):
            try:
                tables = tomllib.loads("\n".join(self.lines[:line_count]) + "\n")
            except tomllib.TOMLDecodeError:
                continue
            return self._is_in(tables)
        return False

    def _is_in(self, tables: Values) -> bool:
        """Return whether the tables of a file hold the value."""
        value: Any = tables
        try:
            for step in self.key_path:
                value = value[step]
        except (KeyError, IndexError, TypeError):  # `TypeError`: a value has nothing within it
            return False
        return True


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
