"""The chat log: what comes into it, and how often that is painted."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from textual import events
from textual.geometry import Region
from textual.timer import Timer

from lmchat.domain.event import RetryScheduled, StreamEvent
from lmchat.domain.message import AnswerState, ChatMessage, Role
from lmchat.domain.path import MessagePath
from lmchat.domain.turn import Turn
from lmchat.tui.widgets.chat_log.document import Place, switch
from lmchat.tui.widgets.chat_log.entry import Delta, Entry, merged, text_of
from lmchat.tui.widgets.chat_log.view.changing import ChangingLog
from lmchat.tui.widgets.chat_log.view.unseen import COUNTED_LINES

LOAD_LIMIT = 0.25
"""Share of a core that following a stream may take; frames become rarer before typing suffers."""
UNWATCHED = 8
"""Most paints a second where another window has the keyboard."""
EARLY_S = 0.005
"""So much too early a frame may come: what arrives at its pace is not put off by a hair."""
FAR_BEHIND_CHARS = 200_000
"""So much text may wait for its frame; more is taken up at once."""


class ChatLog(ChangingLog, can_focus=True):
    """The messages of a session, in one widget."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.frames_per_second = 20
        """Most paints a second while text arrives."""
        self.is_whole = True
        """Whether it has all messages of its session, not only the end."""
        self._wants_top = False
        self._open: int | None = None
        self._pending: list[Delta] = []
        self._pending_chars = 0
        self._timer: Timer | None = None
        self._flushed_s = 0.0
        self._costs_s = (0.0, 0.0)
        self._retry: tuple[RetryScheduled, float] | None = None

    def load(
        self,
        messages: Sequence[ChatMessage],
        *,
        is_whole: bool = True,
        elsewhere: Sequence[ChatMessage] = (),
    ) -> None:
        """Show other messages, from their end; those before them come with `fill` where they are not all.

        Those of `elsewhere` are answers that another lmchat writes; what comes of them comes with `arrive`.
        """
        self._drop_pending()
        self.give_up_waiting()
        self._open = self._cursor = None
        self.is_whole, self._wants_top = is_whole, False
        self.finder.clear()
        self.document.load(MessagePath(messages))
        self.write_elsewhere(elsewhere)
        if messages and messages[-1].state is AnswerState.STREAMING and messages[-1] not in elsewhere:
            self._open = len(self.document) - 1
            self.document.entries[-1].is_open = True
        if self.has_focus:
            self.focus_last()
        self.is_following, self._hold = True, None
        self.settle()
        self.refresh()
        self.count_new_lines()

    def fill(self, messages: MessagePath) -> None:
        """Take the whole path whose end is shown; what is on the screen stays where it is."""
        if self.is_whole:
            return
        first_id = self.document.entries.first_id
        count = messages.place(first_id) if first_id else len(messages)
        if count is not None:
            wants_top = self._wants_top and not self.scroll_offset.y
            self.is_whole = True
            self.prepend(messages[:count])
            if wants_top:
                self.scroll_home()

    def scroll_home(self, **options: Any) -> None:
        """Go to the first message; where that is still being read, as soon as it comes."""
        self._wants_top = not self.is_whole
        super().scroll_home(**options)

    def append(self, message: ChatMessage, *, is_sent_now: bool = True) -> None:
        """Add a message at the end; what the user sends is brought into view, what had waited is not."""
        self._add(self._entry(message))
        if message.role is Role.USER and is_sent_now:
            self.scroll_end()

    def begin_answer(self, message: ChatMessage) -> None:
        """Add the answer that is on its way."""
        entry = self._entry(message)
        entry.is_open = True
        self._open = self._add(entry)

    async def apply(self, event: StreamEvent) -> None:
        """Take an event: text, thought and tool calls are painted with the next frame."""
        if self._open is None or not isinstance(event, Delta):
            return
        self._pending.append(event)
        self._pending_chars += len(text_of(event))
        if self._pending_chars > FAR_BEHIND_CHARS:
            self.flush()
        elif self._timer is None:
            rate = self.frames_per_second if self.app.app_focus else min(self.frames_per_second, UNWATCHED)
            pause_s = max(1 / rate, min(self._costs_s) / LOAD_LIMIT)
            due_s = self._flushed_s + pause_s - EARLY_S
            self._timer = self.set_timer(max(due_s - perf_counter(), 0.001), self._show_pending)

    def _show_pending(self) -> None:
        self._flushed_s = perf_counter()
        self.flush()
        # the dearer of two would put off the words behind the first fence until its lexer was paid for
        self._costs_s = (self._costs_s[1], perf_counter() - self._flushed_s)

    def flush(self) -> None:
        """Take up what is pending."""
        deltas = merged(self._pending)
        self._drop_pending()
        if self._open is None or not deltas:
            return
        entry = self.document.entries[self._open]
        self.keep_still()
        for delta in deltas:
            entry.feed(delta)
        changed = self.document.grow(self._open, is_exact=not self.is_following)
        self.settle(changed=changed)

    def show_turn(self, turn: Turn | None, now_s: float) -> None:
        """Show the figures of the running turn under the open answer."""
        if self._open is None:
            return
        entry = self.document.entries[self._open]
        retry = turn.retry if turn else None
        if retry is not None and (self._retry is None or self._retry[0] is not retry):
            self._retry = (retry, now_s)
        if retry is not None and self._retry is not None:
            entry.retry_in_s = retry.wait_s - (now_s - self._retry[1])
        entry.turn, entry.now_s = turn, now_s
        for number in entry.tell():
            self.document.relay(self._open, number)
            self.repaint((self._open, number, 0), 2)

    def finish(self, message: ChatMessage) -> None:
        """Show the final form of the open answer."""
        self.flush()
        index, self._open, self._retry = self._open, None, None
        if index is None:
            if not self.replace(message):
                self.append(message)
            return
        self.document.entries[index].finish(message)
        self.document.entries.replace(index, message)
        self._rebuilt(index)

    def restate(self, message: ChatMessage) -> None:
        """Show what of the open answer is thought and what is text, after the server told it late."""
        self.flush()
        if self._open is not None:
            entry = self.document.entries[self._open]
            if not self.is_following and self._is_on_screen(self._open):
                entry.is_folded = False  # it is being read
            entry.restate(message)
            self._rebuilt(self._open)

    def prepend(self, earlier: MessagePath) -> None:
        """Put messages above all others; what is on the screen stays where it is."""
        if self._open is not None:
            self._open += len(earlier)
        super().prepend(earlier)

    def notice(self, text: str) -> None:
        """Add a thin line at the end."""
        self._add(Entry(None, note=text))

    def repaint(self, place: Place, lines: int) -> None:
        """Paint some lines again, if they are on the screen."""
        y = self.document.position(place)
        if self._has_rows(y, lines):
            self.refresh(Region(0, y - self.scroll_offset.y, self.size.width, lines))

    def _is_on_screen(self, index: int) -> bool:
        return self._has_rows(self.document.heights.top(index), self.document.heights[index])

    def _has_rows(self, y: int, lines: int) -> bool:
        return y < self.scroll_offset.y + self.size.height and y + lines > self.scroll_offset.y

    def on_unmount(self, _event: events.Unmount) -> None:
        """Leave no timer behind."""
        self._drop_pending()

    def _drop_pending(self) -> None:
        self._pending.clear()
        self._pending_chars = 0
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _add(self, entry: Entry) -> int:
        self.flush()
        self.keep_still()
        index = self.document.append(entry)
        if not self.is_following:
            self.document.sweep(index, 0, 1, COUNTED_LINES)
        self.settle(changed=(index, -1, 0))
        return index

    def _entry(self, message: ChatMessage) -> Entry:
        previous = self.document.entries.model_before(len(self.document))
        return Entry(message, switch=switch(previous, message))
