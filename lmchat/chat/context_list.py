"""Content of the next request of a session, message by message, for `/context`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from lmchat.chat.context_plan import message_tokens
from lmchat.chat.open_session import OpenSession
from lmchat.chat.request_preview import next_request
from lmchat.chat.service import ChatService
from lmchat.errors import LMChatError
from lmchat.servers.products import sent_thoughts_to
from lmchat.servers.request import ChatRequest, tool_in_request
from lmchat.servers.target import Target
from lmchat.sessions.message import (
    NOT_SENT,
    ChatMessage,
    FilePart,
    Role,
    thoughts_to_send,
    tool_calls_text,
)
from lmchat.token_estimate import estimate_tokens

LEFT_OUT = "left out"
_SHOWN_CHARS = 300  # of the words of an item
_AUTHORS = {Role.SYSTEM: "system", Role.USER: "you", Role.TOOL: "tool"}


class ContextItem(Struct, frozen=True, kw_only=True):
    """A message with its files, or all tools, for `/context`."""

    author: str  # "system", "tools", "you", "draft", "tool", or the name of the model
    words: str  # first words, as they were written
    message_id: str = ""  # empty if the message is only in the request
    state: str = ""  # `LEFT_OUT` or `NOT_SENT`; empty for a message that is sent
    tokens: int = 0


class ContextList(Struct, frozen=True, kw_only=True):
    """Content of the next request, and the messages of the session that it does not hold."""

    items: tuple[ContextItem, ...]
    tokens: int  # of the next request
    limit: int | None  # tokens of the context window; None if unknown
    is_estimated: bool  # whether the server has not counted `tokens`


async def context_of_next_request(
    chat: ChatService,
    opened: OpenSession,
    text: str,
    files: Sequence[FilePart] = (),
) -> ContextList:
    """Return what the next request holds, for `/context`.

    The estimates are scaled to the server's count, if it can count now. Messages that do not fit
    are listed as left out, even if the settings do not allow that. Raises the errors of
    `next_request`.
    """
    settings = replace(chat.turn_choices.settings(opened.own_sampling), is_truncating=True)
    request = await next_request(chat, opened, text, files, settings=settings)
    total: int | None = None
    with suppress(LMChatError):
        total = await chat.backend.count_tokens(request)
    return _context_list(
        request,
        opened.shown_messages,
        settings.target,
        factor=chat.context_window.meter.factor(settings.target),
        total=total,
    )


def _context_list(
    request: ChatRequest,
    path: Sequence[ChatMessage],
    target: Target,
    *,
    factor: float,
    total: int | None,
) -> ContextList:
    """List the messages of a session and of its next request, with estimates of their tokens.

    After the messages of the path come those that only the request has, such as the draft. The
    `state` of an item says why its message is not in the request. `total` is the server's count of
    the request, to which the estimates are scaled; None without one.
    """
    thoughts = thoughts_to_send(request.messages, sent_thoughts_to(target))
    sent_ids = [message.message_id for message in request.messages]
    thoughts_by_id = dict(zip(sent_ids, thoughts, strict=True))  # also empty ones
    path_ids = {message.message_id for message in path}
    new = [message for message in request.messages if message.message_id not in path_ids]
    items: list[ContextItem] = []
    for message in (*path, *new):
        is_new = message.message_id not in path_ids
        state = ""
        if message.message_id not in thoughts_by_id:
            if not (message.sent_text or message.files):  # such as a failed answer
                continue
            # an old system prompt, which a later one has replaced, is never sent
            is_never_sent = message.is_excluded or message.role is Role.SYSTEM
            state = NOT_SENT if is_never_sent else LEFT_OUT
        author = _AUTHORS.get(message.role) or message.model or "answer"
        if is_new and message.role is Role.USER:
            author = "draft"
        file_names = ", ".join(file.name for file in message.files)
        words = message.text or message.tool_result or tool_calls_text(message) or file_names
        thought = thoughts_by_id.get(message.message_id, "")
        item = ContextItem(
            author=author,
            words=words[:_SHOWN_CHARS],
            message_id="" if is_new else message.message_id,
            state=state,
            tokens=message_tokens(message, thought, factor=factor),
        )
        items.append(item)
    if request.tools:
        text = json.dumps([tool_in_request(tool) for tool in request.tools], ensure_ascii=False)
        tools = ContextItem(
            author="tools",
            words=", ".join(tool.name for tool in request.tools),
            tokens=estimate_tokens(text, factor=factor),
        )
        # behind the system prompt, if the session has one
        is_system_first = bool(items) and items[0].author == "system"
        items.insert(1 if is_system_first else 0, tools)
    tokens = sum(item.tokens for item in items if not item.state)
    if total is not None:
        scale = total / max(tokens, 1)  # 0 if nothing is sent
        tokens = total
        items = [
            item if item.state else replace(item, tokens=round(item.tokens * scale))
            for item in items
        ]
    return ContextList(
        items=tuple(items), tokens=tokens, limit=target.context, is_estimated=total is None
    )
