"""Where one is reading, as words that hold at any width and in a log that has grown since."""

from __future__ import annotations

from lmchat.tui.widgets.chat_log.chat_log import ChatLog

_PARTS = 3


def bookmark(log: ChatLog) -> str:
    """Return what stands at the top of the screen: message, block, line; empty at the end."""
    if log.is_following or not len(log.document):
        return ""
    index, block, line = log.document.locate(log.scroll_offset.y)
    message = log.document.entries[index].message
    return "" if message is None else f"{message.message_id} {block} {line}"


def message_of(mark: str) -> str:
    """Return the id of the message that a bookmark is in; empty for the end, and for what is none."""
    parts = mark.split(" ")
    is_one = len(parts) == _PARTS and all(part.removeprefix("-").isdecimal() for part in parts[1:])
    return parts[0] if is_one else ""


def go_to_bookmark(log: ChatLog, mark: str) -> bool:
    """Bring a bookmark to the top of the screen; false where its message is not there."""
    index = log.document.entries.place(message_of(mark)) if message_of(mark) else None
    if index is None:
        return False
    _, block, line = mark.split(" ")
    log.leave_end((index, max(int(block), -1), max(int(line), 0)))
    return True
