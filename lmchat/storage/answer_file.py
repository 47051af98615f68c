"""The file of a running answer: only ever appended to, and good up to wherever it ends.

A line of JSON says whose answer it is. Runs follow: a kind between two bytes 0xFF, which UTF-8 never holds,
and the text of that kind up to the next one. So a piece of text costs its own bytes and no more, where SQLite
would write a page.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from lmchat.domain.message import AnswerState, ChatMessage, Role
from lmchat.domain.turn import ANEW, Piece
from lmchat.files import read_plain
from lmchat.storage.rows import loaded, stored_time

log = logging.getLogger(__name__)

_FORMAT = 1
_MARK = b"\xff"
_WHOLE = "whole"
"""Ends what stands behind `ANEW`; without it that was cut off, and what stood before still holds."""
_MOST_BYTES = 1 << 28
"""More than any answer; a larger file stays where it is."""
_LONGEST_HEAD = 1 << 16
_LONGEST_ID = 150
_LONGEST_CHAR = 4


class Begun(Struct, frozen=True, kw_only=True):
    """Whose answer a file holds."""

    session_id: str
    """Its session."""
    message: ChatMessage
    """The answer, without what it says."""
    owner: str
    """The process that writes it."""


def answer_path(store: Path, message_id: str) -> Path:
    """Return where the text of an answer is kept while it arrives."""
    return store.with_name(f"{_prefix(store)}{quote(message_id, safe='')[:_LONGEST_ID]}")


def answer_paths(store: Path) -> Iterator[Path]:
    """Yield the files of all answers that arrive, or whose process was killed."""
    prefix = _prefix(store)
    with suppress(OSError):
        yield from sorted(path for path in store.parent.iterdir() if path.name.startswith(prefix))


def head_of(begun: Begun) -> bytes:
    """Return the line that a file begins with."""
    message = begun.message
    facts = {
        "lmchat": _FORMAT,
        "session_id": begun.session_id,
        "owner": begun.owner,
        "message_id": message.message_id,
        "parent_id": message.parent_id,
        "created_at": stored_time(message.created_at),
        "model": message.model,
        "endpoint": message.endpoint,
    }
    return json.dumps(facts).encode() + b"\n"


def runs_of(pieces: Iterable[Piece], kind: str) -> tuple[bytes, str]:
    """Return what to append after a run of a kind, and the kind of the last run then."""
    data = bytearray()
    is_anew = False
    for piece in pieces:
        is_anew = is_anew or piece == ANEW
        if piece[0] != kind or piece == ANEW:
            kind = piece[0]
            data += _marked(kind)
        data += piece[1].encode(errors="surrogatepass")
    if is_anew:
        data += _marked(_WHOLE)
        kind = _WHOLE
    return bytes(data), kind


def read_answer(path: Path) -> tuple[Begun | None, Sequence[Piece]]:
    """Return whose answer a file holds and what has come of it; nothing of either where it says nothing."""
    try:
        return load_answer(path)
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("the file of a running answer cannot be read: %s", error.strerror)
        return None, ()


def load_answer(path: Path) -> tuple[Begun | None, Sequence[Piece]]:
    """Return the same.

    Raises:
        OSError: it is not there, or cannot be read now: what it says is not known.
    """
    data = read_plain(path, limit=_MOST_BYTES)
    end = data.find(b"\n", 0, _LONGEST_HEAD)
    begun = _begun(data[:end]) if end >= 0 else None
    return begun, () if begun is None else _pieces(data[end + 1 :])


def _prefix(store: Path) -> str:
    return f"{store.name}-answer-"


def _marked(kind: str) -> bytes:
    return _MARK + kind.encode() + _MARK


def _begun(head: bytes) -> Begun | None:
    try:
        facts = json.loads(head)
        message = ChatMessage(
            message_id=str(facts["message_id"]),
            role=Role.ASSISTANT,
            parts=(),
            created_at=datetime.fromisoformat(facts["created_at"]),
            parent_id=None if facts["parent_id"] is None else str(facts["parent_id"]),
            state=AnswerState.STREAMING,
            model=str(facts["model"]),
            endpoint=str(facts["endpoint"]),
        )
        begun = Begun(session_id=str(facts["session_id"]), message=message, owner=str(facts["owner"]))
        _ensure_storable(begun)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return begun


def _ensure_storable(begun: Begun) -> None:
    """Fail where the sessions' file has no form for an id or a time, not at the start that adopts it."""
    message = begun.message
    for one in (begun.session_id, message.message_id, message.parent_id or ""):
        one.encode()
    stored_time(message.created_at)


def _pieces(body: bytes) -> Sequence[Piece]:
    """Read runs; one whose mark was cut off, and a new beginning without its end, are as if they were not."""
    _, *fields = body.split(_MARK)
    found: list[Piece] = []
    fresh: list[Piece] | None = None
    for kind, text in zip(fields[::2], fields[1::2], strict=False):
        name = kind.decode(errors="replace")
        if name == ANEW[0]:
            fresh = []
        elif name == _WHOLE:
            found, fresh = found if fresh is None else fresh, None
        else:
            (found if fresh is None else fresh).append((name, _decoded(text)))
    return found


def _decoded(text: bytes) -> str:
    """Read a text whose last character may be cut off, or whose end a power cut has left empty."""
    text = text.rstrip(b"\0") if text.endswith(b"\0\0\0\0") else text
    for cut in range(_LONGEST_CHAR):
        with suppress(UnicodeDecodeError):
            return text[: len(text) - cut].decode(errors="surrogatepass")
    return loaded(text)
