"""`python -m tests.support.reference` writes the reference pages of docs/ and the example of
`config.toml` out of the program's tables."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, ForwardRef, Literal, get_args, get_origin

from msgspec import Meta, Struct
from msgspec.structs import fields

import lmchat.api
from lmchat.app.cli.subcommands import COMMON_ARGUMENTS, SUBCOMMANDS, Argument, Subcommand
from lmchat.app.commands.table import COMMANDS as SCREEN_COMMANDS
from lmchat.app.commands.table import Scope
from lmchat.core.config.load import VARIABLES
from lmchat.core.config.settings import (
    McpSettings,
    SamplingSettings,
    Settings,
    ToolSettings,
    declared,
)
from lmchat.core.config.toml import toml_value
from lmchat.core.servers.products import PRODUCTS, UNKNOWN
from lmchat.core.servers.wire.refusal_rules import CODES, REFUSAL_RULES, STATUSES, STEPS
from tests.support.manual import manual_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_GENERATED = "<!-- Written by `python -m tests.support.reference`; a test compares it with the program. -->\n"
_CONFIGURATION = """\
# Configuration

This page lists every setting with its default and limits. All settings are optional. `lmchat config
init` writes a commented file, the same as [config.example.toml](../config.example.toml). `lmchat
config path` prints where it belongs, `lmchat config check` finds problems with line numbers, and
`lmchat config show` prints the effective settings and where each comes from. A flag overrides the
environment, the environment overrides the file, and the file overrides the default. Only `config
init` writes to `config.toml`; lmchat saves its own state (last model, panels, theme) in
`state.toml` beside it, and `tools add` and `remove` change `mcp.json`.
"""
_SERVERS = """\
## `mcp.json`

Tool servers (MCP) are in `mcp.json` beside `config.toml`, in the form of LM Studio, Claude Desktop
and Cursor: below `mcpServers`, by their names. Comments and last commas are read; other keys are
left as they are. `${NAME}`, or `${env:NAME}`, is the value of your environment variable NAME
wherever it is in a text; `${NAME:-TEXT}` is TEXT if it is not set. The keys of an entry, `name`
apart:

```json
{
  "mcpServers": {
    "time": {"command": "uvx", "args": ["mcp-server-time"], "approve": "always"},
    "wiki": {"url": "https://wiki.example/mcp", "headers": {"Authorization": "Bearer ${WIKI_KEY}"}}
  }
}
```
"""
_SECRETS = """\
## API keys

