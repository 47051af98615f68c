"""What the keys of the list of sessions do: rename, pin, archive, delete and undo; the trash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from textual import on

from lmchat.domain.session import SessionHeader, tags_from
from lmchat.services.library import Library
from lmchat.text import safe_line
from lmchat.tui.screens.chat_sessions import ChatSessions
from lmchat.tui.widgets.session_list import SessionList

_IN_TRASH: Mapping[str, tuple[Callable[[Library, str], Awaitable[object]], str]] = {
    "restore": (Library.restore, "Brought back."),
    "purge": (Library.purge, "Removed for good."),
}
"""What can be done with a session in the trash, and how it is told."""


class ChatList(ChatSessions):
    """Changes sessions as a whole; nothing is gone for good without a question."""

    @on(SessionList.Wanted)
    def change_session(self, event: SessionList.Wanted) -> None:
        """Do what a key of the list asks for."""
        session_id = event.session_id
        match event.name:
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
                self.action_show_trash()
            case _:
                self._change(self._undo_delete)

    def _change(self, change: Callable[[], Awaitable[str]]) -> None:
        """Change the list and tell what was done, in the words that the change returns."""

        async def work() -> None:
            words = await change()
            await self._list_sessions()
            self.show_action(words.partition(";")[0].lower())
            self.app.notify(f"{words}.", markup=False)

        self.attempt(work, group="change")  # fetching the list anew ends what is of the group `library`

    async def _toggle_pinned(self, session_id: str) -> str:
        header = (await self.workspace.store.open_end(session_id, count=1)).header
        await self.workspace.library.pin(session_id, is_pinned=not header.is_pinned)
        return "Not pinned any more" if header.is_pinned else "Pinned"

    async def _toggle_archived(self, session_id: str) -> str:
        header = (await self.workspace.store.open_end(session_id, count=1)).header
        await self.workspace.library.archive(session_id, is_archived=not header.is_archived)
        return "Back from the archive" if header.is_archived else "Archived; it stands at the end of the list"

    async def _undo_delete(self) -> str:
        found = await self.workspace.library.undo_delete()
        return "Brought back" if found else "The trash is empty"

    async def _delete(self, session_id: str) -> str:
        shown = self.open_sessions.shown
        if session_id == self.conversation_id:
            await self.stop_and_hold(shown)
        await self.workspace.library.delete(session_id)
        if shown is self.open_sessions.shown and session_id == self.conversation_id:
            self.note_draft()
            self.open_sessions.begin()
            self.show_session()
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
            self.app.push_screen(AskDialog("Title of the session", value=self._title_of(session_id)), rename)

    async def _rename(self, session_id: str, title: str) -> str:
        header = await self.workspace.library.rename(session_id, title)
        if session_id == self.conversation_id:
            self.open_sessions.shown.conversation.rename(header.title)
            self.show_title()
        return "Renamed"

    def _title_of(self, session_id: str) -> str:
        headers = (header for group in self._listed.groups for header in group.headers)
        known = (self.open_sessions.shown.conversation.header, *headers)
        return next((safe_line(header.title) for header in known if header.session_id == session_id), "")

    def ask_tags(self, session_id: str, typed: str = "") -> None:
        """Put tags on a session or take them off; where none are typed, ask for all that it shall have."""
        if session_id == self.conversation_id and not self.open_sessions.shown.conversation.messages:
            self.app.notify("Nothing was said in this session yet; tag it then.", markup=False)
        elif typed:
            self._change(lambda: self._tagged(self.workspace.library.toggle_tags(session_id, typed)))
        else:
            self.attempt(lambda: self._ask_tags(session_id), group="tags")

    async def _ask_tags(self, session_id: str) -> None:
        from lmchat.tui.screens.ask_dialog import AskDialog

        library = self.workspace.library
        header = (await self.workspace.store.open_end(session_id, count=1)).header

        def tag(typed: str | None) -> None:
            if typed is not None:
                self._change(lambda: self._tagged(library.tag(session_id, tags_from(typed))))

        text = "Words with blanks between them; #word in the filter of the list finds them."
        value = safe_line(" ".join(header.tags))
        asked = AskDialog("Tags of the session", text=text, value=value, verb="take them", check=lambda _: "")
        self.app.push_screen(asked, tag)

    async def _tagged(self, change: Awaitable[SessionHeader]) -> str:
        tags = (await change).tags
        return safe_line("Tagged " + " ".join(f"#{tag}" for tag in tags)) if tags else "Without tags now"

    def action_show_trash(self) -> None:
        """Show what is in the trash and until when; from there it is brought back, or removed for good."""
        from lmchat.tui.screens.trash_dialog import TrashDialog

        library = self.workspace.library

        async def show() -> None:
            dialog.show(await library.trash())

        def act(name: str, session_ids: Sequence[str]) -> None:
            async def work() -> None:
                change, words = _IN_TRASH[name]
                try:
                    for session_id in session_ids:
                        await change(library, session_id)
                finally:
                    await show()
                    await self._list_sessions()
                self.app.notify(words, markup=False)

            self.attempt(work, group="trash")

        dialog = TrashDialog(act)
        self.app.push_screen(dialog)
        self.attempt(show, group="trash")
