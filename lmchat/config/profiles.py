"""Profiles: named ways to talk that go before `[chat]`."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.config.problems import similar
from lmchat.config.settings import Settings
from lmchat.errors import ConfigError


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
    chat = settings.chat
    chat = replace(
        chat,
        system_prompt=chat.system_prompt if profile.system_prompt is None else profile.system_prompt,
        temperature=chat.temperature if profile.temperature is None else profile.temperature,
        top_p=chat.top_p if profile.top_p is None else profile.top_p,
        max_tokens=chat.max_tokens if profile.max_tokens is None else profile.max_tokens,
        stop=chat.stop if profile.stop is None else profile.stop,
        reasoning_effort=profile.reasoning_effort or chat.reasoning_effort,
    )
    return replace(settings, chat=chat, model=profile.model or settings.model)
