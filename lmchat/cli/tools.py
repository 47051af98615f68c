"""`lmchat tools`: the tools of all servers, and a call of one; tools for other commands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

from msgspec.structs import replace

from lmchat.chat.toolbox import Toolbox
from lmchat.cli.context import Context
from lmchat.config.settings import FUNCTIONS, Approval, Settings
from lmchat.config.state import State, change_state, read_state
from lmchat.errors import LMChatError, WrongUse
from lmchat.processes.threads import run_abandonable
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.limits import AllowList
from lmchat.servers.model import Target
from lmchat.sessions.message import AnswerState, ChatMessage, ToolCallPart, parse_arguments
from lmchat.terminal.output import rounded, table
from lmchat.tools.mcp_servers import McpServers
from lmchat.tools.tool import ServerState, ToolServer, call_message, run_call

log = logging.getLogger(__name__)

_NO_SESSION = ""  # tools may be allowed for one session, by its id; these commands have none


def make_toolbox(context: Context, settings: Settings, state: State) -> Toolbox:
    """Return the toolbox of this run; the tool servers start when tools are first used."""

    async def save_allowed(tool: str, fingerprint: str) -> None:
        """Allow a tool for later runs, after "always"; a tool that has changed asks again."""
        file = context.paths.state_file
        try:
            await asyncio.to_thread(
                change_state, file, lambda old: old.with_allowed(tool, fingerprint)
            )
        except LMChatError as error:  # it is allowed in this run
            log.warning("an allowed tool could not be saved: %s", error.kind)

    host = McpServers(
        settings.mcp,
        functions=context.paths.tools_file,
        folder=context.config_file.parent,
        # tools may print what a chat is about
        log_file=None if context.options.temporary else context.paths.tools_log_file,
        environ=context.environ,  # with API keys: `headers_env` names those that servers get
        check_address=lambda url: AllowList(settings.allowed_hosts).check(Endpoint.parse(url)),
    )
    return Toolbox(host, settings.tools, settings.mcp, state.allowed_tools, save_allowed)


def how_to_configure(context: Context) -> str:
    """Return a sentence that says how to add tools."""
    file = context.paths.tools_file
    return f"Add [[mcp]] to {context.config_file}, or write functions in {file}."


def how_to_correct(server: ToolServer, context: Context) -> str:
    """Return what to do about a tool server with an error, without a full stop."""
    is_file = server.name == FUNCTIONS
    place = context.paths.tools_file if is_file else f"[[mcp]] in {context.config_file}"
    return f"Correct {place}, then lmchat tools"


@asynccontextmanager
async def _open_toolbox(context: Context, *, only: str = "") -> AsyncIterator[Toolbox]:
    """Start the tool servers, wait until each works or has failed, and stop them after the block.

    With `only`, the one MCP server that is started is the one with this name. The functions of
    `tools.py` are started in any case.
    """
    state, _ = await run_abandonable(partial(read_state, context.paths.state_file))
    mcp = tuple(server for server in context.settings.mcp if only in ("", server.name))
    toolbox = make_toolbox(context, replace(context.settings, mcp=mcp), state)
    async with aclosing(toolbox.host) as host:
        await host.list_servers()
        yield toolbox


async def list_tools(context: Context) -> int:
    """Print the tool servers with their state, and their tools.

    Return 1 if there are servers and none of them works, else 0.
    """
    output = context.output
    async with _open_toolbox(context) as toolbox:
        servers = toolbox.host.servers
        documents = [
            {
                "name": server.name,
                "state": server.state,
                "error": server.error or None,
                "tools": [
                    {
                        "name": tool.full_name,
                        "wire_name": tool.wire_name,  # in requests
                        "approval": toolbox.approval(_NO_SESSION, tool),
                        "read_only": tool.is_read_only,
                        "description": tool.description,
                        "schema": tool.schema,
                    }
                    for tool in server.tools
                ],
            }
            for server in servers
        ]
        lines = [f"{server.name}: {server.state_sentence}" for server in servers]
        rows = [
            (tool.full_name, toolbox.approval(_NO_SESSION, tool), tool.description.split("\n")[0])
            for tool in toolbox.tools
        ]
        if rows:
            lines += ["", *table(("TOOL", "APPROVAL", "DESCRIPTION"), rows)]
        none_note = f"lmchat: no tools are configured. {how_to_configure(context)}"
        output.print_list(documents, lines, none_note)
        for server in servers:
            if server.error:
                output.note(f"lmchat: {server.name}: {how_to_correct(server, context)}.")
        return 0 if _is_any_ready(servers) or not servers else 1


async def call(context: Context) -> int:
    """Run the tool that the command names, without asking, and print its result.

    Return 1 if the result is an error, else 0. Raises `WrongUse` for arguments that are no JSON
    object, an unknown tool, or one that may never run, `LMChatError` if its server does not work.
    """
    name = context.options.tool
    arguments = context.options.arguments
    if parse_arguments(arguments) is None:
        hint = """Write them as one JSON object, for example '{"path": "a.md"}'."""
        raise WrongUse("The arguments are not a JSON object.", hint=hint)
    server_name = name.partition("/")[0]
    message = call_message(ToolCallPart(call_id="", name=name, arguments=arguments))
    async with _open_toolbox(context, only=server_name) as toolbox:
        tool = toolbox.find(name)
        if tool is None:
            for server in toolbox.host.servers:
                if server.name == server_name and server.error:
                    hint = "`lmchat doctor` checks each server."
                    raise LMChatError(server.error, kind="tools", hint=hint)
            raise WrongUse(f"There is no tool {name}.", hint="`lmchat tools` lists the tools.")
        if toolbox.approval(_NO_SESSION, tool) is Approval.NEVER:
            raise WrongUse(f"{name} may never run.", hint="Change its approval in config.toml.")
        message = await run_call(message, partial(toolbox.call, tool))

    has_failed = message.state is AnswerState.FAILED
    if context.output.is_json:
        context.output.print_json(step_json(message))
    elif has_failed:
        reason, *details = message.tool_result.split("\n")
        context.output.note(f"lmchat: {name} failed: {reason}", *details)
    else:
        context.output.print_text(message.tool_result)
    return 1 if has_failed else 0


def _is_any_ready(servers: Sequence[ToolServer]) -> bool:
    """Return whether at least one server works, which is enough to go on."""
    return any(server.state is ServerState.READY for server in servers)


def step_json(message: ChatMessage) -> dict[str, Any]:
    """Return the JSON form of an ended tool call, as `ask --json` lists it in `steps`.

    `message` is the message of the call. Arguments that are no JSON object are given as text.
    """
    call = message.tool_calls[0]
    arguments = parse_arguments(call.arguments)
    return {
        "tool": call.name,
        "arguments": call.arguments if arguments is None else arguments,
        "result": message.tool_result,
        "state": message.state,
        "elapsed_ms": rounded(message.stats.elapsed_ms if message.stats else None),
    }


async def start_tools(context: Context, toolbox: Toolbox, target: Target) -> None:
    """Start the tool servers for `ask --tools` and wait until they have started or failed.

    If the model cannot use tools, only print a note that says so. Print a note for each server with
    an error. Raises `LMChatError` if no server works.
    """
    note = context.output.note
    if not toolbox.can_use(target):
        note(f"lmchat: {target.model_id} cannot use tools; it answers without them.")
        return
    servers = await toolbox.host.list_servers()
    for server in servers:
        if server.error:
            note(f"lmchat: {server.error}", f"{how_to_correct(server, context)}.")
    if not _is_any_ready(servers):
        hint = "To ask without tools, omit --tools."
        raise LMChatError("No tool server works.", kind="tools", hint=hint)
