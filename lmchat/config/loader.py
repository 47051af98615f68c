"""Merge flags, environment, file and defaults, and keep where each value came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.config.environment import read_environment
from lmchat.config.file import FileContent, Values, read_file
from lmchat.config.problems import Problem
from lmchat.config.profiles import apply_profile
from lmchat.config.settings import (
    ChatSettings,
    EndpointSettings,
    LimitSettings,
    LocalSettings,
    Profile,
    Settings,
    TimeoutSettings,
    UiSettings,
)
from lmchat.errors import ConfigError

Layers = dict[str, tuple[object, str]]
"""Value and origin by full key."""


class Flags(Struct, frozen=True, kw_only=True):
    """What the command line sets; None where it says nothing."""

    endpoint: str | None = None
    """`--endpoint`."""
    model: str | None = None
    """`--model`."""
    system_prompt: str | None = None
    """`--system`."""
    effort: str | None = None
    """`--effort`."""
    allowed_hosts: tuple[str, ...] = ()
    """Each `--allow-host`; they come on top of those of the file."""
    profile: str | None = None
    """`--profile`."""


class Loaded(Struct, frozen=True, kw_only=True):
    """The merged settings and how they came about."""

    settings: Settings
    """What holds; wrong values are left out."""
    file: Path
    """The configuration file that was looked for."""
    has_file: bool = False
    """Whether it is there."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where a value comes from, by full key; a key that is not here has its default."""
    problems: tuple[Problem, ...] = ()
    """What is wrong."""
    key_endpoint: str = ""
    """The address that `api_key` is meant for: named by the same source, else the one that holds."""

    def sound(self) -> Loaded:
        """Return itself if nothing is wrong.

        Raises:
            ConfigError: something is; the message is the first problem.
        """
        if not self.problems:
            return self
        more = len(self.problems) - 1
        rest = f" (and {more} more)" if more else ""
        raise ConfigError(
            f"{self.problems[0].sentence}{rest}",
            hint="`lmchat config check` lists all problems.",
            details="\n".join(problem.sentence for problem in self.problems),
        )


def load(
    path: Path, environ: Mapping[str, str], flags: Flags | None = None, *, is_required: bool = False
) -> Loaded:
    """Read the file and merge it with environment and flags."""
    flags = flags or Flags()
    content = read_file(path, is_required=is_required)
    environment, problems = read_environment(environ)
    from_file = _of_file(content, path)
    merged: Layers = from_file | {
        key: (value, f"environment ({name})") for key, (value, name) in environment.items()
    }
    settings = _settings(content, merged)
    origins = {key: origin for key, (_, origin) in merged.items()}
    problems = (*content.problems, *problems)
    if flags.profile is not None:
        try:
            settings = apply_profile(settings, flags.profile)
            origins |= dict.fromkeys(_profile_keys(settings, flags.profile), f"profile {flags.profile}")
        except ConfigError as error:
            problems = (*problems, Problem(source=f"--profile {flags.profile}", reason=error.message))
    settings = _with_flags(settings, flags, origins)
    key_source = environment if "api_key" in environment else from_file
    named_with_key = key_source.get("endpoint", ("", ""))[0]
    return Loaded(
        settings=settings,
        file=path,
        has_file=content.is_there,
        origins=origins,
        problems=problems,
        key_endpoint=str(named_with_key or settings.endpoint),
    )


def _of_file(content: FileContent, path: Path) -> Layers:
    layers: Layers = {}
    for table, values in content.sections.items():
        for name, value in values.items():
            layers[f"{table}.{name}" if table else name] = (value, f"file ({path.name})")
    return layers


def _settings(content: FileContent, merged: Layers) -> Settings:
    def of(table: str) -> dict[str, Any]:
        prefix = f"{table}." if table else ""
        return {
            key.removeprefix(prefix): value
            for key, (value, _) in merged.items()
            if key.startswith(prefix) and "." not in key.removeprefix(prefix)
        }

    timeouts = TimeoutSettings(**of("timeouts"))
    return Settings(
        **of(""),
        chat=ChatSettings(**of("chat")),
        limits=LimitSettings(**of("limits")),
        timeouts=timeouts,
        ui=UiSettings(**of("ui")),
        local=LocalSettings(**of("local")),
        keys=content.keys,
        endpoints=tuple(_endpoint(values, timeouts) for values in content.endpoints),
        profiles={name: _profile(values) for name, values in content.profiles.items()},
    )


def _endpoint(values: Values, timeouts: TimeoutSettings) -> EndpointSettings:
    """Return a server of the user's own; what its time-outs leave unset is as for all."""
    fields: dict[str, Any] = dict(values)
    if "timeouts" in fields:
        fields["timeouts"] = replace(timeouts, **fields["timeouts"])
    return EndpointSettings(**fields)


def _profile(values: Values) -> Profile:
    fields: dict[str, Any] = dict(values)
    return Profile(**fields)


def _profile_keys(settings: Settings, name: str) -> list[str]:
    profile = settings.profiles[name]
    set_fields = [field for field in Profile.__struct_fields__ if getattr(profile, field) not in (None, "")]
    return [field if field == "model" else f"chat.{field}" for field in set_fields]


def _with_flags(settings: Settings, flags: Flags, origins: dict[str, str]) -> Settings:
    if flags.endpoint is not None:
        settings = replace(settings, endpoint=flags.endpoint)
        origins["endpoint"] = "flag (--endpoint)"
    if flags.model is not None:
        settings = replace(settings, model=flags.model)
        origins["model"] = "flag (--model)"
    if flags.system_prompt is not None:
        settings = replace(settings, chat=replace(settings.chat, system_prompt=flags.system_prompt))
        origins["chat.system_prompt"] = "flag (--system)"
    if flags.effort is not None:
        settings = replace(settings, chat=replace(settings.chat, reasoning_effort=flags.effort))
        origins["chat.reasoning_effort"] = "flag (--effort)"
    if flags.allowed_hosts:
        settings = replace(settings, allowed_hosts=(*settings.allowed_hosts, *flags.allowed_hosts))
        before = origins.get("allowed_hosts")
        origins["allowed_hosts"] = f"{before}, flag (--allow-host)" if before else "flag (--allow-host)"
    return settings
