"""`lmchat config`: show, check and create the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import fields

from lmchat.cli.context import Context
from lmchat.cli.run import load
from lmchat.cli.sampling import typed_options
from lmchat.config.file import (
    KeyPath,
    Problem,
    example_text,
    key_of,
    line_of,
    sections,
    toml_value,
    values_of,
)
from lmchat.config.load import Loaded
from lmchat.config.settings import Settings
from lmchat.errors import LMChatError
from lmchat.files.disk import write_new_file
from lmchat.files.paths import make_folder
from lmchat.servers.endpoint import Endpoint, is_address

_MASK = "********"
_MAX_ORIGIN_COLUMN = 50  # column of the origins at most; longer settings push theirs to the right
# a host with or without a port, such as box, box:8080, ::1 or [::1]:8080, but not ada:PASSWORD@box
_HOST = re.compile(r"[^@/:\s]+(:\d{1,5})?|\[?[0-9A-Fa-f:.]+\]?(:\d{1,5})?")


def path(context: Context) -> int:
    """Print the path of the configuration file; as JSON, the paths of all files of lmchat."""
    paths = context.paths
    files = {
        "config": context.config_file,
        "state": paths.state_file,
        "credentials": paths.credentials_file,
        "sessions": paths.sessions_file,
        "models": paths.models_file,
        "log": paths.log_file,
    }
    return context.output.print_result(files, str(context.config_file))


def show(context: Context) -> int:
    """Print the value of every setting and where it comes from, one setting a line.

    What may hold an API key or a password is masked.
    """
    file_origin = f"file ({context.config_file.name})"
    entries = [*_section_entries(context), *_table_entries(context.settings, file_origin)]
    values = {entry.key: {"value": entry.value, "origin": entry.origin} for entry in entries}
    settings = [entry.setting for entry in entries]
    width = min(max(map(len, settings)), _MAX_ORIGIN_COLUMN)
    lines = [
        f"{setting:<{width}}  # {entry.origin}"
        for setting, entry in zip(settings, entries, strict=True)
    ]
    return context.output.print_result(values, *lines)


def init(context: Context) -> int:
    """Write a commented configuration file, which only its owner can read, and print its path.

    An existing file is overwritten only with `--force`; otherwise an error is raised.
    """
    file = context.config_file
    make_folder(file.parent)
    write_new_file(file, example_text(), is_forced=context.options.force, mode=0o600)
    return context.output.print_result({"config": file}, f"Wrote {file}")


def check(context: Context) -> int:
    """Print every problem of the configuration with its line; return 2 if there is one, else 0."""
    loaded = context.loaded
    problems = [*context.problems, *_unusable_values(loaded), *_theme_problems(context)]
    document = {
        "config": str(loaded.file),
        "exists": loaded.has_file,
        "ok": not problems,
        "problems": [
            {
                "source": problem.source,
                "line": problem.line,
                "key": problem.key,
                "message": problem.sentence,
            }
            for problem in problems
        ],
    }
    lines = [problem.sentence for problem in problems]
    if not problems:
        state = "no problems" if loaded.has_file else "no file; the defaults apply"
        lines = [f"{loaded.file}: {state}"]
    context.output.print_result(document, *lines)
    return 2 if problems else 0


def _unusable_values(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for each address, host and certificate file that is set but unusable."""
    settings = loaded.settings
    allow_list = load("lmchat.servers.limits:AllowList")()  # httpx, which `config show` needs not
    new_tls_context = load("lmchat.servers.http.certificates:new_tls_context")

    checks: list[tuple[KeyPath, str, Callable[[str], object]]] = [
        (("endpoint",), settings.endpoint, Endpoint.parse)
    ]
    for index, host in enumerate(settings.allowed_hosts):
        checks.append((("allowed_hosts", index), host, allow_list.allow))
    checks.append((("ca_file",), settings.ca_file, new_tls_context))
    for index, endpoint in enumerate(settings.endpoints):
        checks.append((("endpoints", index, "url"), endpoint.url, Endpoint.parse))
    for index, server in enumerate(settings.mcp):
        checks.append((("mcp", index, "url"), server.url, Endpoint.parse))

    for key_path, value, check_value in checks:
        try:
            if value:
                check_value(value)
        except LMChatError as error:
            yield _problem_of(loaded, key_path, error)


