"""Saved sessions as a whole: the keys of the list, and the trash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from textual.screen import Screen

from lmchat.domain.session import SearchHit, SessionHeader, tags_from
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui.message_needs import NOTHING_YET
from lmchat.tui.screens.chat.background import Background
from lmchat.tui.screens.chat.notices import Notices
from lmchat.tui.screens.chat.session_files import SessionFiles
from lmchat.tui.screens.chat.shown_session import ShownSession
from lmchat.tui.screens.chat.status import StatusDisplay
from lmchat.tui.screens.chat.turns import Turns


class SavedSessions:
    """Changes sessions as a whole; nothing is lost without a question."""

    def __init__(
        self,
        screen: Screen[None],
        workspace: Workspace,
        notices: Notices,
        background: Background,
        status: StatusDisplay,
        sessions: ShownSession,
        turns: Turns,
    ) -> None:
        self._store = workspace.store
        self._library = workspace.library
        self._notices = notices
        self._background = background
        self._status = status
        self._sessions = sessions
        self._turns = turns
        self._files = SessionFiles(screen, workspace, notices, status, sessions)
        self._actions: Mapping[str, Callable[[str, str], Awaitable[str | None]]] = {
            "rename": self._rename,
            "tag": self._tag,
            "pin": self._toggle_pinned,
            "archive": self._toggle_archived,
            "delete": self._delete,
            "undo": self._undo_delete,
            "trash": self._show_trash,
            "export": self._export,
            "import": self._import,
        }
        """Each returns what is done, for the user; None where that is shown already."""

    async def act(self, name: str, session_id: str = "", typed: str = "") -> None:
        """Do what a key of the list or a command asks for; ask for what was not typed."""
        is_shown = session_id == self._sessions.shown_id
        is_new = is_shown and not self._sessions.conversation.messages
        if is_new and name in ("rename", "tag"):
            self._notices.notify(NOTHING_YET)
            return
        words = await self._actions[name](session_id, typed)
        if words:
            await self._sessions.fetch_list()
            self._status.show_action(words.partition(";")[0].lower())
            self._notices.notify(f"{words}.")

    def open_hit(self, hit: SearchHit, *, is_exported: bool) -> None:
        """Show the session of a hit, and then ask for the file to export it to."""

        async def go() -> None:
            await self._sessions.go_to(hit.session_id, message_id=hit.message_id, words=hit.words)
            if is_exported:
                await self._files.export()

        self._background.attempt(go, group="open", is_only=True)

    async def _header(self, session_id: str) -> SessionHeader:
        return (await self._store.open_session(session_id, count=1)).header

    async def _toggle_pinned(self, session_id: str, _: str) -> str:
        was_pinned = (await self._header(session_id)).is_pinned
        await self._library.pin(session_id, is_pinned=not was_pinned)
        return "Unpinned" if was_pinned else "Pinned"

    async def _toggle_archived(self, session_id: str, _: str) -> str:
        was_archived = (await self._header(session_id)).is_archived
        await self._library.archive(session_id, is_archived=not was_archived)
        return "Restored from the archive" if was_archived else "Archived; a restores it"

    async def _undo_delete(self, _id: str, _: str) -> str:
        return "Restored" if await self._library.undo_delete() else "Nothing to undo"

    async def _delete(self, session_id: str, _: str) -> str:
        shown = self._sessions.opened
        if session_id == self._sessions.shown_id:
            await self._turns.stop_and_hold(shown)
        await self._library.delete(session_id)
        is_still_shown = shown is self._sessions.opened
        if is_still_shown and session_id == self._sessions.shown_id:
            self._sessions.save()
            self._sessions.show_new()
        return "In the trash; u restores it"

    async def _rename(self, session_id: str, typed: str) -> str:
        from lmchat.tui.screens.ask_dialog import AskDialog

        if not typed:
            title = safe_line((await self._header(session_id)).title)
            dialog = AskDialog("Rename session", value=title, verb="rename")
            typed = await self._notices.ask(dialog)
        if typed is None:
            return ""
        header = await self._library.rename(session_id, typed)
        if session_id == self._sessions.shown_id:
            self._sessions.conversation.rename(header.title)
            self._sessions.show_title()
        return "Renamed"

    async def _tag(self, session_id: str, typed: str) -> str:
        if typed:
            header = await self._library.toggle_tags(session_id, typed)
        else:
            tags = await self._ask_for_tags(session_id)
            if tags is None:
                return ""
            header = await self._library.tag(session_id, tags)
        words = " ".join(f"#{tag}" for tag in header.tags)
        return safe_line(f"Tagged {words}") if words else "Tags removed"

    async def _ask_for_tags(self, session_id: str) -> Sequence[str] | None:
        from lmchat.tui.screens.ask_dialog import AskDialog

        text = "Separate tags with spaces. To find them, type #tag in the filter of the list."
        tags = safe_line(" ".join((await self._header(session_id)).tags))
        dialog = AskDialog("Session tags", text=text, value=tags, verb="save", check=lambda _: "")
        typed = await self._notices.ask(dialog)
        return None if typed is None else tags_from(typed)

    async def _export(self, _id: str, typed: str) -> None:
        await self._files.export(typed)

    async def _import(self, _id: str, typed: str) -> None:
        await self._files.import_(typed)

    # The trash

    async def _show_trash(self, _id: str, _: str) -> None:
        from lmchat.tui.screens.trash_dialog import TrashDialog

        async def act(name: str, session_ids: Sequence[str]) -> None:
            try:
                words = await self._empty_or_restore(name, session_ids)
            finally:
                dialog.show(await self._library.trash())
                await self._sessions.fetch_list()
            self._notices.notify(words)

        dialog = TrashDialog(
            lambda name, session_ids: self._background.attempt(
                partial(act, name, session_ids), group="trash"
            )
        )
        self._notices.show(dialog)
        dialog.show(await self._library.trash())

    async def _empty_or_restore(self, name: str, session_ids: Sequence[str]) -> str:
        if name != "restore":
            await self._library.purge(*session_ids)
            return "Deleted permanently."
        for session_id in session_ids:
            await self._library.restore(session_id)
        return "Restored."
