"""Commands of the command line: arguments, help, examples and handlers."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterator
from typing import Any, NamedTuple

from lmchat import __version__
from lmchat.app.cli.options import LEVELS
from lmchat.base.leaf import has_leaf, leaf
from lmchat.core.config.settings import EFFORTS, effort_of
from lmchat.core.formats.exports import EXPORT_FORMATS
from lmchat.core.formats.programs import program_names

_JSON_HELP = "print one JSON document"
ALWAYS_JSON = "no effect: the output is always JSON"  # help of `--json`
_PROGRAM_NAMES = tuple(program_names(leaf("imports:PROGRAMS", ())))
_MAX_DIGITS = 9  # so that a number fits into 32 bits


class Argument(NamedTuple):
    """Option or positional argument, as `add_argument` of argparse takes it."""

    names: tuple[str, ...]
    keywords: dict[str, Any]

    @property
    def is_option(self) -> bool:
        return self.names[0].startswith("-")

    @property
    def value(self) -> str:
        """Name of the value, or the choices; "" for a switch."""
        choices = "{" + ",".join(self.keywords.get("choices", ())) + "}"
        return self.keywords.get("metavar") or choices.removeprefix("{}")

    @property
    def spelling(self) -> str:
        """The names and the value, as in a list of arguments."""
        return f"{', '.join(self.names)} {self.value}".rstrip() if self.is_option else self.value


class Subcommand(NamedTuple):
    """A command, such as `sessions`, or an action of it, such as `sessions show`."""

    name: str
    help: str
    examples: str  # one a line
    arguments: tuple[Argument, ...] = ()
    commands: tuple[Subcommand, ...] = ()  # its actions
    handler: str = ""
    """`module:function` in `lmchat.app.cli.handlers`; that of a leaf is `leaf.module:function`."""
    common: tuple[str, ...] = ()  # those of `COMMON_ARGUMENTS` that it takes, but `--log-level`
    group: str = ""  # heading in the help of `lmchat`, which leaves it out without one
    json_help: str = _JSON_HELP  # of `--json`; "" where there is no such option
    notes: str = ""  # in `--help`, after the examples
    exclusive: tuple[tuple[str, ...], ...] = ()  # groups of options that exclude each other
    names_left_files: bool = True  # on stderr; the doctor has rows for them

    @property
    def is_here(self) -> bool:
        """False for a command of a leaf that this build lacks."""
        name, is_of_leaf, _ = self.handler.partition(".")
        return not is_of_leaf or has_leaf(name)

    @property
    def all_arguments(self) -> tuple[Argument, ...]:
        """Add `--json` where the command has it."""
        if not self.json_help:
            return self.arguments
        return (*self.arguments, argument("--json", self.json_help))

    @property
    def common_arguments(self) -> Iterator[Argument]:
        return (one for one in COMMON_ARGUMENTS if one.names[-1] in (*self.common, "--log-level"))


def argument(spelling: str, help: str, **keywords: Any) -> Argument:  # noqa: A002 - argparse's word
    """Return an argument that is written as in a help text.

    `-o --output FILE` is an option with a value, `id ID` a positional argument, `--yes` a switch.
    An option without a name for its value is a switch only without keywords: `choices` gives
    `--format` a value.
    """
    *names, last_word = spelling.split()
    if last_word.isupper():
        keywords["metavar"] = last_word
    else:
        names.append(last_word)
        if not keywords:
            keywords["action"] = "store_true"
    return Argument(tuple(names), {**keywords, "help": help})


def positive_number(word: str) -> int:
    """Read a whole number from 1 that fits into 32 bits, as a `type` of argparse."""
    if word.isdecimal() and len(word) <= _MAX_DIGITS and int(word):
        return int(word)
    raise ArgumentTypeError("must be a whole number of at least 1")


def port_number(word: str) -> int:
    """0 means any free port."""
    return 0 if word == "0" else positive_number(word)


def _effort(word: str) -> str:
    if effort := effort_of(word):
        return effort
    raise ArgumentTypeError(f"must be {', '.join(EFFORTS)}, or a number of tokens")


# Of the chat, and of the commands that name them. They have no defaults here, which would overwrite
# an option that is typed before the command.
COMMON_ARGUMENTS: tuple[Argument, ...] = (
    argument("--endpoint URL", "address or name of the server; default: a search"),
    argument(
        "--allow-host HOST",
        "allow a host other than this machine",
        dest="allowed_hosts",
        action="append",
    ),
    argument("-m --model MODEL", "model to use", dest="models", action="append"),
    argument("--profile NAME", "profile of the configuration to use"),
    argument("--system TEXT", "system prompt", dest="system_prompt"),
    argument(
        "--effort LEVEL",
        f"how much the model thinks: {', '.join(EFFORTS)}, or a number of tokens",
        type=_effort,
    ),
    argument(
        "--set NAME=VALUE",
        "sampling option, such as top_k=40; may be repeated",
        dest="sampling",
        action="append",
    ),
    argument(
        "-r --resume ID",
        "continue a session: its id, 4 letters of it, or `last`",
    ),
    argument("--temporary", "do not save this session"),
    argument(
        "--local",
        "use the built-in engine, with -m FILE.gguf or USER/REPO",
    ),
    argument("--plain", "chat line by line, for screen readers and TERM=dumb"),
    argument("--inline", "chat in the terminal's scrollback, with formatted answers"),
    argument("--config FILE", "configuration file to use instead of the usual one"),
    argument(
        "--log-level LEVEL",
        f"what to log, never chat text: {', '.join(LEVELS)}",
        choices=LEVELS,
    ),
)
_SERVER = ("--endpoint", "--allow-host", "--config")
_MODEL = (*_SERVER, "--model", "--profile")
_SETTINGS = (*_MODEL, "--system", "--effort")
_PROMPT = (*_SETTINGS, "--set")
_TOOL = ("--allow-host", "--config")

_YES = argument("--yes", "with --local, download the model without asking")
_ID = argument("id ID", "session id, its first 4 or more characters, or `last`")
_MODEL_ID = argument("model_id MODEL", "name of the model, or a part of it that no other name has")

_ASK = Subcommand(
    "ask",
    "send one prompt and print the answer; stdin is appended to it",
    """\
