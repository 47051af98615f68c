"""What can be set: frozen values with their defaults; each part of the program gets its own section."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field


class ChatSettings(Struct, frozen=True, kw_only=True):
    """How to talk to a model; what is None is not sent."""

    system_prompt: str = ""
    """Said before every conversation."""
    temperature: float | None = None
    """0 to 2."""
    top_p: float | None = None
    """0 to 1."""
    max_tokens: int | None = None
    """Longest answer, in tokens."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer."""
    seed: int | None = None
    """For answers that repeat, where the server can."""
    reasoning_effort: str = ""
    """How much to think: one of `EFFORTS`, where server and model can."""
    keep_loaded_s: int | None = None
    """How long a model stays in memory after its last use, where the server lets programs say so."""
    auto_truncate: bool = True
    """Leave out the oldest messages when the window is full; false refuses instead."""
    think_tags: bool = True
    """Tell the thought of a model from its answer by `<think>` and `</think>`; false shows all as it is."""


class LimitSettings(Struct, frozen=True, kw_only=True):
    """What the proxy-client layer allows itself."""

    requests_per_minute: int = 60
    """Chat requests in any 60 s."""
    max_body_mb: float = 10
    """Largest request, in megabytes of 1 000 000 bytes."""
    models_ttl_s: float = 600
    """How long a list of models counts as fresh."""
    retries: int = 3
    """Tries in all."""
    retry_base_s: float = 1
    """First wait; it doubles with each try."""
    retry_max_s: float = 30
    """Longest own wait."""


class TimeoutSettings(Struct, frozen=True, kw_only=True):
    """How long to wait for what, in seconds."""

    connect_s: float | None = None
    """Connecting; unset: 2 on loopback, 10 elsewhere."""
    first_token_s: float = 0
    """First token; 0 waits as long as the server shows signs of life."""
    stalled_after_s: float = 60
    """A gap in the answer after which it is called stalled."""
    give_up_after_s: float = 300
    """A gap after which the answer is ended as interrupted."""
    health_s: float = 5
    """One health check."""


class UiSettings(Struct, frozen=True, kw_only=True):
    """How the screen looks and moves."""

    theme: str = ""
    """`lmchat-dark`, `lmchat-light` or `lmchat-ansi`; unset: the last used one."""
    reduced_motion: bool = False
    """No blinking, fewer repaints."""
    ascii: bool = False
    """Only ASCII signs."""
    mouse: bool = True
    """Whether the mouse is used."""
    frames_per_second: int = 20
    """Most paints a second while text arrives."""
    sidebar: bool = True
    """Whether telemetry is shown where there is room."""
    sections: tuple[str, ...] = ("server", "model", "context", "turn", "requests", "activity")
    """What the sidebar shows, in this order."""
    notify: str = "bell"
    """When a long answer ends out of sight: `bell`, `desktop` (OSC 9 and 777) or `none`."""


class LocalSettings(Struct, frozen=True, kw_only=True):
    """The built-in engine."""

    model: str = ""
    """A GGUF file."""
    context: int | None = None
    """Tokens of its window."""
    threads: int | None = None
    """Threads it may use."""


class EndpointSettings(Struct, frozen=True, kw_only=True):
    """A server of the user's own."""

    name: str
    """How it is called in the picker."""
    url: str
    """Its address, with or without /v1."""
    api_key: str = ""
    """Its key; better one of the next two."""
    api_key_env: str = ""
    """Environment variable that holds the key."""
    api_key_cmd: str = ""
    """Command that prints the key."""
    timeouts: TimeoutSettings | None = None
    """Its own time-outs, where they differ."""

    def __repr__(self) -> str:
        """Leave the key out, wherever this is printed."""
        return f"<{type(self).__name__}>"


class Profile(Struct, frozen=True, kw_only=True):
    """A named way to talk: what is set here wins over [chat]."""

    system_prompt: str | None = None
    """Said before every conversation."""
    model: str = ""
    """The model to use."""
    temperature: float | None = None
    """0 to 2."""
    top_p: float | None = None
    """0 to 1."""
    max_tokens: int | None = None
    """Longest answer, in tokens."""
    stop: tuple[str, ...] | None = None
    """Texts that end an answer."""
    reasoning_effort: str = ""
    """How much to think: one of `EFFORTS`."""


class Settings(Struct, frozen=True, kw_only=True):
    """All of it, merged: flag, else environment, else file, else default."""

    endpoint: str = ""
    """Address of the server; empty: detect."""
    api_key: str = ""
    """Key for `endpoint`."""
    model: str = ""
    """Model to use; empty: the last used one, else a loaded one."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts beyond loopback, "host" or "host:port"."""
    ca_file: str = ""
    """File of certificates (PEM) that https servers may show besides the usual ones."""
    chat: ChatSettings = field(default_factory=ChatSettings)
    """How to talk."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """What the proxy-client layer allows itself."""
    timeouts: TimeoutSettings = field(default_factory=TimeoutSettings)
    """How long to wait."""
    ui: UiSettings = field(default_factory=UiSettings)
    """How the screen looks."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Command id to key or keys, comma-separated."""
    local: LocalSettings = field(default_factory=LocalSettings)
    """The built-in engine."""
    endpoints: tuple[EndpointSettings, ...] = ()
    """Servers of the user's own, looked at first."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """Named ways to talk."""

    def __repr__(self) -> str:
        """Leave the key out, wherever this is printed."""
        return f"<{type(self).__name__}>"


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Least first; which of them one takes, server and model decide."""
