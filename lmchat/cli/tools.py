"""`lmchat tools`: the tools of all servers, and a call of one; the calls of `ask --tools`."""

from __future__ import annotations

import asyncio
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from io import BufferedReader
from time import monotonic
from typing import Any

from msgspec.structs import replace

from lmchat.cli.context import Context
from lmchat.cli.output import Output, can_ask, from_stdin, rounded, table
from lmchat.config.load import similar
from lmchat.config.settings import Settings
from lmchat.domain.candidate import Remembered
from lmchat.domain.message import AnswerState, ChatMessage
from lmchat.domain.server import Target
from lmchat.domain.tool import (
    Choice,
    Decision,
    ServerState,
    Tool,
    ToolResult,
    ToolServer,
    arguments_of,
    call_words,
)
from lmchat.errors import LMChatError, WrongUse
from lmchat.services.ports import Lazy, ToolHost
from lmchat.services.tool_loop import ApprovalAsked
from lmchat.services.tools import Toolbox, misfit
from lmchat.storage import state as remembered_file
from lmchat.text import safe_line
from lmchat.threads import run_abandonable

_CHOICES = {"y": Choice.ONCE, "s": Choice.SESSION, "a": Choice.ALWAYS, "n": Choice.NO}
_QUESTION = "? y once, s this session, a always, n no: "
_UNASKED = "A tool that needs approval cannot run without a terminal."


def make_toolbox(context: Context, settings: Settings, remembered: Remembered) -> Toolbox:
    """Return the tools of this run; their servers start when they are first used."""

    def make_host() -> ToolHost:
        from lmchat.cli.wiring import make_tool_host

        return make_tool_host(context, settings)

    return Toolbox(
        Lazy(make_host).port,
        settings.tools,
        settings.mcp,
        is_configured=context.has_tools,
        allowed=remembered.allowed_tools,
    )


def how_to_configure(context: Context) -> str:
    """Return the next step where no tool is configured."""
    return f"Add [[mcp]] to {context.config_file}, or write functions in {context.paths.tools_file}."


@asynccontextmanager
async def _opened(
    context: Context, *, only: str = ""
) -> AsyncIterator[tuple[Toolbox, tuple[ToolServer, ...]]]:
    """Start the servers, or `only` one of them, and yield them with their tools."""
    remembered, _ = await asyncio.to_thread(remembered_file.load, context.paths.remembered_file)
    mcp = tuple(one for one in context.settings.mcp if only in ("", one.name))
    async with aclosing(make_toolbox(context, replace(context.settings, mcp=mcp), remembered)) as toolbox:
        yield toolbox, await toolbox.list_servers()


async def list_tools(context: Context) -> int:
    """Print the tool servers with their state, and their tools."""
    async with _opened(context) as (toolbox, servers):
        return context.output.listing(
            [_server_json(server, toolbox) for server in servers],
            lambda: _listing(servers, toolbox),
            f"lmchat: no tools are configured. {how_to_configure(context)}",
        )


async def call(context: Context) -> int:
    """Run a tool; exit 1 if its result is an error."""
    options = context.options
    arguments = arguments_of(options.arguments)
    if arguments is None:
        hint = """Write them as one JSON object, for example '{"path": "a.md"}'."""
        raise WrongUse("The arguments are not a JSON object.", hint=hint)
    async with _opened(context, only=options.tool.partition("/")[0]) as (toolbox, servers):
        tool = _named(options.tool, servers, context)
        if reason := await misfit(tool, arguments):
            hint = "`lmchat tools --json` prints the schema."
            raise WrongUse(f"The arguments do not match the schema: {reason}.", hint=hint)
        started_s = monotonic()
        result = await toolbox.call(tool, arguments)
    return _print_result(context.output, tool, arguments, result, (monotonic() - started_s) * 1e3)


def _print_result(
    output: Output, tool: Tool, arguments: object, result: ToolResult, elapsed_ms: float
) -> int:
    state = AnswerState.FAILED if result.is_error else AnswerState.COMPLETE
    if output.is_json:
        output.document(_step(tool.full_name, arguments, result.text, state, elapsed_ms))
    elif result.is_error:
        output.note(f"lmchat: {tool.full_name} failed: {result.text}")
    else:
        output.text(result.text)
    return 1 if result.is_error else 0


def _named(name: str, servers: tuple[ToolServer, ...], context: Context) -> Tool:
    tools = {tool.full_name: tool for server in servers for tool in server.tools}
    if name in tools:
        return tools[name]
    for server in servers:
        if server.name == name.partition("/")[0] and server.state is not ServerState.READY:
            raise LMChatError(server.error, kind="tools", hint="`lmchat doctor` checks each server.")
    meant = similar(name, tuple(tools))
    hint = f"Did you mean {meant}?" if meant else "`lmchat tools` lists the tools."
    raise WrongUse(f"There is no tool {name}.", hint=hint if context.has_tools else how_to_configure(context))


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
    return {"name": server.name, "state": server.state, "error": server.error or None, "tools": tools}


