"""List of what the next request holds, with the tokens of each part, for `/context`."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from math import ceil

from msgspec import Struct
from msgspec.structs import replace

from lmchat.attachments.attachment import Attachment
from lmchat.chat.context import TEMPLATE_TOKENS, ContextMeter, MessageSize
from lmchat.chat.next_request import next_request
from lmchat.chat.open_session import OpenSession
from lmchat.chat.open_sessions import OpenSessions
from lmchat.chat.ports import ServerClient
from lmchat.errors import LMChatError
from lmchat.servers.model import Target
from lmchat.servers.products import sent_thoughts_of
from lmchat.servers.request import ChatRequest, tool_in_request
from lmchat.sessions.attached_files import AttachedFile, split_files
from lmchat.sessions.message import NOT_SENT, ChatMessage, Role, thoughts_to_send, tool_calls_text

CACHED = "cached"
LEFT_OUT = "left out"
_SHOWN_CHARS = 300  # of the words of an item
# Up to U+024F, letters are Latin; from U+00C0 on, they have accents, as é.
_ACCENTED = re.compile(r"[\u00c0-\u024f]")
_WORDS = re.compile(r"[A-Za-z\u00c0-\u024f]+")
_OTHER = re.compile(r"[^\0-\u024f\W]")  # a letter or digit of another script
_OTHER_TOKENS = 1.2  # of such a letter; models have 0.7 to 2 for a Chinese character
# A run of signs, or of underscores, which `\w` has, too: about two signs in a token.
_SIGNS = re.compile(r"[^\w\s]+|_+")
_SINGLE = re.compile(r"\n\s*|\d")  # a line break with its indentation, or a digit: one token
_MOST_FACTOR = 4.0  # the largest correction of estimates; the smallest is a quarter
_AUTHORS = {Role.SYSTEM: "system", Role.USER: "you", Role.TOOL: "tool"}


class ContextItem(Struct, kw_only=True):
    """A message, a file of a message, or all tools, with the number of its tokens."""

    author: str  # "system", "tools", "file", "you", "draft", "tool", or the name of the model
    words: str  # first words, as they were written
    message_id: str = ""  # of the message in the session; empty without one
    state: str = ""  # `CACHED`, `LEFT_OUT`, `NOT_SENT`, or empty
    weight: float = 0.0  # estimated tokens
    tokens: int = 0  # as they are shown: the corrected `weight`

    @property
    def is_sent(self) -> bool:
        return self.state in ("", CACHED)


class ContextList(Struct, frozen=True, kw_only=True):
    """Content of the next request, and the messages of the session that it does not hold."""

    items: tuple[ContextItem, ...]
    tokens: int  # of the next request: the sum of the items that are sent
    limit: int | None  # tokens of the context window; None if unknown
    is_estimated: bool  # whether the server has not counted `tokens`


async def context_lists(
    sessions: OpenSessions,
    opened: OpenSession,
    backend: ServerClient,
    text: str,
    files: Sequence[Attachment] = (),
    *,
    cached_count: Callable[[Sequence[ChatMessage]], int] = lambda _: 0,
) -> AsyncGenerator[ContextList, None]:
    """Yield the list for the next request, whose prompt is `text`: estimated, and then counted.

    The second list is missing if the server cannot count now. If the request would be too long and
    nothing may be left out, the list shows what is too much. Raises the errors of `next_request`,
    and `RequestInvalid` without a model that is ready.

    Args:
        sessions: The sessions in memory, with server, model and options of the request.
        opened: The session of the request.
        backend: Access to the server, which counts and answers nothing.
        text: The draft, which may be empty.
        files: Images of the draft.
        cached_count: Returns how many messages at the beginning the server has in its cache.
    """
    settings = replace(sessions.next_turn.settings(opened.own_sampling), is_truncating=True)
    request = await next_request(sessions, opened, text, settings, files)
    listing = _Listing(opened.shown_messages, request, settings.target, sessions.next_turn.meter)
    listing.mark_cached(cached_count(request.messages))
    yield listing.estimated()
    try:
        total = await backend.count_tokens(request)
    except LMChatError:
        return
    if total is not None:
        yield listing.counted(total)


class _Listing:
    """Items of the messages of a session, and of what a request has beside them."""

    def __init__(
        self,
        path: Sequence[ChatMessage],
        request: ChatRequest,
        target: Target,
        meter: ContextMeter,
    ) -> None:
        """Make the items of the path, and then of what only the request holds, such as the draft.

        Of a message that the request does not hold, the item says why it is not sent.
        """
        self._path = path
        self._request = request
        self._target = target
        self._meter = meter
        self._factor = meter.factor(target)
        self._thoughts = thoughts_to_send(
            request.messages, sent_thoughts_of(target.product, target.model)
        )
        self._items: list[ContextItem] = []  # in the order in which they are shown
        self._indexes = {message.message_id: i for i, message in enumerate(request.messages)}
        self._tools: ContextItem | None = None  # the item of all tools; None without tools

        path_ids = {message.message_id for message in path}
        new_messages = [
            message for message in request.messages if message.message_id not in path_ids
        ]
        for message in (*path, *new_messages):
            self._add(message, is_new=message.message_id not in path_ids)
        self._add_tools()

    def _add(self, message: ChatMessage, *, is_new: bool) -> None:
        """Add the items of a message and its files; none if the message is empty."""
        item = ContextItem(
            author=_AUTHORS.get(message.role) or message.model or "answer",
            words=_first_words(message),
            message_id="" if is_new else message.message_id,
        )
        if is_new and message.role is Role.USER:
            item.author = "draft"
        index = self._indexes.get(message.message_id)
        if index is not None:
            self._items.append(item)
            self._add_sent(index, item)
        elif message.sent_text or message.files:  # a failed answer, for example, has neither
            is_replaced_prompt = message.role is Role.SYSTEM  # by a later system prompt
            # any other message would be sent if there were room: it is left out
            is_never_sent = message.is_excluded or is_replaced_prompt
            item.state = NOT_SENT if is_never_sent else LEFT_OUT
            item.weight = MessageSize.of(message).tokens(self._factor)
            self._items.append(item)

    def _add_sent(self, index: int, item: ContextItem) -> None:
        """Give an item the weight of its message, which is sent, and add items of its files."""
        message = self._request.messages[index]
        item.weight = TEMPLATE_TOKENS + _text_tokens(self._thoughts[index])
        files: list[tuple[str, float]] = []  # names and weights
        # only prompts have files in their text
        is_prompt = message.role is Role.USER
        for piece in split_files(message.text) if is_prompt else [message.sent_text]:
            if isinstance(piece, AttachedFile):
                files.append((piece.name, _text_tokens(piece.source)))
            else:
                item.weight += _text_tokens(piece)
        for file in message.files:
            text = self._request.files.get(file.digest, b"").decode("utf-8-sig", "replace")
            files.append((file.name, file.tokens if file.is_image else _text_tokens(text)))
        self._items += [
            ContextItem(author="file", words=name, message_id=item.message_id, weight=weight)
            for name, weight in files
        ]

    def _add_tools(self) -> None:
        """Add the item of all tools behind the system prompt, if the request offers tools."""
        tools = self._request.tools
        if not tools:
            return
        description = json.dumps([tool_in_request(tool) for tool in tools], ensure_ascii=False)
        self._tools = ContextItem(
            author="tools",
            words=", ".join(tool.name for tool in tools),
            weight=_text_tokens(description),
        )
        is_system_first = bool(self._items) and self._items[0].author == "system"
        self._items.insert(int(is_system_first), self._tools)

    def mark_cached(self, count: int) -> None:
        """Mark the first `count` messages of the request as cached, and the tools before them."""
        cached_ids = {message.message_id for message in self._request.messages[:count]}
        for item in self._items:
            is_tools = item is self._tools and count > 0
            if is_tools or (item.is_sent and item.message_id in cached_ids):
                item.state = CACHED

    def estimated(self) -> ContextList:
        """Return the list with estimates.

        The server's count for the last answer is shared among the items up to that answer, and
        corrects the estimates of the later ones.
        """
        factor = self._fit_to_last_count()
        for item in self._items:
            if not item.tokens:  # else it has its share of that count
                item.tokens = round(item.weight * (factor if item.is_sent else 1.0))
        return self._list(is_estimated=True)

    def _fit_to_last_count(self) -> float:
        """Share the server's last count among the items that it has counted together.

        Return that count divided by their estimates, within limits, to correct later estimates by.
        Without a count, nothing is shared, and the factor is 1. The same holds if messages are left
        out, since the count may be of a request that had them.
        """
        counted, uncounted = self._meter.counted_messages(self._target, self._path)
        if any(item.state == LEFT_OUT for item in self._items) or not counted:
            return 1.0
        # items of a draft have the empty id; they were not counted either
        uncounted_ids = {message.message_id for message in uncounted} | {""}
        items = [
            item
            for item in self._items
            if item is self._tools or (item.is_sent and item.message_id not in uncounted_ids)
        ]
        _share(counted, items)
        estimate = sum(item.weight for item in items)
        factor = counted / estimate if estimate else 1.0
        return min(max(factor, 1 / _MOST_FACTOR), _MOST_FACTOR)

    def counted(self, total: int) -> ContextList:
        """Return the list with the server's count, shared among the items by their estimates."""
        _share(total, [item for item in self._items if item.is_sent])
        return self._list(is_estimated=False)

    def _list(self, *, is_estimated: bool) -> ContextList:
        """Return a list of copies of the items as they are now."""
        return ContextList(
            items=tuple(replace(item) for item in self._items),
            tokens=sum(item.tokens for item in self._items if item.is_sent),
            limit=self._target.context,
            is_estimated=is_estimated,
        )


