"""A message of the log as blocks, while it may still grow.

An answer has parts (text, reasoning, refusal, call), to which deltas add text. A row is a block
that the log itself writes, such as a state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain

from msgspec import Struct, field

from lmchat.app.commands.table import TOOL_CHOICES
from lmchat.app.markdown_lines.block import Block, Kind, custom_block
from lmchat.app.markdown_lines.incremental import IncrementalMarkdown
from lmchat.app.tui.chat_log.excerpt import MOST_COST, excerpt_of, is_long, layout_cost
from lmchat.app.tui.chat_log.heights import Heights
from lmchat.app.tui.chat_log.log_blocks import (
    Thought,
    call_lines,
    call_texts,
    end_blocks,
    gap_block,
    marked_code,
    name_lines,
    prompt_blocks,
    question_blocks,
    remark_block,
    rule_block,
    shown_plainly,
    state_lines,
    thought_block,
    tool_block,
)
from lmchat.base import units
from lmchat.base.markdown.commonmark import References
from lmchat.base.safe_text import safe_line, with_line_feeds
from lmchat.base.units import counted
from lmchat.core.answers.live_stats import LiveStats
from lmchat.core.servers.events import ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from lmchat.core.sessions.message import (
    NOT_SENT,
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

# of the call about which the user decides: no answer is chosen, or that with this command
CARD_STATES = ("asks", *TOOL_CHOICES)
_PROMPT_CHARS = 300  # shown of a folded system prompt
# how blocks other than paragraphs start
_OTHER_BLOCK = (
    r"\n*(?:\t| {4}| {0,3}(?:[#>|<]|[-+*](?=\s|$)|\d{1,9}[.)](?=\s|$)|`{3}|~{3}|\$\$|\\\[)"
    r"|[ \t]*([-*_])(?:[ \t]*\1){2,}[ \t]*(?:\n|$)"
    r"|[^\n]+\n[ \t|:]*(?:-{2}|={2})[-|: \t=]*(?:\n|$))"
)
_TEXT_KINDS = (TextPart, RefusalPart)  # the text of an answer

Delta = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta
_PART_OF_DELTA: dict[type[Delta], type[Part]] = {
    TextDelta: TextPart,
    ReasoningDelta: ReasoningPart,
    RefusalDelta: RefusalPart,
}


class LivePart(Struct):
    """Part of a message with its blocks; new text is parsed when they are needed."""

    kind: type[Part]
    chunks: list[str] = field(default_factory=list)  # its text, or the arguments of a call
    # arguments are parsed as code
    markdown: IncrementalMarkdown = field(default_factory=IncrementalMarkdown)
    name: str = ""  # of the tool
    call_index: int = 0  # among the calls of the answer
    is_ended: bool = False  # no more text follows
    # the beginning of a long text, and the row for its middle
    blocks_above: list[Block] = field(default_factory=list)
    _layout_cost: int = 0
    _parsed_chunks: int = 0
    _is_final: bool = False  # its end was parsed, too

    @property
    def text(self) -> str:
        return "".join(self.chunks)

    @property
    def blocks(self) -> list[Block]:
        """The blocks that were parsed last."""
        return self.blocks_above + self.markdown.closed + self.markdown.open

    def written(self, start: int, end: int) -> str:
        """Return its text from the `start` of a block to the `end` of one."""
        return with_line_feeds(self.text)[start:end]

    def update_blocks(self) -> list[Block]:
        text = "".join(self.chunks[self._parsed_chunks :])
        if text:
            is_started = self._parsed_chunks > 0
            self.chunks[self._parsed_chunks :] = [text]  # one chunk for hundreds of tokens
            self._parsed_chunks = len(self.chunks)
            if not is_started and is_long(text):
                # the beginning is put above, and only the end is parsed
                language = "json" if self.kind is ToolCallPart else None
                self.blocks_above, self.markdown, text = _excerpt_parts(text, language)
            elif not is_started and self.kind is ToolCallPart:
                self.markdown.open_code("json")
            self._layout_cost += layout_cost(text)
        if text or self._is_final != self.is_ended:
            self.markdown.feed(text, is_final=self.is_ended)
            self._is_final = self.is_ended
        return self.blocks

    def forget_if_long(self) -> bool:
        """Forget blocks that are too much work to lay out again; return whether they were.

        A text that streams is shown as a whole, so that it does not move while it is read. The next
        blocks are those of its beginning and its end.
        """
        if self._layout_cost <= MOST_COST:
            return False
        self.markdown = IncrementalMarkdown()
        self.blocks_above = []
        self._layout_cost = self._parsed_chunks = 0
        self._is_final = False
        return True


def _live_parts(parts: Iterable[Part], *, is_streaming: bool) -> list[LivePart]:
    """Leave files out; neighbours of one kind become one part."""
    live_parts: list[LivePart] = []
    call_index = 0
    for part in parts:
        if isinstance(part, FilePart):
            continue
        if isinstance(part, ToolCallPart):
            call = LivePart(ToolCallPart, [part.arguments], name=part.name, call_index=call_index)
            live_parts.append(call)
            call_index += 1
        elif live_parts and live_parts[-1].kind is type(part):
            live_parts[-1].chunks.append(part.text)
        else:
            live_parts.append(LivePart(type(part), [part.text]))

    for live in live_parts:
        may_grow = live is live_parts[-1] or live.kind is ToolCallPart
        live.is_ended = not (is_streaming and may_grow)
    return live_parts


def _code_blocks(text: str, language: str) -> list[Block]:
    above: list[Block] = []
    if is_long(text):
        above, markdown, text = _excerpt_parts(text, language)
    else:
        markdown = IncrementalMarkdown()
        markdown.open_code(language)
    markdown.feed(text, is_final=True)
    return above + markdown.closed


def _excerpt_parts(text: str, language: str | None) -> tuple[list[Block], IncrementalMarkdown, str]:
    """Cut a long text into blocks of its beginning, and a parser and text of its end.

    The row for its middle is the last block. With `language`, it is code.
    """
    text = with_line_feeds(text)
    excerpt = excerpt_of(text)
    context = excerpt.context if language is None else ""
    beginning = IncrementalMarkdown()
    end_start = len(text) - len(context + excerpt.end)
    end = IncrementalMarkdown(references=beginning.references, start=end_start)
    if language is not None:
        beginning.open_code(language)
        end.open_code(language)
    beginning.feed(excerpt.beginning, is_final=True)
    gap = gap_block(excerpt.middle)
    gap.start = len(excerpt.beginning)
    gap.end = gap.start + len(excerpt.middle)
    return [*beginning.closed, gap], end, context + excerpt.end


_NO_HEIGHTS = Heights()
_STATE = ("state",)  # key in `_cached_rows` of the row below a running answer


class Entry(Struct, gc=False):
    """A message and how it is shown; blocks are made when it comes near the screen."""

    message: ChatMessage
    name: str = ""  # of its model; "" behind calls of its turn
    is_switch: bool = False  # another model has answered before
    is_last: bool = False
    left_out: int = 0  # messages before it that the next request leaves out
    is_streaming: bool = False
    is_collapsed: bool = True  # reasoning, a system prompt or a call is one row
    is_source: bool = False  # without Markdown
    call_state: str = ""  # of a running call: one of `CARD_STATES`, or the words of its row
    has_call_messages: bool = False  # each of its calls has a message below
    live_stats: LiveStats | None = None  # of the running turn
    now_s: float = 0.0  # monotonic time of these stats
    thought_hint: str = ""  # key that ends the streaming thought, if one can
    parts: Sequence[LivePart] = ()  # empty until needed
    blocks: Sequence[Block] = ()  # empty until needed
    # Of the laid out blocks, which are the first ones, with the blank row above. Most messages of a
    # long session never get any: the list is made with the first blocks.
    heights: Heights = _NO_HEIGHTS
    # rows of the log, by what they say; None until there are any, to save memory
    _cached_rows: dict[tuple[object, ...], Block] | None = None

    @property
    def source(self) -> str:
        """The text as it was written, without reasoning and calls."""
        if self.is_streaming:
            return "".join(part.text for part in self.parts if part.kind in _TEXT_KINDS)
        return self.message.text

    @property
    def texts(self) -> list[str]:
        """All texts in which hits are counted, with calls that have no messages."""
        if self.is_streaming:
            return [part.text for part in self.parts]
        texts: list[str] = []
        for part in self.message.parts:
            if isinstance(part, ToolCallPart):
                if not self.has_call_messages:
                    texts.append(part.arguments)
            elif not isinstance(part, FilePart):
                texts.append(part.text)
        return texts

    @property
    def is_blank(self) -> bool:
        """Whether it is an answer without text, name or versions; its calls have messages below."""
        if not self.has_call_messages or self.name or self.message.versions > 1:
            return False
        return not (self.source + self.message.reasoning).strip()

    @property
    def references(self) -> References:
        """Link definitions (`[name]: address`) of all text parts; the first of a name counts."""
        found = [part.markdown.references for part in self.parts if part.kind is TextPart]
        if len(found) == 1:
            return found[0]
        return {name: target for part in reversed(found) for name, target in part.items()}

    def part_of(self, block: Block) -> LivePart | None:
        """Return the part that a block is parsed from; None for rows of the log and plain text."""
        parts = (part for part in self.parts if any(own is block for own in part.blocks))
        return next(parts, None)

    def forget(self) -> None:
        # also of blocks in parts only, such as folded reasoning
        for block in chain(self.blocks, *(part.blocks for part in self.parts)):
            block.lines = None
        self._cached_rows = None
        self.heights.truncate(0)
        for part in self.parts:
            if part.forget_if_long():
                self.blocks = ()

    def build(self) -> int:
        """Make the list of blocks again; return the number of the first new one.

        Blocks of Markdown stay the same objects, and so do rows that say the same. Heights are
        dropped from the first new block on.
        """
        if not self.blocks:
            self.heights = Heights()
        blocks = [*self._body_blocks(), *self._rows_below()]
        if self.left_out:
            text = f"! {counted(self.left_out, 'message')} left out"
            blocks.insert(0, self._cached(rule_block(text, style="warning"), text))
        if self.message.is_excluded and not self.is_blank:
            blocks.append(self._cached(remark_block(NOT_SENT, is_attached=True), NOT_SENT))
        # Each entry needs a block: without one, it would count as not built, and no position could
        # be in it. An answer whose calls have messages gets one without rows.
        if not blocks:
            blocks = [custom_block(lambda _: [])]
        first = 0
        for old, new in zip(self.blocks, blocks, strict=False):
            if old is not new:
                break
            first += 1
        self.blocks = blocks
        self.heights.truncate(first)
        return first

    def feed(self, delta: Delta) -> None:
        """Add streamed text to the last part, or to a new one of another kind.

        A piece of a call goes to the part of that call. If an answer is continued, the parts of its
        message are made first.
        """
        if not self.parts:
            self.set_parts(self.message.parts)
        if isinstance(delta, ToolCallDelta):
            calls = (call for call in self.parts if call.kind is ToolCallPart)
            part = next((call for call in calls if call.call_index == delta.index), None)
            if part is None:
                part = LivePart(ToolCallPart, call_index=delta.index)
                self._add_part(part)
            part.name = part.name or delta.name  # only the first pieces have it
            part.chunks.append(delta.arguments)
            return
        kind = _PART_OF_DELTA[type(delta)]
        if not self.parts or self.parts[-1].kind is not kind:
            self._add_part(LivePart(kind))
        self.parts[-1].chunks.append(delta.text)

    def _add_part(self, part: LivePart) -> None:
        """End the part before it, unless that is a call: several calls may stream."""
        if self.parts and self.parts[-1].kind is not ToolCallPart:
            self.parts[-1].is_ended = True
        self.parts = [*self.parts, part]

    def show_stats(self, stats: LiveStats | None, now_s: float, thought_hint: str) -> None:
        self.live_stats = stats
        self.now_s = now_s
        self.thought_hint = thought_hint
        if self._cached_rows is not None:
            self._cached_rows.pop(_STATE, None)

    def set_parts(self, parts: Iterable[Part]) -> None:
        """Take another form of the message; equal parts keep their blocks."""
        old_parts = {(part.kind, part.name, part.text): part for part in self.parts}
        self.parts = _live_parts(parts, is_streaming=self.is_streaming)
        for number, part in enumerate(self.parts):
            # two parts may have the same text
            known = old_parts.pop((part.kind, part.name, part.text), part)
            known.is_ended = part.is_ended
            self.parts[number] = known

    def set_message(self, message: ChatMessage) -> None:
        self.is_streaming = False
        self.message = message
        self.live_stats = None
        self.call_state = ""
        if self.parts:
            self.set_parts(message.parts)
            for part in self.parts:
                part.update_blocks()  # a definition may be in a last line without an end
        # a definition may have come after lines with its link
        if self.references:
            self.forget()

    def _cached(self, block: Block, *key: object) -> Block:
        """Keep a row under a key the first time, and return it from then on.

        The key says what it shows, and of which part. The same object need not be laid out again.
        """
        if self._cached_rows is None:
            self._cached_rows = {}
        return self._cached_rows.setdefault(key, block)

    def _body_blocks(self) -> list[Block]:
        message = self.message
        match message.role:
            case Role.SYSTEM:
                text = safe_line(message.text, limit=_PROMPT_CHARS)
                blocks = [rule_block(f"System prompt: {text}" if text else "No system prompt")]
                if not self.is_collapsed:
                    blocks += shown_plainly(message.text)
                return blocks
            case Role.USER:
                return prompt_blocks(message)
            case Role.TOOL:
                if self.call_state in CARD_STATES:  # the card has the arguments, also while folded
                    codes = call_texts(message)
                    pieces = [_code_blocks(marked_code(code), code.language) for code in codes]
                    return question_blocks(message, list(chain(*pieces)), self.call_state)
                blocks = [
                    custom_block(partial(call_lines, message, self.call_state, self.is_collapsed))
                ]
                if not self.is_collapsed:
                    for code in call_texts(message):
                        blocks.append(remark_block(code.heading))
                        blocks += _code_blocks(code.text, code.language)
                    blocks += [remark_block(file.label) for file in message.files]
                return blocks
            case _:  # `Role.ASSISTANT`
                return self._answer_blocks(message)

    def _answer_blocks(self, message: ChatMessage) -> list[Block]:
        """Return only its name and its plain text if it is shown as source."""
        if not self.parts:
            self.set_parts(message.parts)
        blocks: list[Block] = []
        thought: Thought | None = None
        if self.name:
            if self.parts and self.parts[0].kind is ReasoningPart and not self.is_source:
                thought = self._thought()
            row = custom_block(partial(name_lines, self.name, thought, self.is_switch))
            blocks.append(self._cached(row, self.name, thought, self.is_switch))
        if self.is_source:
            plain = list(shown_plainly(self.source))
            plain[0].is_attached = bool(blocks)
            return blocks + plain
        for number, part in enumerate(self.parts):
            part_blocks = self._part_blocks(number, part, has_head=thought is None or number > 0)
            if part.kind is TextPart and part_blocks:
                # the first paragraph belongs to the name above
                part_blocks[0].is_attached = len(blocks) == 1 and _starts_paragraph(part_blocks[0])
            blocks += part_blocks
        last_part = self.parts[-1] if self.parts else None
        if self.is_streaming and last_part is not None and last_part.kind in _TEXT_KINDS:
            open_blocks = last_part.markdown.open
            if open_blocks:  # made again with the next text, without the cursor
                open_blocks[-1].has_cursor = True
        return blocks

    def _part_blocks(self, number: int, part: LivePart, *, has_head: bool) -> list[Block]:
        """Return a row that says what a part is, and its blocks.

        Text has no such row, folded reasoning nothing else. Without `has_head`, the row with the
        model's name has the words of the reasoning.
        """
        if part.kind is ToolCallPart and self.has_call_messages:
            return []
        if part.kind is TextPart:
            return part.update_blocks()
        if part.kind is RefusalPart:
            head = self._cached(remark_block("! refused", "warning"), number)
        elif part.kind is ToolCallPart:
            head = self._cached(tool_block(part.name), number, part.name)
        else:
            thought = self._thought()
            head = self._cached(thought_block(thought), number, thought)
            if self.is_collapsed:
                return [head] if has_head else []
        blocks = part.update_blocks()
        for block in blocks:
            block.is_thought = part.kind is ReasoningPart
        if not has_head:
            blocks[0].is_attached = True
            return blocks
        return [head, *blocks]

    def _rows_below(self) -> list[Block]:
        """Return state, stats, or the card of its failure."""
        if self.is_streaming:
            row = custom_block(partial(state_lines, self.live_stats, self.now_s))
            return [self._cached(row, *_STATE)]
        if self.message.role is not Role.ASSISTANT:
            return []
        if self.has_call_messages and self.message.versions == 1:
            # the stats are below the last answer of the turn; versions need a row to switch them
            return []
        # another lmchat writes it: no key here stops it
        if self.message.state is AnswerState.STREAMING:
            return [remark_block("another lmchat is writing this")]
        return end_blocks(self.message, is_last=self.is_last)

    def _thought(self) -> Thought:
        """Return the words of a thought, and the key that ends it.

        The time is that of all thoughts of the answer, so each has the same words. While the model
        thinks, the row below the answer has a clock.
        """
        if self.is_streaming and self.parts[-1].kind is ReasoningPart:
            return Thought("thinking", self.thought_hint, self.is_collapsed)
        stats = self.live_stats or self.message.stats
        label = "thought"
        if stats is not None and stats.reasoning_ms is not None:
            label = f"thought for {units.elapsed(stats.reasoning_ms / 1e3)}"
        return Thought(label, "", self.is_collapsed)


def _starts_paragraph(block: Block) -> bool:
    """Judge by the first line only."""
    return block.kind is Kind.MARKDOWN and re.match(_OTHER_BLOCK, block.source) is None


def is_streaming_answer(message: ChatMessage) -> bool:
    """Whether any lmchat is still writing this answer."""
    return message.role is Role.ASSISTANT and message.state is AnswerState.STREAMING
