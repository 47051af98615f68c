"""Merging of flags, profile, environment, file and defaults, with origins and problems.

The key of a setting is written in full: `chat.seed` for a key of a section, `model` for one of the
top level. Its origin is the place that has set it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from msgspec import Struct, ValidationError, convert, field
from msgspec.structs import replace

from lmchat.base.errors import ConfigError, FileRefused, LMChatError
from lmchat.base.files.disk import explain_system_error
from lmchat.core.config.file import (
    KeyPath,
    Problem,
    Values,
    declared_at,
    faults_in,
    key_of,
    line_of,
    outline,
    reason_of,
)
from lmchat.core.config.mcp_file import (
    FILE_NAME,
    ServersFile,
    moved,
    read_servers,
    variables_in,
    write_servers,
)
from lmchat.core.config.settings import (
    DEFAULT,
    Level,
    McpSettings,
    Origin,
    Secret,
    Settings,
    named_origin,
    non_default_values,
)
from lmchat.core.config.toml import TomlError, message_and_place, read_toml

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
_LIKE_ADDRESS = r"[:/.]|^\d+$|^localhost$"
# settings of earlier versions, which have no effect
_RETIRED: tuple[tuple[str, str], ...] = (
    ("chat", "detach"),
    ("chat", "keep_loaded_s"),
    ("tools", "offer_when_unknown"),
    ("ui", "sidebar"),
    ("keys", "message.compare"),
    ("keys", "message.select"),
    ("keys", "message.select_first"),
    ("keys", "message.select_last"),
    ("keys", "queue.edit"),
    ("keys", "queue.remove"),
    ("keys", "session.trash"),
    ("keys", "trash"),
)
# Options of the command line and their keys; the fields of `Flags` that replace a value.
_OPTIONS: tuple[tuple[str, str, str], ...] = (
    ("--endpoint", "endpoint", "endpoint"),
    ("--model", "model", "model"),
    ("--system", "chat.system_prompt", "system_prompt"),
    ("--effort", "chat.reasoning_effort", "effort"),
)

Overrides = dict[str, tuple[object, Origin]]
"""Values that replace those of the file, by full keys."""


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

    file: Path  # also if it does not exist
    # without values of wrong variables; of a wrong file, only `[keys]` and `[ui]`
    settings: Settings = Settings()
    text: str = ""  # `outline` of the file; empty, too, if it cannot be parsed
    tables: Values = field(default_factory=dict)  # empty if the file has a problem
    has_file: bool = False
    # by full keys; others have their defaults
    origins: Mapping[str, Origin] = field(default_factory=dict)
    servers: tuple[McpSettings, ...] = ()  # of tools, in `mcp.json`
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()  # on what has no effect: retired settings, wrong servers
    # Address for which `api_key` is meant, or "": file or environment may set the key, and only an
    # address from the same place counts.
    key_endpoint: str = ""

    def origin(self, key: str) -> Origin:
        return self.origins.get(key, DEFAULT)

    @property
    def key_variables(self) -> frozenset[str]:
        """Environment variables whose values only servers of models and of tools may get."""
        endpoints = self.settings.endpoints
        names = {endpoint.api_key_env for endpoint in endpoints}
        headers = (endpoint.headers for endpoint in endpoints)
        return frozenset(names.union(*map(variables_in, (*self.servers, *headers))))

    def problem(self, place: KeyPath, reason: str) -> Problem:
        return Problem(
            source=str(self.file), line=line_of(self.text, place), key=key_of(place), reason=reason
        )

    def require_valid(self) -> LoadedSettings:
        """Raises `ConfigError` with the first problem, and all as details."""
        if not self.problems:
            return self
        raise ConfigError(
            self.problems[0].sentence,
            next_step="Correct it, then try again. `lmchat config check` lists all problems.",
            details="\n".join(problem.sentence for problem in self.problems),
        )


def load(
    path: Path,
    environ: Mapping[str, str],
    flags: Flags | None = None,
    *,
    is_required: bool = False,
) -> LoadedSettings:
    """Merge the values of the file, the environment, a profile and flags; later ones win.

    A missing file is a problem only if it `is_required`, because the user has named it.
    """
    flags = flags or Flags()
    file = _with_servers(_read(path, is_required=is_required))
    settings = file.settings
    problems = list(file.problems)
    origins: dict[str, Origin] = {}
    for name, value in file.tables.items():
        keys = [f"{name}.{key}" for key in value] if isinstance(value, dict) else [name]
        origins |= dict.fromkeys(keys, named_origin(Level.FILE, path.name))

    overrides, wrong_variables = _of_environment(environ)
    problems += wrong_variables
    # a key of the environment must not be sent to an address of the file, nor the other way round
    key_endpoint = file.tables.get("endpoint", "")
    if "api_key" in overrides:
        key_endpoint, _ = overrides.get("endpoint", ("", DEFAULT))

    profile = settings.profiles.get(flags.profile or "")
    if profile is not None:
        for name, value in non_default_values(profile).items():
            # all keys of a profile are of [chat], except the model, which is at the top level
            key = name if name == "model" else f"chat.{name}"
            overrides[key] = (value, Origin(Level.PROFILE, f"profile {flags.profile}"))
    elif flags.profile is not None and not file.problems:  # a wrong file has no known profiles
        problems.append(
            Problem(
                source=f"--profile {flags.profile}",
                reason=f"unknown profile; in config.toml: {', '.join(settings.profiles) or 'none'}",
            )
        )
    overrides |= _of_flags(flags, settings)
    if flags.endpoint is not None and not flags.endpoint.strip():
        # it counts all the same: the user does not mean the server of the file
        problems.append(Problem(source='--endpoint ""', reason="write it as http://HOST:PORT"))

    for key, (value, origin) in overrides.items():
        section, _, name = key.rpartition(".")
        changes = {name: value}
        if section:
            changes = {section: replace(getattr(settings, section), **changes)}
        settings = replace(settings, **changes)
        origins[key] = origin
    # A timeout that a server does not set is that of `[timeouts]`, and not the default of its
    # field; only the tables of the file tell which are set. A wrong file has no servers.
    endpoints = tuple(
        replace(server, timeouts=replace(settings.timeouts, **table["timeouts"]))
        if server.timeouts
        else server
        for server, table in zip(settings.endpoints, file.tables.get("endpoints", ()), strict=True)
    )
    # of several with one name, the first
    urls = {server.name: server.url for server in reversed(endpoints)}
    urls = {name: url for name, url in urls.items() if not re.search(_LIKE_ADDRESS, name)}
    endpoint = urls.get(settings.endpoint, settings.endpoint)
    return replace(
        file,
        settings=replace(settings, endpoints=endpoints, endpoint=endpoint),
        origins=origins,
        problems=tuple(problems),
        key_endpoint=urls.get(str(key_endpoint), str(key_endpoint)),
    )


def _of_environment(environ: Mapping[str, str]) -> tuple[Overrides, list[Problem]]:
    overrides: Overrides = {}
    problems: list[Problem] = []
    for variable, key in VARIABLES:
        text = environ.get(variable, "").strip()  # an empty variable counts as unset
        if not text or key in overrides:
            continue
        place = tuple(key.split("."))
        kind, meta = declared_at(place)
        try:
            # not strict: a number comes as text here
            value = convert(text, Annotated[kind, meta], strict=False)
        except ValidationError as error:
            problems.append(
                Problem(
                    source=f"environment variable {variable}",
                    key=key,
                    reason=reason_of(message_and_place(error)[0], place),
                )
            )
        else:
            overrides[key] = (value, named_origin(Level.ENVIRONMENT, variable))
    return overrides, problems


def _of_flags(flags: Flags, settings: Settings) -> Overrides:
    overrides: Overrides = {}
    for option, key, name in _OPTIONS:
        if (value := getattr(flags, name)) is not None:
            overrides[key] = (value, named_origin(Level.COMMAND_LINE, option))
    if flags.allowed_hosts:  # the only flag that adds to the value of the file
        hosts = (*settings.allowed_hosts, *flags.allowed_hosts)
        overrides["allowed_hosts"] = (hosts, named_origin(Level.COMMAND_LINE, "--allow-host"))
    return overrides


def _read(path: Path, *, is_required: bool) -> LoadedSettings:
    line: int | None = None
    has_file = True
    try:
        # a file that the user has named may be a pipe
        tables, text = read_toml(path, Values, may_stream=is_required)
    except (FileNotFoundError, NotADirectoryError):
        if not is_required:
            return LoadedSettings(file=path)
        reason = "it does not exist"
        has_file = False
    except OSError as error:
        if isinstance(error, PermissionError) and not is_required and not os.path.lexists(path):
            # a folder may not be entered: what can be done without the file is done
            reason = explain_system_error(error, path).message_with_next_step
            note = Problem(source="", reason=reason)
            return LoadedSettings(file=path, notes=(note,))
        reason = f"cannot be read: {error.strerror or error}; --config FILE names another file"
    except TomlError as error:
        reason, line = error.reason, error.line
    else:
        return _checked(path, tables, text)
    problem = Problem(source=str(path), reason=reason, line=line)
    return LoadedSettings(file=path, problems=(problem,), has_file=has_file)


def _with_servers(loaded: LoadedSettings) -> LoadedSettings:
    """Add the servers of `mcp.json`; a wrong one costs itself alone."""
    file = loaded.file.with_name(FILE_NAME)
    try:
        found = read_servers(file)
    except OSError as error:
        if not os.path.lexists(file):  # or nobody can tell, as a note on its folder says
            return loaded
        found = ServersFile(refused={"": f"cannot be read: {error.strerror or error}"})
    except FileRefused as error:
        found = ServersFile(refused={"": error.message.removeprefix(f"{file} ")})
    notes = (
        Problem(source=str(file), key=name, reason=reason.rstrip("."))
        for name, reason in found.refused.items()
    )
    return replace(loaded, servers=tuple(found.servers.values()), notes=(*loaded.notes, *notes))


def _moved_text(found: ServersFile, file: Path) -> str:
    """Write the servers of an earlier version if there is no file; return what became of them."""
    lost = "".join(f"; {name}: {reason.rstrip('.')}" for name, reason in found.refused.items())
    if os.path.lexists(file):
        return f"has no effect any more: servers are in {file}{lost}"
    try:
        write_servers(file, found.servers.values())
    except LMChatError as error:  # another window may have written it, too
        return f"belongs into {file}, which cannot be written: {error.message.rstrip('.')}{lost}"
    return f"was moved to {file}{lost}"


def _checked(path: Path, tables: Values, text: str) -> LoadedSettings:
    loaded = LoadedSettings(file=path, text=outline(text), has_file=True)
    notes: list[Problem] = []
    for section, key in _RETIRED:
        table = tables.get(section)
        if isinstance(table, dict) and table.pop(key, None) is not None:
            reason = "has no effect any more; delete the line"
            notes.append(loaded.problem((section, key), reason))
    if (older := tables.pop("mcp", None)) is not None:
        found = moved(older)
        file = path.with_name(FILE_NAME)
        loaded = replace(loaded, servers=tuple(found.servers.values()))
        reason = _moved_text(found, file)
        notes.append(loaded.problem(("mcp",), f"{reason}; delete the lines"))
    loaded = replace(loaded, notes=tuple(notes))
    try:
        return replace(loaded, settings=convert(tables, Settings), tables=tables)
    except ValidationError:
        faults = faults_in(tables)
    # These two are kept unless they have a fault: `cli/screen_settings.py` then finds their other
    # problems, so that the user sees all at once.
    names = {"keys", "ui"} & tables.keys() - {place[0] for place in faults if place}
    return replace(
        loaded,
        settings=convert({name: tables[name] for name in names}, Settings),
        problems=tuple(loaded.problem(*fault) for fault in faults.items()),
    )
