"""Dialog with the tool servers and their tools: their state or approval, and a switch for each.

The switches are those of the active session.
"""

from __future__ import annotations

from pathlib import Path

from lmchat.app.tui.dialogs.dialog import Dialog, ListDialog
from lmchat.app.tui.dialogs.text_dialog import TextDialog
from lmchat.app.tui.widgets.line import MUTED, wrapped_lines
from lmchat.app.tui.widgets.row_list import ASIDE, NAME, ListRow, text_row, wrapped_rows
from lmchat.base import units
from lmchat.base.safe_text import safe_line
from lmchat.core.chat.service import ChatService
from lmchat.core.chat.toolbox import Toolbox
from lmchat.core.servers.request import Tool
from lmchat.core.tools.calls import ToolServerState

_NOT_CONFIGURED = """No tools were configured when lmchat started. Add some in a shell, and restart:

lmchat tools add time -- uvx mcp-server-time
lmchat tools add --help

Or write functions with type hints and docstrings in tools.py, beside {}."""
_STYLES = {
    ToolServerState.STARTING: "$warning",
    ToolServerState.READY: MUTED,
    ToolServerState.FAILED: "$error",
}
_DRAW_EVERY_S = 0.5  # between two drawings: the states of the tool servers change without a key


def tools_dialog(chat: ChatService, config_file: Path) -> Dialog:
    """Return the dialog with the tools, or if there are none, a text on how to configure them."""
    toolbox = chat.turn_options.toolbox
    target = chat.turn_options.target
    if toolbox is None:
        return TextDialog("Tools", _NOT_CONFIGURED.format(config_file))
    note = ""
    if target is not None and not toolbox.can_use(target):
        note = f"! {safe_line(target.model_id, limit=60)} cannot use tools."
    return ToolsDialog(toolbox, chat.active.session_id, note)


class ToolsDialog(ListDialog):
    """List of tool servers and tools, each of which can be switched off and on.

    Opening it starts the servers, since only they know their tools.
    """

    HEADING = "Tools"
    HINTS = (("Enter", "switch on or off for this session"),)

    def __init__(self, toolbox: Toolbox, session_id: str, note: str) -> None:
        """The note is shown above the servers."""
        super().__init__()
        self._toolbox = toolbox
        self._session_id = session_id
        self._note = note

    def on_mount(self) -> None:
        # `restarts`: servers that have failed or ended before are started again
        self.run_worker(
            self._toolbox.host.start_servers(restarts=True), name="tools", group="tools"
        )
        self.set_interval(_DRAW_EVERY_S, self.redraw)

    def draw(self) -> None:
        """Draw the note, and the servers with their tools as they are now.

        The rows of a server and its error have one key, its name, so that they are chosen together.
        The key of a tool is its full name, `SERVER/TOOL`.
        """
        toolbox = self._toolbox
        session_id = self._session_id
        rows = wrapped_rows(self._note, self.list.text_width) if self._note else []
        for server in toolbox.host.servers:
            is_off = toolbox.is_off(session_id, server.name)
            name = safe_line(server.name, limit=60)
            state = "off" if is_off else server.state.value
            style = _STYLES[server.state]
            rows.append(text_row(name, right=state, right_style=style, key=server.name))
            if server.error:
                error = safe_line(server.problem, limit=500)
                # 3 cells: the bar of the row, and the two blanks before each line
                lines = wrapped_lines(error, self.list.text_width - 3)
                rows += [text_row(f"  {line}", style="", key=server.name) for line in lines]
            rows += [self._tool_row(tool, is_server_off=is_off) for tool in server.tools]
        tools = toolbox.tools
        count_on = len(toolbox.offered_now(session_id))
        figure = f"{count_on} of {units.counted(len(tools), 'tool')} on"
        self.show_rows(rows, figure, nothing="Starting the tool servers.")

    def _tool_row(self, tool: Tool, *, is_server_off: bool) -> ListRow:
        """Return the row of a tool: name, description, and at the right its approval or "off".

        While the server of the tool is off, the row cannot be chosen.
        """
        name = safe_line(tool.name, limit=60)
        about = safe_line(tool.description, limit=200)
        state: str = self._toolbox.approval(self._session_id, tool)
        if self._toolbox.is_allowed_here(self._session_id, tool):
            state = "in this session"
        if is_server_off or self._toolbox.is_off(self._session_id, tool.full_name):
            state = "off"
        return ListRow(
            # two pieces of one text each: without room, the second is dropped
            pieces=(((f"  {name}", NAME),), ((f"  {about}", ASIDE),)),
            right=((state, MUTED),),
            key=None if is_server_off else tool.full_name,
        )

    def action_accept(self) -> None:
        """Switch the chosen server or tool off, or on again; the dialog stays open."""
        if self.list.key is not None:
            self._toolbox.toggle(self._session_id, str(self.list.key))
            self.draw()