def _first_words(message: ChatMessage) -> str:
    """Return the beginning of the text of a message, or of a tool call or its result."""
    if message.role is Role.TOOL:
        return message.tool_result[:_SHOWN_CHARS]
    words = message.text[:_SHOWN_CHARS] or tool_calls_text(message)[:_SHOWN_CHARS]
    return words or ", ".join(file.name for file in message.files)


def _text_tokens(text: str) -> float:
    """Estimate the tokens of a text: closer than `raw_tokens`, but too slow to plan a request.

    English words and names in code are one token for each six letters, those of languages with
    accents one for each three.
    """
    letters = 3 if _ACCENTED.search(text) else 6
    word_tokens = sum(ceil(len(word) / letters) for word in _WORDS.findall(text))
    sign_tokens = sum(ceil(len(run) / 2) for run in _SIGNS.findall(text))
    other_tokens = _OTHER_TOKENS * len(_OTHER.findall(text))
    return word_tokens + sign_tokens + len(_SINGLE.findall(text)) + other_tokens


def _share(tokens: int, items: Sequence[ContextItem]) -> None:
    """Divide tokens among items in proportion to their weights; the sum is kept exactly."""
    total_weight = sum(item.weight for item in items) or 1.0
    weight_so_far = 0.0
    tokens_so_far = 0
    for item in items:
        weight_so_far += item.weight
        # the sums are rounded, not the shares: so errors do not add up
        item.tokens = round(tokens * weight_so_far / total_weight) - tokens_so_far
        tokens_so_far += item.tokens
