"""Saved sessions as a whole: the keys of the list, and the search over all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from lmchat.commands.conditions import NOTHING_YET
from lmchat.safe_text import safe_line
from lmchat.sessions.session import SearchHit, SessionHeader, tags_from
from lmchat.tui.actions import ShowChat
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.sending import Turns
from lmchat.tui.controllers.shown_session import ShownSession
from lmchat.tui.controllers.status import StatusDisplay
from lmchat.tui.dialogs.ask_dialog import AskDialog, accept_any
from lmchat.tui.dialogs.search_dialog import SearchDialog


class SavedSessions:
    """Changes saved sessions as a whole; nothing here deletes them permanently."""

    def __init__(
        self,
        chat: Chat,
        status: StatusDisplay,
        sessions: ShownSession,
        turns: Turns,
    ) -> None:
        self._chat = chat
        self._status = status
        self._sessions = sessions
        self._turns = turns
        self._actions: Mapping[str, Callable[[str, str], Awaitable[str]]] = {
            "rename": self._rename,
            "tag": self._tag,
            "pin": self._toggle_pinned,
            "archive": self._toggle_archived,
            "delete": self._delete,
            "undo": self._undo_delete,
        }
        """By name. Each takes a session's id and what was typed after the slash command.

        It returns words for the user that say what was done, without a full stop; a hint may follow
        behind a semicolon. They are empty if nothing was done.
        """

    async def act(self, name: str, session_id: str = "", typed: str = "") -> None:
        """Do what a key of the list or a slash command asks for, and notify the user of it.

        `typed` is the argument of the slash command. If it is empty and the command needs it, as
        a title, it is asked for in a dialog. The list is read again if something was done.
        """
        is_shown = session_id == self._sessions.shown_id
        is_new = is_shown and not self._sessions.opened.messages
        if is_new and name in ("rename", "tag"):
            self._chat.notify(NOTHING_YET)
            return
        words = await self._actions[name](session_id, typed)
        if words:
            await self._sessions.fetch_list()
            deed, _, _hint = words.partition(";")  # the panel has no room for the hint
            self._status.show_action(deed.lower())
            self._chat.notify(f"{words}.")

    def act_on_shown(self, name: str, slash: str, typed: str = "") -> None:
        """Act on the shown session, as `rename`, with what was typed after a slash command."""
        act = partial(self.act, name, self._sessions.shown_id, typed)
        self._chat.begin(act, "change", typed=f"{slash} {typed}" if typed else "")

    def search(self, query: str = "") -> None:
        """Search all sessions in a dialog, and show the message of the hit that the user chooses.

        It is also shown instead of the welcome page.
        """

        def open_chosen(hit: SearchHit | None) -> None:
            if hit is None:
                return
            self._chat.app.post_message(ShowChat())
            self._chat.screen.remove_class("-sessions-over")
            show = partial(
                self._sessions.go_to, hit.session_id, message_id=hit.message_id, words=hit.words
            )
            self._chat.begin(show, "open", is_only=True)

        self._chat.show(SearchDialog(self._chat.workspace.store, query), open_chosen)

    async def _header(self, session_id: str) -> SessionHeader:
        """Return the header of a session, as the store has it now."""
        session = await self._chat.workspace.store.open_session(
            session_id, count=1
        )  # its messages are not needed
        return session.header

    def _take_over(self, changed: SessionHeader) -> None:
        """Change the header of an open session as on the disk: an export writes it from memory."""
        opened = self._chat.open_sessions.find(changed.session_id)
        if opened is not None:
            opened.header = replace(
                opened.header,
                title=changed.title,
                tags=changed.tags,
                is_pinned=changed.is_pinned,
                is_archived=changed.is_archived,
            )

    async def _toggle_pinned(self, session_id: str, _typed: str) -> str:
        was_pinned = (await self._header(session_id)).is_pinned
        self._take_over(
            await self._chat.workspace.library.pin(session_id, is_pinned=not was_pinned)
        )
        return "Unpinned" if was_pinned else "Pinned"

    async def _toggle_archived(self, session_id: str, _typed: str) -> str:
        was_archived = (await self._header(session_id)).is_archived
        self._take_over(
            await self._chat.workspace.library.archive(session_id, is_archived=not was_archived)
        )
        return "Restored from the archive" if was_archived else "Archived; a restores it"

    async def _undo_delete(self, _id: str, _typed: str) -> str:
        return "Restored" if await self._chat.workspace.library.undo_delete() else "Nothing to undo"

    async def _delete(self, session_id: str, _typed: str) -> str:
        """Stop the turn of a session and move it to the trash; if it is shown, show a new session.

        Its queued prompts return to the prompt field: a later turn would bring it back from the
        trash. The new session is not shown if the user has changed to another one during the wait.
        """
        shown = self._sessions.opened
        is_shown = session_id == shown.session_id
        opened = self._chat.open_sessions.find(session_id)
        if opened is not None:
            await self._chat.open_sessions.quiet(opened)
        await self._chat.workspace.library.delete(session_id)
        has_switched = shown is not self._sessions.opened  # during the waits above
        if is_shown and not has_switched:
            self._sessions.leave()
            self._sessions.show_new()
        return "In the trash; u restores it"

    async def _rename(self, session_id: str, typed: str) -> str:
        """Give a session the typed title, or one that is asked for in a dialog."""
        if not typed:
            title = safe_line((await self._header(session_id)).title)
            dialog = AskDialog("Rename session", value=title, verb="rename")
            typed = await self._chat.ask(dialog)
        if typed is None:  # the dialog was left with Esc
            return ""
        header = await self._chat.workspace.library.rename(session_id, typed)
        self._take_over(header)  # also behind another one: else the model may give it a title
        self._sessions.show_title()
        return "Renamed"

    async def _tag(self, session_id: str, typed: str) -> str:
        """Toggle the typed tags of a session; if none were typed, ask for all its tags in a dialog.

        A typed tag is removed if the session has it, and added if not.
        """
        if typed:
            header = await self._chat.workspace.library.toggle_tags(session_id, typed)
        else:
            tags = await self._ask_for_tags(session_id)
            if tags is None:
                return ""
            header = await self._chat.workspace.library.tag(session_id, tags)
        self._take_over(header)
        words = " ".join(f"#{tag}" for tag in header.tags)
        return safe_line(f"Tagged {words}") if words else "Tags removed"

    async def _ask_for_tags(self, session_id: str) -> Sequence[str] | None:
        """Return the tags that the user wants a session to have; None if the dialog was left."""
        text = "Separate tags with spaces. To find them, type #tag in the filter of the list."
        tags = safe_line(" ".join((await self._header(session_id)).tags))
        dialog = AskDialog("Session tags", text=text, value=tags, verb="save", check=accept_any)
        typed = await self._chat.ask(dialog)
        return None if typed is None else tags_from(typed)
