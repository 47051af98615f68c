"""One message of the log, as the blocks that it is laid out in, while it may still grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from msgspec import Struct, field
from rich.style import Style
from textual.timer import Timer

from lmchat.domain.event import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from lmchat.domain.message import (
    ChatMessage,
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
)
from lmchat.domain.turn import Turn
from lmchat.text import safe_line, safe_text
from lmchat.tui import formatting
from lmchat.tui.widgets.chat_log.blocks import Block, Heights, Kind, Line, plain_blocks
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
"""A message that is no longer is parsed at once: 5 ms for prose, 70 for lists in lists."""
FIRST_CHARS = 4_000
"""So much of a longer one is parsed at once: more than a screen."""
TOLD_EVERY = 12
"""Rows between the words of a placeholder, so that some are on each screen."""
MOST_ROWS = 50_000
"""A placeholder is estimated no higher: a text may be nothing but line ends."""
LOAD_LIMIT = 0.25
"""Share of a core that following a stream may take; frames become rarer before typing suffers."""
UNWATCHED = 8
"""Most frames a second while another window has the keyboard."""
FAR_BEHIND_CHARS = 200_000
"""Text that may wait for its frame; more is taken up at once."""
_SOON_S = 0.001
"""The shortest time that Textual's timers take."""
_SAID = (TextPart, RefusalPart)
_SHORT = 300

Delta = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta
"""Events that the log shows as text."""


def delta_text(delta: Delta) -> str:
    """Return the text of an event."""
    return delta.arguments if isinstance(delta, ToolCallDelta) else delta.text


def merged(deltas: Sequence[Delta]) -> list[Delta]:
    """Join neighbours of one kind: tokens come in hundreds."""
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


class Inflow:
    """Streamed text that waits for the next frame."""

    def __init__(self) -> None:
        self.frames_per_second = 20
        """Most frames a second while text arrives."""
        self.timer: Timer | None = None
        """Runs to the next frame."""
        self._pending: list[Delta] = []
        self._chars = 0
        self._shown_s = 0.0
        self._costs_s = (0.0, 0.0)

    def add(self, delta: Delta) -> bool:
        """Add text; return whether there is too much to wait for a frame."""
        self._pending.append(delta)
        self._chars += len(delta_text(delta))
        return self._chars > FAR_BEHIND_CHARS

    def take(self) -> list[Delta]:
        """Return what waits, and wait for nothing more."""
        deltas, self._pending, self._chars = merged(self._pending), [], 0
        if self.timer is not None:
            self.timer.stop()
            self.timer = None
        return deltas

    def pause_s(self, *, is_watched: bool) -> float:
        """Return the time to the next frame."""
        rate = self.frames_per_second if is_watched else min(self.frames_per_second, UNWATCHED)
        # the cheaper of two: else the words after the first fence would wait until its lexer was paid for
        gap_s = max(1 / rate, min(self._costs_s) / LOAD_LIMIT)
        return max(self._shown_s + gap_s - perf_counter(), _SOON_S)

    def show(self, act: Callable[[], object]) -> None:
        """Show a frame, and note what it costs."""
        self._shown_s = perf_counter()
        act()
        self._costs_s = (self._costs_s[1], perf_counter() - self._shown_s)


class Placeholder(Block):
    """Rows in place of text that is not parsed yet, as many as it is likely to have."""

    chars: int = 0
    line_ends: int = 0

    def estimate(self, width: int) -> int:
        """Return its height."""
        return _placeholder_rows(self.line_ends, self.chars, width)

    def stand_for(self, text: str, at: int, size: int) -> None:
        """Take the place of a text from `at` on, of a part that has `size` characters."""
        self.forget()
        self.chars, self.line_ends = len(text) - at, text.count("\n", at)
        fraction = max(size - self.chars, 0) / max(size, 1)
        self.make = partial(_placeholder_lines, self.line_ends, self.chars, int(100 * fraction))


