"""Every command of the command line: its arguments, its help, an example, and who runs it."""

from __future__ import annotations

from lmchat.cli.command import JSON, JSON_ANYWAY, Command, argument, switch
from lmchat.cli.session_commands import SESSION_COMMANDS


def _tokens(word: str) -> int:
    """Read a number of tokens; what is none, argparse tells."""
    tokens = int(word)
    if not 0 < tokens <= _MOST_TOKENS:
        raise ValueError
    return tokens


_tokens.__name__ = "number of tokens"  # argparse says "invalid number of tokens value"
_MOST_TOKENS = 100_000_000
_MODEL_ID = argument("model_id", metavar="MODEL", help="name of the model, as `lmchat models` prints it")

_MODELS = Command(
    "models",
    "list the models of the server",
    ("lmchat models", "lmchat models --json | jq -r '.data[].id'", "lmchat models load qwen3-8b"),
    "models:list_models",
    (JSON, switch("--refresh", help="ask the server even if the list is fresh")),
    (
        Command(
            "load",
            "load a model",
            ("lmchat models load qwen3-8b", "lmchat models load qwen3-8b --context 16384"),
            "models:load",
            (
                _MODEL_ID,
                argument(
                    "--context",
                    metavar="TOKENS",
                    type=_tokens,
                    help="how large its window is to be, where the server takes that",
                ),
                JSON,
            ),
        ),
        Command(
            "unload",
            "unload a model",
            ("lmchat models unload qwen3-8b",),
            "models:unload",
            (_MODEL_ID, JSON),
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
        Command("path", "print where the configuration is", ("lmchat config path",), "config:path", (JSON,)),
        Command(
            "show",
            "print what holds and where it comes from; keys are masked",
            ("lmchat config show",),
            "config:show",
            (JSON,),
        ),
        Command(
            "init",
            "write a commented configuration file",
            ("lmchat config init",),
            "config:init",
            (switch("--force", help="overwrite the file that is there"), JSON),
        ),
        Command(
            "check",
            "print what is wrong with the configuration, with line numbers",
            ("lmchat config check",),
            "config:check",
            (JSON,),
        ),
    ),
)
_DOCTOR = Command(
    "doctor",
    "look at servers, network, keys, files, terminal and engine; say what is wrong and the next step",
    ("lmchat doctor", "lmchat doctor clipboard", "lmchat doctor --json | jq -r '.checks[].cause'"),
    "doctor:doctor",
    (JSON,),
    (
        Command(
            "clipboard",
            "try every way to the clipboard and say which works here; what was there is put back",
            ("lmchat doctor clipboard",),
            "doctor:clipboard",
            (JSON,),
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
    Command(
        "health",
        "tell whether the server can answer, as JSON",
        ("lmchat health && echo ready",),
        "servers:health",
        (JSON_ANYWAY,),
        is_json_always=True,
    ),
    Command(
        "detect",
        "look for model servers on this machine, as JSON",
        ("lmchat detect | jq -r .endpoint",),
        "servers:detect",
        (JSON_ANYWAY,),
        is_json_always=True,
    ),
    Command(
        "metrics",
        "print the counters of all runs, as JSON",
        ("lmchat metrics", "lmchat metrics reset"),
        "metrics:show",
        (JSON_ANYWAY,),
        (
            Command(
                "reset",
                "set all counters to 0",
                ("lmchat metrics reset",),
                "metrics:reset",
                (JSON_ANYWAY,),
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
        (JSON, switch("--plot", help="draw the speed of each day instead")),
    ),
    *SESSION_COMMANDS,
    _CONFIG,
    _DOCTOR,
    Command(
        "completion",
        "print a script that completes commands and options in your shell",
        ("lmchat completion bash > ~/.local/share/bash-completion/completions/lmchat",),
        "completion:completion",
        (argument("shell", choices=("bash", "zsh", "fish"), help="your shell"),),
    ),
)
"""In the order of `--help`."""
