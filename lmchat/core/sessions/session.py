"""Sessions: header, path, branches, titles, tags, filter, groups by day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import takewhile

from msgspec import Struct, field

from lmchat.base.matching import folded
from lmchat.core.sessions.message import ChatMessage, FilePart, Role, text_message

_MAX_TAG_CHARS = 40
_MAX_TITLE_CHARS = 60
TRASH_DAYS = 30
MESSAGES_PER_READ = 64
"""Messages that are read at once: the newest before a session is shown, then the older ones."""
# by the kind of the `SearchHit`; a hit in the text of a message has no name
HIT_KIND_NAMES = {
    "reasoning": "thought",
    "tool_call": "tool call",
    "tool_result": "tool result",
    "title": "title",
    "file": "file",
}


class MessagePath(tuple[ChatMessage, ...]):
    """Messages from the root to a leaf, oldest first; or the newest of them."""

    __slots__ = ()

    def added(self, *messages: ChatMessage) -> MessagePath:
        return MessagePath((*self, *messages))

    def after(self, earlier: MessagePath) -> MessagePath:
        return MessagePath((*earlier, *self))

    def before(self, index: int) -> MessagePath:
        return MessagePath(self[:index])

    def replaced(self, message: ChatMessage) -> MessagePath:
        """Do nothing if no message has its id."""
        index = self.index_of(message.message_id)
        if index is None:
            return self
        return MessagePath((*self[:index], message, *self[index + 1 :]))

    def index_of(self, message_id: str) -> int | None:
        """Search from the end, where most changes are."""
        for index in reversed(range(len(self))):
            if self[index].message_id == message_id:
                return index
        return None

    def find(self, message_id: str) -> ChatMessage | None:
        index = self.index_of(message_id)
        return None if index is None else self[index]

    @property
    def last_answer_or_prompt(self) -> ChatMessage | None:
        """The message on which commands act."""
        for message in reversed(self):
            if message.role in (Role.ASSISTANT, Role.USER):
                return message
        return None

    def next_system(self, parent_id: str | None) -> list[ChatMessage]:
        """Copy a system prompt at the end, which was set for the next answer."""
        last = self[-1]
        is_set = last.role is Role.SYSTEM and not last.is_excluded
        return [text_message(Role.SYSTEM, last.text, parent_id=parent_id)] if is_set else []

    @property
    def last_calls(self) -> list[ChatMessage]:
        """Calls at the end of the path, oldest first."""
        backwards = takewhile(lambda message: message.role is Role.TOOL, reversed(self))
        return list(backwards)[::-1]

    @property
    def leaf_id(self) -> str | None:
        return self[-1].message_id if self else None


class SessionHeader(Struct, frozen=True, kw_only=True):
    """Header of a session, for the list."""

    session_id: str
    title: str
    created_at: datetime
    updated_at: datetime
    model: str = ""  # of the newest answer, on any branch; "" if not known
    endpoint: str = ""  # server of `model`
    message_count: int = 0  # on all branches
    is_pinned: bool = False
    is_archived: bool = False
    deleted_at: datetime | None = None  # None unless it can be restored
    parent_id: str | None = None  # session that this one was forked from
    tags: tuple[str, ...] = ()
    sampling: Mapping[str, object] = field(default_factory=dict)  # set by the user


class Skipped(Struct, frozen=True, kw_only=True, tag=True):
    """A part of a file that was not imported whole."""

    where: str
    reason: str


class Session(Struct, frozen=True, kw_only=True, tag=True):
    """A session with its active path."""

    header: SessionHeader
    messages: MessagePath = MessagePath()
    # message before the first one, where only the end of the path was read
    earlier_id: str | None = None
    # of all branches, oldest first; empty where only the path was read, or is all
    tree: tuple[ChatMessage, ...] = ()
    # content by digest, in exports and imports
    files: dict[str, bytes] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()  # what an import has left out

    @property
    def branch_messages(self) -> tuple[ChatMessage, ...]:
        if not self.tree:
            return ()
        path_ids = {message.message_id for message in self.messages}
        return tuple(message for message in self.tree if message.message_id not in path_ids)


def fits_filter(header: SessionHeader, typed: str) -> bool:
    """Each typed `#word` is the beginning of a tag; the other words are in the title."""
    words = folded(typed).split()
    tags = [f"#{folded(tag)}" for tag in header.tags]
    has_tags = all(
        any(tag.startswith(word) for tag in tags) for word in words if word.startswith("#")
    )
    title_part = " ".join(word for word in words if not word.startswith("#"))
    return has_tags and title_part in folded(header.title)


class SearchHit(Struct, frozen=True, kw_only=True):
    """Message or title that matches a search."""

    session_id: str
    title: str
    message_id: str  # empty for a title
    role: str  # a `Role`; empty for a title
    model: str  # for a title, that of the session
    created_at: datetime  # for a title, the last change of the session
    before: str  # text before the match, cut to some words
    match: str
    after: str
    kind: str = "text"  # `text`, or a key of `HIT_KIND_NAMES`
    words: tuple[str, ...] = ()  # that were searched, to mark them in the log

    @property
    def author(self) -> str:
        return "you" if self.role == Role.USER else self.model or self.role


def tags_from(text: str) -> tuple[str, ...]:
    """Return the words in small letters, each once, without `#` and commas; a long word is cut."""
    words = (word.strip("#,")[:_MAX_TAG_CHARS] for word in text.casefold().split())
    return tuple(dict.fromkeys(word for word in words if word))


def typed_title(text: str) -> str:
    return " ".join(text.split())


def title_from(prompt: str) -> str:
    """Return the first line with words, without Markdown, cut at the end of a word."""
    words_by_line = (line.lstrip("#>*-` \t").split() for line in prompt.splitlines())
    title_words = next(filter(None, words_by_line), ["Untitled"])
    title = " ".join(title_words)
    if len(title) <= _MAX_TITLE_CHARS:
        return title
    # room for `…`
    cut_title = title[: _MAX_TITLE_CHARS - 1].rsplit(" ", 1)[0]
    return cut_title.rstrip(" ,;:.") + "…"


def title_of(text: str, files: Sequence[FilePart]) -> str:
    return title_from(text or ", ".join(part.name for part in files))


class Branch(Struct, frozen=True, kw_only=True):
    """Messages of a tree up to the next fork: each is the only child of the one before."""

    messages: tuple[ChatMessage, ...]
    depth: int = 0  # forks above

    @property
    def branch_id(self) -> str:
        return self.messages[0].message_id

    @property
    def opening(self) -> ChatMessage:
        """The message that represents the branch in the tree."""
        for message in self.messages:
            if message.role is not Role.SYSTEM:
                return message
        return self.messages[0]


def branches(messages: Iterable[ChatMessage]) -> list[Branch]:
    """Return each branch before those that start at its end; older ones first.

    `messages` come oldest first. One whose parent is not among them starts a branch of depth 0.
    """
    by_id = {message.message_id: message for message in messages}
    children: defaultdict[str | None, list[ChatMessage]] = defaultdict(list)
    for message in by_id.values():
        parent_id = message.parent_id if message.parent_id in by_id else None
        children[parent_id].append(message)

    all_branches: list[Branch] = []
    # a stack, no recursion: a tree may be very deep
    unvisited = [(root, 0) for root in reversed(children[None])]
    while unvisited:
        first, depth = unvisited.pop()
        branch = [first]
        answers = children[first.message_id]
        while len(answers) == 1:  # at none or several, the branch ends
            branch += answers
            answers = children[branch[-1].message_id]
        all_branches.append(Branch(messages=tuple(branch), depth=depth))
        unvisited += [(message, depth + 1) for message in reversed(answers)]
    return all_branches


class SessionGroup(Struct, frozen=True, kw_only=True):
    """Sessions under one heading of the list."""

    name: str  # `Pinned`, `Today`, `Yesterday`, `October`, `November 2025`, …, `Archived`
    headers: tuple[SessionHeader, ...]


def group_by_day(headers: Iterable[SessionHeader], *, moment: datetime) -> tuple[SessionGroup, ...]:
    """Group sorted headers by the local day or month of their last change."""
    groups: dict[str, list[SessionHeader]] = {}
    for header in headers:
        if header.is_archived:
            name = "Archived"
        elif header.is_pinned:
            name = "Pinned"
        else:
            name = day_name(header.updated_at, moment=moment)
        groups.setdefault(name, []).append(header)
    return tuple(
        SessionGroup(name=name, headers=tuple(group_headers))
        for name, group_headers in groups.items()
    )


def day_name(time: datetime, *, moment: datetime) -> str:
    """A time in the future, as after a change of the clock, is “Today”."""
    day = time.astimezone().date()
    today = moment.astimezone().date()
    if day >= today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    return f"{day:%B}" if day.year == today.year else f"{day:%B %Y}"
