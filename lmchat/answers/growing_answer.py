"""The text of a running answer, built from the events of its stream.

`GrowingAnswer` returns the text of each event as values of the type `JournalEntry`, for the journal
of the running answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.servers.events import (
    ReasoningDelta,
    RefusalDelta,
    Rethought,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from lmchat.sessions.journal_entries import RESET, JournalEntry, parts_of
from lmchat.sessions.message import ChatMessage, Part, new_id


class GrowingAnswer:
    """Text of a running answer, and before it the text of `begun`, the answer that it continues.

    `begun` is None if the answer continues no other.
    """

    def __init__(self, begun: ChatMessage | None = None) -> None:
        self._texts: dict[str, list[str]] = {"reasoning": [], "text": [], "refusal": []}
        """Texts of the entries so far, by their kind: one of these, or a field of a tool call."""
        if begun is not None:
            self._texts["reasoning"] = [begun.reasoning]
            self._texts["text"] = [begun.text]  # which has its refusal too
        self._begun_text_count = len(self._texts["text"])
        """Number of texts from `begun`, 1 or 0: a `Rethought` changes only the texts after it."""

    def add(self, event: StreamEvent) -> tuple[JournalEntry, ...]:
        """Add the text of an event; return the entries for its journal.

        For an event without text there are none. A `Rethought`, which says that all text so far was
        reasoning, changes the kind of earlier entries. In that case, the entries are `RESET`, which
        drops the entries in the journal, and then all entries so far, each with its right kind.
        """
        match event:
            case TextDelta(text=text):
                return self._add_entries([("text", text)])
            case ReasoningDelta(text=text):
                return self._add_entries([("reasoning", text)])
            case RefusalDelta(text=text):
                return self._add_entries([("refusal", text)])
            case Rethought():
                self._move_text_to_reasoning()
                return (RESET, *self.entries)
            case ToolCallDelta():
                return self._add_entries(self._entries_of_call(event))
            case _:
                pass
        return ()

    def _move_text_to_reasoning(self) -> None:
        """Turn the text of this answer into reasoning, as a `Rethought` says that it was.

        The text of `begun`, which this answer continues, stays as it is.
        """
        texts = self._texts["text"]
        self._texts["reasoning"] += texts[self._begun_text_count :]
        del texts[self._begun_text_count :]

    def _entries_of_call(self, delta: ToolCallDelta) -> list[JournalEntry]:
        """Return an event of a tool call as entries: the next characters of its arguments.

        Before these come the id and the name, if the call has none yet. If the server gives no id,
        the call gets a new one. An entry may be empty, as `_add_entries` drops it: the name may
        come with a later event.
        """
        prefix = f"tool_call {delta.index}"
        entries: list[JournalEntry] = []
        if f"{prefix} id" not in self._texts:
            call_id = delta.call_id or f"call_{new_id()[:8]}"
            entries.append((f"{prefix} id", call_id))
        if f"{prefix} name" not in self._texts:
            entries.append((f"{prefix} name", delta.name))
        entries.append((f"{prefix} arguments", delta.arguments))
        return entries

    def _add_entries(self, entries: Sequence[JournalEntry]) -> tuple[JournalEntry, ...]:
        """Add the entries whose text is not empty, and return the added ones."""
        not_empty = tuple((kind, text) for kind, text in entries if text)
        for kind, text in not_empty:
            self._texts.setdefault(kind, []).append(text)
        return not_empty

    def text(self, *kinds: str) -> str:
        """Return the texts of the given kinds, joined: all of the first kind, then of the next."""
        return "".join("".join(self._texts[kind]) for kind in kinds)

    @property
    def entries(self) -> tuple[JournalEntry, ...]:
        """The answer as entries: one for each kind that has a text."""
        joined = ((kind, "".join(texts)) for kind, texts in self._texts.items())
        return tuple((kind, text) for kind, text in joined if text)

    @property
    def parts(self) -> tuple[Part, ...]:
        return parts_of(self.entries)