def _problem_of(loaded: Loaded, key_path: KeyPath, error: LMChatError) -> Problem:
    """Return the problem about a value that failed its check with `error`.

    The problem does not quote the value, which may hold a password. It has the line of the value
    if the value comes from the file, and the name of the variable or option otherwise.
    """
    # of "Endpoint not allowed: the port is wrong.", only "the port is wrong"
    reason = error.message.partition(": ")[2].rstrip(".")
    if key_path[0] == "allowed_hosts":
        reason = 'write "host" or "host:port"'
    elif error.hint:  # the hint continues the sentence, so it begins with a small letter
        reason += f"; {error.hint[:1].lower()}{error.hint[1:]}".rstrip(".")

    # an origin is worded as "file (config.toml)"; values in arrays of tables are only in the file
    source = loaded.origins.get(str(key_path[0]), "file")
    line = line_of(loaded.text, key_path) if source.startswith("file") else None
    if line is not None:
        source = str(loaded.file)
    key = key_of(key_path)
    return Problem(source=source, key=key, line=line, reason=f"cannot be used: {reason}")


def _theme_problems(context: Context) -> Iterator[Problem]:
    """Yield a problem if a theme is configured and does not exist.

    The problem suggests the theme with the most similar name; if none is similar, it lists all.
    """
    loaded = context.loaded
    name = loaded.settings.ui.theme
    if not name:
        return
    # Textual, which `config show` needs not
    missing_theme = load("lmchat.tui.theme_files:missing_theme")
    missing = missing_theme(name, context.paths.themes_folder)
    if missing is None:
        return
    reason, suggestion = missing
    yield Problem(
        source=str(loaded.file),
        line=line_of(loaded.text, ("ui", "theme")),
        key="ui.theme",
        reason=reason,
        suggestion=suggestion,
    )


class _Entry(Struct, frozen=True, kw_only=True):
    """One line of `config show`."""

    key: str
    value: object  # masked where it may hold an API key or a password
    origin: str

    @property
    def setting(self) -> str:
        """The line without its origin."""
        return f"{self.key} = {'unset' if self.value is None else toml_value(self.value)}"


def _section_entries(context: Context) -> list[_Entry]:
    """Return an entry for each setting whose name is fixed, also for those with their default.

    Options of `--set` come last, in place of the settings with their names. The other settings are
    in tables that the user names, such as `[profiles.fast]`.
    """
    settings = context.settings
    origins = context.loaded.origins
    entries: list[_Entry] = []
    for section, table in sections().items():
        # the settings above all tables are a section without a name
        values = getattr(settings, section) if section else settings
        for row in values_of(table.type):
            key = f"{section}.{row.name}" if section else row.name
            value = getattr(values, row.name)
            masked = _MASK if key == "api_key" and value else _mask_wrong_address(key, value)
            entries.append(_Entry(key=key, value=masked, origin=origins.get(key, "default")))
    typed = typed_options(context.options.sampling)
    not_typed = [entry for entry in entries if entry.key.removeprefix("chat.") not in typed]
    return not_typed + [
        _Entry(key=f"chat.{name}", value=value, origin="flag (--set)")
        for name, value in typed.items()
    ]


def _table_entries(settings: Settings, file_origin: str) -> list[_Entry]:
    """Return an entry for each key binding, tool approval and table of the configuration file.

    `file_origin` is the origin of all. `[[mcp]]` and `[[endpoints]]`, which may hold secrets, are
    given by the names of their entries alone.
    """
    tables: dict[str, object] = {f"keys.{name}": keys for name, keys in settings.keys.items()}
    for name, approval in settings.tools.approval.items():
        tables[f"tools.approval.{name}"] = approval
    if settings.mcp:
        tables["mcp"] = [server.name for server in settings.mcp]
    if settings.endpoints:
        tables["endpoints"] = [endpoint.name for endpoint in settings.endpoints]
    for pattern, sampling in settings.models.items():
        tables[f'models."{pattern}"'] = _changed_fields(sampling)
    for name, profile in settings.profiles.items():
        tables[f"profiles.{name}"] = _changed_fields(profile)
    for name, preset in settings.prompts.items():
        tables[f"prompts.{name}"] = _changed_fields(preset)
    return [_Entry(key=key, value=value, origin=file_origin) for key, value in tables.items()]


def _changed_fields(struct: Struct) -> dict[str, object]:
    """Return the values of a struct that differ from their defaults, by field."""
    values: dict[str, object] = {}
    for field in fields(struct):
        value = getattr(struct, field.name)
        if isinstance(value, Struct):
            values[field.name] = _changed_fields(value)
        elif value != field.default:
            values[field.name] = value
    return values


def _mask_wrong_address(key: str, value: object) -> object:
    """Return the value of the setting `key` with wrong addresses in it masked.

    A wrong address may be `ada:PASSWORD@host`. Only `endpoint` and `allowed_hosts` hold addresses;
    the values of all other settings are returned as they are.
    """
    if key == "endpoint" and value and not is_address(str(value)):
        return _MASK
    if key == "allowed_hosts" and isinstance(value, tuple):
        return tuple(host if _HOST.fullmatch(host) else _MASK for host in value)
    return value
