"""Trash: deleted sessions that can be restored, or purged after a question."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from textual.binding import BindingType

from lmchat.domain.session import TRASH_DAYS, SessionHeader
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.messages import ChangeTrash
from lmchat.tui.screens.ask_dialog import ConfirmDialog
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.row_list import text_row

_EMPTY = "The trash is empty."


class TrashDialog(ListDialog[None]):
    """List of deleted sessions; posts `ChangeTrash`."""

    AUTO_FOCUS = ""
    HEADING = "Trash"
    HINTS = (("Enter", "restore"), ("d", "delete permanently"), ("e", "empty the trash"))
    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter", "restore"),
        ("d,delete", "purge"),
        ("e", "empty"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._headers: tuple[SessionHeader, ...] = ()
        self._read_at: datetime | None = None  # None until the trash is read

    def show(self, headers: Sequence[SessionHeader], read_at: datetime) -> None:
        """Show the sessions that are in the trash, as they were read at a local time."""
        self._headers = tuple(headers)
        self._read_at = read_at
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        """Draw the sessions that were read last; the row of keys is empty without sessions."""
        if self._read_at is None or not self.can_show:
            return
        rows = [
            text_row(_title(header), right=kept_until(header, self._read_at), key=header.session_id)
            for header in self._headers
        ]
        figures = [formatting.counted(len(rows), "session")] if rows else []
        self.show_rows(rows, *figures, nothing=_EMPTY)
        self.show_keys(self.hints if rows else ())

    @property
    def _chosen(self) -> SessionHeader | None:
        by_id = {header.session_id: header for header in self._headers}
        return by_id.get(str(self.list.key))

    def action_restore(self) -> None:
        if (chosen := self._chosen) is not None:
            self.post_message(ChangeTrash("restore", (chosen.session_id,)))

    def action_purge(self) -> None:
        if (chosen := self._chosen) is not None:
            words = f"“{_title(chosen)}” with {formatting.counted(chosen.message_count, 'message')}"
            self._ask("Delete this session permanently?", words, (chosen.session_id,))

    def action_empty(self) -> None:
        """Ask whether to delete all listed sessions, not others that come into the trash later."""
        if self._headers:
            words = formatting.counted(len(self._headers), "session")
            self._ask("Empty the trash?", words, [header.session_id for header in self._headers])

    def _ask(self, title: str, what: str, session_ids: Sequence[str]) -> None:
        """Ask whether to delete sessions permanently; post the request if the user says yes.

        `what` names or counts them in the question.
        """

        def use_answer(is_confirmed: bool | None) -> None:
            if is_confirmed:
                self.post_message(ChangeTrash("delete", session_ids))

        text = f"{what} will be deleted. This cannot be undone."
        dialog = ConfirmDialog(title, text=text, verb="delete permanently")
        self.app.push_screen(dialog, use_answer)


def _title(header: SessionHeader) -> str:
    return safe_line(header.title) or "Untitled"


def kept_until(header: SessionHeader, now: datetime) -> str:
    """Return how long a session stays in the trash: `kept until 3 November`.

    The year is added if it is not that of `now`. After the end, the session is deleted at the next
    start. Return an empty text for a session that is not in the trash.
    """
    if header.deleted_at is None:
        return ""
    end = (header.deleted_at + timedelta(days=TRASH_DAYS)).astimezone(now.tzinfo)
    if end <= now:
        return "kept until the next start"
    day = f"{end.day} {end:%B}"
    return f"kept until {day}" if end.year == now.year else f"kept until {day} {end.year}"
