"""What is copied of a message by key or click: its source, its blocks of code, the details of a failure."""

from __future__ import annotations

from typing import Any

from lmchat.domain.message import AnswerState, ChatMessage, Failure
from lmchat.tui.messages import Post
from lmchat.tui.widgets.chat_log.document import Place
from lmchat.tui.widgets.chat_log.view.typed_over import TypedOver


class TakingLog(TypedOver, can_focus=True):
    """A log that knows what comes next where a key is pressed again."""

    class Wanted(Post, namespace="chat_log"):
        """A message key was pressed whose work is done elsewhere."""

        name: str
        """Which: the last part of the command's id."""
        message: ChatMessage
        """The message that has the focus."""
        text: str = ""
        """What to copy, or the links, one a line."""
        note: str = ""
        """What of the message it is, as `Block 2 of 3`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._copied: tuple[str, int] = ("", 0)

    def copy_next(self, index: int, message: ChatMessage) -> None:
        """Copy what is selected, else the details of a failure first, as its card says, then the text."""
        if self.copy_selection():
            return
        choices = [_details(message.failure)] if message.failure and not _is_complete(message) else []
        choices += [self.document.entries[index].source] if message.text or not choices else []
        self.post_message(self.Wanted("copy", message, choices[self._turn("copy", message, len(choices))]))

    def copy_code(self, index: int, message: ChatMessage, number: int | None = None) -> None:
        """Ask for a copy of a block of code: of this one, else of the next with each press."""
        from lmchat.tui.widgets.chat_log.markdown.parser import code_blocks

        blocks = code_blocks(self.document.entries[index].source)
        count = len(blocks)
        if not count:
            self.post_message(self.Wanted("copy_code", message))
            return
        if number is not None:
            self._copied = (f"code {message.message_id}", min(number, count - 1) - 1)
        place = self._turn("code", message, count)
        note = f"Block {place + 1} of {count}" if count > 1 else ""
        self.post_message(self.Wanted("copy_code", message, blocks[place], note))

    def code_at(self, place: Place) -> int:
        """Return the number of the block of code whose head stands at a place."""
        index, last, row = place
        entry = self.document.entries[index]
        heads = 0
        for number, block in enumerate(entry.blocks[: last + 1]):
            self.document.prepare(index, number)
            lines = [] if block.is_thought else block.lines or []
            if number == last:  # the blank row before it is no line of it
                lines = lines[: row - (entry.heights[number] - len(lines))]
            heads += sum(line.hint is not None for line in lines)
        return heads

    def _turn(self, kind: str, message: ChatMessage, count: int) -> int:
        """Return which of several things is to be copied: each press takes the next."""
        key = f"{kind} {message.message_id}"
        self._copied = (key, (self._copied[1] + 1) % count if self._copied[0] == key else 0)
        return self._copied[1]


def _is_complete(message: ChatMessage) -> bool:
    return message.state is AnswerState.COMPLETE


def _details(failure: Failure) -> str:
    """Return a failure as text for a report."""
    failure_id = f"id {failure.failure_id}" if failure.failure_id else ""
    lines = [failure.message, failure.hint, failure.details, failure_id]
    return "\n".join(line for line in lines if line)
