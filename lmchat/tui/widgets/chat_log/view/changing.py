"""What becomes another while it is in the log: newer values of a message, answers from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.domain.message import AnswerState, ChatMessage
from lmchat.tui.widgets.chat_log.anchor import note_around
from lmchat.tui.widgets.chat_log.view.reading import ReadingLog


class ChangingLog(ReadingLog, can_focus=True):
    """A log whose messages change; what is on the screen stays where it is."""

    def replace(self, message: ChatMessage) -> bool:
        """Show another value of a message; return whether it is in the log."""
        index = self.document.entries.place(message.message_id)
        if index is None:
            return False
        entry = self.document.entries[index]
        if entry.message is not None and entry.message.parts != message.parts and not entry.is_open:
            entry.take_parts(message)
        self.document.entries.replace(index, message)
        self._rebuilt(index)
        return True

    def write_elsewhere(self, messages: Sequence[ChatMessage]) -> None:
        """Take some messages for answers that another lmchat writes; `arrive` brings more of them."""
        for message in messages:
            place = self.document.entries.place(message.message_id)
            if place is not None:
                self.document.entries[place].write_elsewhere()

    def arrive(self, message: ChatMessage) -> None:
        """Show what has come of an answer that another lmchat writes, or how it has ended."""
        index = self.document.entries.place(message.message_id)
        if index is None or not self.document.entries[index].is_elsewhere:
            return
        self.keep_still()
        entry, is_growing = self.document.entries[index], False
        if message.state is AnswerState.STREAMING:
            is_growing = entry.arrive(message)
        else:
            entry.finish(message)
        self.document.entries.replace(index, message)
        if is_growing:
            self.settle(changed=self.document.grow(index, is_exact=not self.is_following))
        else:
            self._rebuilt(index)
            self._tell_models_after(index)

    def _tell_models_after(self, index: int) -> None:
        """Tell anew below a message where another model answers: it may have named its own only now."""
        entries = self.document.entries
        for later, entry in [one for one in entries.made() if one[0] > index]:
            was, entry.switch = entry.switch, entries.switch_at(later)
            if entry.switch != was:
                self._rebuilt(later)

    def mark_left_out(self, count: int, before_id: str | None) -> None:
        """Tell above a message that so many before it are left out of the next request."""
        entries = self.document.entries
        place = entries.place(before_id) if before_id and count else None
        marked = [index for index, entry in entries.made() if entry.left_out]
        for index in {*marked, *([] if place is None else [place])}:
            wanted = count if index == place else 0
            if entries[index].left_out != wanted:
                entries[index].left_out = wanted
                self._rebuilt(index)

    def _rebuilt(self, index: int) -> None:
        """Take up that a message is shown in another way; what is on the screen stays where it is."""
        self.keep_still()
        for hold in self.holds():
            if hold.index == index:
                note_around(self.document, hold)
        self.document.rebuild(index)
        if not self.is_following:
            self._lay_out_unseen()
        self.settle(changed=(index, -1, 0))
