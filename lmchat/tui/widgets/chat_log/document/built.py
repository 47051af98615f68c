"""Which messages are cut into blocks: that takes ten times their text, so the oldest are messages again."""

from __future__ import annotations

from collections import deque

from lmchat.tui.widgets.chat_log.document.entry import Entry

KEPT_CHARS = 500_000
"""Characters of all messages that stay cut into blocks."""


class Built:
    """Messages in the order in which they were cut into blocks."""

    def __init__(self) -> None:
        self._entries: deque[tuple[Entry, int]] = deque()
        self._chars = 0
        self._in_use: dict[int, Entry] = {}

    def add(self, entry: Entry) -> None:
        """Note a message that is cut into blocks."""
        chars = len(entry.source)
        self._entries.append((entry, chars))
        self._chars += chars

    def use(self, entry: Entry) -> None:
        """Note a message that is looked at: what is near the screen is kept, however long it is."""
        self._in_use[id(entry)] = entry

    def forget(self) -> bool:
        """Where there is too much, let half of it be messages again; return whether any are."""
        in_use, self._in_use = self._in_use, {}
        if self._chars <= KEPT_CHARS:
            return False
        has_forgotten = False
        for _ in range(len(self._entries)):
            if self._chars <= KEPT_CHARS // 2:
                break
            entry, chars = self._entries.popleft()
            self._chars -= chars
            if id(entry) in in_use:
                self._entries.append((entry, chars))
                self._chars += chars
            elif entry.is_changed:
                self._entries.append((entry, 0))
            else:
                _unbuild(entry)
                has_forgotten = True
        return has_forgotten


def _unbuild(entry: Entry) -> None:
    entry.parts.clear()
    entry.blocks.clear()
    entry.heights.truncate(0)
