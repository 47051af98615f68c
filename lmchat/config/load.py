"""Merging of flags, profile, environment, file and defaults, with origins and problems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct, convert, field

from lmchat.config.file import SECTIONS, Problem, Row, Values, read_config
from lmchat.config.settings import Secret, Settings
from lmchat.errors import ConfigError
from lmchat.matching import closest_word

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
"""Environment variables and their keys; for one key, the first that has a valid value counts."""


class Flags(Struct, frozen=True, kw_only=True):
    """Values of the command line; None: the flag was not given."""

    endpoint: str | None = None
    model: str | None = None
    system_prompt: str | None = None
    effort: str | None = None
    profile: str | None = None
    allowed_hosts: tuple[str, ...] = ()  # added to those of the file


class Loaded(Secret, frozen=True, kw_only=True):
    """Merged settings, their origins and problems."""

    settings: Settings  # without the wrong values
    file: Path
    text: str = ""
    has_file: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)
    """Source of a value by its full key, as `file (config.toml)`; other keys have their default."""
    problems: tuple[Problem, ...] = ()
    key_endpoint: str = ""
    """Address that is set in the same place as `api_key`, which is the file or the environment."""

    def require_valid(self) -> Loaded:
        """Return this value if it has no problems; else raise `ConfigError` with the first one.

        The error also says how many more there are, and its details list all of them.
        """
        if not self.problems:
            return self
        sentence = self.problems[0].sentence
        hint = "Correct it, then try again."
        other_problems = len(self.problems) - 1
        if other_problems:
            sentence += f" (and {other_problems} more)"
            hint = "`lmchat config check` lists all problems."
        details = "\n".join(problem.sentence for problem in self.problems)
        raise ConfigError(sentence, hint=hint, details=details)


class _Override(Struct, frozen=True, kw_only=True):
    """A value that is used instead of that of the file."""

    key: str
    value: object
    origin: str


def load(
    path: Path,
    environ: Mapping[str, str],
    flags: Flags | None = None,
    *,
    is_required: bool = False,
) -> Loaded:
    """Merge the values of the file, the environment, a profile and flags; later ones win.

    Wrong values are left out and described in `problems`. A missing file is a problem only if
    `is_required`.
    """
    flags = flags or Flags()
    file = read_config(path, is_required=is_required)
    problems = list(file.problems)
    tables: Values = {**file.values}
    origins: dict[str, str] = {}
    for section in SECTIONS:
        values = tables.get(section.name, {}) if section.name else tables
        for name in section.rows:
            if name in values:
                origins[section.key(name)] = f"file ({path.name})"

    environment = list(_from_environment(environ, problems))
    overrides = [
        *environment,
        *_from_profile(flags.profile, file.values.get("profiles", {}), problems),
        *_from_flags(flags, problems),
    ]
    # before the loop, which puts the address of a flag into the same table
    key_endpoint = _endpoint_beside_key(environment, tables)
    for override in overrides:
        section_name, _, name = override.key.rpartition(".")
        if section_name:
            tables[section_name] = {**tables.get(section_name, {}), name: override.value}
        else:
            tables[name] = override.value
        origins[override.key] = override.origin
    if flags.allowed_hosts:
        _add_allowed_hosts(flags.allowed_hosts, tables, origins)
    timeouts = tables.get("timeouts", {})
    tables["endpoints"] = [
        # what a server does not set is as for all; one without timeouts of its own has none
        server | {"timeouts": timeouts | server["timeouts"]} if "timeouts" in server else server
        for server in tables.get("endpoints", ())
    ]
    return Loaded(
        settings=convert(tables, Settings),
        file=path,
        text=file.text,
        has_file=file.exists,
        origins=origins,
        problems=tuple(problems),
        key_endpoint=key_endpoint,
    )


def _endpoint_beside_key(environment: Sequence[_Override], top_table: Values) -> str:
    """Return the address that is set in the same place as `api_key`; "" without one.

    The place is the environment if it sets the key, else the file. A key that is set in one place
    must not be sent to an address from the other.
    """
    environment_values = {override.key: override.value for override in environment}
    source = environment_values if "api_key" in environment_values else top_table
    return str(source.get("endpoint") or "")


def _add_allowed_hosts(hosts: tuple[str, ...], top_table: Values, origins: dict[str, str]) -> None:
    """Add the hosts of flags to those of the file, and name the flag in their origin too."""
    top_table["allowed_hosts"] = (*top_table.get("allowed_hosts", ()), *hosts)
    origin = "flag (--allow-host)"
    if "allowed_hosts" in origins:
        origin = f"{origins['allowed_hosts']}, {origin}"
    origins["allowed_hosts"] = origin


def _from_environment(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[_Override]:
    """Yield the values of environment variables as overrides; add a problem for a wrong one.

    Empty variables count as unset.
    """
    set_keys: set[str] = set()
    for variable, key in VARIABLES:
        text = environ.get(variable, "")
        # the key may be set by an earlier variable
        if not text.strip() or key in set_keys:
            continue
        row = _row_of(key)
        value = _value_from_text(row, text)
        if reason := row.fault(value):
            source = f"environment variable {variable}"
            problems.append(Problem(source=source, reason=f"({key}) {reason}"))
        else:
            set_keys.add(key)
            yield _Override(key=key, value=value, origin=f"environment ({variable})")


def _row_of(key: str) -> Row:
    """Return the row of a full key, such as `chat.system_prompt`."""
    section_name, _, name = key.rpartition(".")
    sections = {section.name: section for section in SECTIONS}
    return sections[section_name].rows[name]


def _value_from_text(row: Row, text: str) -> object:
    """Return the text of a variable as a value for a key: as a number if the key needs one.

    Text that is no number is returned as text: `Row.fault` then refuses it.
    """
    if row.name == "system_prompt":
        return text  # blanks at its beginning or end may be intended
    if row.type in (int, float):
        with suppress(ValueError):
            return row.type(text)
    return text.strip()


def _from_profile(
    name: str | None, profiles: Values, problems: list[Problem]
) -> Iterator[_Override]:
    """Yield the values of the profile that a flag names, as overrides.

    Yield nothing without a name. For an unknown one, add a problem.
    """
    if name is None:
        return
    if name not in profiles:
        problems.append(_unknown_profile(name, profiles))
        return
    for key, value in profiles[name].items():
        # an empty text means unset; but an empty system prompt means that none is sent
        if value != "" or key == "system_prompt":
            full_key = "model" if key == "model" else f"chat.{key}"
            yield _Override(key=full_key, value=value, origin=f"profile {name}")


def _unknown_profile(name: str, profiles: Values) -> Problem:
    """Return the problem of an unknown profile.

    It suggests a similar name, else it lists all profiles, else it says how to add one.
    """
    suggestion = closest_word(name, tuple(profiles))
    reason = "unknown profile"
    if not suggestion and profiles:
        reason += f"; profiles: {', '.join(profiles)}"
    elif not suggestion:
        reason += f"; add [profiles.{name}] to config.toml"
    return Problem(source=f"--profile {name}", reason=reason, suggestion=suggestion)


def _from_flags(flags: Flags, problems: list[Problem]) -> Iterator[_Override]:
    """Yield the values of flags as overrides, without the allowed hosts.

    A blank `--endpoint` is a problem, and is yielded too: the user does not mean the server of the
    file.
    """
    if flags.endpoint is not None and not flags.endpoint.strip():
        problems.append(Problem(source='--endpoint ""', reason="write it as http://HOST:PORT"))
    options = {
        "endpoint": ("--endpoint", flags.endpoint),
        "model": ("--model", flags.model),
        "chat.system_prompt": ("--system", flags.system_prompt),
        "chat.reasoning_effort": ("--effort", flags.effort),
    }
    for key, (option, value) in options.items():
        if value is not None:
            yield _Override(key=key, value=value, origin=f"flag ({option})")
