"""`python -m tests.support.reference` writes the reference pages of docs/ out of the program's tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from lmchat.cli.parser import SHARED_ARGUMENTS
from lmchat.cli.subcommands import SUBCOMMANDS, Argument, Subcommand
from lmchat.commands.table import COMMANDS as SCREEN_COMMANDS
from lmchat.commands.table import Scope
from lmchat.config.file import Key, sections, table_keys, toml_value, value_keys
from lmchat.config.load import VARIABLES
from lmchat.config.settings import Settings, ToolSettings
from lmchat.servers.products import PRODUCTS, UNKNOWN
from lmchat.servers.products.refusals import REFUSALS, Refusal
from tests.support.manual import manual_page

DOCS = Path(__file__).parents[2] / "docs"
_GENERATED = "<!-- Written by `python -m tests.support.reference`; a test compares it with the program. -->\n"
_CONFIGURATION = """\
# Configuration

This page lists every setting with its default and limits. All settings are optional. `lmchat config init`
writes a commented file, the same as [config.example.toml](../config.example.toml). `lmchat config path`
prints where it belongs, `lmchat config check` finds problems with line numbers, and `lmchat config show`
prints the effective settings and where each comes from. A flag overrides the environment, the environment
overrides the file, and the file overrides the default. Apart from `config init`, lmchat never writes to
`config.toml`; it saves its own state (last model, panels, theme) in `state.toml` beside it.
"""
_SECRETS = """\
## API keys

