"""`lmchat config`: show, check and create the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import asdict, fields

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
_ORIGIN_COLUMN = 50  # longer settings push the origin to the right


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

    What may hold an API key or a password is masked: `[[mcp]]` and `[[endpoints]]` are given by the
    names of their entries alone.
    """
    settings, loaded = context.settings, context.loaded
    values: dict[str, object] = {}
    for section, table in sections().items():
        # the settings above all tables are a section without a name
        holder = getattr(settings, section) if section else settings
        for row in values_of(table.type):
            values[f"{section}.{row.name}".removeprefix(".")] = getattr(holder, row.name)
    if settings.api_key:
        values["api_key"] = _MASK
    if settings.endpoint and not is_address(settings.endpoint):  # it may be `ada:PASSWORD@host`
        values["endpoint"] = _MASK
    values["allowed_hosts"] = [_MASK if "@" in host else host for host in settings.allowed_hosts]
    origins = {key: loaded.origins.get(key, "default") for key in values}
    for name, value in typed_options(context.options.sampling).items():
        values[f"chat.{name}"] = value
        origins[f"chat.{name}"] = "flag (--set)"

    values |= {f"keys.{name}": keys for name, keys in settings.keys.items()}
    values |= {f"tools.approval.{name}": word for name, word in settings.tools.approval.items()}
    if settings.mcp:
        values["mcp"] = [server.name for server in settings.mcp]
    if settings.endpoints:
        values["endpoints"] = [endpoint.name for endpoint in settings.endpoints]
    values |= {f'models."{name}"': _set_fields(table) for name, table in settings.models.items()}
    values |= {f"profiles.{name}": _set_fields(table) for name, table in settings.profiles.items()}
    values |= {f"prompts.{name}": _set_fields(table) for name, table in settings.prompts.items()}

    document: dict[str, object] = {}
    lines: list[str] = []
    for key, value in values.items():
        origin = origins.get(key, f"file ({context.config_file.name})")
        document[key] = {"value": value, "origin": origin}
        setting = f"{key} = {'unset' if value is None else toml_value(value)}"
        lines.append(f"{setting:<{_ORIGIN_COLUMN}}  # {origin}")
    return context.output.print_result(document, *lines)


def _set_fields(table: Struct) -> dict[str, object]:
    """Return the values of a table that differ from their defaults."""
    values = asdict(table)
    return {one.name: values[one.name] for one in fields(table) if values[one.name] != one.default}


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
