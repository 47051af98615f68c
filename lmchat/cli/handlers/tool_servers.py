"""`lmchat tools add` and `remove`: the `[[mcp]]` tables of the configuration."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

from lmchat.cli.context import Context, is_confirmed
from lmchat.cli.handlers.tools import open_toolbox
from lmchat.config.credentials import Credentials
from lmchat.config.edit import add_servers, remove_server
from lmchat.config.settings import FUNCTIONS, McpSettings, Settings
from lmchat.errors import EndpointNotAllowed, LMChatError, WrongUse
from lmchat.files.disk import current_folder, expanded_path, unreadable
from lmchat.formats.mcp_json import ForeignServers, read_mcp_servers, servers_of
from lmchat.processes.environment import command_line
from lmchat.safe_text import SafeText, bounded_rows
from lmchat.servers.allow_list import AllowList
from lmchat.servers.endpoint import Endpoint
from lmchat.tools.calls import ToolServer, ToolServerState
from lmchat.units import counted

_NO_TERMINAL = "This starts programs, after a question that needs a terminal."
_ADDRESS_WITHOUT_SCHEME = r"[\w.-]+:\d+(/|$)"


async def add(context: Context) -> int:
    """Start servers and add those that work to the configuration; return 1 if one is refused."""
    options, settings = context.options, context.settings
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
        raise unreadable(file, error) from error


def _typed_server(context: Context) -> ForeignServers:
    """Return the server that the command names: a command or an address."""
    name, words = context.options.server, list(context.options.words)
    variables = context.options.variables
    if not all(re.fullmatch(r"\w+", variable) for variable in variables):
        hint = "Set it in your shell, and write its name alone: --env WIKI_KEY"
        raise WrongUse("--env takes the name of a variable.", hint=hint)
    if not words:
        name = name or "NAME"
        hint = f"Write: lmchat tools add {name} -- COMMAND, or lmchat tools add {name} http://…"
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
    settings = context.settings
    if context.options.from_file or _new_hosts(servers, settings):
        servers = [server for server in servers if _question_about([server], settings)]
        if not servers:
            return {}
        rows = _question_about(servers, settings)
        if not rows:
            hint = "Name one of them before --from."
            raise LMChatError("The servers are too many to show in one question.", hint=hint)
        context.output.note(*(f"    {row}" for row in rows[:-1]))
        if not await is_confirmed(context, rows[-1], _NO_TERMINAL):
            raise LMChatError("Nothing was added.", hint="Answer y to add it.")
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
