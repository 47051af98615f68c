"""Setup of tools for a command: the toolbox, the start of its servers, and what to correct.

The toolbox has the tools of all tool servers, and knows which of them may run without a question.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from lmchat.chat.toolbox import Toolbox
from lmchat.cli.context import Context
from lmchat.config.settings import FUNCTIONS, Settings
from lmchat.config.state import State, change_state
from lmchat.errors import LMChatError
from lmchat.servers.allow_list import AllowList
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.target import Target
from lmchat.tools.mcp_servers import McpServers
from lmchat.tools.protocols import ToolServer, ToolServerState

_logger = logging.getLogger(__name__)


def make_toolbox(context: Context, settings: Settings, state: State) -> Toolbox:
    """Return the toolbox of this run; the tool servers start when tools are first used."""
    host = McpServers(
        settings.mcp,
        functions=context.paths.tools_file,
        folder=context.config_file.parent,
        # tools may print what a chat is about
        log_file=None if context.options.temporary else context.paths.tools_log_file,
        environ=context.environ,  # with API keys: `headers_env` names those that servers get
        check_address=lambda url: AllowList(settings.allowed_hosts).check(Endpoint.parse(url)),
    )
    save = partial(_save_allowed, context.paths.state_file)
    return Toolbox(host, settings.tools, settings.mcp, state.allowed_tools, save)


async def _save_allowed(state_file: Path, tool: str, fingerprint: str) -> None:
    """Allow a tool for later runs, after the user has answered "always".

    `fingerprint` is a hash of the tool: when it has changed, the user is asked again.

    The screen has `ScreenServices.remember` for changes of the file. This function is used in its
    place, since the plain chat and `ask` have toolboxes, too.
    """
    try:
        await asyncio.to_thread(
            change_state, state_file, lambda old: old.with_allowed(tool, fingerprint)
        )
    except LMChatError as error:  # the tool stays allowed in this run
        _logger.warning("an allowed tool could not be saved: %s", error.kind)


async def start_tools(context: Context, toolbox: Toolbox, target: Target) -> None:
    """Start the tool servers for `ask --tools` and wait until they have started or failed.

    If the model cannot use tools, only print a note that says so. Print a note for each server with
    an error. Raises `LMChatError` if no server works.
    """
    note = context.output.note
    if not toolbox.can_use(target):
        note(f"lmchat: {target.model_id} cannot use tools; it answers without them.")
        return
    servers = await toolbox.host.start_servers()
    for server in servers:
        if server.error:
            note(f"lmchat: {server.error}", f"{how_to_correct(server, context)}.")
    if not is_any_ready(servers):
        hint = "To ask without tools, omit --tools."
        raise LMChatError("No tool server works.", kind="tools", hint=hint)


def is_any_ready(servers: Sequence[ToolServer]) -> bool:
    """Return whether at least one server works, which is enough to go on."""
    return any(server.state is ToolServerState.READY for server in servers)


def how_to_configure(context: Context) -> str:
    """Return a sentence that says how to add tools."""
    file = context.paths.tools_file
    return f"Add [[mcp]] to {context.config_file}, or write functions in {file}."


def how_to_correct(server: ToolServer, context: Context) -> str:
    """Return what to do about a tool server with an error, without a full stop."""
    if find_spec("mcp") is None:
        return "pip install 'lmchat[tools]', then lmchat tools"
    if not server.can_correct:
        return "Once the server works, run lmchat tools"
    is_tools_file = server.name == FUNCTIONS  # the server of the functions of `tools.py`
    place = context.paths.tools_file if is_tools_file else f"[[mcp]] in {context.config_file}"
    return f"Correct {place}, then lmchat tools"
