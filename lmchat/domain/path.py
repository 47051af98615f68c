"""A path of messages that costs little more than its text, however long: all but the newest are packed."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, chain
from sys import intern
from typing import overload

import msgspec

from lmchat.domain.message import ChatMessage, Role

_WIDE = "[^\0-\u2e7f]+"
"""CJK, emoji and their like, from U+2E80 on: about a token each. Compiled when text of them comes."""
_ASCII = bytes(range(128))


def raw_tokens(text: str) -> float:
    """Return 4 characters of ASCII, 2 of other letters, 1 of CJK and emoji each as one token."""
    if text.isascii():
        return len(text) / 4
    rest = text.encode(errors="surrogatepass").translate(None, _ASCII).decode(errors="surrogatepass")
    wide = len(rest) - len(re.sub(_WIDE, "", rest))
    return (len(text) - len(rest)) / 4 + (len(rest) - wide) / 2 + wide


def corrected(raw: float, factor: float) -> int:
    """Return an estimate as whole tokens; `factor` corrects for one model what its server counted."""
    return max(1, round(raw * factor)) if raw else 0


def estimate_tokens(text: str, *, factor: float = 1.0) -> int:
    """Estimate the tokens of a text."""
    return corrected(raw_tokens(text), factor)


STRETCH = 64
"""Messages that are packed together; one of them is read by unpacking all."""
_KEPT_UNPACKED = 4
"""Stretches that stay unpacked after somebody looked into them."""


class Stretch:
    """Some messages that follow each other, and what is asked of all of them without unpacking."""

    __slots__ = ("_open", "_packed", "chars", "counted", "line_ends", "models", "roles", "tokens")

    def __init__(self, messages: tuple[ChatMessage, ...], *, is_packed: bool) -> None:
        texts = [message.text for message in messages]
        self.roles = tuple(message.role for message in messages)
        self.models = tuple(intern(message.model) if _is_answer(message) else "" for message in messages)
        """Who answered; empty for what is no answer."""
        self.chars = array("Q", map(len, texts))
        self.line_ends = array("Q", [text.count("\n") for text in texts])
        self.tokens = array("d", map(raw_tokens, texts))
        """Estimates without correction; nothing only where there is no text."""
        self.counted = array("Q", map(_counted, messages))
        """Tokens of the talk up to an answer's end, as the server counted them; 0 where it did not."""
        self._packed = _packed(messages) if is_packed else b""
        self._open = () if self._packed else messages

    def __len__(self) -> int:
        return len(self.roles)

    @property
    def is_packed(self) -> bool:
        """Whether its messages take only what their text takes."""
        return bool(self._packed)

    @property
    def messages(self) -> tuple[ChatMessage, ...]:
        """All of them; quick where they were looked at a moment ago."""
        return _unpacked(self) if self._packed else self._open

    def unpack(self) -> tuple[ChatMessage, ...]:
        """Return all of them, for somebody who goes through all of the path."""
        return _decoder().decode(self._packed) if self._packed else self._open

    def place(self, message_id: str) -> int | None:
        """Return where a message stands in it."""
        if self._packed and message_id.encode(errors="replace") not in self._packed:
            return None
        for number, message in enumerate(self.messages):
            if message.message_id == message_id:
                return number
        return None