lmchat ask "Which vegetables grow in shade?"
git diff | lmchat ask "Write a commit message"
lmchat ask -f garden.png "What grows here?"
lmchat ask --json "Hello" | jq -r .reply
lmchat ask --schema person.json "Who wrote Emma?" | jq -r .name
lmchat ask --local --yes "Hello"
lmchat ask --tools "What time is it?"
lmchat ask --code "A shell loop over all .txt files" > loop.sh
lmchat ask --dry-run=curl "Hello" > request.sh""",
    (
        argument("prompt PROMPT", "question or instruction for the model", nargs="?"),
        argument("-p --preset NAME", "preset of the configuration; the prompt becomes its input"),
        argument(
            "-f --file FILE",
            "attach a text, an image or a PDF, the texts of a folder or of a pattern such as "
            "'src/*.py', or a page (https://…, with --allow-host); may be repeated",
            dest="files",
            action="append",
        ),
        argument("--start TEXT", "let the answer begin with a text, where the server can do that"),
        argument(
            "--dry-run --dry-run=json",
            "print the JSON of the request, and send nothing",
            dest="dry_run_form",
            action="store_const",
            const="json",
        ),
        argument(
            "--dry-run=curl",
            "print a shell command that sends the request",
            dest="dry_run_form",
            action="store_const",
            const="curl",
        ),
        argument("--stream-json", "print one JSON object per line while the answer streams"),
        argument(
            "--schema FILE", "print one JSON value that matches a JSON schema, in a file or typed"
        ),
        argument("--code", "print only the code blocks"),
        argument(
            "--tools", "let the model use the configured tools; asks before each call that needs it"
        ),
        argument("--yes", "attach many files, and with --local download the model, without asking"),
        argument("--save", "save prompt and answer as a session; the default with -r"),
        argument(
            "--no-save", "save nothing; the default without -r", dest="save", action="store_false"
        ),
    ),
    json_help="print one JSON document at the end",
    notes="ask reads standard input to its end; in a loop that reads lines, add </dev/null.",
    common=(*_PROMPT, "--resume", "--temporary", "--local"),
    group="Chat",
    handler="ask:ask",
    exclusive=(
        ("--stream-json", "--json", "--dry-run", "--dry-run=curl"),
        ("--schema", "--code"),
    ),
)
_MODELS = Subcommand(
    "models",
    "list the models of the server",
    "lmchat models\nlmchat models --json | jq -r '.data[].id'\nlmchat models load qwen3-8b",
    commands=(
        Subcommand(
            "load",
            "load a model",
            "lmchat models load qwen3-8b\nlmchat models load qwen3-8b --context 16384",
            (
                _MODEL_ID,
                argument(
                    "--context TOKENS",
                    "size of the context window, if the server supports that",
                    type=positive_number,
                ),
            ),
            common=_SERVER,
            handler="models:load",
        ),
        Subcommand(
            "unload",
            "unload a model",
            "lmchat models unload qwen3-8b",
            (_MODEL_ID,),
            common=_SERVER,
            handler="models:unload",
        ),
        Subcommand(
            "pull",
            "let the server download a model; Ctrl+C stops it",
            "lmchat models pull llama3.2\nlmchat models pull ggml-org/gemma-3-4b-it-GGUF",
            (argument("model_id NAME", "name of the model, as the server's own program takes it"),),
            notes="Ollama, LM Studio 0.4 and the router of llama.cpp can do that. Of several,\n"
            "it is the server of the chat if that can; --endpoint names another one.",
            common=_MODEL,
            handler="models:pull",
        ),
        Subcommand(
            "rm",
            "let the server delete a model from its disk; asks first",
            "lmchat models rm llama3.2\nlmchat models rm llama3.2 --yes",
            (
                argument("model_id MODEL", "whole name of the model"),
                argument("--yes", "do not ask"),
            ),
            common=_SERVER,
            handler="models:rm",
        ),
    ),
    notes="STATE is loaded, asleep, loading, not loaded or remote.\n"
    "A remote model does not run where its server runs; --json has runs_at.",
    common=(*_SERVER, "--local"),
    group="Chat",
    handler="models:list_models",
)
_COMPARE = Subcommand(
    "compare",
    "send one prompt to several models; print answers and speeds",
    """\
