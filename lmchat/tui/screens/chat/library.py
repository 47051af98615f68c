"""Saved sessions as a whole: the keys of the list, the trash, export and import."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from lmchat.domain.session import SearchHit, Session, SessionHeader, tags_from
from lmchat.errors import FileExists
from lmchat.files import path_of
from lmchat.formats.writing import export_name
from lmchat.services.exporting import ExportAs
from lmchat.services.library import Library
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui.screens.chat.figures import Figures
from lmchat.tui.screens.chat.sessions import PromptText, Sessions
from lmchat.tui.screens.chat.turns import Turns
from lmchat.tui.screens.chat.view import ChatView

_IN_TRASH: Mapping[str, tuple[Callable[[Library, str], Awaitable[object]], str]] = {
    "restore": (Library.restore, "Brought back."),
    "purge": (Library.purge, "Removed for good."),
}
"""What can be done with a session in the trash, and the notification of it."""
_MOST_NAMED = 3
"""Files of one folder that are named as refused; the others are counted."""


class SavedSessions:
    """Changes sessions as a whole, and moves them into files and back; nothing is lost without a question."""

    def __init__(
        self,
        workspace: Workspace,
        view: ChatView,
        figures: Figures,
        sessions: Sessions,
        text: PromptText,
        turns: Turns,
    ) -> None:
        self._workspace = workspace
        self._open = workspace.open_sessions
        self._library = workspace.library
        self._view = view
        self._figures = figures
        self._sessions = sessions
        self._text = text
        self._turns = turns

    def act(self, name: str, session_id: str) -> None:
        """Do what a key of the list asks for."""
        match name:
            case "rename":
                self.ask_title(session_id)
            case "tag":
                self.ask_tags(session_id)
            case "pin":
                self._change(lambda: self._toggle_pinned(session_id))
            case "archive":
                self._change(lambda: self._toggle_archived(session_id))
            case "delete":
                self._change(lambda: self._delete(session_id))
            case "trash":
                self.show_trash()
            case _:
                self._change(self._undo_delete)

    def _change(self, change: Callable[[], Awaitable[str]]) -> None:
        """Change the list and show what was done, in the words that the change returns."""

        async def work() -> None:
            words = await change()
            await self._sessions.fetch_list()
            self._figures.show_action(words.partition(";")[0].lower())
            self._view.notify(f"{words}.")

        self._view.attempt(
            work, group="change"
        )  # fetching the list again ends what is of the group `library`

    async def _header(self, session_id: str) -> SessionHeader:
        return (await self._workspace.store.open_end(session_id, count=1)).header

    async def _toggle_pinned(self, session_id: str) -> str:
        was_pinned = (await self._header(session_id)).is_pinned
        await self._library.pin(session_id, is_pinned=not was_pinned)
        return "Not pinned any more" if was_pinned else "Pinned"

    async def _toggle_archived(self, session_id: str) -> str:
        was_archived = (await self._header(session_id)).is_archived
        await self._library.archive(session_id, is_archived=not was_archived)
        return "Back from the archive" if was_archived else "Archived; it stands at the end of the list"

    async def _undo_delete(self) -> str:
        return "Brought back" if await self._library.undo_delete() else "The trash is empty"

    async def _delete(self, session_id: str) -> str:
        shown = self._open.shown
        if session_id == self._sessions.shown_id:
            await self._turns.stop_and_hold(shown)
        await self._library.delete(session_id)
        if shown is self._open.shown and session_id == self._sessions.shown_id:
            self._text.save()
            self._sessions.show_new()
        return "In the trash; u brings it back"

    def ask_title(self, session_id: str, title: str = "") -> None:
        """Ask for a session's title, or take the given one."""
        from lmchat.tui.screens.ask_dialog import AskDialog

        def rename(new: str | None) -> None:
            if new is not None:
                self._change(lambda: self._rename(session_id, new))

        if title:
            rename(title)
        else:
            value = self._sessions.title_of(session_id)
            self._view.screen.app.push_screen(AskDialog("Title of the session", value=value), rename)

    async def _rename(self, session_id: str, title: str) -> str:
        header = await self._library.rename(session_id, title)
        if session_id == self._sessions.shown_id:
            self._open.shown.conversation.rename(header.title)
            self._sessions.show_title()
        return "Renamed"

    def ask_tags(self, session_id: str, typed: str = "") -> None:
        """Put tags on a session or take them off; where none are typed, ask for all that it shall have."""
        if session_id == self._sessions.shown_id and not self._open.shown.conversation.messages:
            self._view.notify("Nothing was said in this session yet; tag it then.")
        elif typed:
            self._change(lambda: self._tagged(self._library.toggle_tags(session_id, typed)))
        else:
            self._view.attempt(lambda: self._ask_tags(session_id), group="tags")

    async def _ask_tags(self, session_id: str) -> None:
        from lmchat.tui.screens.ask_dialog import AskDialog

        def tag(typed: str | None) -> None:
            if typed is not None:
                self._change(lambda: self._tagged(self._library.tag(session_id, tags_from(typed))))

        text = "Words with blanks between them; #word in the filter of the list finds them."
        value = safe_line(" ".join((await self._header(session_id)).tags))
        asked = AskDialog("Tags of the session", text=text, value=value, verb="take them", check=lambda _: "")
        self._view.screen.app.push_screen(asked, tag)

    async def _tagged(self, change: Awaitable[SessionHeader]) -> str:
        tags = (await change).tags
        return safe_line("Tagged " + " ".join(f"#{tag}" for tag in tags)) if tags else "Without tags now"

    def show_trash(self) -> None:
        """Show what is in the trash and until when."""
        from lmchat.tui.screens.trash_dialog import TrashDialog

        async def show() -> None:
            dialog.show(await self._library.trash())

        def act(name: str, session_ids: Sequence[str]) -> None:
            change, words = _IN_TRASH[name]

            async def work() -> None:
                try:
                    for session_id in session_ids:
                        await change(self._library, session_id)
                finally:
                    await show()
                    await self._sessions.fetch_list()
                self._view.notify(words)

            self._view.attempt(work, group="trash")

        dialog = TrashDialog(act)
        self._view.screen.app.push_screen(dialog)
        self._view.attempt(show, group="trash")

    async def export(self, words: str = "") -> None:
        """Export the shown session, as Markdown unless the name says otherwise; ask for a missing name."""
        from lmchat.tui.screens.ask_dialog import ExportDialog, wish_of

        if not self._open.shown.conversation.messages:
            self._view.notify("There is nothing to export yet.")
        elif wish_of(words).name:
            await self._export(words)
        else:
            proposed = export_name(self._shown())
            self._view.screen.app.push_screen(
                ExportDialog(wish_of(words), proposed=proposed), self._export_as_asked
            )

    def _export_as_asked(self, words: str | None) -> None:
        if words:
            self._view.attempt(lambda: self._export(words), group="export")

    def export_hit(self, hit: SearchHit) -> None:
        """Show the session of a hit, and ask for its file once it is shown: what is shown is exported."""

        async def go_and_ask() -> None:
            await self._sessions.go_to(hit.session_id, message_id=hit.message_id, words=hit.words)
            await self.export()

        self._view.attempt(go_and_ask, group="open")

    async def _export(self, words: str, *, is_forced: bool = False) -> None:
        from lmchat.tui.screens.ask_dialog import wish_of

        wish = wish_of(words)
        await self._open.shown.conversation.fill()
        try:
            written = await self._library.exporter.export_file(
                self._shown(),
                path_of(wish.name),
                ExportAs(with_reasoning=wish.with_reasoning, with_branches=wish.with_branches),
                is_forced=is_forced,
            )
        except FileExists as error:
            self._ask_to_overwrite(words, error.message)
            return
        self._figures.show_action("exported")
        self._view.notify(f"Exported to {safe_line(str(written.absolute()))}")

    def _ask_to_overwrite(self, words: str, problem: str) -> None:
        from lmchat.tui.screens.ask_dialog import ConfirmDialog

        def overwrite(is_wanted: bool | None) -> None:
            if is_wanted:
                self._view.attempt(lambda: self._export(words, is_forced=True), group="export")

        asked = ConfirmDialog("Overwrite it?", text=problem, verb="overwrite")
        self._view.screen.app.push_screen(asked, overwrite)

    def _shown(self) -> Session:
        conversation = self._open.shown.conversation
        return Session(header=conversation.header, messages=conversation.shown_messages)

    async def import_file(self, name: str = "") -> None:
        """Import the chats of a file, or of a folder's files, and show the one where there is only one."""
        from lmchat.tui.screens.ask_dialog import AskDialog

        def bring(name: str | None) -> None:
            if name:
                self._view.attempt(lambda: self._import(name), group="import")

        if name:
            await self._import(name)
        else:
            text = "An export as Markdown or JSON, a JSON list of {role, content}, or a folder of them."
            asked = AskDialog("Import which file?", text=text, verb="import")
            self._view.screen.app.push_screen(asked, bring)

    async def _import(self, name: str) -> None:
        if self._workspace.make_importer is None:
            return
        done = await self._workspace.make_importer().bring([name])
        if not done.imported:
            raise done.refused[0][1]
        await self._sessions.fetch_list()
        self._figures.show_action("imported")
        self._show_imported([one for _, one in done.imported])
        for _, error in done.refused[:_MOST_NAMED]:
            self._view.tell(error)
        if len(done.refused) > _MOST_NAMED:
            self._view.notify(f"{len(done.refused) - _MOST_NAMED} more files were refused.")

    def _show_imported(self, found: Sequence[Any]) -> None:
        from lmchat.services.importing import sentence

        if len(found) == 1:
            self._view.notify(f"{sentence(found[0])}.")
            if found[0].header.deleted_at is None:
                self._sessions.open(found[0].header.session_id)
        else:
            there = sum(one.is_there for one in found)
            known = f", {there} were there already" if there else ""
            self._view.notify(f"{len(found) - there} sessions imported{known}.")
        skipped = [left for one in found for left in one.skipped]
        if skipped:
            first = safe_line(f"{skipped[0].where}: {skipped[0].reason}")
            more = f", and {len(skipped) - 1} more" if len(skipped) > 1 else ""
            self._view.notify(f"Left out, or not whole: {first}{more}.")
