"""Trash: deleted sessions that can be restored, or purged after a question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from textual.binding import BindingType

from lmchat.domain.session import TRASH_DAYS, SessionHeader
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.screens.ask_dialog import ConfirmDialog
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.row_list import text_row

_EMPTY = "The trash is empty."


class TrashDialog(ListDialog[None]):
    """Dialog that calls back with `restore` or `purge` and the ids of sessions."""

    AUTO_FOCUS = ""
    HEADING = "Trash"
    HINTS = (("Enter", "restore"), ("d", "delete permanently"), ("e", "empty the trash"))
    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter", "restore"),
        ("d,delete", "purge"),
        ("e", "empty"),
    ]

    def __init__(
        self,
        act: Callable[[str, Sequence[str]], None],
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__()
        self._act = act
        self._clock = clock or (lambda: datetime.now().astimezone())
        self._headers: tuple[SessionHeader, ...] | None = None

    def show(self, headers: Sequence[SessionHeader]) -> None:
        self._headers = tuple(headers)
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        if self._headers is None or not self.can_show:
            return
        now = self._clock()
        rows = [
            text_row(_title(header), right=until(header, now), key=header.session_id)
            for header in self._headers
        ]
        figures = [formatting.counted(len(rows), "session")] if rows else []
        self.show_rows(rows, *figures, nothing=_EMPTY)
        self.show_keys(self.hints if rows else ())

    @property
    def _chosen(self) -> SessionHeader | None:
        by_id = {header.session_id: header for header in self._headers or ()}
        return by_id.get(str(self.list.key))

    def action_restore(self) -> None:
        if (chosen := self._chosen) is not None:
            self._act("restore", (chosen.session_id,))

    def action_purge(self) -> None:
        if (chosen := self._chosen) is not None:
            words = f"“{_title(chosen)}” with {formatting.counted(chosen.message_count, 'message')}"
            self._ask("Delete this session permanently?", words, (chosen.session_id,))

    def action_empty(self) -> None:
        """Ask whether to purge all listed sessions; sessions deleted since then stay."""
        if self._headers:
            words = formatting.counted(len(self._headers), "session")
            self._ask("Empty the trash?", words, [header.session_id for header in self._headers])

    def _ask(self, title: str, what: str, session_ids: Sequence[str]) -> None:
        def answered(answer: bool | None) -> None:
            if answer:
                self._act("purge", session_ids)

        text = f"{what} will be deleted. This cannot be undone."
        self.app.push_screen(ConfirmDialog(title, text=text, verb="delete permanently"), answered)


def _title(header: SessionHeader) -> str:
    return safe_line(header.title) or "Untitled"


def until(header: SessionHeader, now: datetime) -> str:
    """Return how long a session stays in the trash."""
    if header.deleted_at is None:
        return ""
    end = (header.deleted_at + timedelta(days=TRASH_DAYS)).astimezone(now.tzinfo)
    if end <= now:
        return "kept until the next start"
    day = f"{end.day} {end:%B}"
    return f"kept until {day}" if end.year == now.year else f"kept until {day} {end.year}"
