"""Sessions out of the chat into files, and out of files into the list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmchat.domain.session import SearchHit, Session
from lmchat.errors import FileExists
from lmchat.files import path_of
from lmchat.formats.writing import export_name
from lmchat.services.exporting import ExportAs
from lmchat.text import safe_line
from lmchat.tui.screens.chat_messages import ChatMessages

_MOST_TOLD = 3
"""Files of one folder that are named as refused; the others are counted."""


class ChatFiles(ChatMessages):
    """Exports the session that is shown, imports others."""

    def action_export_session(self, words: str = "", *, typed: str = "") -> None:
        """Export the shown session, as Markdown unless the name says otherwise, into a file that is named."""
        from lmchat.tui.screens.export_dialog import ExportDialog, wish_of

        if not self.open_sessions.shown.conversation.messages:
            self.app.notify("There is nothing to export yet.", markup=False)
            return

        def export(words: str | None) -> None:
            if words:
                self.attempt(lambda: self._export(words), group="export", typed=typed)

        if wish_of(words).name:
            export(words)
        else:
            proposed = export_name(self._session())
            self.app.push_screen(ExportDialog(wish_of(words), proposed=proposed), export)

    def export_hit(self, hit: SearchHit) -> None:
        """Show the session of a hit, and ask for its file once it is shown: what is shown is exported."""

        async def go_and_ask() -> None:
            await self.go_to(hit.session_id, message_id=hit.message_id, words=hit.words)
            self.action_export_session()

        self.attempt(go_and_ask, group="open")

    async def _export(self, words: str, *, is_forced: bool = False) -> None:
        from lmchat.tui.screens.export_dialog import wish_of

        wish = wish_of(words)
        await self.open_sessions.shown.conversation.fill()
        try:
            written = await self.workspace.library.exporter.export_file(
                self._session(),
                path_of(wish.name),
                ExportAs(with_reasoning=wish.with_reasoning, with_branches=wish.with_branches),
                is_forced=is_forced,
            )
        except FileExists as error:
            self._ask_to_overwrite(words, error.message)
            return
        self.show_action("exported")
        self.app.notify(f"Exported to {safe_line(str(written.absolute()))}", markup=False)

    def _ask_to_overwrite(self, words: str, problem: str) -> None:
        from lmchat.tui.screens.ask_dialog import ConfirmDialog

        def overwrite(is_wanted: bool | None) -> None:
            if is_wanted:
                self.attempt(lambda: self._export(words, is_forced=True), group="export")

        self.app.push_screen(ConfirmDialog("Overwrite it?", text=problem, verb="overwrite"), overwrite)

    def _session(self) -> Session:
        conversation = self.open_sessions.shown.conversation
        return Session(header=conversation.header, messages=conversation.shown_messages)

    def action_import_file(self, name: str = "", *, typed: str = "") -> None:
        """Import the chats of a file, or of a folder's files, and show the one where there is only one."""
        from lmchat.tui.screens.ask_dialog import AskDialog

        def bring(name: str | None) -> None:
            if name:
                self.attempt(lambda: self._import(name), group="import", typed=typed)

        if name:
            bring(name)
        else:
            text = "An export as Markdown or JSON, a JSON list of {role, content}, or a folder of them."
            self.app.push_screen(AskDialog("Import which file?", text=text, verb="import"), bring)

    async def _import(self, name: str) -> None:
        if self.workspace.make_importer is None:
            return
        done = await self.workspace.make_importer().bring([name])
        if not done.imported:
            raise done.refused[0][1]
        await self._list_sessions()
        self.show_action("imported")
        self._tell_imported([one for _, one in done.imported])
        for _, error in done.refused[:_MOST_TOLD]:
            self.tell(error)
        if len(done.refused) > _MOST_TOLD:
            self.app.notify(f"{len(done.refused) - _MOST_TOLD} more files were refused.", markup=False)

    def _tell_imported(self, found: Sequence[Any]) -> None:
        from lmchat.services.importing import sentence

        if len(found) == 1:
            self.app.notify(f"{sentence(found[0])}.", markup=False)
            if found[0].header.deleted_at is None:
                self.open_session(found[0].header.session_id)
        else:
            there = sum(one.is_there for one in found)
            words = f"{len(found) - there} sessions imported" + (
                f", {there} were there already" * bool(there)
            )
            self.app.notify(f"{words}.", markup=False)
        skipped = [left for one in found for left in one.skipped]
        if skipped:
            first = f"{skipped[0].where}: {skipped[0].reason}"
            more = f", and {len(skipped) - 1} more" if len(skipped) > 1 else ""
            self.app.notify(f"Left out, or not whole: {safe_line(first)}{more}.", markup=False)