def _placeholder_rows(line_ends: int, chars: int, width: int) -> int:
    return min(max(line_ends + chars // width, 1), MOST_ROWS)


def _placeholder_lines(line_ends: int, chars: int, percent: int, page: Page) -> list[Line]:
    """Return blank rows; the last one, and every so many above it, show the progress."""
    signs = page.signs
    words = f"{signs.cut} reading a long message {signs.dot} {percent} %"
    told, blank = page.row([[(words, page.styles["muted"])]]), page.row([[("", Style.null())]])
    above, rest = divmod(_placeholder_rows(line_ends, chars, page.text_width), TOLD_EVERY)
    return [blank] * max(rest - 1, 0) + [told] * (rest > 0) + ([blank] * (TOLD_EVERY - 1) + [told]) * above


class LivePart(Struct):
    """A part of a message, parsed as far as it was needed."""

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
    """Whether its beginning was parsed; what is folded need not be."""
    shown: int = 0
    """How many of its finished blocks are among those of its message."""
    at: int = -1
    """The block of the message after these; -1 where none of this is shown."""
    _waiting: str = ""
    _at: int = 0
    _is_ended: bool = False
    _placeholder: Placeholder | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.chunks)

    @property
    def is_unread(self) -> bool:
        """Whether some of its text is not parsed yet."""
        return self._at < len(self._waiting)

    @property
    def has_placeholder(self) -> bool:
        """Whether the message shows a placeholder, which may be outdated."""
        return self._placeholder is not None

    def feed(self, text: str) -> None:
        """Append text; a long text waits until it is `read`."""
        if self.is_unread or len(text) > AT_ONCE_CHARS:
            self.hold_back(text)
        else:
            self.chunks.append(text)
            self.is_begun = True
            self._take(text)

    def hold_back(self, text: str) -> None:
        """Append text that is not needed yet."""
        self.chunks.append(text)
        self._waiting, self._at = self._waiting[self._at :] + text, 0

    def begin(self, room: int) -> int:
        """Parse all if it is no more than `room`, else the beginning; return the room that is left."""
        if self.is_begun:
            return room
        self.is_begun = True
        size = len(self._waiting) - self._at
        return room - self.read(size if size <= room else min(FIRST_CHARS, room))

    def read(self, chars: int) -> int:
        """Parse so many waiting characters; return how many there were."""
        text = self._waiting[self._at : self._at + chars]
        self._at += len(text)
        if text:
            self._take(text)
        if not self.is_unread:
            self._waiting, self._at = "", 0
            if self._is_ended:
                self.tail.feed("", is_final=True)
        return len(text)

    def _take(self, text: str) -> None:
        if self.kind is ToolCallPart and not (self.tail.closed or self.tail.open):
            self.tail.open_code("json")
            text = text.lstrip("\n")
        self.tail.feed(text)

    def close(self) -> None:
        """Expect no more text; calls go on while others come."""
        if self.kind is not ToolCallPart:
            self.end()

    def end(self) -> None:
        """Expect no more text at all."""
        self._is_ended = True
        if not self.is_unread:
            self.tail.feed("", is_final=True)

    def turn_into(self, kind: type[Any], *, is_closed: bool) -> None:
        """Become a part of another kind; its blocks are laid out again."""
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
        """Return the open blocks, or the placeholder, after its finished blocks."""
        if not self.is_unread:
            self._placeholder = None
            return self.tail.open
        if self._placeholder is None:
            self._placeholder = Placeholder(Kind.MADE)
        self._placeholder.stand_for(self._waiting, self._at, sum(map(len, self.chunks)))
        return [self._placeholder]


def _live_parts(parts: Iterable[Part], *, is_open: bool) -> list[LivePart]:
    """Return the parts of a message, not parsed yet; of an open one the last may grow."""
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


def _completed(live: Iterable[LivePart], parts: Iterable[Part]) -> list[LivePart]:
    """Return the parts of a message in its final form; those that are as before keep their blocks."""
    known = {(part.kind, part.name, part.text): part for part in live}
    found = [known.pop((part.kind, part.name, part.text), part) for part in _live_parts(parts, is_open=False)]
    for part in found:
        part.end()
    return found


def _restated(live: Sequence[LivePart], parts: Sequence[Part]) -> list[LivePart]:
    """Return the parts of an open answer after some turned out to be of another kind.

    Calls stay as they are, since fragments still name them; so do the blocks of what has the same text.
    """
    calls = [part for part in live if part.kind is ToolCallPart]
    known = {part.text: part for part in live if part.kind is not ToolCallPart}
    texts = [part for part in parts if not isinstance(part, ToolCallPart)]
    found: list[LivePart] = []
    for part in texts:
        same = known.pop(part.text, None)
        if same is None:
            found += _live_parts([part], is_open=part is texts[-1])
        else:
            same.turn_into(type(part), is_closed=part is not texts[-1] or isinstance(part, ReasoningPart))
            found.append(same)
    return found + calls


class Entry(Struct):
    """A message or a notice, and how it is shown; its blocks are made when it comes near the screen."""

    message: ChatMessage | None
    """The message; None for a notice."""
    note: str = ""
    """The words of a notice."""
    switch: str = ""
    """The model that answers from here on, where it is another one than before."""
    left_out: int = 0
    """Messages before it that the next request leaves out."""
    is_open: bool = False
    """Whether it is the answer that is streaming."""
    is_elsewhere: bool = False
    """Whether another lmchat writes that answer."""
    is_folded: bool = True
    """Whether reasoning, a system prompt, or a file in a prompt is only one row."""
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
    """Its parts; empty until they are needed."""
    blocks: list[Block] = field(default_factory=list)
    """All its blocks, in order; empty until they are needed."""
    heights: Heights = field(default_factory=Heights)
    """Height of each block with the blank row before it."""
    _stable: int = 0
    _base: int = 0
    _thought_at: int | None = None

    @property
    def source(self) -> str:
        """Text of the answer without its reasoning, as received."""
        if self.is_open:
            return "".join(part.text for part in self.parts if part.kind in _SAID)
        return self.message.text if self.message else ""

    @property
    def is_changed(self) -> bool:
        """Whether it is shown in another way than its message alone would be."""
        has_own_look = self.is_source or not self.is_folded or bool(self.left_out)
        return self.is_open or self.is_elsewhere or has_own_look

    @property
    def is_thinking(self) -> bool:
        """Whether reasoning is what comes now."""
        has_ended = self.turn is not None and self.turn.thought_to_s is not None
        return self.is_open and bool(self.parts) and self.parts[-1].kind is ReasoningPart and not has_ended

    @property
    def is_built(self) -> bool:
        """Whether its blocks are known."""
        return bool(self.blocks)

    @property
    def references(self) -> References:
        """The link definitions that hold in it."""
        return next((part.tail.references for part in reversed(self.parts) if part.kind is TextPart), {})

    @property
    def first_open(self) -> int:
        """The first block that new text may change."""
        return self._stable

    @property
    def unread(self) -> LivePart | None:
        """The part to be parsed next; a part that nobody unfolded need not be."""
        return next((part for part in self.parts if part.is_begun and part.is_unread), None)

    @property
    def read_up_to(self) -> int:
        """The first placeholder; -1 where there is none."""
        return next((part.at for part in self.parts if part.at >= 0 and part.is_unread), -1)

    def estimate(self, width: int) -> int:
        """Return its likely height before its blocks are known."""
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

    def unbuild(self) -> None:
        """Forget all blocks."""
        self.parts.clear()
        self.blocks.clear()
        self.heights.truncate(0)

    def build(self) -> None:
        """Make all blocks again; those of Markdown that are laid out stay as they are."""
        self._thought_at = None
        self.blocks = self._heads()
        self.blocks += self._body(len(self.blocks))
        self._base = self._stable = len(self.blocks)
        if self._last_grows:
            last = self.parts[-1]
            self._base = len(self.blocks) - len(last.tail.closed) - len(last.ending())
            self._stable = self._base + len(last.tail.closed)
        self._put_cursor()
        self.blocks += self._foot()
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
        """Take new text; `grow` or `build` shows it."""
        if not self.parts and self.message is not None:
            self.parts = _live_parts(self.message.parts, is_open=self.is_open)
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
                    self.blocks.clear()  # it is between others, or its head will look different
                part.name = part.name or delta.name
                part.feed(delta.arguments)

    def restate(self, message: ChatMessage) -> None:
        """Take from a message which text of an open answer is reasoning; `build` shows it."""
        self.parts = _restated(self.parts, message.parts)

    def grow(self) -> int:
        """Bring the blocks up to date after new text; return the first one that may look different."""
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
        self.blocks.append(foot)  # its figures change with `tell`, not with the words
        return start

    def finish(self, message: ChatMessage) -> None:
        """Take the final form of an open answer; `build` shows it."""
        self.parts = _completed(self.parts, message.parts)
        self.message, self.turn = message, None
        self.is_open = False

    def take_parts(self, message: ChatMessage) -> None:
        """Take the parts of another value of its message, if any were taken; `build` shows them."""
        if self.parts:
            self.parts = _completed(self.parts, message.parts)

    def take_read(self) -> tuple[int, int] | None:
        """Replace a placeholder by blocks; return the first of them and how many there are.

        Of several parts the first is shown that has some, so this is to be called as soon as one is read.
        """
        place = next((n for n, part in enumerate(self.parts) if part.at >= 0 and part.has_placeholder), None)
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
        """Make the rows again that show figures of the running turn; return which blocks they are."""
        if not self.is_open or not self.blocks:
            return []
        changed = [len(self.blocks) - 1]
        self.blocks[-1] = self._foot()[0]
        if self._thought_at is not None:
            block = thought(self._thought_words(), is_folded=self.is_folded)
            block.is_first = self.blocks[self._thought_at].is_first
            self.blocks[self._thought_at] = block
            changed.append(self._thought_at)
        return changed

    @property
    def _last_grows(self) -> bool:
        """Whether the blocks of the last part are at the end, growing."""
        if not self.parts or not self.is_open or self.is_source:
            return False
        kind = self.parts[-1].kind
        return kind is not ReasoningPart or not self.is_folded

    def _part(self, kind: type[Any]) -> LivePart:
        """Return the last part if it is of a kind, else a new one."""
        if not self.parts or self.parts[-1].kind is not kind:
            if self.parts:
                self.parts[-1].close()
            self.parts.append(LivePart(kind))
            self.blocks.clear()
        return self.parts[-1]

    def _call(self, index: int) -> LivePart:
        for part in self.parts:
            if part.kind is ToolCallPart and part.index == index:
                return part
        if self.parts:
            self.parts[-1].close()
        self.parts.append(LivePart(ToolCallPart, index=index))
        return self.parts[-1]

    def _heads(self) -> list[Block]:
        """Return the rows above it."""
        heads = []
        if self.left_out:
            plural = "" if self.left_out == 1 else "s"
            heads.append(rule(f"! {self.left_out} message{plural} left out", style="warning"))
        if self.switch:
            heads.append(rule(f"{safe_line(self.switch, limit=80)} answers from here"))
        return heads

    def _body(self, heads: int) -> list[Block]:
        message = self.message
        if message is None:
            return [rule(self.note)]
        match message.role:
            case Role.SYSTEM:
                return self._system(message)
            case Role.USER:
                return prompt_blocks(message, is_folded=self.is_folded)
            case _:
                return self._answer(message, heads)

    def _system(self, message: ChatMessage) -> list[Block]:
        words = safe_line(message.text, limit=_SHORT)
        blocks = [rule(f"System prompt: {words}" if words else "No system prompt")]
        return blocks if self.is_folded else blocks + list(plain_blocks(safe_text(message.text)))

    def _answer(self, message: ChatMessage, heads: int) -> list[Block]:
        if not self.parts:
            self.parts = _live_parts(message.parts, is_open=self.is_open)
        for part in self.parts:
            part.at = -1
        if self.is_source:
            return list(plain_blocks(safe_text(self.source)))
        blocks: list[Block] = []
        room = AT_ONCE_CHARS
        for part in self.parts:
            if part.kind is ReasoningPart:
                self._thought_at = heads + len(blocks)
                blocks.append(thought(self._thought_words(), is_folded=self.is_folded))
                if self.is_folded:
                    continue
            elif part.kind is RefusalPart:
                blocks.append(refused())
            room = part.begin(room)
            blocks += self._mark(part.blocks(), is_thought=part.kind is ReasoningPart)
            part.at, part.shown = heads + len(blocks) - len(part.ending()), len(part.tail.closed)
        return blocks

    def _thought_words(self) -> str:
        """Return the words of the row that reasoning is folded into."""
        if self.is_open:
            thought_s = self.turn.thought_s(self.now_s) if self.turn else None
            if self.is_thinking:
                seconds = "" if thought_s is None else f" {max(thought_s, 0):.0f}{formatting.GAP}s"
                return f"Thinking…{seconds}"
        else:
            receipt = self.message.receipt if self.message else None
            thought_s = receipt.reasoning_ms / 1e3 if receipt and receipt.reasoning_ms is not None else None
        return "Thought" if thought_s is None else f"Thought for {formatting.elapsed(thought_s)}"

    def _foot(self) -> list[Block]:
        """Return the rows under it."""
        if self.is_elsewhere:
            return [elsewhere_block()]
        if self.is_open:
            return [state_block(self.turn, self.now_s, retry_in_s=self.retry_in_s)]
        if self.message is None or self.message.role is not Role.ASSISTANT:
            return []
        return end_blocks(self.message)

    def _mark(self, blocks: list[Block], *, is_thought: bool | None = None) -> list[Block]:
        """Mark new blocks that are reasoning."""
        for block in blocks:
            block.is_thought = self.parts[-1].kind is ReasoningPart if is_thought is None else is_thought
        return blocks

    def _put_cursor(self) -> None:
        """Show where the next words will come."""
        if self.is_open and self.parts and self.parts[-1].kind in _SAID and self.parts[-1].tail.open:
            self.parts[-1].tail.open[-1].has_cursor = True


def likely_heights(extents: Iterable[tuple[int, int]], width: int) -> list[int]:
    """Return the estimated heights of messages, from their characters and line ends."""
    return [3 + line_ends + chars // width for chars, line_ends in extents]
