"""What the log knows of a message, and the rows that it says itself around its words."""

from __future__ import annotations

from msgspec import Struct, field

from lmchat.domain.message import ChatMessage, ReasoningPart, RefusalPart, Role, TextPart
from lmchat.domain.turn import Turn
from lmchat.text import safe_line, safe_text
from lmchat.tui import formatting
from lmchat.tui.widgets.chat_log.blocks import Block, plain_blocks
from lmchat.tui.widgets.chat_log.document.heights import Heights
from lmchat.tui.widgets.chat_log.document.parts import LivePart
from lmchat.tui.widgets.chat_log.layout.furniture import elsewhere_block, end_blocks, rule, state_block

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
