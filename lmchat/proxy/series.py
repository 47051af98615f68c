"""Chunks that differ in one text only: from one token to the next most servers repeat all else."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from lmchat.proxy.json_values import encode
from lmchat.proxy.plain_chunks import leading, told_by

_each_text = Decoder(list[str]).decode
_QUOTE = b'"'
_ENOUGH = 8
"""Chunks that came together, from which on it pays to look for what they have in common."""


class Series:
    """Knows what the chunks of an answer have in common, as long as they have it."""

    def __init__(self) -> None:
        self._frame: Frame | None = None

    def told_by(self, payloads: Sequence[bytes], *, may_name: bool) -> list[tuple[bool, list[str]]]:
        """Return what chunks tell, as `told_by` of plain chunks does; nothing where they differ in more."""
        if len(payloads) < _ENOUGH:
            return []
        texts = self._frame.texts(payloads) if self._frame is not None else None
        if texts is None:
            self._frame = frame_of(payloads[0], may_name=may_name)
            texts = self._frame.texts(payloads) if self._frame is not None else None
        if texts is None or self._frame is None:
            return []
        return [(self._frame.is_thought, list(filter(None, texts)))]


class Frame(Struct, frozen=True):
    """What such chunks have in common."""

    before: bytes
    """A chunk up to the text, with its quotation mark."""
    after: bytes
    """What follows the text."""
    is_thought: bool
    """Whether it is thought."""

    def texts(self, payloads: Sequence[bytes]) -> list[str] | None:
        """Return the texts of chunks, None where they are not all of this frame."""
        start, end = len(self.before), -len(self.after)
        changes = [payload[start:end] for payload in payloads]
        framed = self.before + (self.after + self.before).join(changes) + self.after
        return _texts(changes) if framed == b"".join(payloads) else None


def frame_of(payload: bytes, *, may_name: bool) -> Frame | None:
    """Return the frame of a plain chunk, None where it cannot be told.

    Another text put in its place must be read as that text, else it stands elsewhere.
    """
    told = _told(payload, may_name=may_name)
    if told is None:
        return None
    is_thought, text = told
    before, _, after = payload.partition(encode(text))
    other = text + "?"
    if _told(before + encode(other) + after, may_name=may_name) != (is_thought, other):
        return None
    return Frame(before + _QUOTE, _QUOTE + after, is_thought)


def _told(payload: bytes, *, may_name: bool) -> tuple[bool, str] | None:
    """Return the one text of a plain chunk that tells no figures, as (is thought, text)."""
    chunks, _ = leading(iter([payload]), may_name=may_name)
    if not chunks or chunks[0].timings:
        return None
    told = told_by(chunks)
    return (told[0][0], told[0][1][0]) if len(told) == 1 else None


def _texts(changes: list[bytes]) -> list[str] | None:
    """Return what stands between quotation marks as texts; None where one of them is no text.

    Without a quotation mark within, as many texts as there are pieces can only be these pieces.
    """
    within = b"\n".join(changes)
    if _QUOTE in within:
        if b"\\\\" in within:
            return None
        within = within.replace(b'\\"', b"\\u0022")
    if _QUOTE in within:
        return None
    try:
        texts = _each_text(b'["%b"]' % within.replace(b"\n", b'","'))
    except (DecodeError, UnicodeDecodeError):
        return None
    return texts if len(texts) == len(changes) else None
