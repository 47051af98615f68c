"""All configuration keys; loader, checks and example file derive from these rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, get_args, get_type_hints

from msgspec import Struct, ValidationError, convert

from lmchat.config.settings import (
    EFFORTS,
    THEME_NAMES,
    ChatSettings,
    EndpointSettings,
    LimitSettings,
    LocalSettings,
    Profile,
    Settings,
    TimeoutSettings,
    UiSettings,
)

Check = Callable[[Any], str]  # returns the fault of a value of the right type, else ""
WORDS = {
    str: "a text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[str, ...]: 'a list of texts, as in ["a", "b"]',
    TimeoutSettings: "a table like [timeouts]",
}
"""Types of settings in messages."""


class Row(Struct, frozen=True):
    """One key."""

    name: str  # also the field in the settings, which has the type
    help: str
    check: Check | None = None
    example: object = None  # shown where there is no default
    is_secret: bool = False


class Section(Struct, frozen=True, kw_only=True):
    """One table of the file."""

    name: str  # empty for top-level keys
    help: str
    rows: tuple[Row, ...]
    settings: type[Struct]

    def key(self, name: str) -> str:
        return f"{self.name}.{name}" if self.name else name

    def type_of(self, name: str) -> Any:
        hint = _hints(self.settings)[name]
        return hint if hint in WORDS else next(one for one in get_args(hint) if one in WORDS)

    def wrong(self, name: str, value: object) -> str:
        """Return the fault of a value, else ""."""
        type_ = self.type_of(name)
        row = next(row for row in self.rows if row.name == name)
        if not (isinstance(value, dict) if type_ is TimeoutSettings else _has_type(value, type_)):
            return f"must be {WORDS[type_]}"
        return row.check(value) if row.check else ""


_hints = cache(get_type_hints)


def _has_type(value: object, type_: Any) -> bool:
    try:
        converted = convert(value, type_)
    except ValidationError:
        return False
    return not isinstance(converted, float) or math.isfinite(converted)


def _within(low: float, high: float) -> Check:
    return lambda value: "" if low <= value <= high else f"must be from {_plain(low)} to {_plain(high)}"


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _either(words: tuple[str, ...]) -> str:
    """Return `"a", "b" or "c"`."""
    *others, last = [f'"{word}"' for word in words]
    return f"{', '.join(others)} or {last}"


def _one_of(*words: str) -> Check:
    listed = ", ".join(f'"{word}"' for word in words if word)
    return lambda value: "" if value in words else f"must be one of {listed}"


def _all_of(*words: str) -> Check:
    listed = ", ".join(f'"{word}"' for word in words)
    return lambda value: next((f'"{word}" is none of {listed}' for word in value if word not in words), "")


def _filled(value: object) -> str:
    return "" if value else "must not be empty"


_REASONING_EFFORT = Row(
    "reasoning_effort",
    'how much to think, where server and model can; "none" switches it off',
    _one_of("", *EFFORTS),
)
_SAMPLING = (
    Row("temperature", "0 to 2; unset: the server decides", _within(0, 2), example=0.7),
    Row("top_p", "0 to 1; unset: the server decides", _within(0, 1), example=0.95),
    Row("max_tokens", "longest answer; unset: the server decides", _within(1, 10_000_000), example=2048),
    Row("stop", "texts that end an answer", example=["###"]),
)
_DAY_S = 86_400.0

TOP = Section(
    name="",
    help="",
    settings=Settings,
    rows=(
        Row("endpoint", "with or without /v1; unset: detect", example="http://127.0.0.1:1234"),
        Row(
            "api_key",
            "for `endpoint`; better: LMCHAT_API_KEY, or [[endpoints]] with a command",
            is_secret=True,
        ),
        Row("model", "unset: the last used one, else a loaded one"),
        Row("allowed_hosts", 'hosts beyond this machine, "host" or "host:port"'),
        Row(
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
        Row("system_prompt", "said before every conversation"),
        *_SAMPLING,
        Row("seed", "for answers that repeat, where the server can", _within(-1, 2**32 - 1), example=42),
        _REASONING_EFFORT,
        Row(
            "keep_loaded_s",
            "how long a model stays in memory unused; LM Studio is told with each request, Ollama where "
            "lmchat loads the model",
            _within(1, 365 * 86_400),
            example=1800,
        ),
        Row("auto_truncate", "leave out the oldest messages when the window is full; false refuses instead"),
        Row("think_tags", "tell thought from answer by think tags in the text; false shows all as it is"),
    ),
)
LIMITS = Section(
    name="limits",
    help="What lmchat allows itself.",
    settings=LimitSettings,
    rows=(
        Row("requests_per_minute", "chat requests in any 60 s", _within(1, 100_000)),
        Row("max_body_mb", "largest request", _within(0.001, 10_000)),
        Row("models_ttl_s", "how long a list of models counts as fresh", _within(0, 365 * _DAY_S)),
        Row("retries", "tries in all", _within(1, 20)),
        Row("retry_base_s", "first wait; it doubles with each try", _within(0, 3600)),
        Row("retry_max_s", "longest own wait", _within(0, 3600)),
    ),
)
TIMEOUTS = Section(
    name="timeouts",
    help="How long to wait, in seconds.",
    settings=TimeoutSettings,
    rows=(
        Row("connect_s", "unset: 2 on this machine, 10 elsewhere", _within(0.01, _DAY_S), example=2),
        Row("first_token_s", "0 waits as long as the server shows signs of life", _within(0, _DAY_S)),
        Row("stalled_after_s", "a gap in the answer after which it is called stalled", _within(0.01, _DAY_S)),
        Row("give_up_after_s", "a gap after which the answer is ended as interrupted", _within(0.01, _DAY_S)),
        Row("health_s", "one health check", _within(0.01, 3600)),
    ),
)
UI = Section(
    name="ui",
    help="How the screen looks and moves.",
    settings=UiSettings,
    rows=(
        Row(
            "theme",
            f"{_either(THEME_NAMES)}; unset: the last used one",
            _one_of("", *THEME_NAMES),
        ),
        Row("reduced_motion", "no blinking, fewer repaints"),
        Row("ascii", "only ASCII signs"),
        Row("mouse", "whether the mouse is used"),
        Row("frames_per_second", "most paints a second while text arrives", _within(1, 120)),
        Row("sidebar", "whether telemetry is shown where there is room"),
        Row("sections", "what the sidebar shows, in this order", _all_of(*UiSettings().sections)),
        Row(
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
        Row(
            "model",
            "a GGUF file, or a name of `lmchat models --local`; unset: the one that suits this machine",
        ),
        Row(
            "context",
            "tokens of its window; unset: 8192, or what the model can",
            _within(1, 100_000_000),
            example=4096,
        ),
        Row("threads", "threads it may use", _within(1, 4096), example=4),
    ),
)
ENDPOINT = Section(
    name="endpoints",
    help="A server of your own, looked at first; as many as you like.",
    settings=EndpointSettings,
    rows=(
        Row("name", "how it is called in the picker", _filled, example="workstation"),
        Row("url", "its address, with or without /v1", _filled, example="http://192.168.1.20:8080"),
        Row("api_key", "its key; better one of the next two", is_secret=True),
        Row("api_key_env", "environment variable that holds the key", example="WORKSTATION_KEY"),
        Row("api_key_cmd", "command that prints the key", example="pass show workstation"),
        Row("timeouts", "its own time-outs", example={"connect_s": 5}),
    ),
)
PROFILE = Section(
    name="profiles",
    help="A named way to talk, for --profile; what is set here wins over [chat].",
    settings=Profile,
    rows=(
        Row("system_prompt", "said before every conversation", example="Answer in one sentence."),
        Row("model", "the model to use"),
        *_SAMPLING,
        _REASONING_EFFORT,
    ),
)

SECTIONS: tuple[Section, ...] = (TOP, CHAT, LIMITS, TIMEOUTS, UI, LOCAL)
"""Tables that appear once; not `[keys]`, `[[endpoints]]` and `[profiles.NAME]`."""
REQUIRED_OF_ENDPOINT = ("name", "url")
KEYS_HELP = 'Other keys for commands: COMMAND = "key" or "key,key"; F1 lists the commands.'
