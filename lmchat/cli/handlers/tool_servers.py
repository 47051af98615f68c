"""`lmchat tools add` and `remove`: the `[[mcp]]` tables of the configuration."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import ValidationError, convert
from msgspec.structs import replace

from lmchat.cli.context import Context, is_confirmed
from lmchat.cli.setup.make_toolbox import make_toolbox, started_servers
from lmchat.cli.tool_approval import ask_for_server
from lmchat.config.edit import add_servers, remove_server
from lmchat.config.file import reason_of
from lmchat.config.settings import FUNCTIONS, McpSettings, Settings
from lmchat.config.state import State
from lmchat.config.toml import words_and_place
from lmchat.errors import EndpointNotAllowed, FileRefused, LMChatError, WrongUse
from lmchat.files.disk import current_folder, expanded_path
from lmchat.files.paths import home_folder
from lmchat.formats.mcp_json import ForeignServers, read_mcp_servers
from lmchat.processes.environment import command_line
from lmchat.servers.allow_list import AllowList
from lmchat.servers.endpoint import Endpoint
from lmchat.terminal.output import table, terminal_columns
from lmchat.tools.known_servers import (
    KNOWN_SERVERS,
    KnownServer,
    files_of_programs,
    install,
    install_server_words,
    is_installed,
)
from lmchat.tools.protocols import ToolServer, ToolServerState
from lmchat.units import counted

_NO_TERMINAL = "This starts or installs programs, after a question that needs a terminal."
_HELP = "`lmchat tools add --help` has examples."
_ADDRESS_WITHOUT_SCHEME = r"[\w.-]+:\d+(/|$)"


async def add(context: Context) -> int:
    """Start servers and add those that work to the configuration; return 1 if one is refused.

    Without arguments, list the servers of other programs, and those that lmchat can install.
    """
    options, output, settings = context.options, context.output, context.settings
    if not (options.server or options.from_file):
        return await asyncio.to_thread(_list_offers, context)
    if options.from_file:
        found = await asyncio.to_thread(_servers_of_file, context)
    else:
        typed, known = await asyncio.to_thread(_typed_server, context)
        if known is not None:
            await _install(context, known)
        found = ForeignServers(servers=(typed,))
    refused = {name: f"{reason}." for name, reason in found.refused.items()}
    names = {FUNCTIONS, *(server.name for server in settings.mcp)}
    hosts: list[str] = []  # that are not allowed yet
    wanted: list[McpSettings] = []
    for server in found.servers:
        missing = [name for name in server.variables if name not in context.environ]
        if server.name in names:
            refused[server.name] = "the configuration has a server of this name already."
        elif missing:
            where = f", with the value in {options.from_file}" if options.from_file else ""
            refused[server.name] = f"set {', '.join(missing)} in your shell first{where}."
        else:
            try:
                hosts += _new_hosts(server, settings)
            except LMChatError as error:
                refused[server.name] = error.message_with_hint
            else:
                names.add(server.name)
                wanted.append(server)
    _tell(context, refused)
    states: dict[str, ToolServer] = {}
    if wanted:
        await _confirm(context, wanted, hosts)
        allowed = (*settings.allowed_hosts, *hosts)
        states = await _started(context, replace(settings, mcp=wanted, allowed_hosts=allowed))
    working = [one for one in wanted if states[one.name].state is ToolServerState.READY]
    failed = {one.name: states[one.name].problem for one in wanted if one not in working}
    if working:
        used = [host for server in working for host in _new_hosts(server, settings)]
        await asyncio.to_thread(add_servers, context.config_file, working, used)
    tools = {one.name: [tool.name for tool in states[one.name].tools] for one in working}
    lines = [f"Added {name}: {counted(len(added), 'tool')}." for name, added in tools.items()]
    if working or output.is_json:
        output.print_result({"added": tools, "refused": refused | failed}, *lines)
    _tell(context, failed)
    return 1 if refused or failed else 0


def _tell(context: Context, refused: Mapping[str, str]) -> None:
    for name, reason in refused.items():
        context.output.note(f"lmchat: {name} was not added: {reason}")


async def remove(context: Context) -> int:
    """Remove a server from the configuration."""
    name, file = context.options.server, context.config_file
    if name not in {server.name for server in context.settings.mcp}:
        hint = "`lmchat tools` lists the servers."
        raise WrongUse(f"There is no server {name} in {file}.", hint=hint)
    await asyncio.to_thread(remove_server, file, name)
    return context.output.print_result({"removed": name}, f"Removed {name} from {file}")


def _new_hosts(server: McpSettings, settings: Settings) -> list[str]:
    """Return host and port of a server that `allowed_hosts` lacks; raises `LMChatError`."""
    if server.url:
        endpoint = Endpoint.parse(server.url)
        try:
            AllowList(settings.allowed_hosts).check(endpoint)
        except EndpointNotAllowed:
            return [endpoint.netloc]
    return []


async def _confirm(context: Context, servers: Sequence[McpSettings], hosts: Sequence[str]) -> None:
    """Ask about what the user has not typed: commands of a file, and new hosts."""
    if not (context.options.from_file or hosts):
        return
    for server in servers:
        what = server.url or command_line([server.command, *server.args])
        context.output.note(f"    {server.name}: {what}")
    question = f"Start {', '.join(server.name for server in servers)}"
    if hosts:
        question += f", and allow connections to {', '.join(hosts)}"
    await _require_yes(context, f"{question}?")


async def _require_yes(context: Context, question: str) -> None:
    if not await is_confirmed(context, question, _NO_TERMINAL):
        raise LMChatError("Nothing was added.", hint="Answer y to add it.")


async def _started(context: Context, settings: Settings) -> dict[str, ToolServer]:
    toolbox = make_toolbox(context, settings, State())
    async with aclosing(toolbox.host) as host:
        host.ask_user = partial(ask_for_server, context=context)
        return {server.name: server for server in await started_servers(context, host)}


def _servers_of_file(context: Context) -> ForeignServers:
    """Return the servers of the file that the command names, or the one that it also names."""
    file, name = expanded_path(context.options.from_file), context.options.server
    try:
        found = read_mcp_servers(file.absolute(), current_folder())
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror or error}."
        raise FileRefused(message, hint="`lmchat tools add` lists the files it knows.") from error
    if not name:
        return found
    servers = tuple(server for server in found.servers if server.name == name)
    refused = {key: reason for key, reason in found.refused.items() if key == name}
    if not (servers or refused):
        raise WrongUse(f"{file} has no server {name}.", hint="Without a name, all are added.")
    return ForeignServers(servers=servers, refused=refused)


def _typed_server(context: Context) -> tuple[McpSettings, KnownServer | None]:
    """Return the server that the command names, and what to install for it, if lmchat does."""
    name, words = context.options.server, list(context.options.words)
    env = {variable: f"${{{variable}}}" for variable in context.options.variables}
    if not all(re.fullmatch(r"\w+", variable) for variable in env):
        hint = "Set it in your shell, and write its name alone: --env WIKI_KEY"
        raise WrongUse("--env takes the name of a variable.", hint=hint)
    values: dict[str, Any] = {"name": name, "env": env or None}
    known = KNOWN_SERVERS.get(name)
    if words and not (known and known.takes_folders and all(Path(word).is_dir() for word in words)):
        known = None  # another server of this name
    if known is not None:
        if known.takes_folders and not words:
            hint = f"Write: lmchat tools add {name} FOLDER"
            raise WrongUse(f"The server {name} needs the folders that it may use.", hint=hint)
        values |= {"command": known.command, "args": [str(Path(word).resolve()) for word in words]}
    elif not words or re.match(_ADDRESS_WITHOUT_SCHEME, words[0]):
        hint = f"Write: lmchat tools add {name} -- COMMAND, or lmchat tools add {name} http://…"
        if not words:
            hint += f" Without a command: {', '.join(KNOWN_SERVERS)}."
        raise WrongUse(f"The server {name} needs a command or an address.", hint=hint)
    elif "://" in words[0]:
        values["url"] = words[0]
    else:
        command, *arguments = words
        if os.path.dirname(command):  # noqa: PTH120 - pathlib drops the `./` of a path
            command = str(expanded_path(command).absolute())
        values |= {"command": command, "args": arguments}
    try:
        return convert(values, McpSettings), known
    except ValidationError as error:
        words_of_it, place = words_and_place(error)
        key = place.strip(".")
        reason = reason_of(words_of_it, ("mcp", 0, key), values.get(key))
        raise WrongUse(f"The server cannot be added: {reason}.", hint=_HELP) from None


async def _install(context: Context, known: KnownServer) -> None:
    """Install a known server after a question, unless this version is there."""
    if is_installed(known):
        return
    words = install_server_words(known)
    context.output.note(f"    {command_line(words)}")
    await _require_yes(context, f"Install {known.requirement}?")
    try:
        exit_code = await install(words, context.environ_of_programs)
    except OSError as error:
        raise LMChatError(f"{words[0]} cannot start: {error.strerror}.", hint=_HELP) from error
    if exit_code:
        hint = "See its words above; then try again, or install it yourself."
        raise LMChatError(f"{known.requirement} could not be installed.", hint=hint, kind="install")


def _list_offers(context: Context) -> int:
    """List what can be added: servers in files of other programs, and those lmchat installs."""
    used_names = {server.name for server in context.settings.mcp}
    offers: list[tuple[str, str, str]] = []
    for file in files_of_programs(home_folder(), current_folder(), context.environ):
        with suppress(FileNotFoundError, NotADirectoryError):
            try:
                found = read_mcp_servers(file, current_folder())
            except (FileRefused, PermissionError) as error:
                context.output.note(f"lmchat: {error}")
                continue
            source = command_line([str(file)])
            offers += [
                (
                    one.name,
                    one.url or one.command,
                    f"lmchat tools add {command_line([one.name])} --from {source}",
                )
                for one in found.servers
            ]
    for name, known in KNOWN_SERVERS.items():
        folder = " FOLDER" if known.takes_folders else ""
        offers.append((name, known.description, f"lmchat tools add {name}{folder}"))
    offers = [offer for offer in offers if offer[0] not in used_names]
    documents = [dict(zip(("name", "what", "add"), offer, strict=True)) for offer in offers]
    lines = table(("SERVER", "WHAT", "ADD IT WITH"), offers, width=terminal_columns())
    return context.output.print_list(documents, lines, "lmchat: all are added.")
