"""Words for the outcome of an import."""

from __future__ import annotations

from lmchat.app.terminal.output import SHORT_ID
from lmchat.base.safe_text import safe_line
from lmchat.base.units import counted
from lmchat.core.library.importer import TITLE_CHARS, ImportOutcome, counts

_MAX_LISTED = 50  # one by one


def result_lines(outcome: ImportOutcome) -> list[str]:
    """Return a line for each chat, unless they are too many, and the sum of several new ones."""
    chats = outcome.chats
    lines: list[str] = []
    for chat in chats if len(chats) <= _MAX_LISTED else ():
        short_id = chat.header.session_id[:SHORT_ID]
        brought = counted(chat.new_messages, "message")
        more = counted(chat.new_messages, "new message")
        if not chat.is_shown:
            more += ", on another branch or below a deleted message"
        if options := ", ".join(chat.header.sampling):
            brought += f", with {options}"
        text = {
            "imported": f"is imported, {brought}",
            "would be imported": f"would be imported, {brought}",
            "continued": f"is continued by {more}",
            "would be continued": f"would be continued by {more}",
            "present": f"already exists, as {short_id}.",
            "in trash": f"is in the trash; `lmchat sessions restore {short_id}` restores it.",
        }[chat.outcome]
        title = safe_line(chat.header.title, limit=TITLE_CHARS) or "Untitled"
        lines.append(f"{chat.file}: “{title}” {text}")
    if len(chats) > 1:
        new = [chat for chat in chats if chat.outcome not in ("present", "in trash")]
        text = f"{counts(new)} {'would be imported' if outcome.is_trial else 'imported'}"
        if len(new) < len(chats):
            text += f", {len(chats) - len(new)} already existed"
        lines.append(f"{text}.")
    return lines


def loss_lines(outcome: ImportOutcome) -> list[str]:
    """Return a line for each part that was left out, or the first and a number of others."""
    parts = [(chat.file, part) for chat in outcome.chats for part in chat.skipped]
    parts += outcome.skipped
    lines = [f"{file}, {part.where}: {part.reason}." for file, part in parts]
    if len(lines) > _MAX_LISTED:
        lines[_MAX_LISTED:] = [f"{len(lines) - _MAX_LISTED} more notes of this kind."]
    if outcome.unknown_count:
        others = counted(outcome.unknown_count, "other file")
        lines.append(f"{others} without chats that lmchat can read.")
    return lines
