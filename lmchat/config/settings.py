"""All settings as frozen values: name, type, default, limits and help of each key, once.

Loader, checks, example file and reference page derive from the `Setting` in each field's annotation.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from msgspec import Struct, field
from msgspec.structs import replace

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""How much a model may be asked to think, least first; server and model decide which of them they take."""
FUNCTIONS = "python"  # name of the tool server of the functions in `tools.py`
SECTIONS = ("server", "model", "context", "turn", "requests", "activity")  # values of `ui.sections`
COMPACT_PROMPT = (
    "Summarise our conversation so far. The summary takes the place of these messages, so keep all facts, "
    "names, numbers, code, decisions and open questions that we may need again. Answer with the summary "
    "alone, in the language of the conversation."
)
_DAY_S = 86_400


class Approval(StrEnum):
    """Whether a tool may run."""

    NEVER = "never"
    ASK = "ask"
    ALWAYS = "always"


class Setting(Struct, frozen=True):
    """Help and limits of one key."""

    help: str
    within: tuple[float, float] | None = None
    words: tuple[str, ...] = ()  # allowed values, of a list its items; an empty text means unset
    example: object = None  # shown where there is no default
    is_secret: bool = False
    is_required: bool = False


class Secret(Struct, frozen=True, kw_only=True):
    """Values that may hold a key, which is left out wherever they are printed."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


_Effort = Annotated[
    str,
    Setting(
        'how much the model thinks before it answers, if supported; "none" turns reasoning off',
        words=("", *EFFORTS),
    ),
]
_Temperature = Annotated[
    float | None,
    Setting("randomness, 0 to 2; unset: the server decides", within=(0, 2), example=0.7),
]
_TopP = Annotated[
    float | None,
    Setting("nucleus sampling, 0 to 1; unset: the server decides", within=(0, 1), example=0.95),
]
_MaxTokens = Annotated[
    int | None,
    Setting(
        "longest answer in tokens; unset: the server decides", within=(1, 10_000_000), example=2048
    ),
]
_STOP = Setting("strings that end an answer", example=["###"])


class ChatSettings(Struct, frozen=True, kw_only=True):
    """Options for the model; None is not sent."""

    system_prompt: Annotated[str, Setting("instructions sent at the start of every session")] = ""
    temperature: _Temperature = None
    top_p: _TopP = None
    max_tokens: _MaxTokens = None
    stop: Annotated[tuple[str, ...], _STOP] = ()
    seed: Annotated[
        int | None,
        Setting(
            "for repeatable answers, if the server supports it", within=(-1, 2**32 - 1), example=42
        ),
    ] = None
    reasoning_effort: _Effort = ""
    keep_loaded_s: Annotated[
        int | None,
        Setting(
            "seconds an unused model stays in memory (LM Studio; Ollama if lmchat loads it)",
            within=(1, 365 * _DAY_S),
            example=1800,
        ),
    ] = None
    auto_truncate: Annotated[
        bool,
        Setting(
            "leave out the oldest messages when the context window is full; false: show an error instead"
        ),
    ] = True
    think_tags: Annotated[
        bool,
        Setting(
            "treat text between `<think>` and `</think>` as reasoning; false: show it as answer"
        ),
    ] = True
    auto_title: Annotated[
        bool,
        Setting(
            "let the model name a session after its first answer, with a short request of its own"
        ),
    ] = False
    compact_prompt: Annotated[
        str, Setting("the prompt of `/compact`, which asks for a summary of the older messages")
    ] = COMPACT_PROMPT
    auto_compact: Annotated[
        bool,
        Setting("compact before a prompt is sent that fills more than 80 % of the context window"),
    ] = False

    def with_profile(self, profile: Profile) -> ChatSettings:
        """Return the settings with those that a profile sets."""
        changes = {
            name: value
            for name in ("system_prompt", "temperature", "top_p", "max_tokens", "stop")
            if (value := getattr(profile, name)) is not None
        }
        return replace(
            self, reasoning_effort=profile.reasoning_effort or self.reasoning_effort, **changes
        )


class LimitSettings(Struct, frozen=True, kw_only=True):
    """Limits on requests."""

    requests_per_minute: Annotated[
        int, Setting("maximum number of chat requests per minute", within=(1, 100_000))
    ] = 60
    max_body_mb: Annotated[
        float, Setting("maximum size of a request in MB, without files", within=(0.001, 10_000))
    ] = 10
    models_ttl_s: Annotated[
        float,
        Setting("seconds until lmchat asks for the list of models again", within=(0, 365 * _DAY_S)),
    ] = 600
    retries: Annotated[int, Setting("number of attempts, including the first", within=(1, 20))] = 3
    retry_base_s: Annotated[
        float,
        Setting("seconds before the second attempt; the delay doubles each time", within=(0, 3600)),
    ] = 1
    retry_max_s: Annotated[float, Setting("longest delay in seconds", within=(0, 3600))] = 30


class TimeoutSettings(Struct, frozen=True, kw_only=True):
    """Timeouts in seconds."""

    connect_s: Annotated[
        float | None,
        Setting(
            "wait for a connection; unset: 2 on this machine, 10 elsewhere",
            within=(0.01, _DAY_S),
            example=2,
        ),
    ] = None
    first_token_s: Annotated[
        float,
        Setting("wait for the first token; 0: as long as the server is alive", within=(0, _DAY_S)),
    ] = 0
    stalled_after_s: Annotated[
        float, Setting("silence after which the answer is shown as stalled", within=(0.01, _DAY_S))
    ] = 60
    give_up_after_s: Annotated[
        float,
        Setting("silence after which lmchat ends the answer as interrupted", within=(0.01, _DAY_S)),
    ] = 300
    health_s: Annotated[float, Setting("timeout of a health check", within=(0.01, 3600))] = 5


class UiSettings(Struct, frozen=True, kw_only=True):
    """Look of the screen."""

    theme: Annotated[
        str,
        Setting(
            "colour theme: lmchat-dark, lmchat-light, or another that /theme lists; "
            "unset: the last used one, else as the terminal",
        ),
    ] = ""
    reduced_motion: Annotated[bool, Setting("no blinking, fewer screen updates")] = False
    ascii: Annotated[bool, Setting("ASCII characters only")] = False
    mouse: Annotated[bool, Setting("use the mouse in lmchat; false: leave it to the terminal")] = (
        True
    )
    frames_per_second: Annotated[
        int, Setting("maximum screen updates per second while text streams", within=(1, 120))
    ] = 15
    sidebar: Annotated[bool, Setting("show the telemetry panel if there is room")] = True
    sections: Annotated[
        tuple[str, ...], Setting("sections of the telemetry panel, in this order", words=SECTIONS)
    ] = SECTIONS
    notify: Annotated[
        str,
        Setting(
            'signal when an answer of more than 10 s ends without focus: "bell", "desktop" or "none"',
            words=("bell", "desktop", "none"),
        ),
    ] = "bell"


class LocalSettings(Struct, frozen=True, kw_only=True):
    """The built-in engine."""

    model: Annotated[
        str,
        Setting(
            "GGUF file, or a name from `lmchat models --local`; unset: the best one for this machine"
        ),
    ] = ""
    context: Annotated[
        int | None,
        Setting(
            "context window in tokens; unset: 8192, or the model's maximum if that is smaller",
            within=(1, 100_000_000),
            example=4096,
        ),
    ] = None
    threads: Annotated[
        int | None,
        Setting("number of CPU threads; unset: llama.cpp decides", within=(1, 4096), example=4),
    ] = None


class ToolSettings(Struct, frozen=True, kw_only=True):
    """Tools that models can call."""

    approve: Annotated[
        str, Setting('whether tools run: "always", "never", or "ask" first', words=tuple(Approval))
    ] = "ask"
    max_steps: Annotated[
        int, Setting("rounds of tool calls in one turn after which lmchat stops", within=(1, 1000))
    ] = 10
    timeout_s: Annotated[
        float, Setting("time limit of a call in seconds", within=(0.1, 86_400))
    ] = 60
    choice: Annotated[
        str, Setting('"required": each turn has to begin with a call', words=("auto", "required"))
    ] = "auto"
    offer_when_unknown: Annotated[
        bool,
        Setting("offer tools also where the server does not say whether its model can use them"),
    ] = True
    approval: Mapping[str, str] = field(
        default_factory=dict
    )  # `SERVER` or `SERVER/TOOL` to an approval


class McpSettings(Secret, frozen=True, kw_only=True):
    """An MCP server: a command that speaks over stdin and stdout, or an address."""

    name: Annotated[str, Setting("name of the server", example="files", is_required=True)]
    command: Annotated[str, Setting("program to start", example="npx")] = ""
    args: Annotated[
        tuple[str, ...],
        Setting(
            "its arguments",
            example=["-y", "@modelcontextprotocol/server-filesystem", "/home/me/notes"],
        ),
    ] = ()
    env: Annotated[
        Mapping[str, str] | None,
        Setting("environment variables added for it", example={"LOG": "off"}),
    ] = None
    cwd: Annotated[
        str,
        Setting("folder that it is started in; default: that of config.toml", example="~/notes"),
    ] = ""
    approve: Annotated[
        str, Setting("whether its tools run; unset: as in [tools]", words=("", *Approval))
    ] = ""
    enabled: Annotated[bool, Setting("whether to use it; default: true", example=False)] = True
    url: Annotated[
        str, Setting("address, in place of a command", example="http://127.0.0.1:3000/mcp")
    ] = ""
    headers_env: Annotated[
        Mapping[str, str] | None,
        Setting(
            "headers to send, each from an environment variable",
            example={"Authorization": "WIKI_TOKEN"},
        ),
    ] = None


class EndpointSettings(Secret, frozen=True, kw_only=True):
    """A configured server."""

    name: Annotated[
        str, Setting("name shown in the model picker", example="workstation", is_required=True)
    ]
    url: Annotated[
        str,
        Setting(
            "address of the server, with or without /v1",
            example="http://192.168.1.20:9931",
            is_required=True,
        ),
    ]
    api_key: Annotated[
        str, Setting("API key; safer: api_key_env or api_key_cmd", is_secret=True)
    ] = ""
    api_key_env: Annotated[
        str, Setting("environment variable that holds the API key", example="WORKSTATION_KEY")
    ] = ""
    api_key_cmd: Annotated[
        str, Setting("command that prints the API key", example="pass show workstation")
    ] = ""
    timeouts: Annotated[
        TimeoutSettings | None, Setting("timeouts for this server only", example={"connect_s": 5})
    ] = None


class Profile(Struct, frozen=True, kw_only=True):
    """Named options that override `ChatSettings`."""

    system_prompt: Annotated[
        str | None,
        Setting(
            "instructions sent at the start of every session", example="Answer in one sentence."
        ),
    ] = None
    model: Annotated[str, Setting("model to use")] = ""
    temperature: _Temperature = None
    top_p: _TopP = None
    max_tokens: _MaxTokens = None
    stop: Annotated[tuple[str, ...] | None, _STOP] = None
    reasoning_effort: _Effort = ""


class Preset(Struct, frozen=True, kw_only=True):
    """A prompt to send by its name."""

    text: Annotated[
        str,
        Setting(
            "the prompt; {{input}} is what you type, {{clipboard}} the clipboard, {{date}} today",
            example="Translate into French: {{input}}",
            is_required=True,
        ),
    ]


class Settings(Secret, frozen=True, kw_only=True):
    """All settings, merged: flag, else environment, else file, else default."""

    endpoint: Annotated[
        str,
        Setting(
            "address of the server, with or without /v1; unset: lmchat looks for one",
            example="http://127.0.0.1:1234",
        ),
    ] = ""
    api_key: Annotated[
        str,
        Setting(
            "API key for `endpoint`; safer: api_key_env or api_key_cmd under [[endpoints]]",
            is_secret=True,
        ),
    ] = ""
    model: Annotated[
        str, Setting("model to use; unset: the last used model, otherwise a loaded one")
    ] = ""
    allowed_hosts: Annotated[
        tuple[str, ...], Setting('other machines that lmchat may connect to: "host" or "host:port"')
    ] = ()
    ca_file: Annotated[
        str,
        Setting(
            "file with extra certificates (PEM) to trust for https",
            example="~/company.pem",
        ),
    ] = ""
    chat: ChatSettings = field(default_factory=ChatSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    timeouts: TimeoutSettings = field(default_factory=TimeoutSettings)
    ui: UiSettings = field(default_factory=UiSettings)
    keys: Mapping[str, str] = field(
        default_factory=dict
    )  # command id to key or keys, comma-separated
    local: LocalSettings = field(default_factory=LocalSettings)
    tools: ToolSettings = field(default_factory=ToolSettings)
    mcp: tuple[McpSettings, ...] = ()
    endpoints: tuple[EndpointSettings, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    prompts: Mapping[str, Preset] = field(default_factory=dict)