lmchat compare -m qwen3-8b -m gemma-3-4b "Which herbs grow in shade?"
lmchat compare -m qwen3-8b -m gemma-3-4b --runs 5 --json Hello""",
    (
        argument("prompt PROMPT", "question or instruction for the models", nargs="?"),
        argument(
            "--runs N", "ask each model N times and print medians; default: 1", type=positive_number
        ),
    ),
    notes="Name each model with -m. Models are loaded first, if the server supports it.\n"
    "Exit codes: 0 all answered, 1 one of them failed.",
    common=_PROMPT,
    group="For scripts",
    handler="batch.compare:compare",
)
_DECIDE = Subcommand(
    "decide",
    "let the model choose one of 2 to 20 options",
    """\
cat mail.txt | lmchat decide "Is this mail spam?" && mv mail.txt spam/
cat mail.txt | lmchat decide "What is it about?" --options order,bill,other
cat mail.txt | lmchat decide --json "Is it polite?" | jq .probabilities.yes""",
    (
        argument("prompt QUESTION", "question that one of the options answers"),
        argument(
            "--options OPTIONS",
            "options, separated by commas; default: yes,no",
            dest="choices",
        ),
        _YES,
    ),
    notes="stdin is appended to the question.\n"
    "The model is asked once for each option, in another order, for one token.\n"
    "The probabilities are the means of these answers. Thinking is switched off, and\n"
    "samplers that would change them, such as the temperature, have no effect.\n"
    "Exit codes: 0 the first option, 10 another one, 1 no decision.",
    common=(*_MODEL, "--system", "--set", "--local"),
    group="For scripts",
    handler="batch.decide:decide",
)
_BATCH = Subcommand(
    "batch",
    "answer many prompts, one a line; prints one JSON object a line",
    """\
lmchat batch prompts.jsonl -o answers.jsonl
lmchat batch --text questions.txt -o answers.jsonl --jobs 4
lmchat batch prompts.jsonl --schema person.json | jq -r .value.name""",
    (
        argument(
            "file FILE",
            'a line for each prompt: {"prompt"}, {"messages"} or OpenAI\'s batch format; text '
            "needs --text; default: stdin",
            nargs="?",
        ),
        argument(
            "-o --output FILE",
            "write to a file, or - for stdout; the same command again does what is missing or has "
            "failed",
        ),
        argument("--text", "take each line as a prompt", dest="is_text", action="store_true"),
        argument(
            "--jobs N",
            "prompts at once; default: as many as the server has slots, at most 8",
            type=positive_number,
        ),
        argument("-p --preset NAME", "preset of the configuration; each prompt becomes its input"),
        argument("--schema FILE", "each answer must match this JSON schema, in a file or typed"),
        argument("--force", "replace an output file of another run"),
        _YES,
    ),
    json_help="",
    notes="Exit codes: 0 all answered, 1 a line failed (it says why), 130 after Ctrl+C.",
    common=(*_PROMPT, "--local"),
    group="For scripts",
    handler="batch.batch:batch",
)
_SERVE = Subcommand(
    "serve",
    "give other programs one address for all servers of this machine",
    """\
