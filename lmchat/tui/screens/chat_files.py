"""Sessions out of the chat into files."""

from __future__ import annotations

from lmchat.domain.session import Session
from lmchat.errors import FileExists
from lmchat.safe_text import safe_line
from lmchat.tui.screens.chat_messages import ChatMessages
from lmchat.typed_path import path_of


class ChatFiles(ChatMessages):
    """Exports the session that is shown."""

    def action_export_session(self, path: str = "", *, typed: str = "") -> None:
        """Export the shown session as Markdown, into a file that the user names."""
        from lmchat.tui.screens.ask_dialog import AskDialog

        if not self.desk.shown.conversation.messages:
            self.app.notify("There is nothing to export yet.", markup=False)
            return

        def export(name: str | None) -> None:
            if name:
                self.attempt(lambda: self._export(name), group="export", typed=typed)

        if path:
            export(path)
        else:
            proposed = self.workspace.library.proposed_name(self._session())
            self.app.push_screen(AskDialog("Export to which file?", value=proposed), export)

    async def _export(self, name: str, *, is_forced: bool = False) -> None:
        library, path = self.workspace.library, path_of(name)
        await self.desk.shown.conversation.fill()
        try:
            written = await library.export_file(self._session(), path, is_forced=is_forced)
        except FileExists as error:
            self._ask_to_overwrite(name, error.message)
            return
        self.show_action("exported")
        self.app.notify(f"Exported to {safe_line(str(written.absolute()))}", markup=False)

    def _ask_to_overwrite(self, name: str, words: str) -> None:
        from lmchat.tui.screens.ask_dialog import ConfirmDialog

        def overwrite(is_wanted: bool | None) -> None:
            if is_wanted:
                self.attempt(lambda: self._export(name, is_forced=True), group="export")

        self.app.push_screen(ConfirmDialog("Overwrite it?", text=words, verb="overwrite"), overwrite)

    def _session(self) -> Session:
        conversation = self.desk.shown.conversation
        return Session(header=conversation.header, messages=conversation.shown_messages)
