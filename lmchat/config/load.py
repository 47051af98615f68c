"""Merge flags, environment, file and defaults, and keep where each value came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.config.rows import (
    ENDPOINT,
    PROFILE,
    REQUIRED_OF_ENDPOINT,
    SECTIONS,
    TIMEOUTS,
    TOP,
    Kind,
    Row,
    Section,
    wrong,
)
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
from lmchat.files import read_plain

KeyPath = tuple[str | int, ...]
"""Where a value stands: names of tables and keys, numbers for the places in an array of tables."""


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong."""

    source: str
    """The file, or the environment variable or flag."""
    reason: str
    """What is wrong."""
    key: str = ""
    """The full name of the key; empty where the file cannot be read at all."""
    line: int | None = None
    """Where in the file, counted from 1."""
    suggestion: str = ""
    """What may have been meant."""

    @property
    def sentence(self) -> str:
        """All of it on one line."""
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        what = f"{self.key} {self.reason}" if self.key else self.reason
        return f"{place}: {what}" + (f"; did you mean {self.suggestion}?" if self.suggestion else "")


class Fault(Struct, frozen=True, kw_only=True):
    """A wrong value in a parsed file, before its line is looked up."""

    path: KeyPath
    """Where it stands."""
    reason: str
    """What is wrong."""
    suggestion: str = ""
    """What may have been meant."""

    @property
    def key(self) -> str:
        """The path as people write it: `endpoints[2].url`."""
        text = ""
        for part in self.path:
            text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
        return text


def similar(word: str, words: tuple[str, ...]) -> str:
    """Return the word that may have been meant, or nothing."""
    import difflib  # noqa: PLC0415 - needed for a misspelt word only

    return next(iter(difflib.get_close_matches(word, words, n=1, cutoff=0.6)), "")


def line_of(text: str, path: KeyPath) -> int | None:
    """Return the line of a TOML text, counted from 1, in which a value or the table around it is set.

    The standard library's parser tells no lines of what it accepts; so the text is cut into statements, each
    the fewest lines that it parses, which leaves the grammar to that parser.
    """
    table: KeyPath = ()
    counts: dict[KeyPath, int] = {}
    best: tuple[int, int | None] = (0, None)
    for line, chunk, parsed in _statements(text):
        names = _names(parsed)
        if chunk.lstrip().startswith("[["):
            counts[names] = counts.get(names, -1) + 1
            table = here = (*names, counts[names])
        elif chunk.lstrip().startswith("["):
            table = here = _under_arrays(names, counts)
        else:
            here = (*table, *names)
        differs = any(one != other for one, other in zip(here, path, strict=False))
        depth = 0 if differs else min(len(here), len(path))
        if depth > best[0]:
            best = (depth, line)
    return best[1]


def _statements(text: str) -> list[tuple[int, str, dict[str, object]]]:
    import tomllib  # noqa: PLC0415 - needed for a file with a fault only

    found: list[tuple[int, str, dict[str, object]]] = []
    begun, chunk = 1, ""
    for number, line in enumerate(text.split("\n"), 1):
        if not chunk:
            begun = number
        chunk += line + "\n"
        try:
            parsed = tomllib.loads(chunk)
        except tomllib.TOMLDecodeError:
            continue
        if parsed:
            found.append((begun, chunk, parsed))
        chunk = ""
    return found


def _names(parsed: dict[str, object]) -> KeyPath:
    """Return the names in a statement, whose first value decides: `a.b = 1` gives (a, b)."""
    names: list[str] = []
    value: object = parsed
    while isinstance(value, dict) and len(value) == 1:
        name, value = next(iter(value.items()))
        names.append(name)
    return tuple(names)


def _under_arrays(names: KeyPath, counts: dict[KeyPath, int]) -> KeyPath:
    """Return the path of `[a.b]` where `a` is an array of tables: it belongs to the last of them."""
    path: KeyPath = ()
    plain: KeyPath = ()
    for name in names:
        plain = (*plain, name)
        path = (*path, name)
        if plain in counts:
            path = (*path, counts[plain])
    return path


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
"""Variable and the key it sets; of two for one key the first that is set wins."""


def read_environment(
    environ: Mapping[str, str],
) -> tuple[dict[str, tuple[object, str]], tuple[Problem, ...]]:
    """Return value and variable by key, and what is wrong; an empty variable counts as not set."""
    rows = {section.key(row): row for section in SECTIONS for row in section.rows}
    found: dict[str, tuple[object, str]] = {}
    problems: list[Problem] = []
    for name, key in VARIABLES:
        text = environ.get(name, "")
        if not text.strip() or key in found:
            continue
        value = _parsed(rows[key], text)
        if reason := wrong(rows[key], value):
            problems.append(Problem(source=f"environment variable {name}", reason=f"({key}) {reason}"))
        else:
            found[key] = (value, name)
    return found, tuple(problems)


def _parsed(row: Row, text: str) -> object:
    """Read a number where one is wanted; what is none stays a text, and is refused as such."""
    if row.kind not in (Kind.INTEGER, Kind.NUMBER):
        return text.strip() if row.name != "system_prompt" else text
    try:
        return int(text) if row.kind is Kind.INTEGER else float(text)
    except ValueError:
        return text


Values = dict[str, object]
"""Checked values of one table, by the name of their row."""

_TABLES = tuple(section.name for section in SECTIONS if section.name)
_FORMS = ("keys", "endpoints", "profiles")