You can set an API key in `LMCHAT_API_KEY`, with `api_key_env` or `api_key_cmd` in an `[[endpoints]]` entry,
or in the dialog that asks for one. The dialog checks the key and saves it in `credentials.toml` (mode 0600).
For a key in a keyring or password manager, see `api_key_cmd` in [troubleshooting](troubleshooting.md#api-keys).

A key typed in the dialog is used until lmchat ends. Otherwise the configuration and the environment override
`credentials.toml`; `lmchat doctor` shows which key is used. `api_key`
in `config.toml` also works, but is the least safe. Blanks and line ends around a key are removed; a key with
other control characters or letters beyond ASCII is not sent. A key never appears in `config show`, logs,
exports, errors or process arguments.

A key is sent only to the address (scheme, host and port) it belongs to: that of its `[[endpoints]]` entry,
the one it was typed or stored for, and for `api_key` or `LMCHAT_API_KEY` the address set in the same place.

| API key | its address | without that address |
| --- | --- | --- |
| `api_key` in `config.toml` | `endpoint` in `config.toml` | servers on this machine only |
| `LMCHAT_API_KEY` | `LMCHAT_ENDPOINT`, or `LLM_BASE_URL` | servers on this machine only |
| under `[[endpoints]]` | its `url` | |
| typed in the dialog, or stored | the server it was typed or stored for | |

For a server on another machine that you name with `--endpoint`, add an `[[endpoints]]` entry with its `url`
and the key. If `api_key` or `LMCHAT_API_KEY` is for another server, the message that the server needs a key
says so.

Over `http`, nothing proves which program answers: on a machine that you share, any user can take the port
of your server and get its key. With `https` the certificate proves the server.
"""
_COMMANDS = """\
# Commands

This page lists every command. `lmchat` without a command opens the chat screen. Answers go to stdout,
everything else to stderr. Exit codes: 0 success, 1 the server, the answer or a file failed, 2 invalid command
or configuration, 3 no server found, 130 interrupted.

## Common options

Write them before or after the name of the command. `--plain` and `--inline` are for the chat alone, which has no
command; `--local` is for the chat, `ask`, `decide` and `models`.
"""
_REFUSALS = """\
## Errors from servers

The first matching row applies. "what it says" is a regular expression. It is matched in lower case against
the type, code, parameter and message of the server's error. lmchat adds words in angle brackets to that text:
`<web page>` means that the reply is a web page, `<empty>` that it says nothing, `<sign-in>` that it names a page to
sign in at, `<model>` that it names the model, and `<429>` that it has this status. The status "in a stream" is that of
an error inside an answer that names no status. Rows marked "with images" or "with tools" are for such requests only.

In the messages, SERVER is the product (such as Ollama), MODEL the model, HOST the host name you used, ADDRESS
the target of the redirect, and … the server's own words. "Jan: …" is the next step for Jan. Some errors say more:
`context_overflow` the numbers of tokens and `rate_limited` how long to wait, if the server names them, and `auth`
that no API key was sent.
"""


def configuration_page() -> str:
    parts = [_GENERATED, _CONFIGURATION]
    tables = table_keys(Settings)
    for name, section in sections().items():
        title = f"## `[{name}]`" if name else "## Top level"
        help_line = [f"{section.help}\n"] if section.help else []
        parts += [f"{title}\n", *help_line, _settings(section.type, section.type())]
    approval = table_keys(ToolSettings)["approval"]
    parts += ["## `[tools.approval]`\n", f"{approval.help}\n", _approvals(approval)]
    parts += ["## `[[mcp]]`\n", f"{tables['mcp'].help}\n", _settings(tables["mcp"].table)]
    parts += ["## `[keys]`\n", f"{tables['keys'].help}\n", _keys()]
    for name, title in (
        ("endpoints", "[[endpoints]]"),
        ("models", '[models."PATTERN"]'),
        ("profiles", "[profiles.NAME]"),
        ("prompts", "[prompts.NAME]"),
    ):
        row = tables[name]
        parts += [f"## `{title}`\n", f"{row.help}\n", _settings(row.table)]
    parts += ["## Environment\n", _environment(), _SECRETS]
    return "\n".join(parts)


def commands_page() -> str:
    options = _table(("option", "meaning"), map(_argument, SHARED_ARGUMENTS))
    return "\n".join([_GENERATED, _COMMANDS, options, *_described("lmchat", SUBCOMMANDS)])


def errors_page() -> str:
    """Return the text of docs/errors.md: the kinds as they are written there, then the refusals."""
    kinds, _, _ = (DOCS / "errors.md").read_text(encoding="utf-8").partition(_GENERATED)
    head = ("status", "what it says", "kind", "message", "next step")
    rows = [_refusal(rule) for rule in REFUSALS]
    return kinds + "\n".join([_GENERATED, _REFUSALS, _table(head, rows)])


def _refusal(rule: Refusal) -> tuple[str, ...]:
    words = {
        "product": "SERVER",
        "said": "SERVER says: …",
        "model": "MODEL",
        "host": "HOST",
        "location": "ADDRESS",
        "address": "Check the path of the address; some servers have one in front of /v1.",
        "check": "Check the options, the tools or the image of the request, or else the server's log.",
    }
    usual = UNKNOWN.refusal_context().hints
    hints = {
        name: hint
        for name, hint in (
            (one.name, one.refusal_context().hints.get(rule.kind, "")) for one in PRODUCTS
        )
        if hint != usual.get(rule.kind) or name == UNKNOWN.name
    }
    if rule.has_own_step:
        hints = {}
    elif rule.product:
        hints = {rule.product: hints[rule.product]}
    steps = [rule.hint, *(f"{name}: {hint}" for name, hint in hints.items() if hint)]
    return (
        ", ".join(str(status) if status else "in a stream" for status in sorted(rule.statuses))
        or "any",
        " ".join(
            filter(
                None,
                (
                    f"`{rule.pattern}`" if rule.pattern else "",
                    f"with {rule.needs}" if rule.needs else "",
                    f"from {rule.product}" if rule.product else "",
                ),
            )
        ),
        f"`{rule.kind}`",
        rule.message.format(**words),
        " ".join(steps).format(**words),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _settings(settings: type[Struct] | None, defaults: Struct | None = None) -> str:
    assert settings is not None
    table = (
        (f"`{row.name}`", _default(row, defaults), row.help, row.expected)
        for row in value_keys(settings)
    )
    return _table(("setting", "default", "meaning", "allowed values"), table)


def _default(row: Key, defaults: object) -> str:
    value = getattr(defaults, row.name, None)
    if value not in (None, "", ()):
        return f"`{toml_value(value)}`"
    return "" if row.example is None else f"unset; example: `{toml_value(row.example)}`"


def _approvals(row: Key) -> str:
    names = (
        ("`SERVER`", "all tools of a server"),
        ("`SERVER/TOOL`", "one tool; it wins over its server"),
    )
    table = ((name, meaning, row.inside("").expected) for name, meaning in names)
    return _table(("setting", "meaning", "allowed values"), table)


def _keys() -> str:
    rows = (
        (
            f"`{command.command_id}`",
            f"`{command.keys}`" if command.keys else "",
            command.title,
            scope.value,
        )
        for scope in Scope
        for command in SCREEN_COMMANDS
        if command.scope is scope
    )
    return _table(("command", "key", "does", "where"), rows)


def _environment() -> str:
    rows = [(f"`{name}`", f"`{key}`") for name, key in VARIABLES]
    rows += [("`OPENAI_API_KEY`", "API key for api.openai.com only")]
    rows += [
        ("`LMCHAT_HOME`", "one folder for all files"),
        ("`LMCHAT_SERVE_KEY`", "the same as `--key` of `lmchat serve`"),
        ("`LMCHAT_LOG_LEVEL`", "the same as `--log-level`"),
    ]
    rows += [("`NO_COLOR`", "no colours; the screen has shades of grey")]
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
        yield "```sh\n" + command.examples + "\n```\n"
        if command.notes:
            yield f"{command.notes}\n"
        yield from _described(name, command.commands)


def _argument(argument: Argument) -> tuple[str, str]:
    keywords = argument.keywords
    takes = keywords.get("metavar") or (
        "{" + ",".join(keywords["choices"]) + "}" if "choices" in keywords else ""
    )
    is_option = argument.names[0].startswith("-")
    name = ", ".join(argument.names) if is_option else (takes or argument.names[0])
    return f"`{name}{' ' + takes if is_option and takes else ''}`", str(keywords.get("help", ""))


PAGES: Mapping[str, Callable[[], str]] = {
    "configuration.md": configuration_page,
    "commands.md": commands_page,
    "errors.md": errors_page,
    "lmchat.1": manual_page,
}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (DOCS / page).write_text(write(), encoding="utf-8")
