"""`lmchat tools`: the tools of all servers, and a call of one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial

from msgspec.structs import replace

from lmchat.api.home import Tools
from lmchat.app.cli.context import Context
from lmchat.app.cli.setup.make_toolbox import (
    how_to_configure,
    is_any_ready,
    started_servers,
)
from lmchat.app.cli.setup.wiring import setup_of
from lmchat.app.cli.tool_approval import ask_about_server
from lmchat.app.cli.turn_printer import step_json
from lmchat.app.terminal.output import table, terminal_columns
from lmchat.base.errors import WrongUse
from lmchat.core.chat.toolbox import Toolbox
from lmchat.core.config.settings import McpSettings
from lmchat.core.sessions.message import AnswerState, ToolCallPart, parse_arguments
from lmchat.core.tools.calls import call_message, run_call

# The id of the session in which a tool would run: tools may be allowed for one session. These
# commands have no session.
_NO_SESSION = ""


@asynccontextmanager
async def open_toolbox(
    context: Context, servers: Sequence[McpSettings], hosts: Iterable[str] = ()
) -> AsyncIterator[Toolbox]:
    """Start tool servers, wait until each works or has failed, and stop them after the block.

    The functions of `tools.py` are started in any case. `hosts` are allowed, too.
    """
    setup = setup_of(context)
    state = await setup.saved_state()
    state = replace(state, tool_hosts=(*state.tool_hosts, *hosts))
    toolbox = setup.make_toolbox(context.settings, servers, state)
    async with aclosing(toolbox.host) as host:
        host.ask_user = partial(ask_about_server, context=context)
        await started_servers(context, host)
        yield toolbox


async def list_tools(context: Context) -> int:
    """Print the tool servers with their state, and their tools.

    Return 1 if there are servers and none of them works, else 0.
    """
    output = context.output
    async with open_toolbox(context, context.loaded.servers) as toolbox:
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
            head = ("TOOL", "APPROVAL", "DESCRIPTION")
            lines += ["", *table(head, rows, width=terminal_columns())]
        none_note = f"lmchat: No tools are configured. {how_to_configure(context)}"
        output.print_list(documents, lines, none_note)
        for server in servers:
            if server.error:
                context.note(f"{server.name}: {server.next_step}")
        return 0 if is_any_ready(servers) or not servers else 1


async def call(context: Context) -> int:
    """Run the tool that the command names, without asking, and print its result.

    Return 1 if the result is an error, else 0. Raises `WrongUse` if the arguments are no JSON
    object, or if the tool is unknown or may never run. Raises `LMChatError` if the server of the
    tool does not work.
    """
    name = context.options.tool
    json_text = context.options.arguments
    arguments = parse_arguments(json_text)
    if arguments is None:
        raise WrongUse(
            "The arguments are not a JSON object.",
            next_step="""Write them as one JSON object, for example '{"path": "a.md"}'.""",
        )
    server_name = name.partition("/")[0]
    message = call_message(ToolCallPart(call_id="", name=name, arguments=json_text))
    servers = [server for server in context.loaded.servers if server.name == server_name]
    async with open_toolbox(context, servers) as toolbox:
        run = partial(
            Tools(toolbox).call,
            name,
            arguments,
            tell=lambda said: context.output.show_progress(f"lmchat: {said}"),
        )
        message = await run_call(message, run)
        context.output.show_progress("")

    has_failed = message.state is AnswerState.FAILED
    if context.output.is_json:
        context.output.print_json(step_json(message))
    elif has_failed:
        reason, *details = message.tool_result.split("\n")
        context.note(f"{name} failed: {reason}", *details)
    else:
        context.output.print_text(message.tool_result)
    return 1 if has_failed else 0
