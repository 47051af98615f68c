"""Every command of the command line: its arguments, its help, an example, and who runs it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Argument(NamedTuple):
    """One argument, as argparse takes it; a `NamedTuple`, because importing dataclasses costs 16 ms."""

    names: tuple[str, ...]
    """Its name, or its option strings."""
    form: dict[str, Any]
    """All else."""


class Command(NamedTuple):
    """One command."""

    name: str
    """What is typed."""
    help: str
    """One line."""
    examples: tuple[str, ...]
    """Lines that can be tried."""
    handler: str
    """`module:function` below `lmchat.cli`, imported when the command runs."""
    arguments: tuple[Argument, ...] = ()
    """Its own; the shared ones come by themselves."""
    commands: tuple[Command, ...] = ()
    """Actions below it."""
    is_json_always: bool = False
    """Whether its output is JSON without `--json`."""
    notes: str = ""
    """What `--help` says after the examples."""


def _argument(*names: str, **form: Any) -> Argument:
    return Argument(names, form)


def _switch(*names: str, **form: Any) -> Argument:
    return Argument(names, {"action": "store_true", **form})


def _tokens(word: str) -> int:
    """Read a number of tokens; what is none, argparse tells."""
    tokens = int(word)
    if not 0 < tokens <= _MOST_TOKENS:
        raise ValueError
    return tokens


_tokens.__name__ = "number of tokens"  # argparse says "invalid number of tokens value"
_MOST_TOKENS = 100_000_000
_JSON = _switch("--json", help="print one JSON document")
_JSON_ANYWAY = _switch("--json", help="no effect: the output is JSON anyway")
_ID = _argument("id", metavar="ID", help="session: its id, the first 4 or more of it, or `last`")
_MODEL_ID = _argument("model_id", metavar="MODEL", help="name of the model, as `lmchat models` prints it")

_MODELS = Command(
    "models",
    "list the models of the server",
    ("lmchat models", "lmchat models --json | jq -r '.data[].id'", "lmchat models load qwen3-8b"),
    "models:list_models",
    (_JSON, _switch("--refresh", help="ask the server even if the list is fresh")),
    (
        Command(
            "load",
            "load a model",
            ("lmchat models load qwen3-8b", "lmchat models load qwen3-8b --context 16384"),
            "models:load",
            (
                _MODEL_ID,
                _argument(
                    "--context",
                    metavar="TOKENS",
                    type=_tokens,
                    help="how large its window is to be, where the server takes that",
                ),
                _JSON,
            ),
        ),
        Command(
            "unload",
            "unload a model",
            ("lmchat models unload qwen3-8b",),
            "models:unload",
            (_MODEL_ID, _JSON),
        ),
    ),
)
_SESSIONS = Command(
    "sessions",
    "list the saved sessions, newest first",
    ("lmchat sessions", "lmchat sessions show last", "lmchat sessions rename 3f2a 'Plan for the garden'"),
    "sessions:list_sessions",
    (_JSON, _switch("--trash", help="list what was deleted instead")),
    (
        Command("show", "print a session", ("lmchat sessions show last",), "sessions:show", (_ID, _JSON)),
        Command(
            "rename",
            "change the title of a session",
            ("lmchat sessions rename last 'Plan for the garden'",),
            "sessions:rename",
            (_ID, _argument("title", metavar="TITLE", help="the new title"), _JSON),
        ),
        Command(
            "delete",
            "put a session into the trash, where it stays for 30 days",
            ("lmchat sessions delete 3f2a",),
            "sessions:delete",
            (_ID, _JSON),
        ),
        Command(
            "restore",
            "take a session out of the trash",
            ("lmchat sessions restore 3f2a",),
            "sessions:restore",
            (_ID, _JSON),
        ),
        Command(
            "purge",
            "remove a session for good",
            ("lmchat sessions purge 3f2a",),
            "sessions:purge",
            (_ID, _JSON),
        ),
    ),
)
_CONFIG = Command(
    "config",
    "show, make or check the configuration",
    ("lmchat config check",),
    "",
    (),
    (
        Command("path", "print where the configuration is", ("lmchat config path",), "config:path", (_JSON,)),
        Command(
            "show",
            "print what holds and where it comes from; keys are masked",
            ("lmchat config show",),
            "config:show",
            (_JSON,),
        ),
        Command(
            "init",
            "write a commented configuration file",
            ("lmchat config init",),
            "config:init",
            (_switch("--force", help="overwrite the file that is there"), _JSON),
        ),
        Command(
            "check",
            "print what is wrong with the configuration, with line numbers",
            ("lmchat config check",),
            "config:check",
            (_JSON,),
        ),
    ),
)
_DOCTOR = Command(
    "doctor",
    "look at servers, network, keys, files, terminal and engine; say what is wrong and the next step",
    ("lmchat doctor", "lmchat doctor clipboard", "lmchat doctor --json | jq -r '.checks[].cause'"),
    "doctor:doctor",
    (_JSON,),
    (
        Command(
            "clipboard",
            "try every way to the clipboard and say which works here; what was there is put back",
            ("lmchat doctor clipboard",),
            "doctor:clipboard",
            (_JSON,),
        ),
    ),
    notes="Exit codes: 0 all is well or there are warnings only, 1 a fault was found.",
)

COMMANDS: tuple[Command, ...] = (
    Command(
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
            _argument("prompt", metavar="PROMPT", nargs="?", default="", help="what to ask"),
            _switch("--json", help="print one JSON document at the end"),
            _switch("--stream-json", help="print one JSON object a line while the answer arrives"),
            _argument(
                "--schema", metavar="FILE", help="print one JSON value that fits the JSON schema in the file"
            ),
            _switch("--code", help="print the code between fences alone"),
            _switch("--yes", help="with --local: fetch the demo model without asking, if there is none"),
            _switch("--save", help="keep prompt and answer as a session; with -r the default"),
            _argument("--no-save", dest="save", action="store_false", help="keep nothing (else the default)"),
        ),
    ),
    _MODELS,
    Command(
        "health",
        "tell whether the server can answer, as JSON",
        ("lmchat health && echo ready",),
        "servers:health",
        (_JSON_ANYWAY,),
        is_json_always=True,
    ),
    Command(
        "detect",
        "look for model servers on this machine, as JSON",
        ("lmchat detect | jq -r .endpoint",),
        "servers:detect",
        (_JSON_ANYWAY,),
        is_json_always=True,
    ),
    Command(
        "metrics",
        "print the counters of all runs, as JSON",
        ("lmchat metrics", "lmchat metrics reset"),
        "metrics:show",
        (_JSON_ANYWAY,),
        (
            Command(
                "reset",
                "set all counters to 0",
                ("lmchat metrics reset",),
                "metrics:reset",
                (_JSON_ANYWAY,),
                is_json_always=True,
            ),
        ),
        is_json_always=True,
    ),
    Command(
        "stats",
        "print how fast each model was, over all turns: 50th and 95th percentiles, by server",
        ("lmchat stats", "lmchat stats --plot", "lmchat stats --json | jq '.data[0].ttft_ms'"),
        "stats:stats",
        (_JSON, _switch("--plot", help="draw the speed of each day instead")),
    ),
    _SESSIONS,
    Command(
        "search",
        "search the text of all sessions",
        ('lmchat search "shade vegetables"',),
        "sessions:search",
        (_argument("query", metavar="QUERY", nargs="+", help="words to look for"), _JSON),
    ),
    Command(
        "export",
        "print a session as Markdown",
        ("lmchat export last > garden.md", "lmchat export 3f2a -o garden.md", "lmchat export --all backup"),
        "export:export",
        (
            _argument("id", metavar="ID", nargs="?", default="", help="session; default: `last`"),
            _argument("-o", "--output", metavar="FILE", help="write into a file"),
            _argument(
                "--format",
                choices=("md", "json", "html", "txt"),
                help="default: by the name of the file, else md",
            ),
            _argument("--all", metavar="DIR", dest="all_into", help="write every session into a folder"),
            _switch("--reasoning", help="with what the models thought"),
            _switch("--force", help="overwrite files that are there"),
            _switch("--json", help="print one JSON document: the session, or the names of the files"),
        ),
    ),
    _CONFIG,
    _DOCTOR,
    Command(
        "completion",
        "print a script that completes commands and options in your shell",
        ("lmchat completion bash > ~/.local/share/bash-completion/completions/lmchat",),
        "completion:completion",
        (_argument("shell", choices=("bash", "zsh", "fish"), help="your shell"),),
    ),
)
"""In the order of `--help`."""
