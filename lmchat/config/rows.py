"""Every key of the configuration, declared once: loader, check and example file derive from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from lmchat.config.settings import (
    EFFORTS,
    ChatSettings,
    EndpointSettings,
    LimitSettings,
    LocalSettings,
    Profile,
    Settings,
    TimeoutSettings,
    UiSettings,
)


class Kind(StrEnum):
    """What a value must be; the value of the member is how a person is told."""

    TEXT = "a text in quotes"
    INTEGER = "a whole number"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    TEXTS = 'a list of texts, as in ["a", "b"]'
    TIMEOUTS = "a table like [timeouts]"


class Row(Struct, frozen=True, kw_only=True):
    """One key."""

    name: str
    """Its name in the table, which is also its field in the settings."""
    kind: Kind
    """What its value must be."""
    help: str
    """One line for the example file."""
    check: Callable[[object], str] | None = None
    """Returns what is wrong with a value of the right kind, else nothing."""
    example: object = None
    """Shown in the example file where there is no default."""
    is_secret: bool = False
    """Whether it is never shown."""


class Section(Struct, frozen=True, kw_only=True):
    """One table of the file."""

    name: str
    """Its name; empty for the keys above all tables."""
    help: str
    """One line above it in the example file."""
    rows: tuple[Row, ...]
    """Its keys."""
    settings: Callable[..., object]
    """The settings that it becomes."""

    def key(self, row: Row) -> str:
        """Return the full name of one of its keys."""
        return f"{self.name}.{row.name}" if self.name else row.name


def _text(name: str, text: str, check: Callable[[object], str] | None = None, *, example: str = "") -> Row:
    return Row(name=name, kind=Kind.TEXT, help=text, check=check, example=example or None)


def _integer(name: str, text: str, low: int, high: int, *, example: int | None = None) -> Row:
    return Row(name=name, kind=Kind.INTEGER, help=text, check=_within(low, high), example=example)


def _number(name: str, text: str, low: float, high: float, *, example: float | None = None) -> Row:
    return Row(name=name, kind=Kind.NUMBER, help=text, check=_within(low, high), example=example)


def _switch(name: str, text: str) -> Row:
    return Row(name=name, kind=Kind.BOOLEAN, help=text)


def _texts(
    name: str, text: str, check: Callable[[object], str] | None = None, *, example: object = None
) -> Row:
    return Row(name=name, kind=Kind.TEXTS, help=text, check=check, example=example)


def _within(low: float, high: float) -> Callable[[object], str]:
    def check(value: object) -> str:
        is_right = isinstance(value, int | float) and low <= value <= high
        return "" if is_right else f"must be from {_plain(low)} to {_plain(high)}"

    return check


def _plain(number: float) -> str:
    """Write a number without an exponent."""
    return str(int(number)) if number == int(number) else str(number)


def _one_of(*words: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        return "" if value in words else "must be one of " + ", ".join(f'"{word}"' for word in words if word)

    return check


def _all_of(*words: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        wrong = [word for word in value if word not in words] if isinstance(value, list) else []
        return f'"{wrong[0]}" is none of ' + ", ".join(f'"{word}"' for word in words) if wrong else ""

    return check


def _filled(value: object) -> str:
    return "" if value else "must not be empty"


_REASONING_EFFORT = _text(
    "reasoning_effort",
    'how much to think, where server and model can; "none" switches it off',
    _one_of("", *EFFORTS),
)
_SAMPLING = (
    _number("temperature", "0 to 2; unset: the server decides", 0, 2, example=0.7),
    _number("top_p", "0 to 1; unset: the server decides", 0, 1, example=0.95),
    _integer("max_tokens", "longest answer; unset: the server decides", 1, 10_000_000, example=2048),
    _texts("stop", "texts that end an answer", example=["###"]),
)
_DAY_S = 86_400.0

TOP = Section(
    name="",
    help="",
    settings=Settings,
    rows=(
        _text("endpoint", "with or without /v1; unset: detect", example="http://127.0.0.1:1234"),
        Row(
            name="api_key",
            kind=Kind.TEXT,
            help="for `endpoint`; better: LMCHAT_API_KEY, or [[endpoints]] with a command",
            is_secret=True,
        ),
        _text("model", "unset: the last used one, else a loaded one"),
        _texts("allowed_hosts", 'hosts beyond this machine, "host" or "host:port"'),
        _text(
            "ca_file",
            "certificates (PEM) to trust besides the usual ones, for https to servers of your own",
            example="~/company.pem",
        ),
    ),
)
CHAT = Section(
    name="chat",
    help="How to talk to a model; what is unset is not sent.",
    settings=ChatSettings,
    rows=(
        _text("system_prompt", "said before every conversation"),
        *_SAMPLING,
        _integer("seed", "for answers that repeat, where the server can", -1, 2**32 - 1, example=42),
        _REASONING_EFFORT,
        _integer(
            "keep_loaded_s",
            "how long a model stays in memory unused; LM Studio is told with each request, Ollama where "
            "lmchat loads the model",
            1,
            365 * 86_400,
            example=1800,
        ),
        _switch(
            "auto_truncate", "leave out the oldest messages when the window is full; false refuses instead"
        ),
        _switch("think_tags", "tell thought from answer by think tags in the text; false shows all as it is"),
    ),
)
LIMITS = Section(
    name="limits",
    help="What lmchat allows itself.",
    settings=LimitSettings,
    rows=(
        _integer("requests_per_minute", "chat requests in any 60 s", 1, 100_000),
        _number("max_body_mb", "largest request", 0.001, 10_000),
        _number("models_ttl_s", "how long a list of models counts as fresh", 0, 365 * _DAY_S),
        _integer("retries", "tries in all", 1, 20),
        _number("retry_base_s", "first wait; it doubles with each try", 0, 3600),
        _number("retry_max_s", "longest own wait", 0, 3600),
    ),
)
TIMEOUTS = Section(
    name="timeouts",
    help="How long to wait, in seconds.",
    settings=TimeoutSettings,
    rows=(
        _number("connect_s", "unset: 2 on this machine, 10 elsewhere", 0.01, _DAY_S, example=2),
        _number("first_token_s", "0 waits as long as the server shows signs of life", 0, _DAY_S),
        _number("stalled_after_s", "a gap in the answer after which it is called stalled", 0.01, _DAY_S),
        _number("give_up_after_s", "a gap after which the answer is ended as interrupted", 0.01, _DAY_S),
        _number("health_s", "one health check", 0.01, 3600),
    ),
)
UI = Section(
    name="ui",
    help="How the screen looks and moves.",
    settings=UiSettings,
    rows=(
        _text(
            "theme",
            '"lmchat-dark", "lmchat-light" or "lmchat-ansi"; unset: the last used one',
            _one_of("", "lmchat-dark", "lmchat-light", "lmchat-ansi"),
        ),
        _switch("reduced_motion", "no blinking, fewer repaints"),
        _switch("ascii", "only ASCII signs"),
        _switch("mouse", "whether the mouse is used"),
        _integer("frames_per_second", "most paints a second while text arrives", 1, 120),
        _switch("sidebar", "whether telemetry is shown where there is room"),
        _texts("sections", "what the sidebar shows, in this order", _all_of(*UiSettings().sections)),
        _text(
            "notify",
            'when a long answer ends out of sight: "bell", "desktop" or "none"',
            _one_of("bell", "desktop", "none"),
        ),
    ),
)
LOCAL = Section(
    name="local",
    help="The built-in engine, which `lmchat --local` starts.",
    settings=LocalSettings,
    rows=(
        _text(
            "model",
            "a GGUF file, or a name of `lmchat models --local`; unset: the one that suits this machine",
        ),
        _integer(
            "context",
            "tokens of its window; unset: 8192, or what the model can",
            1,
            100_000_000,
            example=4096,
        ),
        _integer("threads", "threads it may use", 1, 4096, example=4),
    ),
)
ENDPOINT = Section(
    name="endpoints",
    help="A server of your own, looked at first; as many as you like.",
    settings=EndpointSettings,
    rows=(
        _text("name", "how it is called in the picker", _filled, example="workstation"),
        _text("url", "its address, with or without /v1", _filled, example="http://192.168.1.20:8080"),
        Row(name="api_key", kind=Kind.TEXT, help="its key; better one of the next two", is_secret=True),
        _text("api_key_env", "environment variable that holds the key", example="WORKSTATION_KEY"),
        _text("api_key_cmd", "command that prints the key", example="pass show workstation"),
        Row(name="timeouts", kind=Kind.TIMEOUTS, help="its own time-outs", example={"connect_s": 5}),
    ),
)
PROFILE = Section(
    name="profiles",
    help="A named way to talk, for --profile; what is set here wins over [chat].",
    settings=Profile,
    rows=(
        _text("system_prompt", "said before every conversation", example="Answer in one sentence."),
        _text("model", "the model to use"),
        *_SAMPLING,
        _REASONING_EFFORT,
    ),
)

SECTIONS: tuple[Section, ...] = (TOP, CHAT, LIMITS, TIMEOUTS, UI, LOCAL)
"""Tables that stand once; `[keys]`, `[[endpoints]]` and `[profiles.NAME]` have forms of their own."""
REQUIRED_OF_ENDPOINT = ("name", "url")
"""Keys that each `[[endpoints]]` must have."""
KEYS_HELP = 'Other keys for commands: COMMAND = "key" or "key,key"; F1 lists the commands.'
"""One line for `[keys]`."""


def wrong(row: Row, value: object) -> str:
    """Return what is wrong with a value for a row, else nothing."""
    if not _is_kind(row.kind, value):
        return f"must be {row.kind.value}"
    return row.check(value) if row.check else ""


def _is_kind(kind: Kind, value: object) -> bool:
    match kind:
        case Kind.TEXT:
            return isinstance(value, str)
        case Kind.INTEGER:
            return isinstance(value, int) and not isinstance(value, bool)
        case Kind.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case Kind.BOOLEAN:
            return isinstance(value, bool)
        case Kind.TEXTS:
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        case Kind.TIMEOUTS:
            return isinstance(value, dict)
