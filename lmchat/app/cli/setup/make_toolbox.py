"""Start of the tool servers of a command, and what it says about them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from lmchat.api import ModelInfo
from lmchat.app.cli.context import Context
from lmchat.base.errors import LMChatError
from lmchat.core.chat.toolbox import Toolbox
from lmchat.core.servers.target import Target
from lmchat.core.tools.calls import ToolHost, ToolServer, ToolServerState, names_of_starting

_SHORT_WAIT_S = 2.0  # a shorter wait needs no words


async def start_tools(context: Context, toolbox: Toolbox, model: ModelInfo) -> None:
    """Wait until the tool servers have started or failed, for `ask --tools`.

    Prints errors, and a note if the model cannot use tools. Raises `LMChatError` if no server
    works.
    """
    note = context.note
    if not toolbox.can_use(Target.of(model)):
        note(f"{model.model_id} cannot use tools; it answers without them.")
        return
    servers = await started_servers(context, toolbox.host)
    for server in servers:
        if server.error:
            note(server.error, server.next_step)
    if not is_any_ready(servers):
        raise LMChatError(
            "No tool server works.", kind="tools", next_step="To ask without tools, omit --tools."
        )


async def started_servers(context: Context, host: ToolHost) -> tuple[ToolServer, ...]:
    """If that takes long, a text on stderr names which."""
    output = context.output

    def show() -> None:
        if host.is_asking.locked():
            return
        tell = output.show_progress if output.can_show_progress else output.note
        tell(f"lmchat: starting {names_of_starting(host.servers)} … Ctrl+C stops")

    showing = asyncio.get_running_loop().call_later(_SHORT_WAIT_S, show)
    try:
        return await host.start_servers()
    finally:
        showing.cancel()
        output.show_progress("")


def is_any_ready(servers: Sequence[ToolServer]) -> bool:
    return any(server.state is ToolServerState.READY for server in servers)


def how_to_configure(context: Context) -> str:
    command = "lmchat tools add time -- uvx mcp-server-time"
    return f"Add some: {command}. Or write functions in {context.paths.tools_file}."
