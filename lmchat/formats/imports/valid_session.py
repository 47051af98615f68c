"""Sessions that files describe, made valid: in the form in which lmchat stores them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from datetime import datetime

from msgspec.structs import asdict, replace

from lmchat.errors import FileRefused
from lmchat.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    FilePart,
    Part,
    interrupted,
)
from lmchat.sessions.session import MessagePath, Session, SessionHeader, tags_from

_OWN_ID = re.compile(r"[0-9a-f]{16}")  # like `1f2e3d4c5b6a7980`
_ID_CHARS = 16
_LONGEST_TITLE = 1000  # characters; lists read titles whole
_LARGEST_FIGURE = 1e13  # of milliseconds (300 years), tokens, bytes or pixels


def valid_session(
    header: SessionHeader,
    tree: Collection[ChatMessage],
    end: str | None,
    files: dict[str, bytes],
    moment: datetime,
) -> Session:
    """Return a session as lmchat stores it; its path leads to `end`, or else to the last message.

    `tree` has all messages of the session, in any order, and `files` the content of attached files
    by digest. Ids of another form than lmchat's are replaced by their hashes, so the same file
    gives the same ids. In the tree of the session, parents are before their children. A running
    answer becomes an interrupted one, and a deleted session is not deleted any more. A long title
    is cut, and figures that are too large are left out. The time of the last change is at most
    `moment`, the current time. Raises `FileRefused` if ids are not unique or messages form a loop.
    """
    # the keys of all dictionaries are the ids in the file
    messages = {message.message_id: message for message in tree}
    if len(messages) < len(tree):
        raise FileRefused("Two of its messages have the same id.", hint="Export it again.")

    session_id = own_id(header.session_id)
    ids = {key: own_id(key, session_id) for key in messages}
    sound_by_id: dict[str, ChatMessage] = {}
    for key in parents_first({key: message.parent_id for key, message in messages.items()}):
        message = messages[key]
        if message.state is AnswerState.STREAMING:
            message = interrupted(message, "The session was exported")
        sound_by_id[key] = replace(
            message,
            message_id=ids[key],
            parent_id=ids.get(message.parent_id or ""),
            parts=tuple(map(_sound_part, message.parts)),
            stats=_sound_stats(message.stats),
        )

    path: list[ChatMessage] = []
    # without an `end`, the last message: as parents come first, nothing is below it
    above = end if end in sound_by_id else next(reversed(sound_by_id), None)
    while above in sound_by_id:
        path.append(sound_by_id[above])
        above = messages[above].parent_id

    header = replace(
        header,
        session_id=session_id,
        title=header.title[:_LONGEST_TITLE],
        tags=tags_from(" ".join(header.tags)),
        # A time in the future would keep the session on top of the list.
        updated_at=min(header.updated_at, moment),
        deleted_at=None,
        parent_id=None if header.parent_id is None else own_id(header.parent_id),
        message_count=len(sound_by_id),
    )
    return Session(
        header=header,
        messages=MessagePath(reversed(path)),
        # a tree is only needed if the path lacks messages of it
        tree=tuple(sound_by_id.values()) if len(path) < len(sound_by_id) else (),
        files=files,
    )


def own_id(file_id: str, session_id: str = "") -> str:
    """Return an id of lmchat's form, 16 hexadecimal digits, unchanged; any other id as a hash.

    `session_id` goes into the hash of a message's id, since two chats may have the same ids. Hashes
    must stay the same in all versions: otherwise files would be imported twice.
    """
    if _OWN_ID.fullmatch(file_id):
        return file_id
    text = f"{session_id} {file_id}" if session_id else file_id
    # `surrogatepass`: a text from JSON may have half of a surrogate pair
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_ID_CHARS]


def parents_first(parents: Mapping[str, str | None]) -> list[str]:
    """Return the keys of `parents` in an order in which each parent is before its children.

    Apart from that, their order stays. Raises `FileRefused` if they form a loop.
    """
    order: dict[str, None] = {}
    for key in parents:
        chain: dict[str, None] = {}  # the message and those above it that are not in the order yet
        above: str | None = key
        while above is not None and above in parents and above not in order:
            if above in chain:
                raise FileRefused("Its messages form a loop.", hint="Export it again.")
            chain[above] = None
            above = parents[above]
        order |= dict.fromkeys(reversed(chain))
    return list(order)


def _sound_part(part: Part) -> Part:
    """Return a part; if a figure of an attached file is too large, all become 0 (unknown)."""
    if isinstance(part, FilePart):
        figures = (part.size, part.width, part.height, part.tokens)
        if not all(map(_is_usual, figures)):
            return replace(part, size=0, width=0, height=0, tokens=0)
    return part


def _sound_stats(stats: AnswerStats | None) -> AnswerStats | None:
    """Return stats; None if any of their figures is too large to be shown."""
    if stats is None:
        return None
    figures = (value for value in asdict(stats).values() if isinstance(value, int | float))
    return stats if all(map(_is_usual, figures)) else None


def _is_usual(figure: float) -> bool:
    """Return whether a figure can be shown; NaN cannot, as it is not smaller than any number."""
    return abs(figure) < _LARGEST_FIGURE
