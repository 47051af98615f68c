"""`lmchat tools add` and `remove`: the servers of `mcp.json`."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lmchat.app.cli.context import Context, confirmed
from lmchat.app.cli.handlers.tools import open_toolbox
from lmchat.app.cli.setup.wiring import setup_of
from lmchat.base.errors import EndpointNotAllowed, FileRefused, LMChatError, WrongUse
from lmchat.base.files.disk import expanded_path, unreadable
from lmchat.base.processes.environment import command_line
from lmchat.base.safe_text import SafeText, bounded_rows
from lmchat.base.units import counted
from lmchat.core.config.credentials import Credentials
from lmchat.core.config.mcp_file import (
    FILE_NAME,
    ServersFile,
    expanded,
    read_servers,
    servers_of,
    variables_in,
    write_servers,
)
from lmchat.core.config.settings import McpSettings
from lmchat.core.config.state import State, change_state
from lmchat.core.servers.allow_list import AllowList
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.tools.calls import ToolServer, ToolServerState
from lmchat.core.tools.server_program import start_of

_ADDRESS_WITHOUT_SCHEME = r"[\w.-]+:\d+(/|$)"


async def add(context: Context) -> int:
    """Start servers and add those that work to the configuration; return 1 if one is refused."""
    file = servers_file(context)
    read = _servers_of_file if context.options.from_file else _typed_server
    found = await asyncio.to_thread(read, context)
    refused = dict(found.refused)
    used_names = {server.name for server in context.loaded.servers}
    wanted: list[McpSettings] = []
    for name, server in found.servers.items():
        if name in used_names:
            refused[name] = f"{file} has a server of this name already."
        elif server.disabled:
            refused[name] = "it is disabled in its file."
        else:
            wanted.append(server)
    hosts = _new_hosts(context, wanted, await setup_of(context).saved_state())
    states = await _start(context, wanted, hosts) if wanted else {}
    working: list[McpSettings] = []
    for server in wanted:
        if server.name not in states:
            refused[server.name] = "Its command is too long to show."
        elif states[server.name].state is ToolServerState.READY:
            working.append(server)
        else:
            refused[server.name] = states[server.name].problem
    if working:
        await asyncio.to_thread(write_servers, file, working)
        if allowed := [hosts[server.name] for server in working if server.name in hosts]:
            await asyncio.to_thread(
                change_state, context.paths.state_file, lambda old: old.with_tool_hosts(allowed)
            )
    tools = {one.name: [tool.name for tool in states[one.name].tools] for one in working}
    lines = [f"Added {name}: {counted(len(added), 'tool')}." for name, added in tools.items()]
    if lines:
        lines.append("Windows of lmchat that are open need a restart for it.")
    if lines or context.output.is_json:
        context.output.print_result({"added": tools, "refused": refused}, *lines)
    for name, reason in refused.items():
        context.note(f"{name} was not added: {reason}")
    return 1 if refused else 0


async def remove(context: Context) -> int:
    """Remove a server from the configuration, with the sign-in that no other one has."""
    name = context.options.server
    file = servers_file(context)
    urls = {server.name: _address_of(context, server) for server in context.loaded.servers}
    found = ServersFile(refused={})
    with suppress(FileNotFoundError):
        found = await asyncio.to_thread(read_servers, file, name)
    if not (found.servers or found.refused):  # one that cannot be used is removed, too
        raise WrongUse(
            f"There is no server {name} in {file}.", next_step="`lmchat tools` lists the servers."
        )
    await asyncio.to_thread(write_servers, file, without=name)
    lines = [f"Removed {name} from {file}"]
    url = urls.pop(name, "")
    if url and url not in urls.values():
        credentials = Credentials(context.paths.credentials_file)
        if await asyncio.to_thread(credentials.drop, url):
            lines.append(f"Deleted the sign-in to {name}")
    return context.output.print_result({"removed": name}, *lines)


def servers_file(context: Context) -> Path:
    return context.config_file.absolute().with_name(FILE_NAME)


def _servers_of_file(context: Context) -> ServersFile:
    """Return the servers of the file that the command names, or the one that it also names.

    The file does not decide whether tools run unasked.
    """
    file = expanded_path(context.options.from_file).absolute()
    name = context.options.server
    try:
        found = read_servers(file, name)
    except OSError as error:
        raise unreadable(file, error) from error
    if not (found.servers or found.refused):
        raise FileRefused(f"{file} has no server {name}".rstrip() + ".", next_step="Look into it.")
    servers = {key: replace(server, approve="") for key, server in found.servers.items()}
    return replace(found, servers=servers)


def _typed_server(context: Context) -> ServersFile:
    """Return the server that the command names: a command or an address."""
    name = context.options.server
    words = list(context.options.words)
    variables = context.options.variables
    if not all(re.fullmatch(r"\w+", variable) for variable in variables):
        raise WrongUse(
            "--env takes the name of a variable.",
            next_step="Set it in your shell, and write its name alone: --env WIKI_KEY",
        )
    if not words:
        name = name or "NAME"
        raise WrongUse(
            f"The server {name} needs a command or an address.",
            next_step=f"Write: lmchat tools add {name} -- COMMAND, such as uvx mcp-server-time, "
            f"or lmchat tools add {name} http://…, or lmchat tools add --from FILE",
        )
    if re.match(_ADDRESS_WITHOUT_SCHEME, words[0]):
        words[0] = f"http://{words[0]}"
    if os.path.dirname(words[0]) and "://" not in words[0]:  # noqa: PTH120 - pathlib drops the `./` of a path
        words[0] = str(expanded_path(words[0]).absolute())
    key = "url" if "://" in words[0] else "command"
    entry: dict[str, Any] = {key: words[0], "args": words[1:]}
    if variables:
        entry["env"] = {variable: f"${{{variable}}}" for variable in variables}
    return servers_of({name: entry})


async def _start(
    context: Context, servers: Sequence[McpSettings], hosts: Mapping[str, str]
) -> Mapping[str, ToolServer]:
    """Start servers after a question about all that the user has not typed; return their states.

    Those that cannot be shown with the question are left out.
    """
    if context.options.from_file or hosts:
        servers = [server for server in servers if _question_about(context, [server], hosts)]
        if not servers:
            return {}
        rows = _question_about(context, servers, hosts)
        if not rows:
            raise LMChatError(
                "The servers are too many to show in one question.",
                next_step="Name one of them before --from.",
            )
        context.output.note(*(f"    {row}" for row in rows[:-1]))
        if not await confirmed(
            context,
            rows[-1],
            "This starts programs or connects to hosts, after a question that needs a terminal.",
        ):
            raise LMChatError("Nothing was added.", next_step="Answer y to add it.")
    async with open_toolbox(context, servers, hosts.values()) as toolbox:
        return {server.name: server for server in toolbox.host.servers}


def _question_about(
    context: Context, servers: Sequence[McpSettings], hosts: Mapping[str, str]
) -> list[SafeText]:
    """Return all that a yes starts and gives away, then the question; nothing if it is too long.

    Variables of the user are shown by their names.
    """
    lines: list[str] = []
    for server in servers:
        command = [server.command, *server.args]
        with suppress(OSError, LMChatError):  # its start says so
            command, _ = start_of(server, servers_file(context).parent, context.environ)
        lines.append(f"{server.name}: {server.url or command_line(command)}")
        if server.cwd:
            lines.append(f"starts in the folder {server.cwd}")
        if server.env:
            sets = command_line([f"{name}={text}" for name, text in server.env.items()])
            lines.append(f"sets variables, which can change what runs: {sets}")
        if variables := variables_in(server):
            word = "variable" if len(variables) == 1 else "variables"
            lines.append(f"gets the {word} {', '.join(variables)}")
        if server.timeout_s:
            lines.append(f"may take {server.timeout_s:g} s to start, and for each call")
    question = f"Start {', '.join(server.name for server in servers)}"
    if new := dict.fromkeys(hosts[server.name] for server in servers if server.name in hosts):
        question += f", and allow connections to {', '.join(new)}"
    return bounded_rows(*lines, f"{question}?")


def _new_hosts(context: Context, servers: Sequence[McpSettings], state: State) -> Mapping[str, str]:
    """Return host and port of servers that are not allowed yet, by the names of the servers."""
    allowed = AllowList((*context.settings.allowed_hosts, *state.tool_hosts))
    hosts: dict[str, str] = {}
    for server in servers:
        with suppress(EndpointNotAllowed):  # no address, or one that the start will refuse
            endpoint = Endpoint.parse(_address_of(context, server))
            if not allowed.allows(endpoint):
                hosts[server.name] = endpoint.netloc
    return hosts


def _address_of(context: Context, server: McpSettings) -> str:
    try:
        return expanded(server, context.environ, lambda _: "").url
    except ValueError:  # its variable has no value
        return ""
