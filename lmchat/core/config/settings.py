"""All settings as frozen values: name, type, default, limits and help of each key; their origins.

Loader, example file and reference page derive from the `Meta` in each field's annotation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct
from msgspec.structs import asdict, fields, force_setattr

# Levels of how much a model may be asked to think, least first; not every server takes all.
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
EFFORT_FORM = f"one of {', '.join(EFFORTS)}, or a number of tokens"
# an int becomes a text in the form of `effort_of` once it is read
Effort = (
    Annotated[str, Meta(pattern=rf"^({'|'.join(EFFORTS)}|[0-9]{{1,7}}|)\Z")]
    | Annotated[int, Meta(ge=0, le=9_999_999)]
)
PanelSection = Literal["server", "model", "context", "turn", "requests", "activity"]
PANEL_SECTIONS: tuple[PanelSection, ...] = get_args(PanelSection)
Stuck = Literal["tell", "act", "off"]
FUNCTIONS = "python"  # name of the tool server of the functions in `tools.py`
COMPACT_PROMPT = (
    "Summarise our conversation so far. The summary takes the place of these messages, so keep "
    "all facts, names, numbers, code, decisions and open questions that we may need again. "
    "Answer with the summary alone, in the language of the conversation."
)
# arguments of `setting` for an API key, and for a path
_API_KEY: Mapping[str, Any] = {
    # fits the texts that `header_value` takes, but for "$OPENAI_API_KEY" and "${OPENAI_API_KEY}"
    "pattern": r"^(?!\$\{?[A-Z_]+\}?\Z)\s*[ -~]*\s*\Z",
    "expected": "a string in quotes without control characters and letters beyond ASCII; "
    "api_key_env of [[endpoints]] takes the name of a variable",
}
_PATH: dict[str, Any] = {
    "pattern": r"^[^\x00-\x1f]*\Z",  # "C:\new" has a line end in TOML
    "expected": r"a path; write one with \ in single quotes: 'C:\new'",
}
_PATH_IN_JSON = _PATH | {"expected": "a path without control characters; write \\\\ for \\"}
_HEADERS = {"expected": "values in quotes by names of HTTP headers, but for Content-Length"}
_Headers = Mapping[  # RFC 9110, 5.1
    Annotated[
        str,
        Meta(pattern=r"(?ai)^(?!(content-length|transfer-encoding)\Z)[!#$%&'*+.^_`|~0-9a-z-]+\Z"),
    ],
    str,
]
_DAY_S = 86_400


Approval = Literal["never", "ask", "always"]
"""Whether a tool may run: with "ask", if the user agrees when it is called."""


class Level(StrEnum):
    """A kind of place that sets values."""

    DEFAULT = "default"
    FILE = "file"
    PROFILE = "profile"
    ENVIRONMENT = "environment"
    COMMAND_LINE = "flag"
    SESSION = "session"  # by `/set`; it and `/effort` set sampling options only
    EFFORT = "/effort"


class Origin(Struct, frozen=True):
    """The place that sets a value."""

    level: Level
    label: str  # for the user, such as "file (config.toml)" or "profile short"
    name: str = ""  # of the file, variable or flag alone; empty if `named_origin` did not make it


DEFAULT = Origin(Level.DEFAULT, "default")


def named_origin(level: Level, name: str) -> Origin:
    """Return the origin in a file, variable or flag, with words such as "file (config.toml)"."""
    return Origin(level, f"{level} ({name})", name)


def setting(description: str, *, example: object = None, expected: str = "", **limits: Any) -> Meta:
    """Return the help and limits of a setting, for its annotation.

    `example` is shown where the setting has no default. `expected` says what a value with a pattern
    must be. `limits` are further arguments of `Meta`.
    """
    examples = None if example is None else [example]
    return Meta(
        description=description,
        examples=examples,
        extra={"expected": expected} if expected else None,
        **limits,
    )


@cache
def declared(table: type[Struct]) -> Mapping[str, tuple[Any, Meta]]:
    """Return type, without `| None`, and `Meta` of each setting."""
    return {
        name: get_args(hint if get_origin(hint) is Annotated else get_args(hint)[0])
        for name, hint in get_type_hints(table, include_extras=True).items()
    }


def effort_of(value: object) -> str | None:
    """Return a level, or a number of tokens as text; 0 becomes "none". Else return None."""
    text = str(value)
    if text in EFFORTS:
        return text
    if re.fullmatch("[0-9]{1,7}", text) is None:
        return None
    return str(int(text)) if int(text) else "none"


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the tables of `config.toml`; a table has no other keys than the fields of its class.

    None means that a field is not set. So does "", if it is the default.
    """


