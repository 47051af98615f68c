"""`lmchat tools`: the tools of all servers, and a call of one; the calls of `ask --tools`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

from msgspec.structs import replace

from lmchat.cli.call_question import call_question
from lmchat.cli.context import Context
from lmchat.cli.output import rounded, table
from lmchat.cli.questions import can_ask, typed_line
from lmchat.config.example_file import toml_value
from lmchat.config.settings import FUNCTIONS, Approval, Settings
from lmchat.domain.message import AnswerState, ChatMessage, ToolCallPart
from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Endpoint, Target
from lmchat.domain.tool import (
    CHOICES,
    Choice,
    Decision,
    ServerState,
    Tool,
    ToolServer,
    arguments_of,
    call_message,
    called,
    run_call,
)
from lmchat.errors import LMChatError, WrongUse
from lmchat.services.ports import ToolHost
from lmchat.services.tool_loop import ApprovalAsked
from lmchat.services.tools import Toolbox
from lmchat.storage import remembered_file
from lmchat.terminal.terminal_output import drop_typed, has_more_input
from lmchat.text import safe_line, similar

_USUAL_COLUMNS = 80
_SAME_MOMENT_S = 0.05  # lines that come together were pasted, and answer nothing
_UNASKED = "A tool that needs approval cannot run without a terminal."


def make_toolbox(context: Context, settings: Settings, remembered: Remembered) -> Toolbox:
    """Return the tools of this run; their servers start when they are first used."""
    host = make_tool_host(context, settings)
    return Toolbox(host, settings.tools, settings.mcp, remembered.allowed_tools)


def make_tool_host(context: Context, settings: Settings) -> ToolHost:
    """Return the host of the tool servers, which has not been started."""
    from lmchat.tools.tool_host import McpHost

    def check_address(url: str) -> None:
        from lmchat.proxy.admission import AllowList  # imports httpx

        AllowList(settings.allowed_hosts).check(Endpoint.parse(url))

    return McpHost(
        settings.mcp,
        functions=context.paths.tools_file,
        folder=context.config_file.parent,
        log_file=context.paths.tools_log_file,
        keeps_log=not context.options.temporary,  # tools may print what a chat is about
        environ=context.environ,
        check_address=check_address,
    )


def how_to_configure(context: Context) -> str:
    """Return the next step where no tool is configured."""
    return (
        f"Add [[mcp]] to {context.config_file}, or write functions in {context.paths.tools_file}."
    )


@asynccontextmanager
async def _opened(context: Context, *, only: str = "") -> AsyncIterator[Toolbox]:
    """Start the servers, or `only` one of them."""
    remembered, _ = await asyncio.to_thread(remembered_file.load, context.paths.remembered_file)
    mcp = tuple(one for one in context.settings.mcp if only in ("", one.name))
    toolbox = make_toolbox(context, replace(context.settings, mcp=mcp), remembered)
    async with aclosing(toolbox.host) as host:
        await host.list_servers()
        yield toolbox


def how_to_correct(server: ToolServer, context: Context) -> str:
    """Return the next step for a server with an error."""
    file = (
        context.paths.tools_file
        if server.name == FUNCTIONS
        else f"[[mcp]] in {context.config_file}"
    )
    return f"Correct {file}, then lmchat tools"


async def list_tools(context: Context) -> int:
    """Print the tool servers with their state, and their tools; exit 1 if no server works."""
    async with _opened(context) as toolbox:
        context.output.listing(
            [_server_json(server, toolbox) for server in toolbox.host.servers],
            lambda: _listing(toolbox),
            f"lmchat: no tools are configured. {how_to_configure(context)}",
        )
        servers = toolbox.host.servers
        for server in servers:
            if server.error:
                context.output.note(
                    f"lmchat: {safe_line(server.name)}: {how_to_correct(server, context)}."
                )
        return int(
            bool(servers) and not any(server.state is ServerState.READY for server in servers)
        )


async def call(context: Context) -> int:
    """Run a tool; exit 1 if its result is an error."""
    name, arguments = context.options.tool, context.options.arguments
    if arguments_of(arguments) is None:
        hint = """Write them as one JSON object, for example '{"path": "a.md"}'."""
        raise WrongUse("The arguments are not a JSON object.", hint=hint)
    message = call_message(ToolCallPart(call_id="", name=name, arguments=arguments))
    async with _opened(context, only=name.partition("/")[0]) as toolbox:
        message = await run_call(message, partial(toolbox.call, _tool(name, toolbox, context)))
    has_failed = message.state is AnswerState.FAILED
    if context.output.is_json:
        context.output.document(step_json(message))
    elif has_failed:
        context.output.note(f"lmchat: {name} failed: {message.tool_result}")
    else:
        context.output.text(message.tool_result)
    return 1 if has_failed else 0


def _tool(name: str, toolbox: Toolbox, context: Context) -> Tool:
    if (tool := toolbox.find(name)) is not None:
        if toolbox.approval("", tool) is Approval.NEVER:
            raise WrongUse(f"{name} may never run.", hint="Change its approval in config.toml.")
        return tool
    for server in toolbox.host.servers:
        if server.name == name.partition("/")[0] and server.state is not ServerState.READY:
            raise LMChatError(
                server.error, kind="tools", hint="`lmchat doctor` checks each server."
            )
    meant = similar(name, tuple(tool.full_name for tool in toolbox.tools))
    hint = f"Did you mean {meant}?" if meant else "`lmchat tools` lists the tools."
    raise WrongUse(
        f"There is no tool {name}.", hint=hint if context.has_tools else how_to_configure(context)
    )


def _server_json(server: ToolServer, toolbox: Toolbox) -> dict[str, object]:
    tools = [
        {
            "name": tool.full_name,
            "wire_name": tool.wire_name,
            "approval": toolbox.approval("", tool),
            "read_only": tool.is_read_only,
            "description": tool.description,
            "schema": tool.schema,
        }
        for tool in server.tools
    ]
    return {
        "name": server.name,
        "state": server.state,
        "error": server.error or None,
        "tools": tools,
    }


def _listing(toolbox: Toolbox) -> str:
    states = "\n".join(
        f"{safe_line(server.name)}: {state_words(server)}" for server in toolbox.host.servers
    )
    rows = [
        (tool.full_name, toolbox.approval("", tool), tool.description.partition("\n")[0])
        for tool in toolbox.tools
    ]
    return f"{states}\n\n{table(('TOOL', 'APPROVAL', 'DESCRIPTION'), rows)}" if rows else states


def state_words(server: ToolServer) -> str:
    """Return the state of a server, its number of tools and its error."""
    from lmchat.tui.formatting import counted

    is_ready = server.state is ServerState.READY
    words = (
        f"{server.state}, {counted(len(server.tools), 'tool')}." if is_ready else f"{server.state}."
    )
    return f"{words} {server.error}".rstrip()


def step_json(message: ChatMessage) -> dict[str, Any]:
    """Return an ended call as `ask --json` lists it."""
    made = message.tool_calls[0]
    arguments = arguments_of(made.arguments)
    return {
        "tool": made.name,
        "arguments": made.arguments if arguments is None else arguments,
        "result": message.tool_result,
        "state": message.state,
        "elapsed_ms": rounded(message.receipt.elapsed_ms if message.receipt else None),
    }


def step_note(message: ChatMessage) -> str:
    """Return the line about an ended call."""
    has_failed = message.state is AnswerState.FAILED
    reason = f" failed: {safe_line(message.tool_result, limit=300)}" if has_failed else ""
    return f"lmchat: {safe_line(called(message), limit=160)}{reason}"


async def start_tools(context: Context, toolbox: Toolbox, target: Target) -> None:
    """Start the tool servers for `ask --tools`; note what will not work, raise if nothing does."""
    if not toolbox.can_use(target):
        model = safe_line(target.model_id, limit=80)
        context.output.note(f"lmchat: {model} cannot use tools; it answers without them.")
        return
    servers = await toolbox.host.list_servers()
    for server in servers:
        if server.error:
            context.output.note(
                f"lmchat: {safe_line(server.error)}\n{how_to_correct(server, context)}."
            )
    if not any(server.state is ServerState.READY for server in servers):
        raise LMChatError(
            "No tool server works.", kind="tools", hint="To ask without tools, omit --tools."
        )


async def _save_allowed(context: Context, asked: ApprovalAsked) -> None:
    """Add a tool that always runs to the saved state, unless the configuration asks each time."""
    if not asked.fingerprint:
        name = safe_line(asked.name, limit=80)
        context.output.note(
            f"lmchat: config.toml asks about {name}; it is allowed for this session."
        )
        return
    file = context.paths.remembered_file
    try:
        remembered, _ = await asyncio.to_thread(remembered_file.load, file)
        fresh = remembered.with_allowed(asked.name, asked.fingerprint)
        await asyncio.to_thread(remembered_file.save, file, fresh)
    except LMChatError as error:
        context.output.note(f"lmchat: the choice could not be saved: {error.message}")


def _columns() -> int:
    """Return the width of the terminal that shows the question."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_COLUMNS
    except OSError:
        return _USUAL_COLUMNS


