"""Commands of the command line: arguments, help, examples and handlers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple


class Argument(NamedTuple):
    """Names and keywords of `add_argument`; a `NamedTuple`, because importing dataclasses costs 16 ms."""

    names: tuple[str, ...]
    form: dict[str, Any]


class Subcommand(NamedTuple):
    """One command."""

    name: str
    help: str
    examples: tuple[str, ...]
    handler: str  # `module:function` below `lmchat.cli`, imported when the command runs
    arguments: tuple[Argument, ...] = ()
    commands: tuple[Subcommand, ...] = ()
    is_json_always: bool = False
    notes: str = ""  # text of `--help` after the examples


def argument(*names: str, **form: Any) -> Argument:
    """Return an argument as argparse takes it."""
    return Argument(names, form)


def switch(*names: str, **form: Any) -> Argument:
    """Return an option without a value."""
    return Argument(names, {"action": "store_true", **form})


JSON = switch("--json", help="print one JSON document")
JSON_ANYWAY = switch("--json", help="no effect: the output is JSON anyway")
ID = argument("id", metavar="ID", help="session: its id, the first 4 or more of it, or `last`")


def _number(what: str, most: int) -> Callable[[str], int]:
    """Return a type for argparse, which names it in its error message."""

    def read(word: str) -> int:
        number = int(word)
        if not 0 < number <= most:
            raise ValueError
        return number

    read.__name__ = what
    return read


_SESSIONS = Subcommand(
    "sessions",
    "list the saved sessions, newest first",
    ("lmchat sessions", "lmchat sessions show last", "lmchat sessions rename 3f2a 'Plan for the garden'"),
    "sessions:list_sessions",
    (JSON, switch("--trash", help="list what was deleted instead")),
    (
        Subcommand("show", "print a session", ("lmchat sessions show last",), "sessions:show", (ID, JSON)),
        Subcommand(
            "rename",
            "change the title of a session",
            ("lmchat sessions rename last 'Plan for the garden'",),
            "sessions:rename",
            (ID, argument("title", metavar="TITLE", help="the new title"), JSON),
        ),
        Subcommand(
            "delete",
            "put a session into the trash, where it stays for 30 days",
            ("lmchat sessions delete 3f2a",),
            "sessions:delete",
            (ID, JSON),
        ),
        Subcommand(
            "restore",
            "take a session out of the trash",
            ("lmchat sessions restore 3f2a",),
            "sessions:restore",
            (ID, JSON),
        ),
        Subcommand(
            "purge",
            "remove a session for good, or all that is in the trash",
            ("lmchat sessions purge 3f2a", "lmchat sessions purge --yes"),
            "sessions:purge",
            (
                argument("id", metavar="ID", nargs="?", default="", help="session; default: the whole trash"),
                switch("--yes", help="do not ask"),
                JSON,
            ),
        ),
    ),
)
_SEARCH = Subcommand(
    "search",
    "search the text of all sessions",
    ('lmchat search "shade vegetables"', "lmchat search has:code after:2026-11-01 --limit 100"),
    "sessions:search",
    (
        argument("query", metavar="QUERY", nargs="+", help="words to look for"),
        argument(
            "--limit",
            metavar="N",
            type=_number("number of hits", sys.maxsize),
            default=20,
            help="print so many hits at most; default: 20",
        ),
        JSON,
    ),
)
_EXPORT = Subcommand(
    "export",
    "print a session as Markdown",
    (
        "lmchat export last > garden.md",
        "lmchat export 3f2a -o garden.md",
        "lmchat export 3f2a 77c0 -o chats",
        "lmchat export --all backup",
    ),
    "export:export",
    (
        argument("ids", metavar="ID", nargs="*", default=(), help="sessions; default: `last`"),
        argument("-o", "--output", metavar="FILE", help="write into a file, or several into a folder"),
        argument(
            "--format",
            choices=("md", "json", "html", "txt"),
            help="default: by the name of the file, else md",
        ),
        argument("--all", metavar="DIR", dest="all_into", help="write every session into a folder"),
        switch("--reasoning", help="with what the models thought"),
        switch("--branches", help="with all versions of prompts and answers; JSON always has them"),
        switch("--force", help="overwrite files that are there"),
        switch("--json", help="print one JSON document: the session, or the names of the files"),
    ),
)
_IMPORT = Subcommand(
    "import",
    "bring chats over from files, each once: exports as Markdown or JSON, lists of {role, content}",
    (
        "lmchat import garden.md",
        "lmchat import --dry-run backup",
        "curl -s https://example.org/chat.json | lmchat import -",
    ),
    "import_:import_files",
    (
        argument(
            "files", metavar="FILE", nargs="+", default=(), help="file, folder of files, or - for stdin"
        ),
        switch("--dry-run", help="say what would be imported, and write nothing"),
        switch("--copy", help="import once more what is there already, as another session"),
        switch("--json", help="print one JSON document"),
    ),
    notes="The last line on stdout names the ids of the sessions. Exit codes: 0 all is there,\n"
    "1 a file was refused, of which nothing was written.",
)

SESSION_COMMANDS = (_SESSIONS, _SEARCH, _EXPORT, _IMPORT)


_MODEL_ID = argument("model_id", metavar="MODEL", help="name of the model, as `lmchat models` prints it")

_MODELS = Subcommand(
    "models",
    "list the models of the server",
    ("lmchat models", "lmchat models --json | jq -r '.data[].id'", "lmchat models load qwen3-8b"),
    "models:list_models",
    (JSON, switch("--refresh", help="ask the server even if the list is fresh")),
    (
        Subcommand(
            "load",
            "load a model",
            ("lmchat models load qwen3-8b", "lmchat models load qwen3-8b --context 16384"),
            "models:load",
            (
                _MODEL_ID,
                argument(
                    "--context",
                    metavar="TOKENS",
                    type=_number("number of tokens", 100_000_000),
                    help="how large its window is to be, where the server takes that",
                ),
                JSON,
            ),
        ),
        Subcommand(
            "unload",
            "unload a model",
            ("lmchat models unload qwen3-8b",),
            "models:unload",
            (_MODEL_ID, JSON),
        ),
    ),
)
_CONFIG = Subcommand(
    "config",
    "show, make or check the configuration",
    ("lmchat config check",),
    "",
    (),
    (
        Subcommand(
            "path", "print where the configuration is", ("lmchat config path",), "config:path", (JSON,)
        ),
        Subcommand(
            "show",
            "print what holds and where it comes from; keys are masked",
            ("lmchat config show",),
            "config:show",
            (JSON,),
        ),
        Subcommand(
            "init",
            "write a commented configuration file",
            ("lmchat config init",),
            "config:init",
            (switch("--force", help="overwrite the file that is there"), JSON),
        ),
        Subcommand(
            "check",
            "print what is wrong with the configuration, with line numbers",
            ("lmchat config check",),
            "config:check",
            (JSON,),
        ),
    ),
)
_DOCTOR = Subcommand(
    "doctor",
    "look at servers, network, keys, files, terminal and engine; say what is wrong and the next step",
    ("lmchat doctor", "lmchat doctor clipboard", "lmchat doctor --json | jq -r '.checks[].cause'"),
    "doctor:doctor",
    (JSON,),
    (
        Subcommand(
            "clipboard",
            "try every way to the clipboard and say which works here; what was there is put back",
            ("lmchat doctor clipboard",),
            "doctor:clipboard",
            (JSON,),
        ),
    ),
    notes="Exit codes: 0 all is well or there are warnings only, 1 a fault was found.",
)

COMMANDS: tuple[Subcommand, ...] = (
    Subcommand(
        "ask",
        "ask once and print the answer while it arrives; stdin is appended to the prompt",
        (
            'lmchat ask "Which vegetables grow in shade?"',
            'git diff | lmchat ask "Write a commit message"',
            'lmchat ask --json "Hello" | jq -r .reply',
            'lmchat ask --schema person.json "Who wrote Emma?" | jq -r .name',
            'lmchat ask --code "A shell loop over all .txt files" > loop.sh',
            'lmchat ask --local --yes "Hello"',
        ),
        "ask:ask",
        (
            argument("prompt", metavar="PROMPT", nargs="?", default="", help="what to ask"),
            switch("--json", help="print one JSON document at the end"),
            switch("--stream-json", help="print one JSON object a line while the answer arrives"),
            argument(
                "--schema", metavar="FILE", help="print one JSON value that fits the JSON schema in the file"
            ),
            switch("--code", help="print the code between fences alone"),
            switch("--yes", help="with --local: fetch the demo model without asking, if there is none"),
            switch("--save", help="keep prompt and answer as a session; with -r the default"),
            argument("--no-save", dest="save", action="store_false", help="keep nothing (else the default)"),
        ),
    ),
    _MODELS,
    Subcommand(
        "health",
        "tell whether the server can answer, as JSON",
        ("lmchat health && echo ready",),
        "models:health",
        (JSON_ANYWAY,),
        is_json_always=True,
    ),
    Subcommand(
        "detect",
        "look for model servers on this machine, as JSON",
        ("lmchat detect | jq -r .endpoint",),
        "models:detect",
        (JSON_ANYWAY,),
        is_json_always=True,
    ),
    Subcommand(
        "metrics",
        "print the counters of all runs, as JSON",
        ("lmchat metrics", "lmchat metrics reset"),
        "stats:show",
        (JSON_ANYWAY,),
        (
            Subcommand(
                "reset",
                "set all counters to 0",
                ("lmchat metrics reset",),
                "stats:reset",
                (JSON_ANYWAY,),
                is_json_always=True,
            ),
        ),
        is_json_always=True,
    ),
    Subcommand(
        "stats",
        "print how fast each model was, over all turns: 50th and 95th percentiles, by server",
        ("lmchat stats", "lmchat stats --plot", "lmchat stats --json | jq '.data[0].ttft_ms'"),
        "stats:stats",
        (JSON, switch("--plot", help="draw the speed of each day instead")),
    ),
    *SESSION_COMMANDS,
    _CONFIG,
    _DOCTOR,
    Subcommand(
        "completion",
        "print a script that completes commands and options in your shell",
        ("lmchat completion bash > ~/.local/share/bash-completion/completions/lmchat",),
        "parser:completion",
        (argument("shell", choices=("bash", "zsh", "fish"), help="your shell"),),
    ),
)


LEVELS = ("debug", "info", "warning", "error")


class ParsedOptions:
    """Options and arguments; each attribute holds its value where nothing was typed.

    A plain class: argparse fills it, and `lmchat` alone starts without argparse and dataclasses.
    """

    handler: str = ""  # `module:function` of the command; empty for the chat screen
    is_json_always: bool = False

    # of every command
    endpoint: str | None = None
    allow_hosts: tuple[str, ...] = ()
    model: str | None = None
    profile: str | None = None
    system: str | None = None
    resume: str | None = None
    temporary: bool = False
    local: bool = False
    config: str | None = None
    effort: str | None = None
    log_level: str | None = None

    # of some
    json: bool = False
    stream_json: bool = False
    schema: str | None = None
    code: bool = False
    yes: bool = False
    save: bool | None = None
    refresh: bool = False
    plot: bool = False
    trash: bool = False
    force: bool = False
    reasoning: bool = False
    branches: bool = False
    output: str | None = None
    all_into: str | None = None
    format: str = ""
    dry_run: bool = False
    copy: bool = False
    context: int | None = None
    limit: int = 20

    prompt: str = ""
    id: str = ""
    ids: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    title: str = ""
    model_id: str = ""
    query: tuple[str, ...] = ()
    shell: str = ""