You can set an API key in `LMCHAT_API_KEY`, with `api_key_env` or `api_key_cmd` in an
`[[endpoints]]` entry, or in the dialog that asks for one. The dialog checks the key and saves it in
`credentials.toml` (mode 0600). For a key in a keyring or password manager, see `api_key_cmd` in
[troubleshooting](troubleshooting.md#api-keys). `api_key` in `config.toml` also works, but is the
least safe.

A key typed in the dialog is used until lmchat ends. Otherwise the configuration and the environment
override `credentials.toml`; `lmchat doctor` shows which key is used.

A key is sent only to the address (scheme, host and port) it belongs to: that of its `[[endpoints]]`
entry, the one it was typed or stored for, and for `api_key` or `LMCHAT_API_KEY` the address set in
the same place.

| API key | its address | without that address |
| --- | --- | --- |
| `api_key` in `config.toml` | `endpoint` in `config.toml` | servers on this machine only, if you name them or lmchat recognises them |
| `LMCHAT_API_KEY` | `LMCHAT_ENDPOINT`, or `LLM_BASE_URL` | servers on this machine only, if you name them or lmchat recognises them |
| under `[[endpoints]]` | its `url` | |
| typed in the dialog, or stored | the server it was typed or stored for | |

For a server on another machine that you name with `--endpoint`, add an `[[endpoints]]` entry with
its `url` and the key.
"""
_COMMANDS = """\
# Commands

This page lists every command. `lmchat` without a command opens the chat screen. Answers go to
stdout, everything else to stderr. Exit codes: 0 success, 1 the server, the answer or a file failed,
2 invalid command or configuration, 3 no server found, 130 interrupted.

## Common options

The chat, which has no command, takes all of them. A command takes those that are named below its
arguments, and refuses the others. Write them before or after the name of the command.
"""
_REFUSALS = """\
## Errors from servers

lmchat looks at a `code` or `type` that it knows first, then at the server's words, then at the
status. Words that fit rows of two kinds mean nothing; a field of the request that they name is
always a `bad_request`. What they quote of the request, and names and addresses, are left out, so
that `<address>` stands for an address. "what it says" is regular expressions, for words in lower
case. The status "in a stream" is that of an error inside an answer that names no status. Rows
marked "with images" or "with tools" are for such requests only. A web page with a status from 500
on that is not in the list is `upstream`, one with 200 is `not_an_llm`; a 404 without words is
`wrong_path`.

In the next steps, MODEL is the model and HOST the host name you used; "Jan: …" is the next step for
Jan. If the server names a time to wait, that is the step.
"""


def configuration_page() -> str:
    parts = [_GENERATED, _CONFIGURATION]
    for name, (table, text) in sections().items():
        title = f"## `[{name}]`" if name else "## Top level"
        parts += [f"{title}\n", *([f"{text}\n"] if text else []), _settings(table, table())]
    approval, meta = declared(ToolSettings)["approval"]
    parts += ["## `[tools.approval]`\n", f"{meta.description}\n", _approvals(approval)]
    parts += [_SERVERS, _settings(McpSettings, write=json.dumps)]
    for title, name in (
        ("[keys]", "keys"),
        ("[[endpoints]]", "endpoints"),
        ('[models."PATTERN"]', "models"),
        ("[profiles.NAME]", "profiles"),
        ("[prompts.NAME]", "prompts"),
    ):
        kind, meta = declared(Settings)[name]
        table = table_in(kind)
        parts += [
            f"## `{title}`\n",
            f"{meta.description}\n",
            _own_settings(table) if table else _keys(),
        ]
    parts += ["## Environment\n", _environment(), _SECRETS]
    return "\n".join(parts)


def commands_page() -> str:
    options = _table(("option", "meaning"), map(_argument, COMMON_ARGUMENTS))
    return "\n".join([_GENERATED, _COMMANDS, options, *_described("lmchat", SUBCOMMANDS)])


def errors_page() -> str:
    """Return the text of docs/errors.md: the kinds as they are written there, then the refusals."""
    kinds, _, _ = (DOCS / "errors.md").read_text(encoding="utf-8").partition(_GENERATED)
    codes = [(f"`{code}`", f"`{kind}`") for code, kind in CODES.items()]
    rows = [
        (
            ", ".join(str(status or "in a stream") for status in rule.statuses) or "any",
            ", ".join(f"`{words}`" for words in rule.alternatives)
            + (f" with {rule.needs}" if rule.needs else ""),
            f"`{rule.kind}`",
        )
        for rule in REFUSAL_RULES
    ]
    statuses = [(str(status), f"`{kind}`") for status, kind in STATUSES.items()]
    steps = [(f"`{kind}`", _steps(kind)) for kind in (*STEPS, "bad_request", "host_blocked")]
    return kinds + "\n".join(
        [
            _GENERATED,
            _REFUSALS,
            _table(("code or type", "kind"), codes),
            _table(("status", "what it says", "kind"), rows),
            _table(("any other error with the status", "kind"), statuses),
            _table(("kind", "next step"), steps),
        ]
    )


_MEANING = r'(?m)^    (\w+): [^#\n]*(?:  # |\n    """)(.+?)(?:"""|$)'
"""Name of a field, and the comment behind it or the first line of a docstring below it."""


def api_page() -> str:
    """The reference of the Python API, from its docstrings, stands behind a tutorial."""
    tutorial, _, _ = (DOCS / "api.md").read_text(encoding="utf-8").partition(_GENERATED)
    named = {name: one for name, one in vars(lmchat.api).items() if name[0].isupper()}
    classes = {name: one for name, one in named.items() if inspect.isclass(one)}
    own_first = sorted(classes.items(), key=lambda item: "api" not in item[1].__module__)
    parts = [tutorial + _GENERATED, "## Reference\n"]
    for name, one in own_first:
        parts += _class(name, one) if _has_methods(one) else ()
    values = {name: one for name, one in classes.items() if not _has_methods(one)}
    errors = {name: one for name, one in values.items() if issubclass(one, Exception)}
    rows = [
        (f"`{name}`", _summary(one), ", ".join(_fields(one)))
        for name, one in sorted(values.items())
        if name not in errors
    ]
    unions = [name for name in named if name not in classes]
    rows += [(f"`{name}`", "", f"`{_union(named[name])}`") for name in unions]
    parts += ["### Values\n", _table(("name", "meaning", "fields"), rows)]
    rows = [(f"`{name}`", _summary(one)) for name, one in errors.items()]
    parts += ["### `safe_text`\n", _signature("safe_text", lmchat.api.safe_text)]
    parts.append(_doc(lmchat.api.safe_text))
    return "\n".join([*parts, "### Exceptions\n", _table(("name", "meaning"), rows)])


def _has_methods(one: type) -> bool:
    return "__init__" in vars(one) and not issubclass(one, Struct | Enum | Exception)


def _class(name: str, one: type) -> Iterator[str]:
    """Yield signature, docstring and methods; those with blocking calls wrap the others'."""
    yield f"### `{name}`\n"
    if name not in ("RunningTurn", "Sessions", "Tools"):  # `Home` makes these
        yield _signature(name, one)
    yield _doc(one)
    for method_name, method in vars(one).items():
        is_own = inspect.isfunction(method) and not hasattr(method, "__wrapped__")
        if is_own and not method_name.startswith("_"):
            yield _signature(method_name, method)
            yield _doc(method)


def _signature(name: str, one: Callable[..., object]) -> str:
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(one)))
    text = re.sub(r"\(self(, )?", "(", re.sub(r"<function .*? at \w+>", "…", text))
    awaited = "await " if inspect.iscoroutinefunction(one) else ""
    return f"```python\n{awaited}{name}{text.removesuffix(' -> None')}\n```\n"


