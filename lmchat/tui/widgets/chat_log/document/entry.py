"""One message of the log, as the blocks that it is laid out in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lmchat.domain.event import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from lmchat.domain.message import ChatMessage, ReasoningPart, RefusalPart, Role, TextPart, ToolCallPart
from lmchat.text import safe_text
from lmchat.tui.widgets.chat_log.blocks import Block, plain_blocks
from lmchat.tui.widgets.chat_log.document.deltas import Delta, since
from lmchat.tui.widgets.chat_log.document.parts import LivePart, completed, live_parts, restated
from lmchat.tui.widgets.chat_log.document.rest import AT_ONCE_CHARS
from lmchat.tui.widgets.chat_log.document.told import SAID, Told
from lmchat.tui.widgets.chat_log.layout.furniture import prompt_blocks, refused, rule, thought
from lmchat.tui.widgets.chat_log.markdown.syntax import References


class Entry(Told):
    """A message, or a notice; its blocks are made when it comes near the screen."""

    _stable: int = 0
    _base: int = 0
    _thought_at: int | None = None

    @property
    def is_built(self) -> bool:
        """Whether its blocks are known."""
        return bool(self.blocks)

    @property
    def references(self) -> References:
        """The link definitions that hold in it."""
        return next((part.tail.references for part in reversed(self.parts) if part.kind is TextPart), {})

    def estimate(self, width: int) -> int:
        """Return the height that it may have before its blocks are known."""
        text = self.source
        return likely_heights([(len(text), text.count("\n"))], width)[0]

    def forget(self) -> None:
        """Forget all lines; blocks stay."""
        for block in self.blocks:
            block.forget()
        for part in self.parts:
            for block in part.tail.closed + part.tail.open:
                block.forget()
        self.heights.truncate(0)

    def build(self) -> None:
        """Make all blocks anew; those of Markdown that are laid out stay as they are."""
        self._thought_at = None
        self.blocks = self.heads()
        self.blocks += self._body(len(self.blocks))
        self._base = self._stable = len(self.blocks)
        if self._last_grows:
            last = self.parts[-1]
            self._base = len(self.blocks) - len(last.tail.closed) - len(last.ending())
            self._stable = self._base + len(last.tail.closed)
        self._put_cursor()
        self.blocks += self.foot()
        if not self.blocks:
            self.blocks.append(rule(""))
        self.heights.truncate(0)

    def build_whole(self) -> None:
        """Make all blocks at once, however long that takes."""
        self.build()
        while (part := self.unread) is not None:
            part.read(AT_ONCE_CHARS)
            self.blocks.clear()
        if not self.blocks:
            self.build()

    def feed(self, delta: Delta) -> None:
        """Take what arrived; `grow` or `build` shows it."""
        if not self.parts and self.message is not None:
            self.parts = live_parts(self.message.parts, is_open=self.is_open)
        match delta:
            case TextDelta(text=text):
                self._part(TextPart).feed(text)
            case ReasoningDelta(text=text):
                self._part(ReasoningPart).feed(text)
            case RefusalDelta(text=text):
                self._part(RefusalPart).feed(text)
            case ToolCallDelta():
                part = self._call(delta.index)
                if part is not self.parts[-1] or (delta.name and not part.name):
                    self.blocks.clear()  # it stands between others, or its head will look different
                part.name = part.name or delta.name
                part.feed(delta.arguments)

    def write_elsewhere(self) -> None:
        """Be an answer that another lmchat writes: `arrive` brings more of it."""
        self.is_open = self.is_elsewhere = True
        self.parts = live_parts(self.message.parts if self.message else (), is_open=True)

    def arrive(self, message: ChatMessage) -> bool:
        """Take a later value of its message; return whether all that is new is at its end, to `grow` by."""
        fresh = since(self.message.parts if self.message else (), message.parts)
        if fresh is None:
            self.parts = live_parts(message.parts, is_open=True)
            return False
        for delta in fresh:
            self.feed(delta)
        return True

    def restate(self, message: ChatMessage) -> None:
        """Take anew what of an open answer is thought and what is text; `build` shows it."""
        self.parts = restated(self.parts, message.parts)

    @property
    def first_open(self) -> int:
        """The first block that text may still change."""
        return self._stable

    def grow(self) -> int:
        """Bring the blocks up to date after text came; return the first one that may look different."""
        if not self._last_grows or not self.blocks:
            self.build()
            return 0
        start, part, foot = self._stable, self.parts[-1], self.blocks[-1]
        tail = part.tail
        known = start - self._base
        del self.blocks[start:]
        self.heights.truncate(start)
        self.blocks += self._mark(tail.closed[known:])
        self._stable = self._base + len(tail.closed)
        part.at, part.shown = self._stable, len(tail.closed)
        self.blocks += self._mark(part.ending())
        self._put_cursor()
        self.blocks.append(foot)  # what it tells changes with `tell`, not with the words
        return start

    def finish(self, message: ChatMessage) -> None:
        """Take the final form of an answer; blocks that are right already stay."""
        self.close()
        self.take_parts(message)
        self.message, self.turn = message, None
        self.is_open = self.is_elsewhere = False

    def take_parts(self, message: ChatMessage) -> None:
        """Take the parts of another value of its message, if any were taken; `build` shows them."""
        if self.parts:
            self.parts = completed(self.parts, message.parts)

    @property
    def unread(self) -> LivePart | None:
        """The part that is to be read next: what nobody wanted to see need not be."""
        return next((part for part in self.parts if part.is_begun and part.is_unread), None)

    @property
    def read_up_to(self) -> int:
        """The first block that stands for what is not yet read; -1 where there is none."""
        return next((part.at for part in self.parts if part.at >= 0 and part.is_unread), -1)

    def take_read(self) -> tuple[int, int] | None:
        """Put blocks that were read in place of one that stood for them; return the first, and how many.

        Of several parts the first is shown that has some, so this is to be called as soon as one is read.
        """
        place = next((n for n, part in enumerate(self.parts) if part.at >= 0 and part.is_behind), None)
        if place is None:
            return None
        part, is_last = self.parts[place], place == len(self.parts) - 1
        first, new = part.at, part.tail.closed[part.shown :]
        come = self._mark(new + part.ending(), is_thought=part.kind is ReasoningPart)
        self.blocks[first : first + 1] = come
        self.heights.truncate(first)
        part.at, part.shown = first + len(new), len(part.tail.closed)
        by = len(come) - 1
        for other in self.parts[place + 1 :]:
            other.at += by if other.at >= 0 else 0
        if self._thought_at is not None and self._thought_at > first:
            self._thought_at += by
        self._base += 0 if is_last else by
        self._stable = part.at if is_last else self._stable + by
        self._put_cursor()
        return first, len(come)

    def tell(self) -> list[int]:
        """Make the rows anew that tell about the running turn; return which blocks they are."""
        if not self.is_open or not self.blocks:
            return []
        changed = [len(self.blocks) - 1]
        self.blocks[-1] = self.foot()[0]
        if self._thought_at is not None:
            block = thought(self.thought_words(), is_folded=self.is_folded)
            block.is_first = self.blocks[self._thought_at].is_first
            self.blocks[self._thought_at] = block
            changed.append(self._thought_at)
        return changed

    def close(self) -> None:
        """Take the last part as complete."""
        if self.parts:
            self.parts[-1].close()

    @property
    def _last_grows(self) -> bool:
        """Whether the blocks of the last part stand at the end, growing."""
        if not self.parts or not self.is_open or self.is_source:
            return False
        kind = self.parts[-1].kind
        return kind is not ReasoningPart or not self.is_folded

    def _part(self, kind: type[Any]) -> LivePart:
        """Return the last part if it is of a kind, else a new one."""
        if not self.parts or self.parts[-1].kind is not kind:
            self.close()
            self.parts.append(LivePart(kind))
            self.blocks.clear()
        return self.parts[-1]

    def _call(self, index: int) -> LivePart:
        for part in self.parts:
            if part.kind is ToolCallPart and part.index == index:
                return part
        self.close()
        self.parts.append(LivePart(ToolCallPart, index=index))
        return self.parts[-1]

    def _body(self, heads: int) -> list[Block]:
        message = self.message
        if message is None:
            return [rule(self.note)]
        match message.role:
            case Role.SYSTEM:
                return self.system(message)
            case Role.USER:
                return prompt_blocks(message, is_folded=self.is_folded)
            case _:
                return self._answer(message, heads)

    def _answer(self, message: ChatMessage, heads: int) -> list[Block]:
        if not self.parts:
            self.parts = live_parts(message.parts, is_open=self.is_open)
        for part in self.parts:
            part.at = -1
        if self.is_source:
            return list(plain_blocks(safe_text(self.source)))
        blocks: list[Block] = []
        room = AT_ONCE_CHARS
        for part in self.parts:
            if part.kind is ReasoningPart:
                self._thought_at = heads + len(blocks)
                blocks.append(thought(self.thought_words(), is_folded=self.is_folded))
                if self.is_folded:
                    continue
            elif part.kind is RefusalPart:
                blocks.append(refused())
            room = part.begin(room)
            blocks += self._mark(part.blocks(), is_thought=part.kind is ReasoningPart)
            part.at, part.shown = heads + len(blocks) - len(part.ending()), len(part.tail.closed)
        return blocks

    def _mark(self, blocks: list[Block], *, is_thought: bool | None = None) -> list[Block]:
        """Say of new blocks whether they are reasoning."""
        for block in blocks:
            block.is_thought = self.parts[-1].kind is ReasoningPart if is_thought is None else is_thought
        return blocks

    def _put_cursor(self) -> None:
        """Show where the next words will come."""
        if self.is_open and self.parts and self.parts[-1].kind in SAID and self.parts[-1].tail.open:
            self.parts[-1].tail.open[-1].has_cursor = True


def likely_heights(extents: Iterable[tuple[int, int]], width: int) -> list[int]:
    """Return the heights that messages may have before they are cut into blocks."""
    return [3 + line_ends + chars // width for chars, line_ends in extents]
