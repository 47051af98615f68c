"""A saved chat: its header, its path and its tree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from msgspec import Struct, field

from lmchat.domain.attached_files import AttachedFile, split_files
from lmchat.domain.message import ChatMessage, Role

_MAX_TAG_CHARS = 40
_MAX_TITLE_CHARS = 60
TRASH_DAYS = 30  # days for which a deleted session can be restored
MESSAGES_PER_READ = 64  # messages of a long session that are read together
HIT_KIND_NAMES = {
    "reasoning": "thought",
    "tool_call": "tool call",
    "tool_result": "tool result",
    "title": "title",
    "file": "file",
}
"""Names of what holds a `SearchHit`, by kind, where that is not the text."""


class MessagePath(tuple[ChatMessage, ...]):
    """Messages from the root to a leaf, or their newest part."""

    __slots__ = ()

    def added(self, *messages: ChatMessage) -> MessagePath:
        return MessagePath((*self, *messages))

    def after(self, earlier: MessagePath) -> MessagePath:
        return MessagePath((*earlier, *self))

    def replaced(self, message: ChatMessage) -> MessagePath:
        index = self.index_of(message.message_id)
        return self if index is None else MessagePath((*self[:index], message, *self[index + 1 :]))

    def index_of(self, message_id: str) -> int | None:
        for index, message in zip(range(len(self) - 1, -1, -1), reversed(self), strict=True):
            if message.message_id == message_id:
                return index
        return None


class SessionHeader(Struct, frozen=True, kw_only=True):
    """Header of a session, for the list."""

    session_id: str
    title: str
    created_at: datetime
    updated_at: datetime
    model: str = ""
    endpoint: str = ""
    message_count: int = 0
    is_pinned: bool = False
    is_archived: bool = False
    deleted_at: datetime | None = None
    parent_id: str | None = None
    tags: tuple[str, ...] = ()


class Session(Struct, frozen=True, kw_only=True):
    """A session with its chosen path."""

    header: SessionHeader
    messages: MessagePath = MessagePath()
    earlier_id: str | None = (
        None  # id of the message before the first one, where only the end was read
    )
    tree: tuple[
        ChatMessage, ...
    ] = ()  # all branches, oldest first; empty where only the path was read
    branch_names: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    """Content of attached files by digest, in exports and imports."""

    @property
    def branches(self) -> tuple[ChatMessage, ...]:
        shown = {message.message_id for message in self.messages} if self.tree else set()
        return tuple(message for message in self.tree if message.message_id not in shown)


class Skipped(Struct, frozen=True, kw_only=True):
    """A part of a file that was not imported whole."""

    where: str
    reason: str


class ListFilter(Struct, frozen=True, kw_only=True):
    """Filter of the list of sessions."""

    words: str = ""
    tags: tuple[str, ...] = ()  # beginnings of tags, all of which the session must have

    @classmethod
    def typed(cls, text: str) -> ListFilter:
        """Read a filter: `#word` is a tag, all else a part of the title."""
        found = text.casefold().split()
        return cls(
            words=" ".join(word for word in found if not word.startswith("#")),
            tags=tuple(word.removeprefix("#") for word in found if word.startswith("#")),
        )

    def fits(self, title: str, tags: Collection[str] = ()) -> bool:
        has_tags = all(_has_tag(tags, beginning) for beginning in self.tags)
        return has_tags and self.words in title.casefold()


def _has_tag(tags: Collection[str], beginning: str) -> bool:
    return any(tag.startswith(beginning) for tag in tags)


class SearchHit(Struct, frozen=True, kw_only=True):
    """A message that matches a search."""

    session_id: str
    title: str
    message_id: str  # empty where only the title matches
    role: str
    model: str
    created_at: datetime
    before: str
    match: str
    after: str
    kind: str = "text"  # `text`, or a key of `HIT_KIND_NAMES`
    tags: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def tags_from(text: str) -> tuple[str, ...]:
    """Read tags: words in small letters, each once, with `#` or without."""
    words = (word.strip("#,")[:_MAX_TAG_CHARS] for word in text.casefold().split())
    return tuple(dict.fromkeys(word for word in words if word))


def title_from(prompt: str) -> str:
    """Return the first line of a prompt, cut at a word, or the name of its first file."""
    pieces = split_files(prompt)
    typed = "\n".join(piece for piece in pieces if isinstance(piece, str))
    names = (piece.name for piece in pieces if isinstance(piece, AttachedFile))
    lines = (line.strip() for line in (*typed.splitlines(), *names))
    line = next((line for line in lines if line), "")
    line = " ".join(line.lstrip("#>*-` ").split()) or "Untitled"
    if len(line) <= _MAX_TITLE_CHARS:
        return line
    cut = line[: _MAX_TITLE_CHARS - 1].rsplit(" ", 1)[0]
    return cut.rstrip(" ,;:.") + "…"


class Branch(Struct, frozen=True, kw_only=True):
    """Messages that follow each other without a sibling."""

    messages: tuple[ChatMessage, ...]
    depth: int = 0

    @property
    def branch_id(self) -> str:
        return self.messages[0].message_id

    @property
    def opening(self) -> ChatMessage:
        """The first message that is not a system prompt, if any."""
        spoken = (message for message in self.messages if message.role is not Role.SYSTEM)
        return next(spoken, self.messages[0])


def branches(messages: Iterable[ChatMessage]) -> list[Branch]:
    """Return all branches of a tree, parents and older ones first."""
    tree = {message.message_id: message for message in messages}
    children: dict[str | None, list[ChatMessage]] = {}
    for message in tree.values():
        parent_id = message.parent_id if message.parent_id in tree else None
        children.setdefault(parent_id, []).append(message)

    found: list[Branch] = []
    waiting = [(head, 0) for head in reversed(children.get(None, ()))]
    while waiting:
        head, depth = waiting.pop()
        run = _run(head, children)
        found.append(Branch(messages=tuple(run), depth=depth))
        below = children.get(run[-1].message_id, ())
        waiting += [(child, depth + 1) for child in reversed(below)]
    return found


def _run(head: ChatMessage, children: dict[str | None, list[ChatMessage]]) -> Sequence[ChatMessage]:
    run = [head]
    while len(below := children.get(run[-1].message_id, [])) == 1:  # without a sibling
        run += below
    return run