def _doc(one: object) -> str:
    text = re.sub(r"(?m)^ {4}(\w+): ", r"- `\1`: ", inspect.getdoc(one) or "")
    return re.sub(r"(?m)^(Args|Raises):$", r"\1:\n", re.sub("(?m)^ {8}", "  ", text)) + "\n"


def _summary(one: object) -> str:
    return re.sub(r" \(R-\d+\)", "", (inspect.getdoc(one) or "").partition("\n")[0])


def _fields(one: type) -> Iterator[str]:
    """Yield members of an enum; else fields and properties, the inherited ones, too."""
    if issubclass(one, Enum):
        yield from (f"`{member}`" for member in one.__members__)
        return
    for base in reversed([base for base in one.__mro__ if base.__module__.startswith("lmchat")]):
        meanings = dict(re.findall(_MEANING, inspect.getsource(base)))
        for name, kind in inspect.get_annotations(base).items():
            meaning = _cell(meanings.get(name, ""))
            yield f"`{name}: {_kind(kind)}`{f' ({meaning.rstrip(chr(46))})' if meaning else ''}"
        for name, member in vars(base).items():
            if isinstance(member, property) and not name.startswith("_"):
                kind = _kind(member.fget.__annotations__["return"])
                meaning = _summary(member.fget).rstrip(".")
                yield f"`{name}: {kind}`{f' ({meaning})' if meaning else ''}"


def _kind(kind: object) -> str:
    """Write a type as it stands in the code, without the limits of settings."""
    text = kind.__forward_arg__ if isinstance(kind, ForwardRef) else str(kind)
    return re.sub(r"Annotated\[(\w+),.*\)\]", r"\1", text)


def _union(one: object) -> str:
    return re.sub(r"[\w.]+\.(?=\w)", "", str(one))


def _steps(kind: str) -> str:
    usual = UNKNOWN.refusal_context().next_steps.get(kind, "")
    check = "Check the options, the tools or the images of the request, or else the server's log."
    steps = [usual or STEPS.get(kind, check)]
    for product in PRODUCTS:
        hint = product.refusal_context().next_steps.get(kind, "")
        if hint and hint != usual:
            steps.append(f"{product.name}: {hint}")
    return " ".join(steps).format(model="MODEL", host="HOST")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def sections() -> dict[str, tuple[type[Struct], str]]:
    """Return the tables of fixed keys with their help, by name; "" has the top level."""
    tables = {
        name: (kind, meta.description or "")
        for name, (kind, meta) in declared(Settings).items()
        if table_in(kind) is kind
    }
    return {"": (Settings, ""), **tables}