def _listing(servers: tuple[ToolServer, ...], toolbox: Toolbox) -> str:
    states = "\n".join(f"{safe_line(server.name)}: {state_words(server)}" for server in servers)
    rows = [
        (tool.full_name, toolbox.approval("", tool), tool.description.partition("\n")[0])
        for server in servers
        for tool in server.tools
    ]
    return f"{states}\n\n{table(('TOOL', 'APPROVAL', 'DESCRIPTION'), rows)}" if rows else states


def state_words(server: ToolServer) -> str:
    """Return the state of a server, its number of tools and its error."""
    from lmchat.tui.formatting import counted

    is_ready = server.state is ServerState.READY
    words = f"{server.state}, {counted(len(server.tools), 'tool')}." if is_ready else f"{server.state}."
    return f"{words} {server.error}".rstrip()


def _step(name: str, arguments: object, result: str, state: AnswerState, elapsed_ms: float) -> dict[str, Any]:
    return {
        "tool": name,
        "arguments": arguments,
        "result": result,
        "state": state,
        "elapsed_ms": rounded(elapsed_ms),
    }


def step_json(message: ChatMessage) -> dict[str, Any]:
    """Return an ended call as `ask --json` lists it."""
    made = message.tool_calls[0]
    found = arguments_of(made.arguments)
    elapsed_ms = message.receipt.elapsed_ms if message.receipt else 0.0
    arguments = made.arguments if found is None else found
    return _step(made.name, arguments, message.tool_result, message.state, elapsed_ms)


def step_note(message: ChatMessage) -> str:
    """Return the line about an ended call."""
    from lmchat.tui import formatting

    made = message.tool_calls[0]
    words = safe_line(call_words(made.name, made.arguments), limit=160)
    if message.state is AnswerState.FAILED:
        return f"{words} failed: {safe_line(message.tool_result, limit=300)}"
    elapsed_s = message.receipt.elapsed_ms / 1e3 if message.receipt else 0.0
    size = formatting.size(len(message.tool_result.encode("utf-8", "replace")))
    return f"{words}  {formatting.first_token(elapsed_s)} · {size}".replace(formatting.GAP, " ")


@asynccontextmanager
async def tools_of_question(
    context: Context, settings: Settings, remembered: Remembered, target: Target
) -> AsyncIterator[Toolbox | None]:
    """Start the tool servers for `ask --tools`; None without it, and where the model cannot use tools."""
    toolbox = make_toolbox(context, settings, remembered)
    if not context.options.tools or not toolbox.can_use(target):
        if context.options.tools:
            model = safe_line(target.model_id, limit=80)
            context.output.note(f"lmchat: {model} cannot use tools; it answers without them.")
        yield None
        return
    toolbox.on_allowed = partial(_save_allowed, context)
    async with aclosing(toolbox):
        for server in await toolbox.list_servers():
            if server.error:
                context.output.note(f"lmchat: {safe_line(server.error)}")
        yield toolbox


async def _save_allowed(context: Context, names: tuple[str, ...]) -> None:
    """Add the tools that always run to the saved state."""

    def save() -> None:
        file = context.paths.remembered_file
        remembered, _ = remembered_file.load(file)
        remembered_file.save(file, replace(remembered, allowed_tools=names))

    try:
        await asyncio.to_thread(save)
    except LMChatError as error:
        context.output.note(f"lmchat: the choice could not be saved: {error.message}")


async def decide(event: ApprovalAsked, output: Output) -> None:
    """Ask whether a call may run; without a terminal it may not."""
    name, made = safe_line(event.tool.full_name), event.message.tool_calls[0]
    if not can_ask():
        output.note(f'lmchat: Not allowed: {name}. To allow it, set [tools.approval] "{name}" = "always".')
        event.decision.set_result(Decision(choice=Choice.NO, reason=_UNASKED))
        return
    choice, reason = None, ""
    while choice is None:
        with suppress(termios.error):  # what was typed before the question is no answer to it
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
        sys.stderr.write(safe_line(call_words(made.name, made.arguments)) + _QUESTION)
        sys.stderr.flush()
        line = await run_abandonable(lambda: from_stdin(BufferedReader.readline))
        word, _, reason = line.decode("utf-8", "replace").strip().partition(" ")
        choice = _CHOICES.get(word.lower())
        if not line:  # Ctrl+D, or the terminal is gone
            choice = Choice.NO
            output.note("")
    event.decision.set_result(Decision(choice=choice, reason=reason if choice is Choice.NO else ""))
