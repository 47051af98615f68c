"""Merging of flags, profile, environment, file and defaults, with origins and problems.

The key of a setting is written in full: `chat.seed` for a key of a section, `model` for one of the
top level. Its origin is the place that has set it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct, ValidationError, convert, field
from msgspec.structs import replace

from lmchat.config.file import ConfigFile, Problem, read_config, sections, table_keys
from lmchat.config.origin import DEFAULT, Level, Origin, named_origin
from lmchat.config.settings import (
    EndpointSettings,
    Profile,
    Secret,
    Settings,
    non_default_values,
)
from lmchat.errors import ConfigError

# Environment variables and their keys; for one key, the first that is set counts.
VARIABLES: tuple[tuple[str, str], ...] = (
    ("LMCHAT_ENDPOINT", "endpoint"),
    ("LLM_BASE_URL", "endpoint"),
    ("LMCHAT_MODEL", "model"),
    ("LLM_MODEL", "model"),
    ("OPENAI_MODEL", "model"),
    ("LMCHAT_API_KEY", "api_key"),
    ("LMCHAT_SYSTEM_PROMPT", "chat.system_prompt"),
    ("SYSTEM_PROMPT", "chat.system_prompt"),
    ("LLM_TIMEOUT", "timeouts.first_token_s"),
    ("LLM_MAX_RETRIES", "limits.retries"),
)

# Key, value and origin of a setting that replaces the value of the file.
_Override = tuple[str, object, Origin]


class Flags(Struct, frozen=True, kw_only=True):
    """Flags of the command line that change settings; None: the flag was not given."""

    endpoint: str | None = None
    model: str | None = None
    system_prompt: str | None = None
    effort: str | None = None
    profile: str | None = None
    allowed_hosts: tuple[str, ...] = ()  # added to the hosts of the file


class LoadedSettings(Secret, frozen=True, kw_only=True):
    """Merged settings, their origins and problems."""

    # Without the values of wrong variables. Of a file with a problem, there is only `[keys]` and
    # `[ui]`.
    settings: Settings
    file: Path  # also if it does not exist
    text: str = ""  # of the file
    has_file: bool = False  # whether it exists
    # By full keys; a key that is not here has its default.
    origins: Mapping[str, Origin] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    # Address for which `api_key` is meant. File or environment may set the key, and only an
    # address from the same place counts; empty: there is none.
    key_endpoint: str = ""

    def origin(self, key: str) -> Origin:
        """Return where a setting is set, by its full key, such as `chat.seed`."""
        return self.origins.get(key, DEFAULT)

    def require_valid(self) -> LoadedSettings:
        """Return this value if it has no problems; else raise `ConfigError` with the first one.

        The details of the error list all of them.
        """
        if not self.problems:
            return self
        details = "\n".join(problem.sentence for problem in self.problems)
        hint = "Correct it, then try again. `lmchat config check` lists all problems."
        raise ConfigError(self.problems[0].sentence, hint=hint, details=details)


def load(
    path: Path,
    environ: Mapping[str, str],
    flags: Flags | None = None,
    *,
    is_required: bool = False,
) -> LoadedSettings:
    """Merge the values of the file, the environment, a profile and flags; later ones win.

    A file with a wrong value sets nothing but `[keys]` and `[ui]`. A missing file is a problem only
    if it `is_required`.
    """
    flags = flags or Flags()
    file = read_config(path, is_required=is_required)
    settings = file.settings
    problems = list(file.problems)
    origins: dict[str, Origin] = {}
    for name, value in file.tables.items():
        keys = [f"{name}.{key}" for key in value] if isinstance(value, dict) else [name]
        origins |= dict.fromkeys(keys, named_origin(Level.FILE, path.name))

    from_environment = list(_from_environment(environ, problems))
    # the overrides replace values of the file; if a key has several, the last one counts
    overrides = [*from_environment]
    profile = settings.profiles.get(flags.profile or "")
    if profile is not None:
        overrides += _from_profile(f"profile {flags.profile}", profile)
    elif flags.profile is not None and not file.problems:  # a wrong file has no known profiles
        reason = f"unknown profile; in config.toml: {', '.join(settings.profiles) or 'none'}"
        problems.append(Problem(source=f"--profile {flags.profile}", reason=reason))
    overrides += _from_flags(flags)
    if flags.endpoint is not None and not flags.endpoint.strip():
        # the empty address counts all the same: the user does not mean the server of the file
        problems.append(Problem(source='--endpoint ""', reason="write it as http://HOST:PORT"))

    for key, value, origin in overrides:
        section, _, name = key.rpartition(".")  # the section is "" for a key of the top level
        changes = {name: value}
        if section:
            changes = {section: replace(getattr(settings, section), **changes)}
        settings = replace(settings, **changes)
        origins[key] = origin
    if flags.allowed_hosts:  # the only flag that adds to the value of the file
        hosts = (*settings.allowed_hosts, *flags.allowed_hosts)
        settings = replace(settings, allowed_hosts=hosts)
        origins["allowed_hosts"] = named_origin(Level.COMMAND_LINE, "--allow-host")
    # a key of the environment must not be sent to an address of the file, nor the other way round
    variables = {key: value for key, value, _ in from_environment}
    place_of_key = variables if "api_key" in variables else file.tables
    return LoadedSettings(
        settings=replace(settings, endpoints=_endpoints_with_timeouts(settings, file)),
        file=path,
        text=file.text,
        has_file=file.exists,
        origins=origins,
        problems=tuple(problems),
        key_endpoint=str(place_of_key.get("endpoint", "")),
    )


def _endpoints_with_timeouts(settings: Settings, file: ConfigFile) -> tuple[EndpointSettings, ...]:
    """Return the configured servers; those with timeouts of their own get the missing ones, too.

    A missing one is that of `[timeouts]`, and not the default of its field. So the tables of the
    file are needed: they have only what is set. `timeouts` of the other servers stays None.
    """
    servers: list[EndpointSettings] = []
    # as many in settings and file: if the file has a problem, both have no servers
    for server, table in zip(settings.endpoints, file.tables.get("endpoints", ()), strict=True):
        timeouts = None
        if server.timeouts:
            timeouts = replace(settings.timeouts, **table["timeouts"])
        servers.append(replace(server, timeouts=timeouts))
    return tuple(servers)


def _from_environment(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[_Override]:
    """Yield key, value and origin of each setting in a variable; add a problem for a wrong value.

    Empty variables count as unset.
    """
    set_keys: set[str] = set()
    for variable, key in VARIABLES:
        text = environ.get(variable, "").strip()
        if not text or key in set_keys:  # an earlier variable may have set the key
            continue
        set_keys.add(key)
        section, _, name = key.rpartition(".")  # the section is "" for a key of the top level
        table = sections()[section].type
        try:
            # not strict: a number comes as text here
            value = getattr(convert({name: text}, table, strict=False), name)
        except ValidationError:
            source = f"environment variable {variable}"
            reason = f"({key}) must be {table_keys(table)[name].expected}"
            problems.append(Problem(source=source, reason=reason))
        else:
            yield key, value, named_origin(Level.ENVIRONMENT, variable)


def _from_profile(words: str, profile: Profile) -> Iterator[_Override]:
    """Yield key, value and origin of each setting of a profile, which `words` name to the user."""
    origin = Origin(Level.PROFILE, words)
    for key, value in non_default_values(profile).items():
        # all keys of a profile are of [chat], except the model, which is at the top level
        yield key if key == "model" else f"chat.{key}", value, origin


def _from_flags(flags: Flags) -> Iterator[_Override]:
    """Yield key, value and origin of each setting that an option of the command line replaces."""
    for key, option, value in (
        ("endpoint", "--endpoint", flags.endpoint),
        ("model", "--model", flags.model),
        ("chat.system_prompt", "--system", flags.system_prompt),
        ("chat.reasoning_effort", "--effort", flags.effort),
    ):
        if value is not None:
            yield key, value, named_origin(Level.COMMAND_LINE, option)
