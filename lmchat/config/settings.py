"""Settings as frozen values with their defaults; `rows` says what each key means and its limits."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

THEME_NAMES = ("lmchat-dark", "lmchat-light", "lmchat-ansi")
"""Values of `ui.theme`; the themes themselves are in `tui/themes.py`."""
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""How much a model may be asked to think, least first; which of them one takes, server and model decide."""


class ChatSettings(Struct, frozen=True, kw_only=True):
    """How to talk to a model; None is not sent."""

    system_prompt: str = ""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    reasoning_effort: str = ""
    keep_loaded_s: int | None = None
    auto_truncate: bool = True
    think_tags: bool = True

    def with_profile(self, profile: Profile) -> ChatSettings:
        """Return the settings with those that a profile sets."""
        changes = {
            name: value
            for name in ("system_prompt", "temperature", "top_p", "max_tokens", "stop")
            if (value := getattr(profile, name)) is not None
        }
        return replace(self, reasoning_effort=profile.reasoning_effort or self.reasoning_effort, **changes)


class LimitSettings(Struct, frozen=True, kw_only=True):
    """Limits of the proxy-client layer."""

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
    reduced_motion: bool = False
    ascii: bool = False
    mouse: bool = True
    frames_per_second: int = 20
    sidebar: bool = True
    sections: tuple[str, ...] = ("server", "model", "context", "turn", "requests", "activity")
    notify: str = "bell"


class LocalSettings(Struct, frozen=True, kw_only=True):
    """The built-in engine."""

    model: str = ""
    context: int | None = None
    threads: int | None = None


class EndpointSettings(Struct, frozen=True, kw_only=True):
    """A server of the user's own."""

    name: str
    url: str
    api_key: str = ""
    api_key_env: str = ""
    api_key_cmd: str = ""
    timeouts: TimeoutSettings | None = None
    """Where they differ from those of all servers."""

    def __repr__(self) -> str:
        """Leave the key out, wherever this is printed."""
        return f"<{type(self).__name__}>"


class Profile(Struct, frozen=True, kw_only=True):
    """A named way to talk: what is set here wins over `ChatSettings`."""

    system_prompt: str | None = None
    model: str = ""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    reasoning_effort: str = ""


class Settings(Struct, frozen=True, kw_only=True):
    """All settings, merged: flag, else environment, else file, else default."""

    endpoint: str = ""
    """Address of the server; empty: detect."""
    api_key: str = ""
    model: str = ""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts beyond loopback, "host" or "host:port"."""
    ca_file: str = ""
    chat: ChatSettings = field(default_factory=ChatSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    timeouts: TimeoutSettings = field(default_factory=TimeoutSettings)
    ui: UiSettings = field(default_factory=UiSettings)
    keys: Mapping[str, str] = field(default_factory=dict)
    """Command id to key or keys, comma-separated."""
    local: LocalSettings = field(default_factory=LocalSettings)
    endpoints: tuple[EndpointSettings, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Leave the key out, wherever this is printed."""
        return f"<{type(self).__name__}>"
