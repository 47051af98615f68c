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
    """Print the value of every setting and where it comes from, one setting a line."""
    entries = {**_section_entries(context), **_table_entries(context)}
    document = {key: {"value": value, "origin": origin} for key, (value, origin) in entries.items()}
    settings = [
        f"{key} = {'unset' if value is None else toml_value(value)}"
        for key, (value, _) in entries.items()
    ]
    width = min(max(map(len, settings)), _MAX_ORIGIN_COLUMN)
    lines = [
        f"{setting:<{width}}  # {origin}"
        for setting, (_, origin) in zip(settings, entries.values(), strict=True)
    ]
    return context.output.print_result(document, *lines)


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
        (("endpoint",), settings.endpoint, Endpoint.parse),
        *(
            (("allowed_hosts", index), host, allow_list.allow)
            for index, host in enumerate(settings.allowed_hosts)
        ),
        (("ca_file",), settings.ca_file, new_tls_context),
        *(
            (("endpoints", index, "url"), endpoint.url, Endpoint.parse)
            for index, endpoint in enumerate(settings.endpoints)
        ),
        *(
            (("mcp", index, "url"), server.url, Endpoint.parse)
            for index, server in enumerate(settings.mcp)
        ),
    ]
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
    missing_theme = load("lmchat.tui.themes:missing_theme")
    if missing := missing_theme(name):
        reason, suggestion = missing
        yield Problem(
            source=str(loaded.file),
            line=line_of(loaded.text, ("ui", "theme")),
            key="ui.theme",
            reason=reason,
            suggestion=suggestion,
        )


_Entries = dict[str, tuple[object, str]]
"""Value and origin of each line of `config show`, by key."""


def _section_entries(context: Context) -> _Entries:
    """Return an entry for each setting whose name is fixed, also for those with their default.

    What may hold an API key or a password is masked. The other settings are in tables that the user
    names, such as `[profiles.fast]`.
    """
    settings = context.settings
    entries: _Entries = {}
    for section, table in sections().items():
        # the settings above all tables are a section without a name
        values = getattr(settings, section) if section else settings
        for row in values_of(table.type):
            key = f"{section}.{row.name}" if section else row.name
            value = getattr(values, row.name)
            masked = _MASK if key == "api_key" and value else _mask_wrong_address(key, value)
            entries[key] = masked, context.loaded.origins.get(key, "default")
    for name, value in typed_options(context.options.sampling).items():
        entries.pop(f"chat.{name}", None)  # these are the last
        entries[f"chat.{name}"] = value, "flag (--set)"
    return entries


def _table_entries(context: Context) -> _Entries:
    """Return an entry for each key binding, tool approval and table of the configuration file.

    `[[mcp]]` and `[[endpoints]]`, which may hold secrets, are given by the names of their entries
    alone.
    """
    settings = context.settings
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
    origin = f"file ({context.config_file.name})"
    return {key: (value, origin) for key, value in tables.items()}


def _changed_fields(struct: Struct) -> dict[str, object]:
    """Return the values of a struct that differ from their defaults, by field."""
    return {
        field.name: value
        for field in fields(struct)
        if (value := getattr(struct, field.name)) != field.default
    }


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
