"""Saved sessions as a whole: what the list shows, its keys, and the search over all of them."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from lmchat.app.commands.conditions import NOTHING_YET
from lmchat.app.tui.controllers.session_view import SessionView
from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.dialogs.dialog import PickDialog
from lmchat.app.tui.dialogs.search_dialog import SearchDialog
from lmchat.app.tui.messages import ShowChat
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.widgets.row_list import text_row
from lmchat.app.tui.widgets.session_list import with_unsaved
from lmchat.base.errors import LMChatError, StoreDamaged
from lmchat.base.safe_text import line_without_controls, safe_line
from lmchat.core.sessions.message import now
from lmchat.core.sessions.session import (
    SearchHit,
    SessionGroup,
    SessionHeader,
    tags_from,
    typed_title,
)


class SavedSessions:
    """Fills the list of sessions, and changes them as a whole, but deletes none permanently."""

    def __init__(self, ui: ScreenServices, session_view: SessionView) -> None:
        self._ui = ui
        self._chat = ui.workspace.chat
        self._store = ui.workspace.store
        self._library = ui.workspace.library
        self._session_view = session_view
        self._groups: tuple[SessionGroup, ...] = ()  # as they were read last
        self._seen: dict[str, SessionHeader] = {}  # the same by id, with later changes of the user
        self._last_state: object = None  # what the list depended on when it was read last
        self._deletions = 0  # of this run that `undo` can restore
        self._deleted_ids: set[str] = set()  # of sessions that were shown when they were deleted

    @property
    def can_undo(self) -> bool:
        return self._deletions > 0

    # The list

    def refresh(self) -> None:
        """Read the list again if what it shows may have changed.

        `Dispatcher` calls this with each `ShowChanges`. Changes by another lmchat are not noticed;
        for these, the message `ReadSessions` is posted.
        """
        open_sessions = self._chat.open_sessions
        state = (
            self._store.database.changed_rows,
            self._store.notice,  # about a file that was mended or replaced
            open_sessions.active.session_id,
            open_sessions.running_ids,
            frozenset(open_sessions.unread),
            open_sessions.asking_ids,
            open_sessions.unsaved(),
            open_sessions.only_queued(),
        )
        if state != self._last_state:
            self._last_state = state
            self.reload()

    def reload(self) -> None:
        self._ui.start(self._load, "library", is_only=True)

    async def _load(self) -> None:
        """Show the saved sessions, with those that have only unsaved messages or a queued prompt.

        If the saved ones cannot be read, show them as they were read last, and a warning in the
        panel.
        """
        problem = ""
        try:
            self._groups = await self._library.groups()
            headers = (header for group in self._groups for header in group.headers)
            self._seen = {header.session_id: header for header in headers}
        except LMChatError as error:
            problem = error.message_with_next_step
        self._ui.set_warning("sessions", problem)
        open_sessions = self._chat.open_sessions
        self._ui.widgets.session_list.show(
            with_unsaved(self._groups, [*open_sessions.unsaved(), *open_sessions.only_queued()]),
            open_id=open_sessions.active.session_id,
            today=self._library.today(),
            streaming=open_sessions.running_ids,
            unread=open_sessions.unread,
            with_question=open_sessions.asking_ids,
            problem=problem,
        )

    async def open_file(self) -> None:
        """Open the file of sessions; if it is damaged, ask once what takes its place."""
        try:
            await self._store.open()
        except StoreDamaged:
            backups = await self._store.backups()
            rows = [text_row(f" {text}", key=copy) for copy, text in backups.items()]
            dialog = PickDialog(
                "Damaged sessions.db: keep it aside, and use",
                [*rows, text_row(" an empty file", key="")],
                verb="use this",
                key=self._ui.unasked_key,
            )
            chosen = await self._ui.ask(dialog)
            if chosen is None:
                raise
            await self._store.replace_damaged(chosen or None)

    # Changes

    def open(self, session_id: str) -> None:
        self._ui.screen.remove_class("-sessions-over")
        self._session_view.switch_to(session_id)

    async def pin(self, session_id: str) -> None:
        if header := await self._saved(session_id):
            is_pinned = not self._seen.get(session_id, header).is_pinned
            changed = await self._change(header, "pin", is_pinned=is_pinned)
            self._show_changed(changed, "Pinned" if changed.is_pinned else "Unpinned")

    async def archive(self, session_id: str) -> None:
        if header := await self._saved(session_id):
            is_archived = not self._seen.get(session_id, header).is_archived
            changed = await self._change(header, "archive mark", is_archived=is_archived)
            result = "Archived" if is_archived else "Restored from the archive"
            undone_by = "session.archive" if is_archived else ""
            self._show_changed(changed, result, undone_by=undone_by)

    async def rename(self, session_id: str, typed: str = "") -> None:
        """Without a typed title, a dialog asks for one."""
        session = self._chat.open_sessions.find(session_id)
        if typed and session is not None and not session.has_had_messages:
            # in memory only: the first prompt saves the title
            self._show_changed(replace(session.header, title=typed_title(typed)), "Renamed")
        elif header := await self._saved(session_id, is_read=not typed):
            dialog = AskDialog(
                "Rename session", value=line_without_controls(header.title), verb="rename"
            )
            if typed := typed or await self._ui.ask(dialog):
                changed = await self._change(header, "title", title=typed_title(typed))
                self._show_changed(changed, "Renamed")

    async def tag(self, session_id: str, typed: str = "") -> None:
        """Remove the typed tags that a session has, and add the others.

        If none was typed, a dialog asks for all tags.
        """
        header = await self._saved(session_id, is_read=True)
        if header is None:
            return
        if typed:
            named = tags_from(typed)
            others = [tag for tag in header.tags if tag not in named]
            tags = (*others, *(tag for tag in named if tag not in header.tags))
        else:
            dialog = AskDialog(
                "Session tags",
                text="Separate tags with spaces. "
                "To find them, type #tag in the filter of the list.",
                value=f"{line_without_controls(' '.join(header.tags))} ".lstrip(),
                verb="save",
                may_be_empty=True,
            )
            answer = await self._ui.ask(dialog)
            if answer is None:
                return
            tags = tags_from(answer)
        changed = await self._change(header, "tags", tags=tags)
        text = " ".join(f"#{tag}" for tag in changed.tags)
        self._show_changed(changed, safe_line(f"Tagged {text}") if text else "Tags removed")

    async def delete(self, session_id: str) -> None:
        """Stop the turn of a session, and move it to the trash.

        Its queued prompts return to the prompt field: a later turn would bring the session back
        from the trash.
        """
        session = self._chat.open_sessions.find(session_id)
        if session is not None and not session.has_had_messages:
            self._ui.notify(NOTHING_YET)
            return
        if session is not None:
            await self._chat.stop_and_wait(session)
        with self._chat.open_sessions.changing_path(session_id):
            await self._library.delete(session_id)
        if session is self._chat.active:
            self._deleted_ids.add(session_id)
            self._session_view.leave()
            self._session_view.switch_to_new()
        self._deletions += 1
        self._show_result("In the trash", undone_by="session.undo")

    async def _saved(self, session_id: str, *, is_read: bool = False) -> SessionHeader | None:
        """Return the header of a session; None, and a notice, if it has never had a message.

        With `is_read`, it has what another lmchat has changed, but waits for the disk.
        """
        session = self._chat.open_sessions.find(session_id)
        if session is not None and not session.has_had_messages:
            self._ui.notify(NOTHING_YET)
            return None
        if session is not None and not is_read:
            return session.header
        # only the header is needed, so not more than one message is read
        return (await self._store.open_session(session_id, count=1)).header

    async def _change(self, header: SessionHeader, what: str, **fields: object) -> SessionHeader:
        seen = self._seen.get(header.session_id, header)
        self._seen[header.session_id] = replace(seen, **fields)
        self._chat.open_sessions.update_header(replace(header, **fields))
        return await self._chat.save_queue.change(header, what, fields)

    async def undo(self) -> None:
        restored = await self._library.undo_delete()
        self._deletions = max(self._deletions - 1, 0) if restored else 0
        self._show_result("Restored" if restored else "Nothing to undo")
        if restored is not None and restored.session_id in self._deleted_ids:
            self._deleted_ids.discard(restored.session_id)
            if not self._chat.active.has_started:  # the user has started nothing since
                self._session_view.start_switch(partial(self._show_again, restored.session_id))

    async def _show_again(self, session_id: str) -> None:
        """Show a session without taking the focus from the list, where `u` may be pressed again."""
        session_list = self._ui.widgets.session_list
        had_focus = session_list.has_focus
        await self._session_view.go_to(session_id)
        if had_focus:
            session_list.focus()

    def _show_changed(self, changed: SessionHeader, result: str, *, undone_by: str = "") -> None:
        self._chat.open_sessions.update_header(changed)
        self._session_view.show_title()
        self._show_result(result, undone_by=undone_by)

    def _show_result(self, result: str, *, undone_by: str = "") -> None:
        """Say what was done; `undone_by` is the id of the command that undoes it."""
        self._ui.show_action(result.lower())  # the panel has no room for the key
        hint = f"; {self._ui.key_name(undone_by)} restores it" if undone_by else ""
        self._ui.notify(f"{result}{hint}.")

    def search(self, query: str) -> None:
        self._ui.open_dialog(SearchDialog(self._store.search, now, query), self._open_hit)

    def _open_hit(self, hit: SearchHit) -> None:
        """Show the message of a hit, and close what may cover the chat."""
        # a message, since `ServerSearch`, which closes the welcome page, is made later
        self._ui.screen.post_message(ShowChat())
        self._ui.screen.remove_class("-sessions-over")
        self._session_view.switch_to(hit.session_id, message_id=hit.message_id, words=hit.words)
