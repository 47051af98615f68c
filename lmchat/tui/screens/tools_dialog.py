"""Tool servers and their tools: state, approval, and a switch for the shown session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.worker import Worker

from lmchat.domain.tool import ServerState, ToolServer
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.tools import Toolbox
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.icons import icons_for
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.line import MUTED
from lmchat.tui.widgets.row_list import ASIDE, NAME, ListRow, words_as_rows

_EVERY_S = 0.5
_NOT_CONFIGURED = (
    "No tools are configured. Add a server to config.toml and restart lmchat:",
    "",
    "[[mcp]]",
    'name = "files"',
    'command = "npx"',
    'args = ["-y", "@modelcontextprotocol/server-filesystem", "/home/me/notes"]',
    "",
    "Or write functions with type hints and docstrings in tools.py, beside config.toml.",
)
_SIGNS = {
    ServerState.STARTING: ("degraded", "$warning"),
    ServerState.READY: ("ready", "$success"),
    ServerState.FAILED: ("down", "$error"),
}


class ToolsDialog(ListDialog[None]):
    """Each server and tool can be switched off and on; servers are started to be listed."""

    AUTO_FOCUS = ""
    HEADING = "Tools"
    HINTS = (("Enter", "switch on or off for this session"),)
    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "take", show=False)]

    def __init__(self, open_sessions: OpenSessions) -> None:
        super().__init__()
        self._open_sessions = open_sessions
        self._session_id = open_sessions.shown.session_id

    def on_mount(self) -> None:
        _: Worker[None] = self.run_worker(self._start, name="tools", group="tools")

        self.set_interval(_EVERY_S, self._use_room)

    async def _start(self) -> None:
        if (toolbox := self._open_sessions.toolbox) is not None:
            await toolbox.list_servers(again=True)
            self._use_room()

    def draw(self) -> None:
        toolbox, target = self._open_sessions.toolbox, self._open_sessions.target
        if toolbox is None:
            self.show_rows([row for words in _NOT_CONFIGURED for row in self._words(words) or [ListRow()]])
            self.show_keys(())
            return
        rows = self._words("" if toolbox.servers else "Starting the tool servers.")
        if target is not None and not toolbox.can_use(target):
            rows = self._words(f"! {safe_line(target.model_id, limit=60)} cannot use tools.")
        rows += [row for server in toolbox.servers for row in self._rows(toolbox, server)]
        tools = [tool for server in toolbox.servers for tool in server.tools]
        on = sum(toolbox.is_on(self._session_id, tool) for tool in tools)
        self.show_rows(rows, f"{on} of {formatting.counted(len(tools), 'tool')} on")

    def _words(self, words: str) -> list[ListRow]:
        return words_as_rows(words, self.list.text_width) if words else []

    def _rows(self, toolbox: Toolbox, server: ToolServer) -> Iterator[ListRow]:
        sign, style = _SIGNS[server.state]
        is_off = toolbox.is_off(self._session_id, server.name)
        left = (getattr(icons_for(self), sign), style), (f" {safe_line(server.name, limit=60)}", NAME)
        yield ListRow((left,), (("off" if is_off else server.state.value, ""),), key=server.name)
        error = safe_line(server.error, limit=500)
        for row in words_as_rows(error, self.list.text_width - 3) if error else ():
            yield ListRow(((("  ", ""), *row.pieces[0]),), key=server.name)
        for tool in server.tools:
            name, about = safe_line(tool.name, limit=60), safe_line(tool.description, limit=200)
            word = toolbox.approval(self._session_id, tool).value
            word = "off" if is_off or toolbox.is_off(self._session_id, tool.full_name) else word
            key = None if is_off else tool.full_name
            yield ListRow((((f"  {name}", NAME),), ((f"  {about}", ASIDE),)), ((word, MUTED),), key=key)

    def action_take(self) -> None:
        if (toolbox := self._open_sessions.toolbox) is not None and self.list.key is not None:
            toolbox.toggle(self._session_id, str(self.list.key))
            self.draw()
