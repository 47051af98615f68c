"""Profiles: named ways to talk that go before `[chat]`."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.config.problems import similar
from lmchat.config.settings import ChatSettings, Profile, Settings
from lmchat.errors import ConfigError

_OPTIONAL = ("system_prompt", "temperature", "top_p", "max_tokens", "stop")
"""What a profile may leave unset, by name; the same in both."""


def apply_profile(settings: Settings, name: str) -> Settings:
    """Return the settings with what a profile sets.

    Raises:
        ConfigError: there is no profile of this name.
    """
    profile = settings.profiles.get(name)
    if profile is None:
        known = tuple(settings.profiles)
        meant = similar(name, known)
        more = (
            f"did you mean {meant}?"
            if meant
            else f"there are {', '.join(known)}"
            if known
            else "there are none"
        )
        raise ConfigError(f"there is no profile {name!r}; {more}")
    return replace(settings, chat=with_profile(settings.chat, profile), model=profile.model or settings.model)


def with_profile(chat: ChatSettings, profile: Profile) -> ChatSettings:
    """Return a way to talk with what a profile sets."""
    told = {name: getattr(profile, name) for name in _OPTIONAL}
    changes = {name: value for name, value in told.items() if value is not None}
    return replace(chat, reasoning_effort=profile.reasoning_effort or chat.reasoning_effort, **changes)