def table_in(kind: Any) -> type[Struct] | None:
    """Return the table that a value is, or that its list or mapping holds."""
    for inner in (kind, *get_args(kind)):
        if isinstance(inner, type) and issubclass(inner, Struct):
            return inner
    return None


def value_settings(table: type[Struct]) -> dict[str, tuple[Any, Meta]]:
    """Return the settings that are written as `NAME = VALUE`, and not as `[NAME]`."""
    defaults = {field.name: field.default for field in fields(table)}
    return {
        name: (kind, meta)
        for name, (kind, meta) in declared(table).items()
        # an optional table, such as the timeouts of one server, is written on one line
        if defaults[name] is None or not (table_in(kind) or get_origin(kind) is Mapping)
    }


def _settings(
    table: type[Struct],
    defaults: Struct | None = None,
    write: Callable[[Any], str] = toml_value,
    without: Collection[str] = (),
) -> str:
    rows = (
        (
            f"`{name}`",
            _default(getattr(defaults, name, None), meta, write),
            meta.description or "",
            _allowed(kind, meta, write),
        )
        for name, (kind, meta) in value_settings(table).items()
        if name not in without
    )
    return _table(("setting", "default", "meaning", "allowed values"), rows)


def _own_settings(table: type[Struct]) -> str:
    """Describe the settings of a table, but the sampling options only by their names."""
    if not issubclass(table, SamplingSettings):
        return _settings(table)
    names = list(value_settings(SamplingSettings))
    text = f"`{names[0]}` to `{names[-1]}` are as in [`[chat]`](#chat).\n"
    return text if table is SamplingSettings else f"{text}\n{_settings(table, without=names)}"


def _default(value: object, meta: Meta, write: Callable[[Any], str]) -> str:
    if value not in (None, "", ()):
        return f"`{write(value)}`"
    return f"unset; example: `{write(meta.examples[0])}`" if meta.examples else ""


_KINDS = {
    str: "a string in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[str, ...]: 'a list of strings, for example ["a", "b"]',
}


def _allowed(kind: Any, meta: Meta, write: Callable[[Any], str] = toml_value) -> str:
    if meta.extra:
        return str(meta.extra["expected"])
    if get_origin(kind) is Literal:
        return f"one of {_quoted(kind)}"
    if kind in _KINDS:
        limits = f" from {meta.ge} to {meta.le}" if meta.ge is not None else ""
        return f"{_KINDS[kind]}{limits}{', not empty' if meta.min_length else ''}"
    if get_origin(kind) is tuple:
        return f"a list of {_quoted(get_args(kind)[0])}"
    assert meta.examples
    return f"a table, for example {write(meta.examples[0])}"


def _quoted(kind: Any) -> str:
    return ", ".join(f'"{choice}"' for choice in get_args(kind) if choice)


def _approvals(kind: Any) -> str:
    names = (
        ("`SERVER`", "all tools of a server"),
        ("`SERVER/TOOL`", "one tool; it wins over its server"),
    )
    table = ((name, meaning, _allowed(get_args(kind)[1], Meta())) for name, meaning in names)
    return _table(("setting", "meaning", "allowed values"), table)


def _keys() -> str:
    rows = (
        (
            f"`{command.command_id}`",
            f"`{command.keys}`" if command.keys else "",
            f"`{command.slash}`" if command.slash else "",
            command.title,
            scope.value,
        )
        for scope in Scope
        for command in SCREEN_COMMANDS
        if command.scope is scope
    )
    return _table(("command", "key", "slash command", "does", "where"), rows)


def _environment() -> str:
    rows = [(f"`{name}`", f"`{key}`") for name, key in VARIABLES]
    rows += [("`OPENAI_API_KEY`", "API key for api.openai.com only")]
    rows += [
        (
            "`LMCHAT_HOME`",
            "one folder for all files: an absolute path, or one that begins with `~/`",
        ),
        ("`HF_ENDPOINT`", "mirror of huggingface.co for `--local -m USER/REPO`"),
        ("`HF_TOKEN`", "token for it, sent to this host alone"),
        ("`HF_HUB_CACHE`, `HF_HOME`", "cache of the hub, where model files are looked for"),
        ("`LMCHAT_SERVE_KEY`", "the same as `--key` of `lmchat serve`"),
        ("`LMCHAT_LOG_LEVEL`", "the same as `--log-level`"),
    ]
    rows += [("`NO_COLOR`", "not empty: no colours; the screen has shades of grey")]
    rows += [("`SSL_CERT_FILE`, `SSL_CERT_DIR`", "certificates to trust instead of the usual ones")]
    return (
        _table(("variable", "sets"), rows)
        + "\nIf two variables set the same setting, the one listed first is used.\n"
    )