class Secret(Table, frozen=True, kw_only=True):
    """Values that may hold an API key: printed, they show only the name of their class."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


def non_default_values(table: Struct) -> dict[str, Any]:
    """Return the values that differ from their defaults; others count as not set."""
    defaults = {field.name: field.default for field in fields(table)}
    return {name: value for name, value in asdict(table).items() if value != defaults[name]}


class SamplingSettings(Table, frozen=True, kw_only=True):
    """Sampling options; what is unset is not sent."""

    temperature: (
        Annotated[float, setting("randomness; unset: the server decides", ge=0, le=2, example=0.7)]
        | None
    ) = None
    top_p: (
        Annotated[
            float,
            setting("nucleus sampling; unset: the server decides", ge=0, le=1, example=0.95),
        ]
        | None
    ) = None
    top_k: (
        Annotated[
            int,
            setting("only the likeliest tokens; 0: all of them", ge=0, le=1_000_000, example=40),
        ]
        | None
    ) = None
    min_p: (
        Annotated[
            float,
            setting("least probability beside the likeliest token", ge=0, le=1, example=0.05),
        ]
        | None
    ) = None
    typical_p: (
        Annotated[float, setting("locally typical sampling; 1: off", ge=0, le=1, example=0.95)]
        | None
    ) = None
    max_tokens: (
        Annotated[
            int,
            setting(
                "longest answer in tokens; unset: the server decides",
                ge=1,
                le=10_000_000,
                example=2048,
            ),
        ]
        | None
    ) = None
    stop: Annotated[tuple[str, ...], setting("strings that end an answer", example=["###"])] = ()
    seed: (
        Annotated[
            int,
            setting(
                "for repeatable answers, if the server supports it; unset: a random one",
                ge=-1,
                le=2**32 - 2,
                example=42,
            ),
        ]
        | None
    ) = None
    repeat_penalty: (
        Annotated[
            float, setting("penalty for repeated tokens; 1: off", ge=0.01, le=10, example=1.1)
        ]
        | None
    ) = None
    presence_penalty: (
        Annotated[float, setting("penalty for tokens that occurred", ge=-2, le=2, example=0.5)]
        | None
    ) = None
    frequency_penalty: (
        Annotated[float, setting("penalty for frequent tokens", ge=-2, le=2, example=0.5)] | None
    ) = None
    logit_bias: (
        Annotated[
            Mapping[str, float],
            setting("bias of tokens by their numbers", example={"15043": 5}),
        ]
        | None
    ) = None
    reasoning_effort: Annotated[
        Effort,
        setting(
            'how much the model thinks before it answers, if supported; "none" turns reasoning off',
            expected=EFFORT_FORM,
        ),
    ] = ""
    logprobs: (
        Annotated[
            int,
            setting(
                "number of alternatives that come with their probabilities", ge=1, le=100, example=5
            ),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        if effort := effort_of(self.reasoning_effort):
            force_setattr(self, "reasoning_effort", effort)


class ChatSettings(SamplingSettings, frozen=True, kw_only=True):
    """The section `[chat]`: sampling, and how lmchat sends messages and reads answers."""

    system_prompt: Annotated[str, setting("instructions sent at the start of every session")] = ""
    auto_truncate: Annotated[
        bool,
        setting(
            "leave out the oldest messages when the context window is full; false: show an error "
            "instead"
        ),
    ] = True
    think_tags: Annotated[
        bool,
        setting(
            "treat text between `<think>` and `</think>`, or the tags of other models, as reasoning"
            "; false: show it as answer"
        ),
    ] = True
    auto_title: Annotated[
        bool,
        setting(
            "on the screen, let the model name a session after its first answer, "
            "with a short request of its own"
        ),
    ] = False
    compact_prompt: Annotated[
        str, setting("the prompt of `/compact`, which asks for a summary of the older messages")
    ] = COMPACT_PROMPT
    auto_compact: Annotated[
        bool,
        setting(
            "compact before a prompt is sent that fills more than 80 % of the context window; "
            "not in `lmchat ask`"
        ),
    ] = False

    read_ahead: Annotated[
        Literal["local", "always", "never"],
        setting(
            "while you type, let llama.cpp and the built-in engine read the session so far: "
            '"local": on this machine only; "always": on other machines too; "never"'
        ),
    ] = "local"
    shell: Annotated[
        str,
        setting(
            "program that runs `!` commands, such as pwsh; unset: $SHELL, on Windows %COMSPEC%",
            **_PATH,
        ),
    ] = ""
    stuck: Annotated[
        Stuck,
        setting(
            'if a model repeats itself for 8,000 tokens: "tell": you are told; "act": lmchat ends '
            'the thought, or stops the answer; "off"'
        ),
    ] = "tell"


class LimitSettings(Table, frozen=True, kw_only=True):
    """Limits on requests."""

    requests_per_minute: Annotated[
        int,
        setting(
            "maximum number of chat requests per minute; those of batch, eval and compare to this "
            "machine do not count",
            ge=1,
            le=100_000,
        ),
    ] = 60
    max_body_mb: Annotated[
        float, setting("maximum size of a request in MB, without images", ge=0.001, le=10_000)
    ] = 10
    models_ttl_s: Annotated[
        float,
        setting("seconds until lmchat asks for the list of models again", ge=0, le=365 * _DAY_S),
    ] = 600
    # Attempts, and not retries: the name stays, as the files of users have it.
    retries: Annotated[int, setting("number of attempts, including the first", ge=1, le=20)] = 3
    retry_base_s: Annotated[
        float,
        setting("seconds before the second attempt; the delay doubles each time", ge=0, le=3600),
    ] = 1
    retry_max_s: Annotated[float, setting("longest delay in seconds", ge=0, le=3600)] = 30


class ServeSettings(Table, frozen=True, kw_only=True):
    """Limits of `lmchat serve`."""

    requests_per_minute: Annotated[
        int,
        setting(
            "maximum number of requests of all programs per minute; 0: no limit", ge=0, le=100_000
        ),
    ] = 600


class TimeoutSettings(Table, frozen=True, kw_only=True):
    """Timeouts in seconds."""

    connect_s: (
        Annotated[
            float,
            setting(
                "wait for a connection; unset: 2 on this machine, 10 elsewhere",
                ge=0.01,
                le=_DAY_S,
                example=2,
            ),
        ]
        | None
    ) = None
    first_token_s: Annotated[
        float,
        setting("wait for the first token; 0: as long as the server is alive", ge=0, le=_DAY_S),
    ] = 0
    stalled_after_s: Annotated[
        float, setting("silence after which the answer is shown as stalled", ge=0.01, le=_DAY_S)
    ] = 60
    give_up_after_s: Annotated[
        float,
        setting("silence after which lmchat ends the answer as interrupted", ge=0.01, le=_DAY_S),
    ] = 300
    health_s: Annotated[float, setting("timeout of a health check", ge=0.01, le=3600)] = 5


class UiSettings(Table, frozen=True, kw_only=True):
    """Look of the screen."""

    theme: Annotated[
        str,
        setting(
            "colour theme: dark, light, or another that /theme lists; unset: the last used one, "
            "else as the terminal"
        ),
    ] = ""
    reduced_motion: Annotated[bool, setting("no blinking")] = False
    ascii: Annotated[bool, setting("ASCII characters only")] = False
    mouse: Annotated[
        bool,
        setting("use the mouse in lmchat; false: leave it to the terminal"),
    ] = True
    frames_per_second: Annotated[
        int, setting("maximum screen updates per second while text streams", ge=1, le=120)
    ] = 12
    sections: Annotated[
        tuple[PanelSection, ...], setting("sections of the telemetry panel, in this order")
    ] = PANEL_SECTIONS
    notify: Annotated[
        Literal["bell", "desktop", "none"],
        setting(
            "signal at the end of an answer of more than 10 s, unless the terminal reports that it "
            'has the focus: "bell", "desktop" or "none"'
        ),
    ] = "bell"


class LocalSettings(Table, frozen=True, kw_only=True):
    """The built-in engine."""

    model: Annotated[
        str,
        setting(
            "GGUF file, a name from `lmchat models --local`, or USER/REPO[:QUANT] of "
            "huggingface.co; unset: the best one for this machine",
            **_PATH,
        ),
    ] = ""
    context: (
        Annotated[
            int,
            setting(
                "context window in tokens; unset: 8192",
                ge=1,
                le=100_000_000,
                example=4096,
            ),
        ]
        | None
    ) = None
    threads: (
        Annotated[
            int,
            setting("number of CPU threads; unset: llama.cpp decides", ge=1, le=4096, example=4),
        ]
        | None
    ) = None
    kept_prompts_mb: Annotated[
        int,
        setting(
            "disk space in MB for prompts that the engine has read, so that saved sessions are not "
            "read again after the next start; 0: keep none",
            ge=0,
            le=10_000_000,
        ),
    ] = 2000


class ToolSettings(Table, frozen=True, kw_only=True):
    """Tools that models can call."""

    approve: Annotated[
        Approval,
        setting('whether tools run: "always", "never", or "ask" first'),
    ] = "ask"
    max_steps: Annotated[
        int, setting("rounds of tool calls in one turn after which lmchat stops", ge=1, le=1000)
    ] = 10
    timeout_s: Annotated[float, setting("time limit of a call in seconds", ge=0.1, le=86_400)] = 60
    choice: Annotated[
        Literal["auto", "required"], setting('"required": each turn has to begin with a call')
    ] = "auto"
    approval: Annotated[
        Mapping[str, Approval],
        setting(
            "Whether the tools of a server run, or one of them; `python` is the server of "
            "tools.py.",
            example={"files/read_text": "always", "python": "always"},
        ),
    ] = {}


class McpSettings(Secret, frozen=True, kw_only=True):
    """An MCP server of `mcp.json`: a command that speaks over stdin and stdout, or an address."""

    name: Annotated[
        str,
        setting(
            "name of the server",
            example="files",
            # a key of `[tools.approval]` is `SERVER/TOOL`
            pattern=rf"^(?!{FUNCTIONS}\Z)[^/]+\Z",
            expected=f'a name, not empty, without "/", and not {FUNCTIONS}',
        ),
    ]
    command: Annotated[str, setting("program to start", example="npx", **_PATH_IN_JSON)] = ""
    args: Annotated[
        tuple[str, ...],
        setting(
            "its arguments",
            example=["-y", "@modelcontextprotocol/server-filesystem", "/home/me/notes"],
        ),
    ] = ()
    env: (
        Annotated[
            Mapping[str, str],
            setting(
                "environment variables added for it",
                example={"LOG": "off", "WIKI_KEY": "${WIKI_KEY}"},
            ),
        ]
        | None
    ) = None
    cwd: Annotated[
        str,
        setting(
            "folder that it is started in; default: that of config.toml",
            example="~/notes",
            **_PATH_IN_JSON,
        ),
    ] = ""
    approve: Annotated[
        Literal["", "never", "ask", "always"],
        setting("whether its tools run; unset: as in [tools]"),
    ] = ""
    timeout_s: (
        Annotated[
            float,
            setting("time limit of a call, and of its start", ge=0.1, le=86_400, example=600),
        ]
        | None
    ) = None
    disabled: Annotated[bool, setting("true: it is not started", example=True)] = False
    url: Annotated[
        str, setting("address, in place of a command", example="http://127.0.0.1:3000/mcp")
    ] = ""
    headers: (
        Annotated[
            _Headers,
            setting("headers to send", example={"Authorization": "Bearer ${WIKI_KEY}"}, **_HEADERS),
        ]
        | None
    ) = None
    client_id: Annotated[
        str,
        setting(
            "for a sign-in to a server that takes only registered programs: the id that it gave "
            "you",
            example="lmchat-garden",
        ),
    ] = ""

    def __post_init__(self) -> None:
        if bool(self.command) == bool(self.url):
            raise ValueError("needs command or url, but not both")


class EndpointSettings(Secret, frozen=True, kw_only=True):
    """A configured server; `load` adds the `timeouts` of `[timeouts]` that it leaves out."""

    name: Annotated[
        str,
        setting(
            "name of the server, which `--endpoint` takes, too", min_length=1, example="workstation"
        ),
    ]
    url: Annotated[
        str,
        setting(
            "address of the server, with or without /v1",
            min_length=1,
            example="http://192.168.1.20:9931",
        ),
    ]
    api_key: Annotated[
        str,
        setting("API key; safer: api_key_env or api_key_cmd", **_API_KEY),
    ] = ""
    api_key_env: Annotated[
        str, setting("environment variable that holds the API key", example="WORKSTATION_KEY")
    ] = ""
    api_key_cmd: Annotated[
        str, setting("command that prints the API key", example="pass show workstation")
    ] = ""
    headers: (
        Annotated[
            _Headers,
            setting(
                "headers to send; `${NAME}` is an environment variable",
                example={"X-App-Id": "${APP_ID}"},
                **_HEADERS,
            ),
        ]
        | None
    ) = None
    timeouts: (
        Annotated[
            TimeoutSettings, setting("timeouts for this server only", example={"connect_s": 5})
        ]
        | None
    ) = None


class Profile(SamplingSettings, frozen=True, kw_only=True):
    """Options that override `[chat]`; `system_prompt` = "" sends none, None that of `[chat]`."""

    system_prompt: (
        Annotated[
            str,
            setting(
                "instructions sent at the start of every session", example="Answer in one sentence."
            ),
        ]
        | None
    ) = None
    model: Annotated[str, setting("model to use")] = ""


class Preset(Table, frozen=True, kw_only=True):
    """A prompt to send by its name."""

    text: Annotated[
        str,
        setting(
            "the prompt; {{input}} is what you type, {{clipboard}} the clipboard, {{date}} today",
            min_length=1,
            example="Translate into French: {{input}}",
        ),
    ]


class Settings(Secret, frozen=True, kw_only=True):
    """All settings, merged: flag, else profile, else environment, else file, else default."""

    endpoint: Annotated[
        str,
        setting(
            "address of the server, with or without /v1; unset: lmchat looks for one",
            example="http://localhost:1234",
        ),
    ] = ""
    api_key: Annotated[
        str,
        setting(
            "API key for `endpoint`; safer: api_key_env or api_key_cmd under [[endpoints]]",
            **_API_KEY,
        ),
    ] = ""
    model: Annotated[
        str, setting("model to use; unset: the one last used in a chat, otherwise a loaded one")
    ] = ""
    allowed_hosts: Annotated[
        tuple[str, ...],
        setting('machines that lmchat may connect to, also for pages: "host" or "host:port"'),
    ] = ()
    ca_file: Annotated[
        str,
        setting(
            "file with extra certificates (PEM) to trust for https",
            example="~/company.pem",
            **_PATH,
        ),
    ] = ""
    chat: Annotated[ChatSettings, setting("Options for the model; unset options are not sent.")] = (
        ChatSettings()
    )
    limits: Annotated[LimitSettings, setting("Limits on requests.")] = LimitSettings()
    serve: Annotated[ServeSettings, setting("Limits of `lmchat serve`.")] = ServeSettings()
    timeouts: Annotated[TimeoutSettings, setting("Timeouts in seconds.")] = TimeoutSettings()
    ui: Annotated[UiSettings, setting("Look of the screen.")] = UiSettings()
    local: Annotated[
        LocalSettings, setting("The built-in engine, which `lmchat --local` starts.")
    ] = LocalSettings()
    tools: Annotated[ToolSettings, setting("Tools that models can call, with your approval.")] = (
        ToolSettings()
    )
    keys: Annotated[
        Mapping[str, str],
        setting(
            'Your own keyboard keys: COMMAND = "key" or "key,key". F1 lists the commands.',
            example={"search": "ctrl+k"},
        ),
    ] = {}
    endpoints: Annotated[
        tuple[EndpointSettings, ...],
        setting(
            "A server to check before the usual addresses, with `name` and `url`; repeat this "
            "section for more servers."
        ),
    ] = ()
    models: Annotated[
        Mapping[str, SamplingSettings],
        setting(
            "Sampling for models whose name fits the pattern; each option overrides the same one "
            "in [chat]. The first pattern that fits counts."
        ),
    ] = {}
    profiles: Annotated[
        Mapping[str, Profile],
        setting("A named set of options that overrides [chat]; select it with --profile NAME."),
    ] = {}
    prompts: Annotated[
        Mapping[str, Preset],
        setting(
            "A prompt to send by its name (a preset): /p NAME on the screen, or lmchat ask -p NAME."
        ),
    ] = {}
