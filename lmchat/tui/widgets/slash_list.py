"""The slash commands that fit what is typed, above the prompt."""

from __future__ import annotations

from lmchat.tui.widgets.line import MUTED
from lmchat.tui.widgets.row_list import NAME, ListRow, RowList
from lmchat.tui.widgets.slash_completion import Completion


class SlashList(RowList):
    """A row a command: its form, and what it does; the prompt has the keys."""

    def show_completion(self, completion: Completion) -> None:
        """Show the commands that fit, or nothing."""
        self.display = completion.is_open
        if not completion.is_open:
            return
        width = max(len(command.slash) for command in completion.rows)
        rows = [
            ListRow(
                (((f" {command.slash:<{width}}", NAME), (f"   {command.title}", MUTED)),),
                key=command.command_id,
            )
            for command in completion.rows
        ]
        self.show(rows, choose=completion.command.command_id)
