"""Where one is reading, as words that hold at any width and in a log that has grown since."""

from __future__ import annotations

from functools import partial

from lmchat.tui.widgets.chat_log.anchor import Hold, find, laid, take
from lmchat.tui.widgets.chat_log.widget import ChatLog

_PARTS = (3, 5)
"""Message, block, line; and, where it was laid out, characters before the line and in the block."""


def bookmark(log: ChatLog) -> str:
    """Return what stands at the top of the screen, or is to stand there soon; empty at the end."""
    if log.awaited_mark:
        return log.awaited_mark
    if log.is_at_end or not len(log.document):
        return ""
    hold = take(log.document, log.document.locate(log.scroll_offset.y))
    message = log.document.entries[hold.index].message
    if message is None:
        return ""
    return f"{message.message_id} {hold.number} {hold.row} {hold.chars} {hold.total}"


def message_of(mark: str) -> str:
    """Return the id of the message that a bookmark is in; empty for the end, and for what is none."""
    parts = mark.split(" ")
    is_one = len(parts) in _PARTS and all(part.removeprefix("-").isdecimal() for part in parts[1:])
    return parts[0] if is_one else ""


def go_to_bookmark(log: ChatLog, mark: str) -> bool:
    """Bring a bookmark to the top of the screen; false where its message is not there."""
    index = log.document.entries.place(message_of(mark)) if message_of(mark) else None
    if index is None:
        return False
    number, row, *chars = map(int, mark.split(" ")[1:])
    if not log.is_read(index, number):
        log.wait_for(index, number, partial(go_to_bookmark, log, mark), mark=mark)
        return True
    place = laid(log.document, (index, max(number, -1), max(row, 0)))
    if chars and place[1] >= 0:
        there = take(log.document, place)
        hold = Hold(index, place[1], row, block=there.block, chars=chars[0], total=chars[1])
        place = find(log.document, hold)
    log.show_at(place)
    return True