class FileContent(Struct, kw_only=True):
    """What a file says, as far as it is right."""

    sections: dict[str, Values] = field(default_factory=dict)
    """Values by table; the keys above all tables under an empty name."""
    keys: dict[str, str] = field(default_factory=dict)
    """`[keys]`."""
    endpoints: list[Values] = field(default_factory=list)
    """`[[endpoints]]`."""
    profiles: dict[str, Values] = field(default_factory=dict)
    """`[profiles.NAME]`."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with it."""
    is_there: bool = False
    """Whether there is such a file."""


def read_file(path: Path, *, is_required: bool = False) -> FileContent:
    """Read and check a file; one that is not there is empty, unless it is required."""
    try:
        data = read_plain(path, may_stream=is_required)
    except (FileNotFoundError, NotADirectoryError):
        if not is_required:
            return FileContent()
        return _unreadable(path, "there is no such file")
    except OSError as error:
        return _unreadable(path, f"cannot be read: {error.strerror or error}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return _unreadable(path, "is not UTF-8 text", line)
    return _content(path, text)


def _content(path: Path, text: str) -> FileContent:
    import tomllib  # noqa: PLC0415 - a start without a file shall not wait for it

    try:
        table = tomllib.loads(text)
    except RecursionError:
        return _broken(path, "Nested too deeply (at end of document)", text)
    except tomllib.TOMLDecodeError as error:
        return _broken(path, str(error), text)
    content = FileContent(is_there=True)
    faults = _fill(content, table)
    content.problems = tuple(
        Problem(
            source=str(path),
            line=line_of(text, fault.path),
            key=fault.key,
            reason=fault.reason,
            suggestion=fault.suggestion,
        )
        for fault in faults
    )
    return content


def _unreadable(path: Path, reason: str, line: int | None = None) -> FileContent:
    return FileContent(problems=(Problem(source=str(path), reason=reason, line=line),), is_there=True)


def _broken(path: Path, message: str, text: str) -> FileContent:
    """Turn the parser's "Invalid value (at line 3, column 5)" or "(at end of document)" into a problem."""
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    last = text.rstrip().count("\n") + 1
    line = int(found[1]) if found and found[1] else last
    reason = message[: found.start()] if found else message
    return _unreadable(path, f"is not TOML: {reason[:1].lower()}{reason[1:]}", line)


def _fill(content: FileContent, table: Mapping[str, object]) -> list[Fault]:
    faults: list[Fault] = []
    top = {name: value for name, value in table.items() if name not in (*_TABLES, *_FORMS)}
    content.sections[""] = _check(TOP, top, (), faults, words=(*_TABLES, *_FORMS))
    for section in SECTIONS:
        if section.name in table:
            content.sections[section.name] = _check(section, table[section.name], (section.name,), faults)
    content.keys = _check_keys(table.get("keys", {}), faults)
    content.endpoints = _check_endpoints(table.get("endpoints", []), faults)
    content.profiles = _check_profiles(table.get("profiles", {}), faults)
    return faults


def _check(
    section: Section, table: object, path: KeyPath, faults: list[Fault], *, words: tuple[str, ...] = ()
) -> Values:
    if not isinstance(table, dict):
        faults.append(Fault(path=path, reason=f"must be a table: write [{section.name}]"))
        return {}
    rows = {row.name: row for row in section.rows}
    values: Values = {}
    for name, value in table.items():
        row = rows.get(name)
        if row is None:
            suggestion = similar(name, (*rows, *words))
            faults.append(Fault(path=(*path, name), reason="is not known", suggestion=suggestion))
        elif reason := wrong(row, value):
            faults.append(Fault(path=(*path, name), reason=reason))
        else:
            values[name] = _settled(row, value, (*path, name), faults)
    return values


def _settled(row: Row, value: object, path: KeyPath, faults: list[Fault]) -> object:
    if row.kind is Kind.TIMEOUTS:
        return _check(TIMEOUTS, value, path, faults)
    return tuple(value) if isinstance(value, list) else value


def _check_keys(table: object, faults: list[Fault]) -> dict[str, str]:
    if not isinstance(table, dict):
        faults.append(Fault(path=("keys",), reason="must be a table: write [keys]"))
        return {}
    for name, value in table.items():
        if not isinstance(value, str):
            faults.append(Fault(path=("keys", name), reason="must be a text in quotes"))
    return {name: value for name, value in table.items() if isinstance(value, str)}


def _check_endpoints(tables: object, faults: list[Fault]) -> list[Values]:
    if not isinstance(tables, list):
        faults.append(Fault(path=("endpoints",), reason="must be a list of tables: write [[endpoints]]"))
        return []
    found: list[Values] = []
    for number, table in enumerate(tables):
        path: KeyPath = ("endpoints", number)
        values = _check(ENDPOINT, table, path, faults)
        named = table if isinstance(table, dict) else {}
        missing = [name for name in REQUIRED_OF_ENDPOINT if name not in named]
        faults.extend(Fault(path=(*path, name), reason="is missing") for name in missing)
        if all(name in values for name in REQUIRED_OF_ENDPOINT):
            found.append(values)
    return found


def _check_profiles(tables: object, faults: list[Fault]) -> dict[str, Values]:
    if not isinstance(tables, dict):
        faults.append(Fault(path=("profiles",), reason="must be tables: write [profiles.NAME]"))
        return {}
    return {name: _check(PROFILE, table, ("profiles", name), faults) for name, table in tables.items()}


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