lmchat serve
lmchat serve --port 9000
lmchat serve --host 192.168.1.20 --key garden-gate""",
    (
        argument("--port PORT", "port to listen at; default: 8642", type=port_number),
        argument("--host ADDRESS", "address to listen at; default: 127.0.0.1; others need --key"),
        argument("--key KEY", "API key that programs have to send; default: LMCHAT_SERVE_KEY"),
    ),
    json_help="",
    notes="Other programs use the address http://127.0.0.1:8642/v1 and any API key.\n"
    "Paths: /v1/models, /v1/chat/completions, /v1/completions, /v1/embeddings,\n"
    "/v1/responses, /v1/responses/input_tokens, /v1/messages,\n"
    "/v1/messages/count_tokens, /v1/rerank; /health, /models, /detect-endpoint,\n"
    "/chat/completions, /metrics, /metrics/reset. A model of several servers is\n"
    "also there as NAME@PRODUCT.",
    common=_MODEL,
    group="Chat",
    handler="serve.serve:serve",
)
_EVAL = Subcommand(
    "eval",
    "test models with your own prompts; print how many answers pass",
    """\
lmchat eval cases.toml -m qwen3-8b -m gemma-3-4b
lmchat eval cases.toml -m qwen3-8b --runs 5
lmchat eval cases.toml --json | jq '.cases[] | select(.passed | not) | .name'""",
    (
        argument("file FILE", "file of cases in TOML; docs/scripts.md describes it"),
        argument(
            "-o --output FILE",
            "write the answers to a file; the same command again asks only for what is missing",
        ),
        argument("--runs N", "ask each prompt N times; default: 1", type=positive_number),
        argument("--force", "replace an output file of another run"),
        _YES,
    ),
    notes="Name models with -m, but only one with --local; without it, the one that\n"
    "`ask` would use is asked.\n"
    "Exit codes: 0 all passed, 1 one of them failed, 130 after Ctrl+C.",
    common=(*_PROMPT, "--local"),
    group="For scripts",
    handler="batch.eval:evaluate",
)
_TOOLS = Subcommand(
    "tools",
    "list the tools that models can use, and their servers",
    """\
lmchat tools
lmchat tools --json | jq -r '.data[].tools[].name'
lmchat tools call files/read_text '{"path": "a.md"}'
lmchat tools add time -- uvx mcp-server-time""",
    commands=(
        Subcommand(
            "list",
            "list the tools and the servers, as without an action",
            "lmchat tools list",
            handler="tools:list_tools",
            common=_TOOL,
        ),
        Subcommand(
            "add",
            "start a server and add it to mcp.json",
            """\
