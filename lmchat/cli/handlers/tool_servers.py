"""`lmchat tools add` and `remove`: the `[[mcp]]` tables of the configuration."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lmchat.cli.context import Context, is_confirmed
from lmchat.cli.handlers.tools import open_toolbox
from lmchat.config.credentials import Credentials
from lmchat.config.edit import add_servers, remove_server
from lmchat.config.settings import FUNCTIONS, McpSettings, Settings
from lmchat.errors import EndpointNotAllowed, FileRefused, LMChatError, WrongUse
from lmchat.extras import install_words, packages_of
from lmchat.files.disk import current_folder, expanded_path
from lmchat.files.paths import home_folder
from lmchat.formats.mcp_json import ForeignServers, read_mcp_servers, servers_of
from lmchat.processes.child import run_in_terminal
from lmchat.processes.environment import command_line
from lmchat.safe_text import SafeText, bounded_rows
from lmchat.servers.allow_list import AllowList
from lmchat.servers.endpoint import Endpoint
from lmchat.terminal.output import table, terminal_columns
from lmchat.tools.calls import ToolServer, ToolServerState
from lmchat.tools.known_servers import (
    KNOWN_SERVERS,
    KnownServer,
    files_of_programs,
    is_installed,
)
from lmchat.units import counted

_STDERR = 2
_NO_TERMINAL = "This starts or installs programs, after a question that needs a terminal."
_ADDRESS_WITHOUT_SCHEME = r"[\w.-]+:\d+(/|$)"


async def add(context: Context) -> int:
    """Start servers and add those that work to the configuration; return 1 if one is refused.

    Without arguments, list the servers of other programs, and those that lmchat can install.
    """
    options, settings = context.options, context.settings
    if not (options.server or options.from_file):
        return await asyncio.to_thread(_list_offers, context)
    read = _servers_of_file if options.from_file else _typed_server
    found = await asyncio.to_thread(read, context)
    refused = dict(found.refused)
    used_names = {FUNCTIONS, *(server.name for server in settings.mcp)}
    wanted = [server for server in found.servers if server.name not in used_names]
    for server in found.servers:
        if server not in wanted:
            refused[server.name] = "the configuration has a server of this name already."
    states = await _start(context, wanted) if wanted else {}
    working: list[McpSettings] = []
    for server in wanted:
        if server.name not in states:
            refused[server.name] = "Its command is too long to show."
        elif states[server.name].state is ToolServerState.READY:
            working.append(server)
        else:
            refused[server.name] = states[server.name].problem
    if working:
        hosts = _new_hosts(working, settings)
        await asyncio.to_thread(add_servers, context.config_file, working, hosts)
    tools = {one.name: [tool.name for tool in states[one.name].tools] for one in working}
    lines = [f"Added {name}: {counted(len(added), 'tool')}." for name, added in tools.items()]
    if lines or context.output.is_json:
        context.output.print_result({"added": tools, "refused": refused}, *lines)
    for name, reason in refused.items():
        context.output.note(f"lmchat: {name} was not added: {reason}")
    return 1 if refused else 0


async def remove(context: Context) -> int:
    """Remove a server from the configuration, with the sign-in that no other one has."""
    name, file = context.options.server, context.config_file
    urls = {server.name: server.url for server in context.settings.mcp}
    if name not in urls:
        hint = "`lmchat tools` lists the servers."
        raise WrongUse(f"There is no server {name} in {file}.", hint=hint)
    await asyncio.to_thread(remove_server, file, name)
    lines = [f"Removed {name} from {file}"]
    url = urls.pop(name)
    if url and url not in urls.values():
        credentials = Credentials(context.paths.credentials_file)
        if await asyncio.to_thread(credentials.drop, url):
            lines.append(f"Deleted the sign-in to {name}")
    return context.output.print_result({"removed": name}, *lines)


def _servers_of_file(context: Context) -> ForeignServers:
    """Return the servers of the file that the command names, or the one that it also names."""
    file = expanded_path(context.options.from_file).absolute()
    try:
        return read_mcp_servers(file, current_folder(), context.options.server)
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror or error}."
        raise FileRefused(message, hint="`lmchat tools add` lists the files it knows.") from error


def _typed_server(context: Context) -> ForeignServers:
    """Return the server that the command names: a known one, a command or an address."""
    name, words = context.options.server, list(context.options.words)
    variables = context.options.variables
    if not all(re.fullmatch(r"\w+", variable) for variable in variables):
        hint = "Set it in your shell, and write its name alone: --env WIKI_KEY"
        raise WrongUse("--env takes the name of a variable.", hint=hint)
    known = KNOWN_SERVERS.get(name)
    if known is not None and all(Path(word).is_dir() for word in words):
        if known.takes_folders and not words:
            hint = f"Write: lmchat tools add {name} FOLDER"
            raise WrongUse(f"The server {name} needs the folders that it may use.", hint=hint)
        words = [known.command, *(str(Path(word).resolve()) for word in words)]
    if not words:
        hint = (
            f"Write: lmchat tools add {name} -- COMMAND, or lmchat tools add {name} http://… "
            "`lmchat tools add` lists those that need neither."
        )
        raise WrongUse(f"The server {name} needs a command or an address.", hint=hint)
    if re.match(_ADDRESS_WITHOUT_SCHEME, words[0]):
        words[0] = f"http://{words[0]}"
    if os.path.dirname(words[0]) and "://" not in words[0]:  # noqa: PTH120 - pathlib drops the `./` of a path
        words[0] = str(expanded_path(words[0]).absolute())
    key = "url" if "://" in words[0] else "command"
    env = {variable: f"${{{variable}}}" for variable in variables}
    return servers_of({name: {key: words[0], "args": words[1:], "env": env}})


async def _start(context: Context, servers: Sequence[McpSettings]) -> Mapping[str, ToolServer]:
    """Start servers after a question about all that the user has not typed; return their states.

    Those that cannot be shown with the question are left out.
    """
    for server in servers:
        known = KNOWN_SERVERS.get(server.name)
        if known is not None and server.command == known.command and not is_installed(known):
            await _install(context, known)
    settings = context.settings
    if context.options.from_file or _new_hosts(servers, settings):
        servers = [server for server in servers if _question_about([server], settings)]
        if not servers:
            return {}
        rows = _question_about(servers, settings)
        if not rows:
            hint = "Name one of them before --from."
            raise LMChatError("The servers are too many to show in one question.", hint=hint)
        await _require_yes(context, [f"    {row}" for row in rows[:-1]], rows[-1])
    hosts = _new_hosts(servers, settings)
    async with open_toolbox(context, servers, hosts) as toolbox:
        return {server.name: server for server in toolbox.host.servers}


def _question_about(servers: Sequence[McpSettings], settings: Settings) -> list[SafeText]:
    """Return all that a yes starts and gives away, then the question; nothing if it is too long."""
    lines: list[str] = []
    for server in servers:
        started = server.url or command_line([server.command, *server.args])
        lines.append(f"{server.name}: {started}")
        if server.cwd:
            lines.append(f"starts in the folder {server.cwd}")
        if variables := dict.fromkeys(server.variables):
            word = "variable" if len(variables) == 1 else "variables"
            lines.append(f"gets the {word} {', '.join(variables)}")
    question = f"Start {', '.join(server.name for server in servers)}"
    if hosts := _new_hosts(servers, settings):
        question += f", and allow connections to {', '.join(hosts)}"
    return bounded_rows(*lines, f"{question}?")


def _new_hosts(servers: Sequence[McpSettings], settings: Settings) -> list[str]:
    """Return host and port of servers that `allowed_hosts` lacks."""
    allowed, hosts = AllowList(settings.allowed_hosts), []
    for server in servers:
        with suppress(EndpointNotAllowed):  # no address, or one that the start will refuse
            endpoint = Endpoint.parse(server.url)
            if not (endpoint.is_loopback or allowed.has_host(endpoint.host, endpoint.port)):
                hosts.append(endpoint.netloc)
    return hosts


async def _install(context: Context, known: KnownServer) -> None:
    """Install a known server beside lmchat after a question, with an SDK that lmchat can use."""
    words = install_words([known.requirement, *packages_of("tools")])
    await _require_yes(context, [f"    {command_line(words)}"], f"Install {known.requirement}?")
    is_done = False
    with suppress(OSError):  # it cannot start
        # outside of the current folder, from which Python would import
        folder, environ = Path(sys.prefix), context.environ_of_programs
        is_done = not await run_in_terminal(words, environ=environ, folder=folder, output=_STDERR)
    importlib.invalidate_caches()
    if not is_done:
        hint = "See its words above; then try again, or install it yourself."
        raise LMChatError(f"{known.requirement} could not be installed.", hint=hint, kind="install")


async def _require_yes(context: Context, lines: Sequence[str], question: str) -> None:
    context.output.note(*lines)
    if not await is_confirmed(context, question, _NO_TERMINAL):
        raise LMChatError("Nothing was added.", hint="Answer y to add it.")


def _list_offers(context: Context) -> int:
    """List what can be added: servers in files of other programs, and those lmchat installs."""
    offers: list[tuple[str, str, str]] = []
    for file in files_of_programs(home_folder(), current_folder(), context.environ):
        with suppress(OSError, FileRefused):  # `--from` says what is wrong with it
            for one in read_mcp_servers(file, current_folder()).servers:
                words = command_line([one.name, "--from", str(file)])
                offers.append((one.name, one.url or one.command, f"lmchat tools add {words}"))
    for name, known in KNOWN_SERVERS.items():
        folder = " FOLDER" if known.takes_folders else ""
        offers.append((name, known.description, f"lmchat tools add {name}{folder}"))
    used_names = {server.name for server in context.settings.mcp}
    offers = [offer for offer in offers if offer[0] not in used_names]
    documents = [dict(zip(("name", "what", "add"), offer, strict=True)) for offer in offers]
    lines = table(("SERVER", "WHAT", "ADD IT WITH"), offers, width=terminal_columns())
    return context.output.print_list(documents, lines, "lmchat: all are added.")