def _described(before: str, commands: Iterable[Subcommand]) -> Iterator[str]:
    for command in commands:
        name = f"{before} {command.name}"
        yield f"## `{name}`\n"
        yield f"{command.help[0].upper()}{command.help[1:]}.\n"
        if command.all_arguments:
            yield _table(("argument", "meaning"), (_argument(one) for one in command.all_arguments))
        common = (f"`{one.names[0]}`" for one in command.common_arguments)
        yield f"Common options: {', '.join(common)}.\n"
        yield "```sh\n" + command.examples + "\n```\n"
        if command.notes:
            yield f"{command.notes}\n"
        yield from _described(name, command.commands)


def _argument(argument: Argument) -> tuple[str, str]:
    return f"`{argument.spelling}`", str(argument.keywords["help"])


PAGES: Mapping[str, Callable[[], str]] = {
    "api.md": api_page,
    "configuration.md": configuration_page,
    "commands.md": commands_page,
    "errors.md": errors_page,
    "lmchat.1": manual_page,
}

_EXAMPLE = """\
# Configuration of lmchat. Every setting is optional; commented-out lines show the default or an
# example. `lmchat config path` prints where this file belongs, `lmchat config check` finds problems
# in it, `lmchat config show` prints the effective settings and where each comes from (flag,
# environment, this file).
"""
_HELP_COLUMN = 44  # where the help of a setting starts, behind its value
_MAX_COLUMNS = 110  # in a line with value and help; if it is longer, the help is a line above
# Headings of mappings and arrays of tables in the example.
_HEADINGS = {
    "approval": "[tools.approval]",
    "keys": "[keys]",
    "endpoints": "[[endpoints]]",
    "models": '[models."qwen3*"]',
    "profiles": "[profiles.short]",
    "prompts": "[prompts.french]",
}
EXAMPLES = (ROOT / "config.example.toml", ROOT / "lmchat" / "core" / "config" / "example.toml")


def example_text() -> str:
    """Return the example of `config.toml`: sections show their defaults, other tables examples."""
    blocks = [_EXAMPLE]
    for name, (table, text) in sections().items():
        head = [f"# {text}", f"[{name}]"] if name else []
        lines = [
            _line(key, getattr(table(), key), meta)
            for key, (_, meta) in value_settings(table).items()
        ]
        blocks.append("\n".join([*head, *lines, ""]))
    tables = {**declared(Settings), "approval": declared(ToolSettings)["approval"]}
    for name, heading in _HEADINGS.items():
        kind, meta = tables[name]
        if inner := table_in(kind):
            # "" as the default: each key shows its example, if it has one
            # the sampling options stand below [chat]
            others = {*SamplingSettings.__struct_fields__} - {"temperature"}
            lines = [
                _line(key, "", of_key)
                for key, (_, of_key) in declared(inner).items()
                if key not in others
            ]
        else:
            assert meta.examples
            pairs = toml_value(meta.examples[0]).removeprefix("{ ").removesuffix(" }").split(", ")
            lines = [f"# {pair}" for pair in pairs]
        blocks.append("\n".join([f"# {meta.description}", f"# {heading}", *lines, ""]))
    return "\n".join(blocks)


def _line(name: str, default: object, meta: Meta) -> str:
    """Return the line of a setting with its help behind it, or above it if that is too long."""
    value = meta.examples[0] if default in (None, "", ()) and meta.examples else default
    setting = f"# {name} = {toml_value(value)}"
    line = f"{setting:<{_HELP_COLUMN}}  # {meta.description}"
    if len(setting) > _HELP_COLUMN or len(line) > _MAX_COLUMNS:
        return f"# {meta.description}:\n{setting}"
    return line


if __name__ == "__main__":
    for example in EXAMPLES:
        example.write_text(example_text(), encoding="utf-8")
    for page, write in PAGES.items():
        (DOCS / page).write_text(write(), encoding="utf-8")