lmchat tools add time -- uvx mcp-server-time
lmchat tools add --env WIKI_KEY wiki -- npx -y wiki-server
lmchat tools add wiki https://wiki.example/mcp
lmchat tools add --from ~/.lmstudio/mcp.json""",
            (
                argument("server NAME", "name of the server", nargs="?"),
                argument(
                    "words COMMAND",
                    "command that starts it, behind --; or its address",
                    nargs="*",
                ),
                argument(
                    "--from FILE",
                    "add the servers of a file of LM Studio, Claude, Cursor, VS Code or Zed, or "
                    "the one that NAME names",
                    dest="from_file",
                ),
                argument(
                    "--env VARIABLE",
                    "variable of your environment that the server gets; may be repeated",
                    dest="variables",
                    action="append",
                ),
                argument("--yes", "start and connect without asking"),
            ),
            notes="Options come before the name. The servers are in mcp.json, beside config.toml.\n"
            "They start in that folder: write whole paths of files, as /home/me/srv.py.\n"
            "Exit codes: 0 all were added, 1 one was not.",
            handler="tool_servers:add",
            common=_TOOL,
        ),
        Subcommand(
            "remove",
            "remove a server from mcp.json",
            "lmchat tools remove time",
            (argument("server NAME", "name of the server"),),
            handler="tool_servers:remove",
            common=("--config",),
        ),
        Subcommand(
            "call",
            "run a tool and print its result, without asking",
            'lmchat tools call files/read_text \'{"path": "a.md"}\'',
            (
                argument("tool SERVER/TOOL", "name of the tool, as `lmchat tools` prints it"),
                argument(
                    "arguments JSON", "its arguments, one JSON object; default: none", nargs="?"
                ),
            ),
            notes="Exit codes: 0 success, 1 the tool failed, 2 unknown tool or no JSON object.",
            common=_TOOL,
            handler="tools:call",
        ),
    ),
    common=_TOOL,
    group="Chat",
    handler="tools:list_tools",
)
_METRICS = Subcommand(
    "metrics",
    "print the counters of all runs that have ended, as JSON",
    "lmchat metrics\nlmchat metrics reset",
    commands=(
        Subcommand(
            "reset",
            "set all counters to 0",
            "lmchat metrics reset",
            json_help=ALWAYS_JSON,
            handler="stats:reset_metrics",
        ),
    ),
    json_help=ALWAYS_JSON,
    notes="averageResponseTime: milliseconds, of successful requests; retries: attempts\n"
    "after the first; cacheHits, cacheMisses: lists of models from the cache, or from\n"
    "a search for servers; refusedRequests: those that lmchat did not send, not in\n"
    "totalRequests.",
    handler="stats:metrics",
)
_SESSIONS = Subcommand(
    "sessions",
    "list the saved sessions: first the pinned ones, then the newest",
    "lmchat sessions\nlmchat sessions show last\nlmchat sessions rename 3f2a 'Plan for the garden'",
    (argument("--trash", "list deleted sessions instead"),),
    (
        Subcommand(
            "show", "print a session", "lmchat sessions show 3f2a", (_ID,), handler="sessions:show"
        ),
        Subcommand(
            "rename",
            "change the title of a session",
            "lmchat sessions rename 3f2a 'Plan for the garden'",
            (_ID, argument("title TITLE", "the new title")),
            handler="sessions:rename",
        ),
        Subcommand(
            "delete",
            "move sessions to the trash, where they stay for 30 days",
            "lmchat sessions delete 3f2a",
            (argument("ids ID", "session ids, as for show", nargs="+"),),
            handler="sessions:delete",
        ),
        Subcommand(
            "restore",
            "restore sessions from the trash",
            "lmchat sessions restore 3f2a",
            (argument("ids ID", "session ids, as for show", nargs="+"),),
            handler="sessions:restore",
        ),
        Subcommand(
            "recover",
            "keep a damaged sessions.db aside, and use the newest daily backup",
            "lmchat sessions recover",
            handler="sessions:recover",
        ),
        Subcommand(
            "purge",
            "delete a session permanently, or empty the trash",
            "lmchat sessions purge 3f2a\nlmchat sessions purge --yes",
            (
                argument(
                    "id ID",
                    "session id; without it: everything in the trash, and all deleted messages, "
                    "but not what another lmchat has open",
                    nargs="?",
                ),
                argument("--yes", "do not ask"),
            ),
            handler="sessions:purge",
        ),
    ),
    group="Your chats",
    handler="sessions:list_sessions",
)
_SEARCH = Subcommand(
    "search",
    "search the text of all sessions",
    'lmchat search "shade vegetables"\nlmchat search has:code after:2026-11-01 --limit 100',
    (
        argument("query QUERY", "words to search for", nargs="+"),
        argument("--limit N", "print at most N hits; default: 20", type=positive_number),
    ),
    group="Your chats",
    handler="sessions:search",
)
_EXPORT = Subcommand(
    "export",
    "print a session as Markdown",
    """\
lmchat export last > garden.md
lmchat export 3f2a -o garden.md
lmchat export --all backup --format json""",
    (
        argument("id ID", "session id; default: `last`", nargs="?"),
        argument("-o --output FILE", "write to a file, or - for stdout"),
        argument(
            "--format",
            "default: from the file name, otherwise md",
            choices=tuple(EXPORT_FORMATS),
        ),
        argument("--all DIR", "write every session to a folder", dest="all_into"),
        argument("--reasoning", "include the reasoning of the models"),
        argument("--branches", "include all versions of prompts and answers; JSON always does"),
        argument("--force", "overwrite existing files"),
    ),
    json_help="print one JSON document: the session, or the file names",
    common=("--resume",),
    group="Your chats",
    handler="export:export",
)
_IMPORT = Subcommand(
    "import",
    "import chats of other programs, exports, lists of messages",
    """\
