"""`lmchat config`: show, check and create the configuration."""

from __future__ import annotations

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
    problems = [*context.problems, *_unusable_values(loaded)]
    # Textual, which `config show` needs not
    missing_theme = load("lmchat.tui.themes:missing_theme")
    theme = loaded.settings.ui.theme
    if theme and (missing := missing_theme(theme)):
        problems.append(
            Problem(
                source=str(loaded.file),
                line=line_of(loaded.text, ("ui", "theme")),
                key="ui.theme",
                reason=missing[0],
                suggestion=missing[1],
            )
        )
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
    """Yield a problem for each address, host and certificate file that is set but unusable.

    It does not quote the value, which may hold a password. It has the line of a value of the file,
    and the name of the variable or option of another one.
    """
    settings = loaded.settings
    allow_list = load("lmchat.servers.limits:AllowList")()  # httpx, which `config show` needs not
    new_tls_context = load("lmchat.servers.http.certificates:new_tls_context")
    checks: list[tuple[KeyPath, str, Callable[[str], object]]] = [
        (("endpoint",), settings.endpoint, Endpoint.parse),
        (("ca_file",), settings.ca_file, new_tls_context),
    ]
    for index, host in enumerate(settings.allowed_hosts):
        checks.append((("allowed_hosts", index), host, allow_list.allow))
    for index, endpoint in enumerate(settings.endpoints):
        checks.append((("endpoints", index, "url"), endpoint.url, Endpoint.parse))
    for index, server in enumerate(settings.mcp):
        checks.append((("mcp", index, "url"), server.url, Endpoint.parse))
    for key_path, value, check_value in checks:
        try:
            if value:
                check_value(value)
        except LMChatError as error:
            # of "Endpoint not allowed: the port is wrong.", only "the port is wrong"
            reason = error.message.partition(": ")[2].rstrip(".")
            if key_path[0] == "allowed_hosts":
                reason = 'write "host" or "host:port"'
            elif error.hint:  # the hint continues the sentence, so it begins with a small letter
                reason += f"; {error.hint[:1].lower()}{error.hint[1:]}".rstrip(".")
            # an origin is worded as "file (config.toml)"; arrays of tables are only in the file
            source = loaded.origins.get(str(key_path[0]), "file")
            line = line_of(loaded.text, key_path) if source.startswith("file") else None
            yield Problem(
                source=source if line is None else str(loaded.file),
                key=key_of(key_path),
                line=line,
                reason=f"cannot be used: {reason}",
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
            # a wrong address may be `ada:PASSWORD@host`
            if value and (key == "api_key" or (key == "endpoint" and not is_address(str(value)))):
                value = _MASK
            elif key == "allowed_hosts":
                value = tuple(_MASK if "@" in host else host for host in settings.allowed_hosts)
            entries[key] = value, context.loaded.origins.get(key, "default")
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