async def decide(
    event: ApprovalAsked, context: Context, read: Callable[[], Awaitable[bytes]] = typed_line
) -> None:
    """Ask whether a call may run; without a terminal it may not. `read` returns the line with the answer."""
    name, output = safe_line(event.name), context.output
    if not can_ask():
        row = f'{toml_value(name)} = "always"'
        output.note(f"lmchat: Not allowed: {name}. To allow it, set [tools.approval] {row}.")
        event.decision.set_result(Decision(choice=Choice.NO, reason=_UNASKED))
        return
    if event.note:
        output.note(f"lmchat: {event.note}")
    choice, reason = None, ""
    while choice is None:
        drop_typed(sys.stdin.fileno())  # what was typed before the question is no answer to it
        sys.stderr.write(call_question(event.message.tool_calls[0], _columns()))
        sys.stderr.flush()
        line = await read()
        word, _, reason = line.decode("utf-8", "replace").strip().partition(" ")
        is_paste = has_more_input(sys.stdin.fileno(), wait_s=_SAME_MOMENT_S)
        choice = None if is_paste else CHOICES.get(word.lower())
        if not line:  # Ctrl+D, or the terminal is gone
            choice = Choice.NO
            output.note("")
    if choice is Choice.ALWAYS:
        await _save_allowed(context, event)
    event.decision.set_result(Decision(choice=choice, reason=reason if choice is Choice.NO else ""))