lmchat import garden.json
lmchat import --from all
lmchat import ~/Downloads/chatgpt.zip
lmchat import --dry-run backup
curl -s https://example.org/chat.json | lmchat import -""",
    (
        argument("files FILE", "file, folder, zip or database, or - for stdin", nargs="*"),
        argument(
            "--from NAME",
            "`auto` recognises the format; `all` looks for the chats of other programs on this "
            "machine, and a name without FILE for those of one program: "
            + ", ".join(_PROGRAM_NAMES),
            dest="source",
            choices=("auto", "all", *_PROGRAM_NAMES),
        ),
        argument("--dry-run", "show what would be imported, without writing anything"),
        argument("--yes", "without FILE: do not ask"),
    ),
    notes="An export of lmchat, or a list of {role, content}, is imported, too.\n"
    "A chat that is there gets the messages that it lacks.\n"
    "The last line on stdout lists the session ids.\n"
    "Exit codes: 0 all that can be read was imported,\n1 a file was rejected.",
    group="Your chats",
    handler="import_:import_files",
)
_CONFIG = Subcommand(
    "config",
    "show, create or check the configuration",
    "lmchat config\nlmchat config check",
    common=_SETTINGS,
    group="Look after it",
    handler="config:show",
    commands=(
        Subcommand(
            "path",
            "print where the configuration file is; with --json, where all files are",
            "lmchat config path",
            common=("--config",),
            handler="config:path",
        ),
        Subcommand(
            "show",
            "show the effective settings and where each comes from; API keys are masked",
            "lmchat config show",
            common=_SETTINGS,
            handler="config:show",
        ),
        Subcommand(
            "init",
            "write a commented configuration file",
            "lmchat config init",
            (argument("--force", "overwrite an existing file"),),
            common=("--config",),
            handler="config:init",
        ),
        Subcommand(
            "check",
            "print problems in the configuration, with line numbers",
            "lmchat config check",
            common=("--config", "--profile"),
            handler="config:check",
        ),
    ),
)
_DOCTOR = Subcommand(
    "doctor",
    "check servers, API keys, files, terminal, engine and tools",
    "lmchat doctor\nlmchat doctor --json | jq -r '.checks[].cause'",
    notes="Each problem is shown with its next step.\n"
    "Exit codes: 0 no problems (there may be warnings), 1 a problem was found.",
    common=_MODEL,
    group="Look after it",
    handler="doctor.doctor:doctor",
    names_left_files=False,
)

# In the order of the help.
_ALL: tuple[Subcommand, ...] = (
    _ASK,
    _MODELS,
    _TOOLS,
    _SERVE,
    _SESSIONS,
    _SEARCH,
    _EXPORT,
    _IMPORT,
    _BATCH,
    _DECIDE,
    _EVAL,
    _COMPARE,
    _DOCTOR,
    _CONFIG,
    Subcommand(
        "stats",
        "print the speed of each model: median and 95th percentile",
        "lmchat stats\nlmchat stats --json | jq '.data[0].ttft_ms'",
        group="Look after it",
        handler="stats:stats",
    ),
    Subcommand(
        "completion",
        "print a script that completes words in your shell",
        "lmchat completion bash > ~/.local/share/bash-completion/completions/lmchat\n"
        "lmchat completion fish > ~/.config/fish/completions/lmchat.fish",
        (argument("shell SHELL", "bash, zsh or fish", choices=("bash", "zsh", "fish")),),
        notes="For zsh, write into ~/.zshrc, behind compinit: source <(lmchat completion zsh)",
        json_help="",
        group="Look after it",
        handler="completion:completion",
        names_left_files=False,
    ),
    Subcommand(
        "health",
        "check whether the server can answer, as JSON",
        "lmchat health && echo ready",
        json_help=ALWAYS_JSON,
        notes="healthy, llm_available: a server can be used; models: how many it has.\n"
        "status is ok, degraded (first choose or load a model) or error.\n"
        "orchestrator_ready: the configuration has no problems.\n"
        "Exit codes: 0 healthy, 1 not, 2 wrong address, model or configuration.",
        common=_MODEL,
        handler="models:health",
    ),
    Subcommand(
        "detect",
        "find model servers, as JSON",
        "lmchat detect | jq -r .endpoint",
        json_help=ALWAYS_JSON,
        common=_MODEL,
        handler="models:detect",
    ),
    _METRICS,
)
SUBCOMMANDS = tuple(one for one in _ALL if one.is_here)
MISSING = tuple(one.name for one in _ALL if not one.is_here)
PROGRAM = Subcommand(
    "lmchat",
    "",
    "",
    (
        argument(
            "--version", "print the version", action="version", version=f"lmchat {__version__}"
        ),
    ),
    SUBCOMMANDS,
    common=tuple(one.names[-1] for one in COMMON_ARGUMENTS),
    json_help="",
)
