"""The messages of a log as entries; one that nobody has looked at is only its message, packed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from lmchat.domain.message import ChatMessage, Role, ToolCallPart
from lmchat.domain.path import STRETCH, MessagePath
from lmchat.tui.widgets.chat_log.document.entry import Entry, likely_heights

Searched = tuple[int, list[str], bool]
"""A message, the texts of its parts, and whether they are shown as they were written."""
_NOTICE = ChatMessage(message_id="", role=Role.SYSTEM, parts=(), created_at=datetime.min.replace(tzinfo=UTC))
"""Stands in the path for a notice, which stays an entry."""
_TOGETHER_CHARS = 30_000
"""Messages are looked through together until they are so long."""


class Entries:
    """A path of messages that are made into entries one by one, and a list of what came lately."""

    def __init__(self, path: MessagePath | None = None) -> None:
        self._path = path or MessagePath()
        self._made: dict[int, Entry] = {}
        self._later: list[Entry] = []

    def __len__(self) -> int:
        return len(self._path) + len(self._later)

    def __getitem__(self, index: int) -> Entry:
        place = index + len(self) if index < 0 else index
        if place >= len(self._path):
            return self._later[place - len(self._path)]
        entry = self._made.get(place)
        if entry is None:
            message = self._path[place]
            entry = self._made[place] = Entry(message, switch=switch(self._path.model_before(place), message))
        return entry

    def append(self, entry: Entry) -> None:
        """Add one at the end; what came long before it is packed."""
        self._later.append(entry)
        if len(self._later) > 3 * STRETCH:
            self._pack(self._later[:STRETCH])

    def _pack(self, oldest: list[Entry]) -> None:
        """Put the oldest of the list at the end of the path, up to what is still on its way."""
        messages: list[ChatMessage] = []
        for entry in oldest:
            if entry.is_open:
                break
            if entry.message is None or entry.is_built or entry.is_changed:
                self._made[len(self._path) + len(messages)] = entry
            messages.append(entry.message or _NOTICE)
        self._path = self._path.joined(MessagePath.packed(messages))
        del self._later[: len(messages)]

    def prepend(self, earlier: MessagePath) -> list[int]:
        """Put what was read later before all; return which of the first ones look different now."""
        count = len(earlier)
        self._path = self._path.after(earlier)
        self._made = {index + count: entry for index, entry in self._made.items()}
        changed = []
        for index, entry in self.made():
            was, entry.switch = entry.switch, self.switch_at(index)
            changed += [index] if entry.switch != was else []
        return changed

    def made(self) -> Iterator[tuple[int, Entry]]:
        """Yield those that are more than a message by now."""
        yield from self._made.items()
        yield from enumerate(self._later, len(self._path))

    def index(self, entry: Entry) -> int | None:
        """Return where an entry is; None where it is not among these any more."""
        return next((index for index, one in self.made() if one is entry), None)

    @property
    def first_id(self) -> str:
        """The id of the first message; empty where there is none."""
        message = self[0].message if len(self) else None
        return message.message_id if message else ""

    @property
    def made_count(self) -> int:
        """How many of the path are more than a message."""
        return len(self._made)

    def likely_heights(self, width: int) -> list[int]:
        """Return the heights that all may have."""
        return likely_heights(self._path.extents(), width) + [entry.estimate(width) for entry in self._later]

    def texts(self, index: int) -> list[str]:
        """Return all that a search looks through in one: thoughts and calls, too."""
        if index < len(self._path) and index not in self._made:
            return texts_of(self._path[index])
        entry = self[index]
        if entry.is_open:
            return [part.text for part in entry.parts]
        return texts_of(entry.message) if entry.message else []

    def searched(self, first: int) -> Iterator[Searched]:
        """Yield all with what a search looks through, from one on, and then those before it."""
        count = len(self._path)
        yield from self._searched(first, count)
        for index in range(count, len(self)):
            yield index, self.texts(index), self.is_plain(index)
        yield from self._searched(0, min(first, count))

    def _searched(self, start: int, stop: int) -> Iterator[Searched]:
        for index, message in enumerate(self._path[start:stop], start):
            texts = self.texts(index) if index in self._made else texts_of(message)
            yield index, texts, self.is_plain(index) if index in self._made else _is_plain(message)

    def is_plain(self, index: int) -> bool:
        """Whether one is shown as it was written, and not as Markdown."""
        entry = self.known(index)
        if entry is None:
            return _is_plain(self._path[index])
        return entry.is_source or (entry.message is not None and _is_plain(entry.message))

    def source(self, index: int) -> str:
        """Return what is said in one."""
        is_plain = index < len(self._path) and index not in self._made
        return self._path[index].text if is_plain else self[index].source

    def known(self, index: int) -> Entry | None:
        """Return one that is more than a message by now."""
        return self._made.get(index) if index < len(self._path) else self[index]

    def is_message(self, index: int) -> bool:
        """Whether one is more than a notice."""
        entry = self.known(index)
        return entry is None or entry.message is not None

    def message_from(self, index: int, step: int) -> int | None:
        """Return the next message from a place on, in steps of 1 or -1; notices are passed over."""
        while 0 <= index < len(self):
            if self.is_message(index):
                return index
            index += step
        return None

    def place(self, message_id: str) -> int | None:
        """Return where a message is, the newest first."""
        for number in range(len(self._later) - 1, -1, -1):
            message = self._later[number].message
            if message is not None and message.message_id == message_id:
                return len(self._path) + number
        return self._path.place(message_id)

    def model_before(self, index: int) -> str:
        """Return the model of the last answer before an entry."""
        for number in range(min(index, len(self)) - len(self._path) - 1, -1, -1):
            message = self._later[number].message
            if message is not None and (model := model_of(message)):
                return model
        return self._path.model_before(min(index, len(self._path)))

    def switch_at(self, index: int) -> str:
        """Return the model that answers from an entry on, empty where it is the same as before."""
        message = self[index].message
        return switch(self.model_before(index), message) if message else ""

    def replace(self, index: int, message: ChatMessage) -> None:
        """Let an entry show another value of its message."""
        entry = self[index]
        entry.message = message
        if index < len(self._path):
            self._path = self._path.replaced(message)
        entry.switch = self.switch_at(index)

    def forget(self, kept: int) -> bool:
        """Let those that were made first be messages again, all but so many; return whether any was."""
        old = list(self._made.items())[: max(len(self._made) - kept, 0)]
        plain = [index for index, entry in old if entry.message and not entry.is_changed]
        for index in plain:
            del self._made[index]
        return bool(plain)


def texts_of(message: ChatMessage) -> list[str]:
    """Return all that a message holds, part by part."""
    return [part.arguments if isinstance(part, ToolCallPart) else part.text for part in message.parts]


def _is_plain(message: ChatMessage) -> bool:
    return message.role is not Role.ASSISTANT


def model_of(message: ChatMessage) -> str:
    """Return who answered; empty for what is no answer."""
    return message.model if message.role is Role.ASSISTANT else ""


def switch(previous: str, message: ChatMessage) -> str:
    """Return the model that answers from here on, empty where it is the same as before."""
    model = model_of(message)
    return model if previous and model != previous else ""


def together(messages: Iterable[Searched]) -> Iterator[list[Searched]]:
    """Yield some messages at a time: most hold nothing, and that is seen of all of them at once."""
    some: list[Searched] = []
    size = 0
    for one in messages:
        some.append(one)
        size += sum(map(len, one[1]))
        if size > _TOGETHER_CHARS:
            yield some
            some, size = [], 0
    if some:
        yield some
