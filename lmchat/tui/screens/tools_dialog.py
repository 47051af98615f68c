"""Tool servers and their tools: state, approval, and a switch for the shown session."""

from __future__ import annotations

from pathlib import Path

from lmchat.domain.tool import ServerState
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.tools import Toolbox
from lmchat.text import safe_line, safe_text
from lmchat.tui import formatting
from lmchat.tui.screens.dialog import Dialog, ListDialog
from lmchat.tui.screens.text_dialog import TextDialog
from lmchat.tui.widgets.line import MUTED
from lmchat.tui.widgets.row_list import ASIDE, NAME, ListRow, words_as_rows

_NOT_CONFIGURED = """No tools are configured. Add a server to {} and restart lmchat:

[[mcp]]
name = "files"
command = "npx"
args = ["-y", "@modelcontextprotocol/server-filesystem", "/home/me/notes"]

Or write functions with type hints and docstrings in tools.py, beside config.toml."""
_STYLES = {ServerState.STARTING: "$warning", ServerState.READY: MUTED, ServerState.FAILED: "$error"}


def tools_dialog(open_sessions: OpenSessions, config_file: Path) -> Dialog[None]:
    """Return the list of the tools, or how to configure some."""
    toolbox, target = open_sessions.next_turn.toolbox, open_sessions.next_turn.target
    if toolbox is None:
        return TextDialog("Tools", _NOT_CONFIGURED.format(safe_text(str(config_file))))
    is_unable = target is not None and not toolbox.can_use(target)
    note = (
        f"! {safe_line(target.model_id, limit=60)} cannot use tools."
        if target and is_unable
        else ""
    )
    return ToolsDialog(toolbox, open_sessions.shown.session_id, note)


class ToolsDialog(ListDialog[None]):
    """Each server and tool can be switched off and on; servers are started to be listed."""

    AUTO_FOCUS = ""
    HEADING = "Tools"
    HINTS = (("Enter", "switch on or off for this session"),)

    def __init__(self, toolbox: Toolbox, session_id: str, note: str) -> None:
        super().__init__()
        self._toolbox, self._session_id, self._note = toolbox, session_id, note

    def on_mount(self) -> None:
        self.run_worker(self._toolbox.host.list_servers(again=True), name="tools", group="tools")
        self.set_interval(0.5, self._use_room)

    def draw(self) -> None:
        toolbox, session_id, width = self._toolbox, self._session_id, self.list.text_width
        rows = words_as_rows(self._note, width) if self._note else []
        for server in toolbox.host.servers:
            is_off = toolbox.is_off(session_id, server.name)
            state = ("off", MUTED) if is_off else (server.state.value, _STYLES[server.state])
            rows.append(
                ListRow((((safe_line(server.name, limit=60), NAME),),), (state,), key=server.name)
            )
            for row in (
                words_as_rows(safe_line(server.error, limit=500), width - 3) if server.error else ()
            ):
                rows.append(ListRow(((("  ", ""), *row.pieces[0]),), key=server.name))
            for tool in server.tools:
                name, about = safe_line(tool.name, limit=60), safe_line(tool.description, limit=200)
                is_tool_off = is_off or toolbox.is_off(session_id, tool.full_name)
                word = "off" if is_tool_off else toolbox.approval(session_id, tool).value
                pieces, key = (((f"  {name}", NAME),), ((f"  {about}", ASIDE),)), tool.full_name
                rows.append(ListRow(pieces, ((word, MUTED),), key=None if is_off else key))
        on = sum(toolbox.is_on(session_id, tool) for tool in toolbox.tools)
        figure = f"{on} of {formatting.counted(len(toolbox.tools), 'tool')} on"
        self.show_rows(rows, figure, nothing="Starting the tool servers.")

    def action_take(self) -> None:
        if self.list.key is not None:
            self._toolbox.toggle(self._session_id, str(self.list.key))
            self.draw()
