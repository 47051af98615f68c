"""Setup of tools for a command: the toolbox, and the start of its servers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lmchat.chat.toolbox import Toolbox
from lmchat.cli.context import Context
from lmchat.config.credentials import Credentials
from lmchat.config.settings import McpSettings, Settings
from lmchat.config.state import State, change_state
from lmchat.errors import LMChatError
from lmchat.processes.background import run_abandonable
from lmchat.safe_text import safe_line
from lmchat.servers.allow_list import AllowList
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.target import Target
from lmchat.tools.calls import ToolHost, ToolServer, ToolServerState
from lmchat.tools.mcp_servers import START_S, McpServers

_logger = logging.getLogger(__name__)
_SHORT_WAIT_S = 2.0  # a shorter wait needs no words
_NAMES_CHARS = 40


def make_toolbox(
    context: Context, settings: Settings, servers: Sequence[McpSettings], state: State
) -> Toolbox:
    """Make a toolbox, whose tool servers start when tools are first used."""
    hosts = (*settings.allowed_hosts, *state.tool_hosts)
    host = McpServers(
        tuple(servers),
        functions=context.paths.tools_file,
        folder=context.config_file.parent,
        # tools may print what a chat is about
        log_file=None if context.options.temporary else context.paths.tools_log_file,
        environ=context.environ,  # with API keys: the settings name those that servers get
        check_address=lambda url: AllowList(hosts).check(Endpoint.parse(url)),
        start_s=max(START_S, settings.tools.timeout_s),
        credentials=Credentials(context.paths.credentials_file),
    )
    save = partial(_save_allowed, context.paths.state_file)
    return Toolbox(host, settings.tools, servers, state.allowed_tools, save)


async def _save_allowed(state_file: Path, tool: str, fingerprint: str) -> None:
    """Allow a tool for later runs, after the answer "always".

    With another `fingerprint`, a hash of the tool, the user is asked again. Plain chat and `ask`
    have toolboxes, too, so this takes the place of `ScreenServices.remember`.
    """
    try:
        await run_abandonable(
            lambda: change_state(state_file, lambda old: old.with_allowed(tool, fingerprint))
        )
    except LMChatError as error:  # it stays allowed in this run
        _logger.warning("an allowed tool could not be saved: %s", error.kind)


async def start_tools(context: Context, toolbox: Toolbox, target: Target) -> None:
    """Wait until the tool servers have started or failed, for `ask --tools`.

    Prints errors, and a note if the model cannot use tools. Raises `LMChatError` if no server
    works.
    """
    note = context.output.note
    if not toolbox.can_use(target):
        note(f"lmchat: {target.model_id} cannot use tools; it answers without them.")
        return
    servers = await started_servers(context, toolbox.host)
    for server in servers:
        if server.error:
            note(f"lmchat: {server.error}", server.next_step)
    if not is_any_ready(servers):
        next_step = "To ask without tools, omit --tools."
        raise LMChatError("No tool server works.", kind="tools", next_step=next_step)


async def started_servers(context: Context, host: ToolHost) -> tuple[ToolServer, ...]:
    """If that takes long, a terminal shows which."""

    def show() -> None:
        if host.is_asking.locked():
            return
        slow = (server.name for server in host.servers if server.state is ToolServerState.STARTING)
        names = safe_line(", ".join(slow), limit=_NAMES_CHARS)
        context.output.show_progress(f"lmchat: starting {names} … Ctrl+C stops")

    showing = asyncio.get_running_loop().call_later(_SHORT_WAIT_S, show)
    try:
        return await host.start_servers()
    finally:
        showing.cancel()
        context.output.show_progress("")


def is_any_ready(servers: Sequence[ToolServer]) -> bool:
    return any(server.state is ToolServerState.READY for server in servers)


def how_to_configure(context: Context) -> str:
    command = "lmchat tools add time -- uvx mcp-server-time"
    return f"Add some: {command}. Or write functions in {context.paths.tools_file}."
