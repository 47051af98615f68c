"""`lmchat config`: show, check and create the configuration. Functions are named as the actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from lmchat.cli.context import Context
from lmchat.config.file import (
    KeyPath,
    Problem,
    example_text,
    key_of,
    line_of,
    sections,
    toml_value,
    value_keys,
)
from lmchat.config.origin import Level, named_origin
from lmchat.config.settings import non_default_values
from lmchat.errors import EndpointNotAllowed, FileExists
from lmchat.files.disk import write_new_file
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

    Values that may hold an API key or a password are masked. For the same reason, only the names of
    the entries of `[[mcp]]` and `[[endpoints]]` are printed.
    """
    settings, loaded = context.settings, context.loaded
    values: dict[str, object] = {}
    for section, table in sections().items():
        # the section "" has the settings of the top level
        section_settings = getattr(settings, section) if section else settings
        for config_key in value_keys(table.type):
            key = f"{section}.{config_key.name}".removeprefix(".")
            values[key] = getattr(section_settings, config_key.name)
    if settings.api_key:
        values["api_key"] = _MASK
    if settings.endpoint and not is_address(settings.endpoint):  # a wrong one may hold a password
        values["endpoint"] = _MASK
    of_file: dict[str, object] = {}  # values that only the file can set, by key
    if settings.mcp:
        of_file["mcp"] = [server.name for server in settings.mcp]
    if settings.endpoints:
        of_file["endpoints"] = [endpoint.name for endpoint in settings.endpoints]
    # tables in which the user chooses the names, by the form of their keys
    tables: dict[str, Mapping[str, object]] = {
        "keys.{}": settings.keys,
        "tools.approval.{}": settings.tools.approval,
        'models."{}"': settings.models,
        "profiles.{}": settings.profiles,
        "prompts.{}": settings.prompts,
    }
    for template, table_of_names in tables.items():
        for name, value in table_of_names.items():
            # a value that is a table itself, such as a profile, is given without its defaults
            value_set = non_default_values(value) if isinstance(value, Struct) else value
            of_file[template.format(name)] = value_set

    document: dict[str, object] = {}
    lines: list[str] = []
    in_file = named_origin(Level.FILE, context.config_file.name)
    for key, value in (values | of_file).items():
        origin = (in_file if key in of_file else loaded.origin(key)).words
        document[key] = {"value": value, "origin": origin}
        setting = f"{key} = {'unset' if value is None else toml_value(value)}"
        lines.append(f"{setting:<{_ORIGIN_COLUMN}}  # {origin}")
    return context.output.print_result(document, *lines)


def init(context: Context) -> int:
    """Write a commented configuration file, which only its owner can read, and print its path.

    An existing file is overwritten only with `--force`; otherwise an error is raised.
    """
    file = context.config_file
    try:
        write_new_file(file, example_text(), is_forced=context.options.force, mode=0o600)
    except FileExists as error:
        error.hint = "Add --force to overwrite it, or --config FILE to write another file."
        raise
    return context.output.print_result({"config": file}, f"Wrote {file}")


def check(context: Context) -> int:
    """Print every problem of the configuration with its line; return 2 if there is one, else 0."""
    # it imports asyncio, which the other commands of this module do not need
    from lmchat.servers.allow_list import AllowList  # noqa: PLC0415

    loaded = context.loaded
    problems = list(context.problems)
    allow_list = AllowList()

    def check_address(address: str) -> None:
        endpoint = Endpoint.parse(address)
        if not (endpoint.is_loopback or allow_list.has_host(endpoint.host, endpoint.port)):
            raise EndpointNotAllowed(f"{endpoint.host} is not in allowed_hosts.", hint="Add it.")

    # Values that are not checked yet, each with its place and what checks it. Hosts come first:
    # `allow` also adds them to the list, by which the addresses are checked.
    values: list[tuple[KeyPath, Callable[[str], None], str]] = [
        (("allowed_hosts",), allow_list.allow, host) for host in loaded.settings.allowed_hosts
    ]
    if loaded.origin("endpoint").level is Level.FILE:
        values.append((("endpoint",), check_address, loaded.settings.endpoint))
    for section in ("endpoints", "mcp"):
        for index, entry in enumerate(getattr(loaded.settings, section)):
            values.append(((section, index, "url"), check_address, entry.url))
    for key_path, check_value, value in values:
        try:
            if value:
                check_value(value)
        except EndpointNotAllowed as error:  # its message quotes no password
            problem = Problem(
                source=str(loaded.file),
                key=key_of(key_path),
                line=line_of(loaded.text, key_path),
                reason=f"cannot be used: {error.message.rstrip('.')}",
            )
            problems.append(problem)
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
