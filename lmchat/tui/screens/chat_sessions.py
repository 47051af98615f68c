"""What the list of sessions does: open, rename, pin, archive, delete and undo; search."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from textual import on
from textual.timer import Timer

from lmchat.domain.session import SearchHit, Session
from lmchat.errors import LMChatError
from lmchat.safe_text import safe_line
from lmchat.tui.quirks.driver import lend_terminal
from lmchat.tui.screens.chat_turns import ChatTurns
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.session_list import SessionList

KEEP_AFTER_S = 1.0
"""As much of what is typed may be lost to a power cut."""
_AWAY = "away"
"""Worker that has lent the terminal."""


class ChatSessions(ChatTurns):
    """Moves between sessions; an answer that streams in one goes on behind another."""

    _keeping: Timer | None = None
    """Runs from a key to the write of what is typed."""

    def attempt(
        self, work: Callable[[], Awaitable[None]], group: str = "library", *, typed: str = ""
    ) -> None:
        """Run something that may fail; what goes wrong is told, and what was typed goes back."""

        async def told() -> None:
            try:
                await work()
            except LMChatError as error:
                if typed and not self.prompt_input.text:
                    self.prompt_input.put(typed)
                self.tell(error)

        self.begin_work(told, group, is_only=group == "open")

    def lend_to(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run what gives the terminal to another program; a key that came twice does not run two."""

        async def lent() -> None:
            with lend_terminal(self.app):
                await work()

        if not any(worker.group == _AWAY and not worker.is_finished for worker in self.workers):
            self.attempt(lent, group=_AWAY)

    def action_new_session(self) -> None:
        """Begin a new session; a running answer goes on and is saved."""
        self.leave_edit()
        if self.desk.shown.conversation.messages or self.desk.shown.is_busy:
            self.note_draft()
            self.desk.begin()
            self.prompt_input.load_draft(self.desk.drafts.text(""))
            self.show_session()
        else:
            self.show_sessions()  # another lmchat may have begun some
        self.show_action("new session")
        self.prompt_input.focus()

    def open_session(self, session_id: str, *, message_id: str = "") -> None:
        """Show another session, at a message where one is named."""
        self.attempt(lambda: self.go_to(session_id, message_id=message_id), group="open")

    async def go_to(self, session_id: str, *, message_id: str = "") -> None:
        """Show another session; all is read before anything changes."""
        await self.desk.drafts.load(session_id)
        if message_id:
            session = await self.workspace.store.set_leaf(session_id, message_id)
            self._leave_prompt()
            self.desk.adopt(session)
        else:
            opened = await self.desk.fetch(session_id)
            self._leave_prompt()
            self.desk.show(opened)
        self.prompt_input.load_draft(self.desk.drafts.text(session_id))
        self.show_session()
        self.prompt_input.focus()
        if message_id:
            self.log_view.show_message(message_id)

    def _leave_prompt(self) -> None:
        self.leave_edit()
        self.note_draft()

    def leave_edit(self) -> bool:
        """Give up editing an earlier prompt; tell whether there was anything to give up: here nothing is."""
        return False

    def note_draft(self) -> None:
        """Keep what is typed, and what waits, with the session that it was typed in."""
        self._keeping = None
        waiting = [queued.text for queued in self.desk.shown.queue]
        self.desk.drafts.note(self.drafted_in(), self.prompt_input.full_text, waiting)
        self.begin_work(self._write_drafts, "draft", is_only=False)

    def drafted_in(self) -> str:
        """Return the session that is typed in, empty for a new one."""
        conversation = self.desk.shown.conversation
        return conversation.header.session_id if conversation.messages else ""

    @on(PromptInput.Drafted)
    def keep_typed(self) -> None:
        """Keep what is typed a moment after it was typed, for the case that lmchat is killed."""
        if self._keeping is None:
            self._keeping = self.set_timer(KEEP_AFTER_S, self.note_draft)

    async def _write_drafts(self) -> None:
        """Write drafts; where that fails they are still in memory, and the store's own warning stands."""
        with suppress(LMChatError):
            await self.desk.drafts.write()

    def show_path(self, session: Session) -> None:
        """Show another path of the session, or a fork."""
        self.desk.adopt(session)
        self.show_session()
        if self.log_view.has_focus and session.messages:
            self.log_view.show_message(session.messages[-1].message_id)

    @on(SessionList.Opened)
    def open_chosen(self, event: SessionList.Opened) -> None:
        """Show the session that was chosen."""
        self.remove_class("-sessions-over")
        self.open_session(event.session_id)

    @on(SessionList.Wanted)
    def change_session(self, event: SessionList.Wanted) -> None:
        """Do what a key of the list asks for."""
        session_id = event.session_id
        match event.name:
            case "rename":
                self.ask_title(session_id)
            case "pin":
                self._change(lambda: self._toggle_pinned(session_id))
            case "archive":
                self._change(lambda: self._toggle_archived(session_id))
            case "delete":
                self._change(lambda: self._delete(session_id))
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
        shown = self.desk.shown
        if session_id == self.conversation_id:
            await self.stop_and_hold(shown)
        await self.workspace.library.delete(session_id)
        if shown is self.desk.shown and session_id == self.conversation_id:
            self.note_draft()
            self.desk.begin()
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
            self.desk.shown.conversation.rename(header.title)
            self.show_title()
        return "Renamed"

    def _title_of(self, session_id: str) -> str:
        headers = (header for group in self._listed.groups for header in group.headers)
        known = (self.desk.shown.conversation.header, *headers)
        return next((safe_line(header.title) for header in known if header.session_id == session_id), "")

    def action_search_sessions(
        self, query: str = "", *, before: Callable[[SearchHit], None] | None = None
    ) -> None:
        """Search all words of all sessions; `before` is called when a hit is about to be shown."""
        from lmchat.tui.screens.search_dialog import SearchDialog

        def go(hit: SearchHit | None) -> None:
            if hit is not None:
                if before is not None:
                    before(hit)
                self.open_session(hit.session_id, message_id=hit.message_id)

        self.app.push_screen(SearchDialog(query), go)

    @on(SessionList.PartWanted)
    def list_part(self) -> None:
        """List what is wanted now."""
        self.show_sessions()

    @on(SessionList.SearchWanted)
    def search_typed(self, event: SessionList.SearchWanted) -> None:
        """Search for what no title held."""
        self.action_search_sessions(event.query)
