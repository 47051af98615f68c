"""One answer while its events arrive: text, stats, and probabilities of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic

from msgspec.structs import replace

from lmchat.core.answers.live_stats import LiveStats
from lmchat.core.servers.events import (
    ReasoningDelta,
    RefusalDelta,
    Rethought,
    StreamEvent,
    TextDelta,
    TokensChosen,
    ToolCallDelta,
)
from lmchat.core.servers.target import Target
from lmchat.core.sessions.journal_entries import RESET, JournalEntry, parts_of
from lmchat.core.sessions.message import AnswerState, ChatMessage, Part, new_id
from lmchat.core.sessions.tokens import TokenProbabilities, count_probabilities

_MAX_PROBABILITIES = 300_000
"""Of one answer, some 50 MB: 50,000 tokens with 5 alternatives each."""


class AnswerContent:
    """Text of a running answer behind that of `prefill`, which it continues."""

    def __init__(self, prefill: ChatMessage | None = None) -> None:
        self._texts: dict[str, list[str]] = {"reasoning": [], "text": [""], "refusal": []}
        """Pieces by their kind: one of these, or a field of a tool call."""
        if prefill is not None:
            self._texts["reasoning"] = [prefill.reasoning]
            self._texts["text"] = [prefill.text]  # with its refusal

    def add(self, event: StreamEvent) -> tuple[JournalEntry, ...]:
        """Return the entries for the journal."""
        match event:
            case TextDelta(text=text):
                return self._add_entries([("text", text)])
            case ReasoningDelta(text=text):
                return self._add_entries([("reasoning", text)])
            case RefusalDelta(text=text):
                return self._add_entries([("refusal", text)])
            case Rethought():
                continued, *new = self._texts["text"]
                self._texts["reasoning"] += new
                self._texts["text"] = [continued]
                return (RESET, *self.entries)
            case ToolCallDelta():
                return self._add_entries(self._entries_of_call(event))
            case _:
                pass
        return ()

    def _entries_of_call(self, delta: ToolCallDelta) -> Iterator[JournalEntry]:
        """The id is made if the server gives none; the name may come with a later event."""
        prefix = f"tool_call {delta.index}"
        if f"{prefix} id" not in self._texts:
            yield f"{prefix} id", delta.call_id or f"call_{new_id()[:8]}"
        if f"{prefix} name" not in self._texts:
            yield f"{prefix} name", delta.name
        yield f"{prefix} arguments", delta.arguments
        if delta.others:
            yield f"{prefix} others", f"{delta.others}\n"

    def _add_entries(self, entries: Iterable[JournalEntry]) -> tuple[JournalEntry, ...]:
        not_empty = tuple((kind, text) for kind, text in entries if text)
        for kind, text in not_empty:
            self._texts.setdefault(kind, []).append(text)
        return not_empty

    def text(self, *kinds: str) -> str:
        """Texts of the first kind come first."""
        return "".join("".join(self._texts[kind]) for kind in kinds)

    @property
    def entries(self) -> tuple[JournalEntry, ...]:
        joined = ((kind, "".join(texts)) for kind, texts in self._texts.items())
        return tuple((kind, text) for kind, text in joined if text)

    @property
    def parts(self) -> tuple[Part, ...]:
        return parts_of(self.entries)


class StreamedAnswer:
    """An answer as far as it has come."""

    def __init__(
        self,
        target: Target,
        *,
        max_tokens: int | None = None,
        prefill: ChatMessage | None = None,
        prefill_tokens: Sequence[TokenProbabilities] = (),
        clock: Callable[[], float] = monotonic,
        steps: int = 0,
    ) -> None:
        """`prefill` has the parts that it continues."""
        self.stats = LiveStats(
            model=target.model_id,
            started_s=clock(),
            steps=steps,
            product=target.product,
            context=target.context,
            max_tokens=max_tokens,
        )
        self.content = AnswerContent(prefill)
        self.tokens = list(prefill_tokens)
        self._prefill_count = len(prefill_tokens)  # a `Rethought` changes only tokens behind them
        self._probability_count = count_probabilities(prefill_tokens)
        self._clock = clock
        self.is_stuck = False  # whether lmchat has ended it, or its thought, as it repeated itself

    def add(self, event: StreamEvent) -> tuple[JournalEntry, ...]:
        """Return the entries for the journal."""
        self.stats.apply(event, self._clock())
        if isinstance(event, TokensChosen):
            self._probability_count += count_probabilities(event.choices)
            if self._probability_count <= _MAX_PROBABILITIES:  # else they take too much memory
                self.tokens += event.choices
        elif isinstance(event, Rethought):
            for index in range(self._prefill_count, len(self.tokens)):
                self.tokens[index] = replace(self.tokens[index], is_thought=True)
        return self.content.add(event)

    def so_far(self, message: ChatMessage) -> ChatMessage:
        # the server may have named another model
        return replace(message, parts=self.content.parts, model=self.stats.model)

    def end(self, state: AnswerState) -> None:
        self.stats.end(state, self._clock())
