"""One message of the log as blocks, while it may still grow."""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from math import inf
from time import perf_counter, thread_time

from msgspec import Struct, field

from lmchat.domain.event import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from lmchat.domain.message import (
    AnswerState,
    ChatMessage,
    FilePart,
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
from lmchat.tui.widgets.chat_log.blocks import PIECE_CHARS, Block, Heights, made, plain_blocks
from lmchat.tui.widgets.chat_log.layout.annotations import (
    call_lines,
    call_texts,
    end_blocks,
    prompt_blocks,
    question_block,
    question_blocks,
    remark,
    rule,
    state_block,
    thought,
    tool_block,
)
from lmchat.tui.widgets.chat_log.markdown.parser import References
from lmchat.tui.widgets.chat_log.markdown.tail import MarkdownTail

# share of a core that following a stream may take; frames become rarer before typing suffers
LOAD_LIMIT = 0.25
_SHORT = 300
_SAID = (TextPart, RefusalPart)
ASKS = "asks"  # state of the call about which the user decides
_STATE = ("state",)

Delta = (
    TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta
)  # events that the log shows as text
_KINDS: dict[type[Delta], type[Part]] = {
    TextDelta: TextPart,
    ReasoningDelta: ReasoningPart,
    RefusalDelta: RefusalPart,
}


class Inflow:
    """Streamed text that waits for the next frame."""

    def __init__(self) -> None:
        self.frames_per_second = 15  # most frames a second while text arrives
        self.timer: TimerHandle | None = None  # runs to the next frame
        self.pending: list[Delta] = []
        self._shown_s = 0.0
        self._costs_s = (0.0, 0.0)

    def drain(self) -> list[Delta]:
        deltas, self.pending = self.pending, []
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return deltas

    def pause_s(self) -> float:
        # the cheaper of two: else the words after the first fence would wait until its lexer was paid for
        gap_s = max(1 / self.frames_per_second, min(self._costs_s) / LOAD_LIMIT)
        return max(self._shown_s + gap_s - perf_counter(), 0.0)

    def show(self, act: Callable[[], object]) -> None:
        """Show a frame and measure its cost."""
        self._shown_s = perf_counter()
        act()
        self._costs_s = (self._costs_s[1], perf_counter() - self._shown_s)


class LivePart(Struct):
    """A part of a message, parsed as far as it was shown."""

    kind: type[Part]
    chunks: list[str] = field(default_factory=list)  # its text, or the arguments of a call
    tail: MarkdownTail = field(default_factory=MarkdownTail)  # its blocks; those of a call are code
    name: str = ""  # name of the tool
    index: int = 0  # the number of the call in the answer
    is_ended: bool = False
    _taken: int = 0  # chunks that are parsed or in `_rest`
    _rest: str = ""  # text that is not parsed yet, but for its first `_fed` characters
    _fed: int = 0
    _is_final: bool = False  # whether all is parsed as all there will be

    @property
    def text(self) -> str:
        return "".join(self.chunks)

    @property
    def is_behind(self) -> bool:
        """Whether there was no time to parse all of its text."""
        return bool(self._rest)

    def blocks(self, until_s: float = inf) -> list[Block]:
        """Parse what came since the last time, up to a time of this thread; return all blocks."""
        text = "".join(self.chunks[self._taken :])
        if text:
            self.chunks[self._taken :] = [text]  # tokens come in hundreds
            self._taken = len(self.chunks)
            if self.kind is ToolCallPart and not (self.tail.closed or self.tail.open):
                self.tail.open_code("json")
                text = text.lstrip("\n")
            self._rest += text
        if self._rest or self._is_final != self.is_ended:
            self.parse(until_s)
        return self.tail.closed + self.tail.open

    def parse(self, until_s: float) -> None:
        """Parse a part of the rest, at least a piece, up to a time of this thread."""
        while True:
            piece = self._rest[self._fed : self._fed + PIECE_CHARS]
            self._fed += len(piece)
            is_all = self._fed >= len(self._rest)
            self.tail.feed(piece, is_final=self.is_ended and is_all)
            if is_all:
                self._rest, self._fed, self._is_final = "", 0, self.is_ended
            if is_all or thread_time() >= until_s:
                return


def _live_parts(parts: Iterable[Part], *, is_streaming: bool) -> list[LivePart]:
    """Return the unparsed parts of a message; the last of an open one may grow."""
    found: list[LivePart] = []
    for part in parts:
        if isinstance(part, ToolCallPart):
            index = sum(live.kind is ToolCallPart for live in found)
            found.append(LivePart(ToolCallPart, name=part.name, index=index))
            found[-1].chunks.append(part.arguments)
        elif not isinstance(part, FilePart):
            if not (found and found[-1].kind is type(part)):
                found.append(LivePart(type(part)))
            found[-1].chunks.append(part.text)
    for live in found:
        if not (is_streaming and (live is found[-1] or live.kind is ToolCallPart)):
            live.is_ended = True
    return found


def _call_blocks(message: ChatMessage) -> Iterator[Block]:
    """Yield what a call unfolds to: as code, never as Markdown."""
    for heading, text, language in call_texts(message):
        yield remark(heading)
        yield from _code_blocks(text, language)


def _question_blocks(message: ChatMessage, *, is_folded: bool) -> list[Block]:
    """Return the card that asks whether a tool may run."""
    if is_folded:
        return [question_block(message)]
    pieces = [_code_blocks(text, language) for _, text, language in call_texts(message)]
    return question_blocks(message, list(chain.from_iterable(pieces)))


def _code_blocks(text: str, language: str) -> list[Block]:
    tail = MarkdownTail()
    tail.open_code(language)
    tail.feed(text, is_final=True)
    return tail.closed


class Entry(Struct):
    """A message or a notice, and how it is shown; blocks are made when it comes near the screen."""

    message: ChatMessage | None  # the message; None for a notice
    note: str = ""  # the words of a notice
    switch: str = ""  # the model that answers from here on, where it is another one than before
    left_out: int = 0  # messages before it that the next request leaves out
    is_streaming: bool = False  # whether it is the answer that is streaming
    is_folded: bool = (
        True  # whether reasoning, a system prompt, a file or a tool call is only one row
    )
    is_source: bool = False  # whether it is shown as source
    call: str = ""  # how a call of the running turn stands
    has_tool_messages: bool = (
        False  # whether it is an answer whose calls were run: they follow as messages
    )
    turn: Turn | None = None  # figures of the running turn
    now_s: float = 0.0  # when they were taken
    is_behind: bool = False  # whether a part of its text is still to be parsed
    known_links: int = 0  # link definitions that its lines were laid out with
    parts: list[LivePart] = field(default_factory=list)  # its parts; empty until they are needed
    blocks: list[Block] = field(
        default_factory=list
    )  # all its blocks, in order; empty until they are needed
    heights: Heights = field(
        default_factory=Heights
    )  # height of each block with the blank row before it
    _rows: dict[tuple[object, ...], Block] = field(default_factory=dict)
    _retried_s: float = 0.0
    _until_s: float = inf

    @property
    def source(self) -> str:
        if self.is_streaming:
            return "".join(part.text for part in self.parts if part.kind in _SAID)
        return self.message.text if self.message else ""

    @property
    def is_changed(self) -> bool:
        """Whether it is shown in another way than its message alone would be."""
        return self.is_streaming or self.is_source or not self.is_folded or bool(self.left_out)

    @property
    def is_blank(self) -> bool:
        """Whether it has nothing to read: an answer without a word, whose calls follow."""
        return (
            self.has_tool_messages
            and self.message is not None
            and self.message.versions == 1
            and not (self.source + self.message.reasoning).strip()
        )

    @property
    def references(self) -> References:
        return next(
            (part.tail.references for part in reversed(self.parts) if part.kind is TextPart), {}
        )

    def forget(self) -> None:
        tails = (part.tail for part in self.parts)
        for block in chain(self.blocks, *(tail.closed + tail.open for tail in tails)):
            block.forget()
        self._rows.clear()
        self.heights.truncate(0)

    def unbuild(self) -> None:
        self.parts, self.blocks = [], []
        self._rows.clear()
        self.heights.truncate(0)

    def build(self, most_s: float = inf) -> int:
        """Make the list of blocks again; return the number of the first block that is new.

        Blocks of Markdown stay the same objects, and so do rows of the log that still say the same. After
        `most_s` of parsing, a row stands for the rest.
        """
        self.is_behind, self._until_s = False, thread_time() + most_s
        none = made(lambda _: []) if self.has_tool_messages else rule("")
        old, self.blocks = self.blocks, [*self._heads(), *self._body(), *self._foot()] or [none]
        pairs = enumerate(zip(old, self.blocks, strict=False))
        first = next(
            (at for at, (was, now) in pairs if was is not now), min(len(old), len(self.blocks))
        )
        self.heights.truncate(first)
        return first

    def parse(self, most_s: float) -> bool:
        """Parse more of the text, without new blocks; return whether there is still more."""
        until_s = thread_time() + most_s
        for part in self.parts:
            if part.is_behind:
                part.parse(until_s)
                return True
        return False

    def feed(self, delta: Delta) -> None:
        if not self.parts and self.message is not None:
            self.parts = _live_parts(self.message.parts, is_streaming=self.is_streaming)
        if isinstance(delta, ToolCallDelta):
            calls = (
                part
                for part in self.parts
                if part.kind is ToolCallPart and part.index == delta.index
            )
            part = next(calls, None) or self._new_part(LivePart(ToolCallPart, index=delta.index))
            part.name = part.name or delta.name
            part.chunks.append(delta.arguments)
        else:
            kind = _KINDS[type(delta)]
            is_same = bool(self.parts) and self.parts[-1].kind is kind
            part = self.parts[-1] if is_same else self._new_part(LivePart(kind))
            part.chunks.append(delta.text)

    def _new_part(self, part: LivePart) -> LivePart:
        if self.parts and self.parts[-1].kind is not ToolCallPart:  # calls go on while others come
            self.parts[-1].is_ended = True
        self.parts.append(part)
        return part

    def set_parts(self, parts: Iterable[Part]) -> None:
        """Take the parts of another form of the message; those with the same text keep their blocks."""
        known = {(part.kind, part.name, part.text): part for part in self.parts}
        self.parts = []
        for part in _live_parts(parts, is_streaming=self.is_streaming):
            keys = ((kind, part.name, part.text) for kind in (part.kind, TextPart, ReasoningPart))
            same = next((known.pop(key) for key in keys if key in known), part)
            if same.kind is not part.kind:
                same.kind = part.kind
                for block in same.tail.closed + same.tail.open:
                    block.is_thought = False
                    block.forget()
            self._new_part(same)
        if not self.is_streaming:
            for part in self.parts:
                part.is_ended = True

    def finish(self, message: ChatMessage) -> None:
        """Take the final form of the message."""
        self.is_streaming, self.message, self.turn, self.call = False, message, None, ""
        if self.parts:
            self.set_parts(message.parts)

    def set_figures(self, turn: Turn | None, now_s: float) -> None:
        """Take the figures of the running turn."""
        if turn is not None and (self.turn is None or turn.retry is not self.turn.retry):
            self._retried_s = now_s
        self.turn, self.now_s = turn, now_s
        self._rows.pop(_STATE, None)

    def _row(self, key: tuple[object, ...], make: Callable[[], Block]) -> Block:
        """Return a row of the log; the same block as long as it says the same."""
        if key not in self._rows:
            self._rows[key] = make()
        return self._rows[key]

    def _heads(self) -> list[Block]:
        heads = []
        if self.left_out:
            words = f"! {self.left_out} message{'' if self.left_out == 1 else 's'} left out"
            heads.append(self._row((words,), partial(rule, words, style="warning")))
        if self.switch:
            words = f"{safe_line(self.switch, limit=80)} answers from here"
            heads.append(self._row((words,), partial(rule, words)))
        return heads

    def _body(self) -> list[Block]:
        message = self.message
        if message is None:
            return [rule(self.note)]
        match message.role:
            case Role.SYSTEM:
                words = safe_line(message.text, limit=_SHORT)
                blocks = [rule(f"System prompt: {words}" if words else "No system prompt")]
                return (
                    blocks
                    if self.is_folded
                    else blocks + list(plain_blocks(safe_text(message.text)))
                )
            case Role.USER:
                return prompt_blocks(message, is_folded=self.is_folded)
            case Role.TOOL:
                if self.call == ASKS:
                    return _question_blocks(message, is_folded=self.is_folded)
                row = made(partial(call_lines, message, self.call, self.is_folded))
                return [row] if self.is_folded else [row, *_call_blocks(message)]
            case _:
                return self._answer(message)

    def _answer(self, message: ChatMessage) -> list[Block]:
        if not self.parts:
            self.parts = _live_parts(message.parts, is_streaming=self.is_streaming)
        if self.is_source:
            return list(plain_blocks(safe_text(self.source)))
        words, blocks = self._thought_words(), []
        for number, part in enumerate(self.parts):
            is_thought = part.kind is ReasoningPart
            if part.kind is ToolCallPart and self.has_tool_messages:
                continue
            if is_thought:
                row = partial(thought, words, is_folded=self.is_folded)
                blocks.append(self._row((number, words, self.is_folded), row))
            elif part.kind is RefusalPart:
                blocks.append(self._row((number,), partial(remark, "! refused", "warning")))
            elif part.kind is ToolCallPart:
                blocks.append(self._row((number, part.name), partial(tool_block, part.name)))
            if is_thought and self.is_folded:
                continue
            blocks += (own := part.blocks(self._until_s))
            for block in own if is_thought else ():
                block.is_thought = True
            self.is_behind = self.is_behind or part.is_behind
        if self.is_behind:
            blocks.append(self._row(("behind",), partial(remark, "…")))
        if (
            self.is_streaming
            and self.parts
            and self.parts[-1].kind in _SAID
            and self.parts[-1].tail.open
        ):
            self.parts[-1].tail.open[-1].has_cursor = True
        return blocks

    def _foot(self) -> list[Block]:
        if self.is_streaming:
            wait_s = self.turn.retry.wait_s if self.turn and self.turn.retry else 0.0
            retry_in_s = wait_s - (self.now_s - self._retried_s)
            return [
                self._row(
                    _STATE, partial(state_block, self.turn, self.now_s, retry_in_s=retry_in_s)
                )
            ]
        if self.message is None or self.message.role is not Role.ASSISTANT:
            return []
        if self.has_tool_messages and self.message.versions == 1:
            return []
        if self.message.state is AnswerState.STREAMING:  # no key stops it here
            return [remark("another lmchat is writing this")]
        return end_blocks(self.message)

    def _thought_words(self) -> str:
        if self.is_streaming:
            thought_s = self.turn.thought_s(self.now_s) if self.turn else None
            has_ended = self.turn is not None and self.turn.thought_to_s is not None
            if self.parts and self.parts[-1].kind is ReasoningPart and not has_ended:
                seconds = "" if thought_s is None else f" {max(thought_s, 0):.0f}{formatting.GAP}s"
                return f"Thinking…{seconds}"
        else:
            receipt = self.message.receipt if self.message else None
            thought_s = (
                receipt.reasoning_ms / 1e3 if receipt and receipt.reasoning_ms is not None else None
            )
        return "Thought" if thought_s is None else f"Thought for {formatting.elapsed(thought_s)}"


def likely_height(text: str, width: int) -> int:
    """Return the estimated height of a message."""
    return 3 + text.count("\n") + len(text) // width
