"""`lmchat config`: show, check and create the configuration. Functions are named as the actions."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from lmchat.app.cli.context import Context
from lmchat.base.errors import EndpointNotAllowed, FileExists
from lmchat.base.files.disk import write_new_file
from lmchat.core.config.file import KeyPath, Problem
from lmchat.core.config.mcp_file import FILE_NAME
from lmchat.core.config.settings import Level, named_origin, non_default_values
from lmchat.core.config.toml import toml_value
from lmchat.core.servers.endpoint import Endpoint, is_address

_MASK = "********"
# tables in which the user chooses the names, by their keys, with the form of the key of an entry
_OF_NAMES = {
    "endpoints": "endpoints",
    "keys": "keys.{}",
    "tools.approval": "tools.approval.{}",
    "models": 'models."{}"',
    "profiles": "profiles.{}",
    "prompts": "prompts.{}",
}
_ORIGIN_COLUMN = 50  # longer settings push the origin to the right


def path(context: Context) -> int:
    """Print the path of the configuration file; as JSON, the paths of all files of lmchat."""
    file = context.config_file
    if not os.path.lexists(file):
        context.note("This file does not exist yet; `lmchat config init` writes it.")
    names = {name.rpartition("_")[0]: path for name, path in vars(context.paths).items()}
    names |= {"config": file, "mcp": file.absolute().with_name(FILE_NAME)}
    return context.output.print_result(names, str(file))


def show(context: Context) -> int:
    """Print the value of every setting and where it comes from, one setting a line.

    No API key or password is printed; hence only the names of servers.
    """
    settings = context.settings
    loaded = context.loaded
    values: dict[str, Any] = {}
    for name, value in asdict(settings).items():
        # a section has its settings one by one
        table = asdict(value) if isinstance(value, Struct) else {"": value}
        values |= {f"{name}.{key}".removesuffix("."): item for key, item in table.items()}
    if settings.api_key:
        values["api_key"] = _MASK
    if settings.endpoint and not is_address(settings.endpoint):  # a wrong one may hold a password
        values["endpoint"] = _MASK
    rows = [
        (key, value, loaded.origin(key)) for key, value in values.items() if key not in _OF_NAMES
    ]
    in_file = named_origin(Level.FILE, context.config_file.name)  # nothing else sets these
    for name_of_table, form in _OF_NAMES.items():
        table = values[name_of_table]
        if isinstance(table, tuple):
            rows += [(form, [entry.name for entry in table], in_file)] if table else []
            continue
        for name, value in table.items():
            # a value that is a table itself, such as a profile, is given without its defaults
            shown = non_default_values(value) if isinstance(value, Struct) else value
            rows.append((form.format(name), shown, in_file))
    if loaded.servers:
        in_mcp_file = named_origin(Level.FILE, FILE_NAME)
        rows.append(("mcpServers", [server.name for server in loaded.servers], in_mcp_file))
    document: dict[str, object] = {}
    lines: list[str] = []
    for key, value, origin in rows:
        document[key] = {"value": value, "origin": origin.label}
        setting = f"{key} = {'unset' if value is None else toml_value(value)}"
        lines.append(f"{setting:<{_ORIGIN_COLUMN}}  # {origin.label}")
    return context.output.print_result(document, *lines)


def init(context: Context) -> int:
    file = context.config_file
    example = files("lmchat.core.config").joinpath("example.toml").read_text(encoding="utf-8")
    try:
        write_new_file(
            file, example, is_forced=context.options.force, makes_folder=True, mode=0o600
        )
    except FileExists as error:
        error.next_step = (
            "Take another with --config FILE; --force replaces this one and its settings."
        )
        raise
    return context.output.print_result({"config": file}, f"Wrote {file}")


def check(context: Context) -> int:
    """Print every problem and note with its line; return 2 if there is a problem, else 0."""
    # it imports asyncio, which the other commands of this module do not need
    from lmchat.core.servers.allow_list import AllowList  # noqa: PLC0415

    context.tells_notes = False  # they are printed below
    loaded = context.loaded
    problems = list(context.problems)
    allow_list = AllowList()

    def check_address(address: str) -> None:
        endpoint = Endpoint.parse(address)
        if not allow_list.allows(endpoint):
            raise EndpointNotAllowed(
                f"{endpoint.host} is not in allowed_hosts.", next_step="Add it."
            )

    # Values that are not checked yet, each with its place and what checks it. Hosts come first:
    # `allow` also adds them to the list, by which the addresses are checked.
    settings = loaded.settings
    values: list[tuple[KeyPath, Callable[[str], None], str]] = [
        (("allowed_hosts",), allow_list.allow, host) for host in settings.allowed_hosts
    ]
    if loaded.origin("endpoint").level is Level.FILE:
        values.append((("endpoint",), check_address, settings.endpoint))
    for index, entry in enumerate(settings.endpoints):
        values.append((("endpoints", index, "url"), check_address, entry.url))
    for place, check_value, value in values:
        try:
            if value.strip():
                check_value(value)
        except EndpointNotAllowed as error:  # its message quotes no password
            problems.append(loaded.problem(place, error.message.rstrip(".")))
    notes = [note for note in loaded.notes if note.source == str(loaded.file)]
    problems += [note for note in loaded.notes if note not in notes]  # of servers
    document = {
        "config": str(loaded.file),
        "exists": loaded.has_file,
        "ok": not problems,
        "problems": [_as_json(problem) for problem in problems],
        "notes": [_as_json(note) for note in notes],
    }
    lines = [problem.sentence for problem in (*problems, *notes)]
    if not lines:
        state = "no problems" if loaded.has_file else "no file; the defaults apply"
        lines.append(f"{loaded.file}: {state}")
    context.output.print_result(document, *lines)
    return 2 if problems else 0


def _as_json(problem: Problem) -> dict[str, object]:
    return {
        "source": problem.source,
        "line": problem.line,
        "key": problem.key,
        "message": problem.sentence,
    }
