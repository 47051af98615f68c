"""Which messages are still being read: long ones, piece by piece, what was looked at last before all else."""

from __future__ import annotations

from lmchat.tui.widgets.chat_log.document.entry import Entry

READ_CHARS = 2_000
"""So many characters are cut into blocks at a time: that takes up to 5 ms, and 0.3 ms for prose."""


class StillReadingError(Exception):
    """All of a long message was asked for, and not all of it is cut into blocks."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index
        """Which message."""


class Unread:
    """Messages in the order in which they were looked at, as long as some of their text waits."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def use(self, entry: Entry) -> None:
        """Note a message that is looked at: where it is long, it is the next to be read."""
        if entry.unread is not None:
            self._entries.pop(id(entry), None)
            self._entries[id(entry)] = entry

    def entries(self) -> list[Entry]:
        """Return all that are being read, and forget those that have been."""
        found = list(self._entries.values())
        self._entries = {id(entry): entry for entry in found if entry.unread is not None}
        return found

    def read(self) -> bool:
        """Read a piece; return whether there is more of the same part."""
        entry = next((one for one in reversed(self._entries.values()) if one.unread is not None), None)
        return entry is not None and self.read_of(entry)

    def read_of(self, entry: Entry) -> bool:
        """Read a piece of a message; return whether there is more of the same part."""
        part = entry.unread
        if part is not None:
            part.read(READ_CHARS)
        return part is not None and part.is_unread