class MessagePath(Sequence[ChatMessage]):
    """Messages from the root to a leaf, or their newest part; never changes, each change is another path."""

    __slots__ = ("_ends", "_stretches")

    def __init__(self, messages: Iterable[ChatMessage] = ()) -> None:
        if isinstance(messages, MessagePath):
            self._take(messages._stretches)  # noqa: SLF001 - its own kind
        else:
            self._take(_stretches(tuple(messages)))

    def _take(self, stretches: Iterable[Stretch]) -> None:
        self._stretches = tuple(stretches)
        self._ends = list(accumulate(map(len, self._stretches), initial=0))

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> ChatMessage: ...

    @overload
    def __getitem__(self, index: slice) -> MessagePath: ...

    def __getitem__(self, index: int | slice) -> ChatMessage | MessagePath:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return MessagePath(list(self)[index]) if step != 1 else self._part(start, max(start, stop))
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(index)
        number = bisect_right(self._ends, place) - 1
        return self._stretches[number].messages[place - self._ends[number]]

    def __iter__(self) -> Iterator[ChatMessage]:
        return chain.from_iterable(stretch.unpack() for stretch in self._stretches)

    def __reversed__(self) -> Iterator[ChatMessage]:
        return chain.from_iterable(reversed(stretch.messages) for stretch in reversed(self._stretches))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as Python writes it: lists have none

    def __repr__(self) -> str:
        return f"<MessagePath of {len(self)}>"

    @classmethod
    def packed(cls, messages: Iterable[ChatMessage]) -> MessagePath:
        """Return a path of messages that nobody looks at yet."""
        few = tuple(messages)
        return _path([Stretch(few[at : at + STRETCH], is_packed=True) for at in range(0, len(few), STRETCH)])

    def added(self, *messages: ChatMessage) -> MessagePath:
        """Return the path with more messages at its end."""
        if not self._stretches or self._stretches[-1].is_packed:
            return _path((*self._stretches, *_stretches(messages)))
        last = (*self._stretches[-1].messages, *messages)
        return _path((*self._stretches[:-1], *_stretches(last)))

    def after(self, earlier: MessagePath) -> MessagePath:
        """Return the path with what stands before it."""
        return _path((*earlier._stretches, *self._stretches))

    def replaced(self, message: ChatMessage) -> MessagePath:
        """Return the path with a newer form of one of its messages; the same where it is not among them."""
        place = self.place(message.message_id)
        return self if place is None else self[:place].added(message).joined(self[place + 1 :])

    def joined(self, later: MessagePath) -> MessagePath:
        """Return the path with another behind it."""
        return later.after(self)

    def place(self, message_id: str) -> int | None:
        """Return where a message stands, the newest first; None where it is not on the path."""
        for number in range(len(self._stretches) - 1, -1, -1):
            place = self._stretches[number].place(message_id)
            if place is not None:
                return self._ends[number] + place
        return None

    def model_before(self, index: int) -> str:
        """Return the model of the last answer before a message; empty where none is named."""
        number = min(bisect_right(self._ends, index) - 1, len(self._stretches) - 1)
        while number >= 0:
            models = self._stretches[number].models[: max(index - self._ends[number], 0)]
            found = next(filter(None, reversed(models)), "")
            if found:
                return found
            number -= 1
        return ""

    def extents(self) -> Iterator[tuple[int, int]]:
        """Yield characters and line ends of every text."""
        return chain.from_iterable(zip(one.chars, one.line_ends, strict=True) for one in self._stretches)

    @property
    def roles(self) -> Iterator[Role]:
        """Who speaks, message by message."""
        return chain.from_iterable(stretch.roles for stretch in self._stretches)

    @property
    def tokens(self) -> Iterator[float]:
        """Estimates of all texts without correction; nothing only where there is no text."""
        return chain.from_iterable(stretch.tokens for stretch in self._stretches)

    def counts(self) -> Iterator[tuple[float, int, str]]:
        """Yield from the end on: estimate, tokens up to here as the server counted them or 0, the model."""
        for one in reversed(self._stretches):
            yield from zip(reversed(one.tokens), reversed(one.counted), reversed(one.models), strict=True)

    def _part(self, start: int, stop: int) -> MessagePath:
        parts = []
        for stretch, first, end in zip(self._stretches, self._ends, self._ends[1:], strict=False):
            if start <= first and end <= stop:
                parts.append(stretch)
            elif max(start, first) < min(stop, end):
                few = stretch.messages[max(start - first, 0) : stop - first]
                parts.append(Stretch(few, is_packed=False))
        return _path(parts)


def _path(stretches: Sequence[Stretch]) -> MessagePath:
    path = MessagePath()
    path._take(stretches)  # noqa: SLF001 - its own module
    return path


def _stretches(messages: tuple[ChatMessage, ...]) -> Iterator[Stretch]:
    """Yield messages as stretches; the newest stay as they are, since they are what is looked at."""
    start = 0
    while len(messages) - start > 2 * STRETCH:
        yield Stretch(messages[start : start + STRETCH], is_packed=True)
        start += STRETCH
    if start < len(messages):
        yield Stretch(messages[start:], is_packed=False)


@lru_cache(maxsize=_KEPT_UNPACKED)
def _unpacked(stretch: Stretch) -> tuple[ChatMessage, ...]:
    return stretch.unpack()


@lru_cache(maxsize=1)
def _decoder() -> msgspec.msgpack.Decoder[tuple[ChatMessage, ...]]:
    return msgspec.msgpack.Decoder(tuple[ChatMessage, ...])


def _packed(messages: tuple[ChatMessage, ...]) -> bytes:
    """Return messages as bytes; nothing where they have letters that UTF-8 has no form for."""
    try:
        return msgspec.msgpack.encode(messages)
    except UnicodeEncodeError:
        return b""


def _is_answer(message: ChatMessage) -> bool:
    return message.role is Role.ASSISTANT


def _counted(message: ChatMessage) -> int:
    receipt = message.receipt
    if not _is_answer(message) or receipt is None or receipt.is_estimated:
        return 0
    if receipt.prompt_tokens is None or receipt.completion_tokens is None:
        return 0
    return max(receipt.prompt_tokens + receipt.completion_tokens, 0)
