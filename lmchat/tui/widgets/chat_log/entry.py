"""One message of the log, as the blocks that it is laid out in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct, field
from rich.style import Style

from lmchat.domain.event import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from lmchat.domain.message import ChatMessage, Part, ReasoningPart, RefusalPart, Role, TextPart, ToolCallPart
from lmchat.domain.turn import Turn
from lmchat.text import safe_line, safe_text
from lmchat.tui import formatting
from lmchat.tui.widgets.chat_log.blocks import Block, Kind, Line, plain_blocks
from lmchat.tui.widgets.chat_log.heights import Heights
from lmchat.tui.widgets.chat_log.layout.furniture import (
    elsewhere_block,
    end_blocks,
    prompt_blocks,
    refused,
    rule,
    state_block,
    thought,
    tool_block,
)
from lmchat.tui.widgets.chat_log.layout.page import Page
from lmchat.tui.widgets.chat_log.markdown.parser import References
from lmchat.tui.widgets.chat_log.markdown.tail import MarkdownTail

AT_ONCE_CHARS = 30_000
"""A message that is no longer is cut into blocks at once: 5 ms for prose, 70 for lists in lists."""
FIRST_CHARS = 4_000
"""So much of a longer one is read at once: more than a screen."""
TOLD_EVERY = 12
"""Rows between the words, so that some are on each screen."""
MOST_ROWS = 50_000
"""A text of nothing but line ends is estimated no higher."""


class Placeholder(Block):
    """Stands for text that is not yet read, as high as that is likely to be."""

    chars: int = 0
    """Characters of it."""
    line_ends: int = 0
    """Line ends in it."""

    def estimate(self, width: int) -> int:
        """Return its height."""
        return _rows(self.line_ends, self.chars, width)

    def stand_for(self, text: str, at: int, size: int) -> None:
        """Stand for a text from a place on, of a part that has so many characters."""
        self.forget()
        self.chars, self.line_ends = len(text) - at, text.count("\n", at)
        fraction = max(size - self.chars, 0) / max(size, 1)
        self.make = partial(_lines, self.line_ends, self.chars, int(100 * fraction))


def _rows(line_ends: int, chars: int, width: int) -> int:
    return min(max(line_ends + chars // width, 1), MOST_ROWS)


def rest() -> Placeholder:
    """Return rows that stand for nothing yet."""
    return Placeholder(Kind.MADE)


def _lines(line_ends: int, chars: int, percent: int, page: Page) -> list[Line]:
    """Return blank rows; the last, and each so many above it, tells how far it is."""
    signs = page.signs
    words = f"{signs.cut} reading a long message {signs.dot} {percent} %"
    told, blank = page.row([[(words, page.styles["muted"])]]), page.row([[("", Style.null())]])
    count = _rows(line_ends, chars, page.text_width)
    above, rest_of = divmod(count, TOLD_EVERY)
    return (
        [blank] * max(rest_of - 1, 0) + [told] * (rest_of > 0) + ([blank] * (TOLD_EVERY - 1) + [told]) * above
    )


class LivePart(Struct):
    """A part of a message while it may still grow."""

    kind: type[Any]
    """The kind of part that it will be."""
    chunks: list[str] = field(default_factory=list)
    """Its text, or the arguments of a call, as received."""
    tail: MarkdownTail = field(default_factory=MarkdownTail)
    """Its blocks; those of a call are code."""
    name: str = ""
    """Name of the tool."""
    index: int = 0
    """Which call of the answer."""
    is_begun: bool = False
    """Whether its beginning was cut into blocks; what is folded away need not be."""
    shown: int = 0
    """How many of its finished blocks are among those of its message."""
    at: int = -1
    """The block of the message behind these; -1 where none of this is shown."""
    _waiting: str = ""
    _at: int = 0
    _is_ended: bool = False
    _rest: Placeholder | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.chunks)

    @property
    def is_unread(self) -> bool:
        """Whether some of its text is not yet cut into blocks."""
        return self._at < len(self._waiting)

    @property
    def is_behind(self) -> bool:
        """Whether something stands in its place that may have been read since."""
        return self._rest is not None

    def feed(self, text: str) -> None:
        """Append text; much of it waits until it is `read`."""
        self.chunks.append(text)
        if self.is_unread or len(text) > AT_ONCE_CHARS:
            self._wait(text)
        else:
            self.is_begun = True
            self._take(text)

    def hold_back(self, text: str) -> None:
        """Append text that nobody looks at yet."""
        self.chunks.append(text)
        self._wait(text)

    def begin(self, room: int) -> int:
        """Read what waits if it is no more than `room`, else its beginning; return what is left of that."""
        if self.is_begun:
            return room
        self.is_begun = True
        size = len(self._waiting) - self._at
        return room - self.read(size if size <= room else min(FIRST_CHARS, room))

    def read(self, chars: int) -> int:
        """Cut so much of what waits into blocks; return how much that was."""
        text = self._waiting[self._at : self._at + chars]
        self._at += len(text)
        if text:
            self._take(text)
        if not self.is_unread:
            self._waiting, self._at = "", 0
            if self._is_ended:
                self.tail.feed("", is_final=True)
        return len(text)

    def _wait(self, text: str) -> None:
        self._waiting, self._at = self._waiting[self._at :] + text, 0

    def _take(self, text: str) -> None:
        if self.kind is ToolCallPart and not (self.tail.closed or self.tail.open):
            self.tail.open_code("json")
            text = text.lstrip("\n")
        self.tail.feed(text)

    def close(self) -> None:
        """Say that nothing more comes; of a call more may come while others do."""
        if self.kind is not ToolCallPart:
            self.end()

    def end(self) -> None:
        """Say that nothing more comes at all."""
        self._is_ended = True
        if not self.is_unread:
            self.tail.feed("", is_final=True)

    def turn_into(self, kind: type[Any], *, is_closed: bool) -> None:
        """Be a part of another kind; its blocks are laid out anew, because that looks different."""
        if is_closed:
            self.close()
        if kind is not self.kind:
            self.kind = kind
            for block in self.tail.closed + self.tail.open:
                block.forget()

    def blocks(self) -> list[Block]:
        """Return all its blocks."""
        head = [tool_block(self.name)] if self.kind is ToolCallPart else []
        return head + self.tail.closed + self.ending()

    def ending(self) -> list[Block]:
        """Return what stands behind its finished blocks: what may still change, or what is not yet read."""
        if not self.is_unread:
            self._rest = None
            return self.tail.open
        if self._rest is None:
            self._rest = rest()
        self._rest.stand_for(self._waiting, self._at, sum(map(len, self.chunks)))
        return [self._rest]


def live_parts(parts: Iterable[Part], *, is_open: bool) -> list[LivePart]:
    """Return the parts of a message that is there, yet to be read; of an open one the last may grow."""
    found: list[LivePart] = []
    for part in parts:
        if isinstance(part, ToolCallPart):
            index = sum(live.kind is ToolCallPart for live in found)
            found.append(LivePart(ToolCallPart, name=part.name, index=index))
            found[-1].hold_back(part.arguments)
        else:
            if not (found and found[-1].kind is type(part)):
                found.append(LivePart(type(part)))
            found[-1].hold_back(part.text)
    for live in found:
        if not (is_open and (live is found[-1] or live.kind is ToolCallPart)):
            live.end()
    return found


def completed(live: Iterable[LivePart], parts: Iterable[Part]) -> list[LivePart]:
    """Return the parts of a message in its final form; what is as it was keeps its blocks."""
    known = {(part.kind, part.name, part.text): part for part in live}
    found = [known.pop((part.kind, part.name, part.text), part) for part in live_parts(parts, is_open=False)]
    for part in found:
        part.end()
    return found


def restated(live: Sequence[LivePart], parts: Sequence[Part]) -> list[LivePart]:
    """Return parts of an open answer after some of them turned out to be of another kind.

    Calls stay as they are, since fragments still name them; so do the blocks of what has the same text.
    """
    calls = [part for part in live if part.kind is ToolCallPart]
    known = {part.text: part for part in live if part.kind is not ToolCallPart}
    texts = [part for part in parts if not isinstance(part, ToolCallPart)]
    found: list[LivePart] = []
    for part in texts:
        same = known.pop(part.text, None)
        if same is None:
            found += live_parts([part], is_open=part is texts[-1])
        else:
            same.turn_into(type(part), is_closed=part is not texts[-1] or isinstance(part, ReasoningPart))
            found.append(same)
    return found + calls


SAID = (TextPart, RefusalPart)
"""Kinds of parts that hold what is said."""
_SHORT = 300


class Told(Struct):
    """A message, or a notice, and how it is to be shown."""

    message: ChatMessage | None
    """What it shows; None for a notice."""
    note: str = ""
    """The words of a notice."""
    switch: str = ""
    """The model that answers from here on, where it is another one than before."""
    left_out: int = 0
    """Messages before it that the next request leaves out."""
    is_open: bool = False
    """Whether it is the answer that is on its way."""
    is_elsewhere: bool = False
    """Whether another lmchat writes that answer."""
    is_folded: bool = True
    """Whether reasoning, a system prompt, or a file in a prompt is only told and not shown."""
    is_source: bool = False
    """Whether it is shown as source."""
    turn: Turn | None = None
    """Figures of the running turn."""
    now_s: float = 0.0
    """When they were taken."""
    retry_in_s: float = 0.0
    """Seconds to the next try."""
    known_links: int = 0
    """Link definitions that its lines were laid out with."""
    parts: list[LivePart] = field(default_factory=list)
    """What it holds, cut into blocks; empty until it is needed."""
    blocks: list[Block] = field(default_factory=list)
    """All its blocks, in order; empty until they are needed."""
    heights: Heights = field(default_factory=Heights)
    """Height of each block with the blank row before it."""

    @property
    def source(self) -> str:
        """What is said, as received."""
        if self.is_open:
            return "".join(part.text for part in self.parts if part.kind in SAID)
        return self.message.text if self.message else ""

    @property
    def is_changed(self) -> bool:
        """Whether it is shown in another way than its message alone would be."""
        return self.is_open or self.is_source or not self.is_folded or bool(self.left_out)

    @property
    def is_thinking(self) -> bool:
        """Whether reasoning is what comes now."""
        has_ended = self.turn is not None and self.turn.thought_to_s is not None
        return self.is_open and bool(self.parts) and self.parts[-1].kind is ReasoningPart and not has_ended

    def heads(self) -> list[Block]:
        """Return the rows above it."""
        heads = []
        if self.left_out:
            plural = "" if self.left_out == 1 else "s"
            heads.append(rule(f"! {self.left_out} message{plural} left out", style="warning"))
        if self.switch:
            heads.append(rule(f"{safe_line(self.switch, limit=80)} answers from here"))
        return heads

    def system(self, message: ChatMessage) -> list[Block]:
        """Return a system prompt."""
        words = safe_line(message.text, limit=_SHORT)
        blocks = [rule(f"System prompt: {words}" if words else "No system prompt")]
        return blocks if self.is_folded else blocks + list(plain_blocks(safe_text(message.text)))

    def thought_words(self) -> str:
        """Return the words of the row that reasoning is folded into."""
        if self.is_open:
            thought_s = self.turn.thought_s(self.now_s) if self.turn else None
            if self.is_thinking:
                return (
                    "Thinking…"
                    if thought_s is None
                    else f"Thinking… {max(thought_s, 0):.0f}{formatting.GAP}s"
                )
        else:
            receipt = self.message.receipt.whole if self.message and self.message.receipt else None
            thought_s = receipt.reasoning_ms / 1e3 if receipt and receipt.reasoning_ms is not None else None
        return "Thought" if thought_s is None else f"Thought for {formatting.elapsed(thought_s)}"

    def foot(self) -> list[Block]:
        """Return the rows under it."""
        if self.is_open and self.is_elsewhere:
            return [elsewhere_block()]
        if self.is_open:
            return [state_block(self.turn, self.now_s, retry_in_s=self.retry_in_s)]
        if self.message is None or self.message.role is not Role.ASSISTANT:
            return []
        return end_blocks(self.message)


Delta = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta
"""Events that the log shows as text."""


def text_of(delta: Delta) -> str:
    """Return what arrives with one."""
    return delta.arguments if isinstance(delta, ToolCallDelta) else delta.text


def since(before: Sequence[Part], now: Sequence[Part]) -> list[Delta] | None:
    """Return what came at the end of an answer; None where it has changed before its end."""
    known = len(before) - 1
    if list(now[: max(known, 0)]) != list(before[: max(known, 0)]) or len(now) < len(before):
        return None
    fresh: list[Delta] = []
    for number, part in enumerate(now[max(known, 0) :], max(known, 0)):
        old = before[known] if number == known else None
        text = _text_in(old) if old is not None else ""
        same_kind = old is None or (type(old) is type(part) and _name_of(old) in ("", _name_of(part)))
        if not (same_kind and _text_in(part).startswith(text)):
            return None
        more = _text_in(part)[len(text) :]
        match part:
            case TextPart():
                fresh.append(TextDelta(text=more))
            case ReasoningPart():
                fresh.append(ReasoningDelta(text=more))
            case RefusalPart():
                fresh.append(RefusalDelta(text=more))
            case ToolCallPart(name=name):
                index = sum(isinstance(one, ToolCallPart) for one in now[:number])
                fresh.append(ToolCallDelta(index=index, name=name, arguments=more))
    return fresh


def _text_in(part: Part) -> str:
    return part.arguments if isinstance(part, ToolCallPart) else part.text


def _name_of(part: Part) -> str:
    return part.name if isinstance(part, ToolCallPart) else ""


def merged(deltas: Sequence[Delta]) -> list[Delta]:
    """Return the same with neighbours of one kind joined: tokens come in hundreds."""
    result: list[Delta] = []
    texts: list[str] = []
    for index, delta in enumerate(deltas):
        if isinstance(delta, ToolCallDelta):
            result.append(delta)
            continue
        texts.append(delta.text)
        following = deltas[index + 1] if index + 1 < len(deltas) else None
        if type(following) is not type(delta):
            result.append(type(delta)(text="".join(texts)))
            texts.clear()
    return result


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
