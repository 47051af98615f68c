"""A viewport in which words are found: counted, marked, and gone to one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

from textual.message import Message
from textual.worker import Worker

from lmchat.domain.path import MessagePath
from lmchat.tui.messages import Post
from lmchat.tui.widgets.chat_log.anchor import Hold
from lmchat.tui.widgets.chat_log.document import Entries, Place
from lmchat.tui.widgets.chat_log.finder import Finder
from lmchat.tui.widgets.chat_log.view.coloured import ColouredView

_AT_ONCE = 300_000
"""So many characters are looked through before the key that asked for it is done with."""
_SLICE = 100_000
"""So many at a time after that: about 3 ms, then others have their turn."""


class FoundView(ColouredView, can_focus=True):
    """Looks through the messages, those that come later too; most of it beside all else."""

    class Found(Post, namespace="chat_log"):
        """How many hits there are, or which is shown, is another than before."""

        place: int
        """The number of the hit that is shown; 0 for none."""
        count: int
        """How many there are so far."""
        is_whole: bool
        """Whether all was looked through."""
        is_sure: bool = True
        """Whether all hits were counted as they are shown; else it is likely that there are so many."""

        def can_replace(self, message: Message) -> bool:
            """Only the newest counts."""
            return isinstance(message, FoundView.Found)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.finder = Finder()
        self._counting: Generator[int] | None = None
        self._known: Entries | None = None
        self._is_seeking = False
        self._wanted: tuple[str, ...] = ()
        """What is to be found in other messages, too."""
        self._last: tuple[str, ...] = ()
        self._begun_at: tuple[bool, Hold | None] | None = None
        """Where one was reading before hits were gone to."""
        self._unfolded = -1
        """The message that was unfolded because of its hit."""

    def find(self, *words: str, first: int | None = None) -> int:
        """Mark all hits, also in what comes later; return how many there are, as far as was looked by now."""
        self._is_seeking = False
        self.give_up_waiting()
        self._wanted = words
        self._last = words if any(words) else self._last
        place = first or 0, -1, 0
        if first is None and len(self.document):
            place = self.document.locate(self.scroll_offset.y)
        self._begin_count(self.finder.find(self.document, words, first=place[0], at=place[1:]))
        return self.finder.standing[1]

    def mark_words(self, message_id: str, words: Sequence[str]) -> None:
        """Mark words, and show the first that a message has said, or else has thought."""
        index = self.document.entries.place(message_id)
        if index is None:
            return
        self.find(*words, first=index)
        self._wanted = ()  # they belong to this session alone
        self.when_read(partial(self._show_words, message_id))

    def _show_words(self, message_id: str) -> None:
        index = self.document.entries.place(message_id)
        if index is not None:
            self._show_hit(has_hit=self.finder.go_to(self.document, index))
            self._unfolded = -1

    def seek(self, words: str) -> None:
        """Mark all hits and show the first one from here on; go back where there is none."""
        if self._begun_at is None:
            self._begun_at = self.is_following, self._hold
        elif self.finder.place is not None:
            self._go_back()
        self.find(words)
        self._is_seeking = True
        self._seek()
        self.tell_found()

    def _seek(self) -> None:
        """Show the first hit, as soon as there is one."""
        if self._is_seeking and self.finder.standing[1]:
            self._is_seeking = False
            self._step(1)

    def _go_back(self) -> None:
        """Show what was shown before hits were gone to."""
        if self._begun_at is None:
            return
        self._fold_again(-1)
        is_following, hold = self._begun_at
        if is_following:
            self.scroll_end()
        else:
            self._hold = hold
            self.is_following = False
            self.settle()
            self.refresh()

    def clear_find(self) -> None:
        """Mark hits no more; the view stays where it is."""
        self.finder.clear()
        self.give_up_waiting()
        self._counting, self._begun_at, self._unfolded, self._is_seeking = None, None, -1, False
        self._wanted = ()
        self.refresh()

    def next_hit(self, step: int) -> tuple[int, int]:
        """Show the next or previous hit; return its number and how many there are."""
        self._begun_at = None
        self._step(step)
        self.tell_found()
        return self.finder.standing

    def action_hit(self, step: int) -> None:
        """Go to the next or previous hit of what was looked for last."""
        if not self.finder.is_active and self._last:
            self.find(*self._last)
        if not self.finder.is_active:
            self.call_next(self.run_action, "screen.find")
        elif not self.next_hit(step)[1]:
            self.notify("There is no hit.", markup=False)

    def focus_hit(self) -> None:
        """Give the focus to the message of the current hit."""
        if self.finder.index >= 0:
            self._cursor = self.finder.index
        self.focus(scroll_visible=False)
        self.refresh()

    def _step(self, step: int) -> None:
        self.when_read(partial(self._step_now, step))

    def _step_now(self, step: int) -> None:
        has_hit = self.finder.step(self.document, step)
        self.settle()  # what was laid out on the way may be higher or lower than was thought
        self._show_hit(has_hit=has_hit)
        self.tell_found()

    def _show_hit(self, *, has_hit: bool) -> None:
        """Bring the current hit into view, and unfold what it is in."""
        finder, document = self.finder, self.document
        if not has_hit:
            self.refresh()
            return
        index = finder.index
        was = self._row_of(finder.place)
        is_moved = self._fold_again(index)
        if finder.is_hidden:
            document.entries[index].is_folded = False
            document.rebuild(index)
            self._unfolded, is_moved = index, True
            if not document.is_read(index):
                self.wait_for(index, None, partial(self._show_hit, has_hit=True))
                return
            finder.recount(document, index)
        if finder.place is None:
            return
        if not 0 <= was < self.size.height - finder.rows_below:
            self.show_at(finder.place, self.size.height // 3)
        elif is_moved:
            self.show_at(finder.place, was)
        if self.is_following and document.entries[len(document) - 1].is_open:
            self.leave_end()  # or what arrives would take the hit away
        self.refresh()

    def _row_of(self, place: Place | None) -> int:
        """Return the row of the screen on which something stands, or would."""
        return -1 if place is None else self.document.position(place) - self.scroll_offset.y

    def _fold_again(self, index: int) -> bool:
        """Fold what was unfolded for the sake of a hit, unless the next is there, too; return whether."""
        was, self._unfolded = self._unfolded, index if index == self._unfolded else -1
        if was in (-1, index) or was >= len(self.document) or self.document.entries[was].is_folded:
            return False
        self.document.entries[was].is_folded = True
        self.document.rebuild(was)
        self.finder.recount(self.document, was)
        return True

    def _begin_count(self, counting: Generator[int]) -> None:
        """Look through the messages: the first at once, the others beside all else."""
        self._counting, self._known = counting, self.document.entries
        if self._count_on(_AT_ONCE):
            rest = partial(self._count_rest, counting)
            _: Worker[None] = self.run_worker(rest, name="find", group="find", exclusive=True)
        self.refresh()

    def _count_on(self, chars: int) -> bool:
        """Look through so many characters; return whether there is more to do."""
        if self._counting is not None:
            for cost in self._counting:
                chars -= cost
                if chars <= 0:
                    return True
            self._counting = None
        return False

    async def _count_rest(self, counting: Generator[int]) -> None:
        """Give way to keys and paints after each slice; another search ends this one."""
        while self._counting is counting:
            is_more, was = self._count_on(_SLICE), self.finder.place
            self._seek()
            if self.finder.place is not was or not is_more:
                self.tell_found()
            if not is_more:
                self.refresh()
                return
            await asyncio.sleep(0)

    def tell_found(self) -> None:
        """Tell how many hits there are, and which is shown."""
        finder = self.finder
        self.post_message(self.Found(*finder.standing, finder.is_whole, finder.is_sure))

    def settle(self, *, changed: Place | None = None) -> None:
        """Count hits again in what has changed, and in all where that is another session."""
        super().settle(changed=changed)
        if self._known is not self.document.entries:
            self._known = self.document.entries
            self.take_other_messages()
        elif changed is not None and self.finder.is_active:
            before = self.finder.standing
            if changed[1] < 0:
                self.finder.recount(self.document, changed[0])
            else:
                self.finder.grown(self.document, *changed[:2])
            if self.finder.standing != before:
                self.tell_found()

    def take_other_messages(self) -> None:
        """Look for the same words in other messages."""
        self._begun_at, self._unfolded = None, -1
        if self._wanted:
            self.find(*self._wanted)
            self.tell_found()
        else:
            self.clear_find()

    def kept_places(self) -> list[Hold | None]:
        """Return what is to be found again, also where one was reading before hits were gone to."""
        return [*super().kept_places(), self._begun_at[1] if self._begun_at is not None else None]

    def prepend(self, earlier: MessagePath) -> None:
        """Put messages above all others, and look through them."""
        super().prepend(earlier)
        if self._unfolded >= 0:
            self._unfolded += len(earlier)
        if self.finder.is_active:
            self.finder.move(len(earlier))
            self._begin_count(self.finder.count_again(self.document))
            self.tell_found()
