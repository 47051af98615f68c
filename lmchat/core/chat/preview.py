"""The next request of a session: its messages as a list, its JSON, or a shell command.

The servers of tools are started, and the model's server may count the tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import LMChatError
from lmchat.base.safe_text import safe_json, shell_word
from lmchat.core.chat.context import dialogue_of, message_tokens, tools_tokens
from lmchat.core.chat.lesser import why_named
from lmchat.core.chat.service import ChatService
from lmchat.core.chat.session import OpenSession
from lmchat.core.servers.products import sent_thoughts_to
from lmchat.core.servers.products.server_api import ModelMemory
from lmchat.core.servers.request import STREAM_HEADERS, ChatRequest
from lmchat.core.servers.sending.prepared_request import PreparedRequest
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import (
    NOT_SENT,
    ChatMessage,
    Role,
    thoughts_to_send,
    tool_calls_text,
)
from lmchat.core.sessions.prompts import Prompt

KEY_VARIABLE = "LMCHAT_API_KEY"  # in place of the key
_SHOWN_DATA_CHARS = 32  # an image would hide the rest of the request
_IMAGE = re.compile(rb'(?<="url":"data:)(image/[a-z]+;base64,)([A-Za-z0-9+/=]+)(?=")')
_END = "JSON"  # no line of indented JSON is equal to it
LEFT_OUT = "left out"
CACHED = "cached"
NAMED = "file not sent"  # but the rest of the message
_SHOWN_CHARS = 300
_AUTHORS = {Role.SYSTEM: "system", Role.USER: "you", Role.TOOL: "tool"}


class ContextItem(Struct, frozen=True, kw_only=True):
    """A message with its files, or all tools, for `/context`."""

    author: str  # "system", "tools", "you", "draft", "tool", or the name of the model
    text: str  # beginning of a text, or names of calls, files or tools
    message_id: str = ""  # "" off the path
    state: str = ""  # `CACHED`, `LEFT_OUT`, `NOT_SENT`, `NAMED`, or empty
    tokens: int = 0  # estimate; if sent, scaled to the server's count

    @property
    def is_sent(self) -> bool:
        return self.state not in (LEFT_OUT, NOT_SENT)


class ContextList(Struct, frozen=True, kw_only=True):
    """The next request, and what it lacks of the session."""

    items: tuple[ContextItem, ...]
    tokens: int  # of the next request
    limit: int | None  # tokens
    is_estimated: bool


async def context_of_next_request(
    chat: ChatService, session: OpenSession, prompt: Prompt
) -> ContextList:
    """Return what the next request holds, for `/context`.

    Messages may be left out whatever the settings. Raises the errors of `ChatService.next_request`.
    """
    settings = replace(chat.turn_options.settings(session.session_sampling), is_truncating=True)
    await session.load_older()
    path = session.messages_so_far  # before an answer starts while the request is made
    request = await chat.next_request(session, prompt, settings=settings)
    total: int | None = None  # by the server
    with suppress(LMChatError):
        total = await chat.backend.count_tokens(request)
    target = settings.target
    estimator = chat.context_window.estimator
    memory = estimator.memory_of(target)
    items = list(_message_items(request, path, estimator.factor(target), memory))
    if request.tools:
        tools = ContextItem(
            author="tools",
            text=", ".join(tool.name for tool in request.tools),
            tokens=tools_tokens(request.tools),
        )
        is_system_first = bool(items) and items[0].author == "system"
        items.insert(1 if is_system_first else 0, tools)
    tokens = sum(item.tokens for item in items if item.is_sent)
    if total is not None:
        scale = total / max(tokens, 1)
        tokens = total
        items = [
            replace(item, tokens=round(item.tokens * scale)) if item.is_sent else item
            for item in items
        ]
    return ContextList(
        items=tuple(_with_cached(items, path, target)),
        tokens=tokens,
        limit=estimator.window(target),
        is_estimated=total is None,
    )


def _message_items(
    request: ChatRequest, path: Sequence[ChatMessage], factor: float, memory: ModelMemory
) -> Iterator[ContextItem]:
    """After the path come messages that only the request has."""
    thoughts = thoughts_to_send(request.messages, sent_thoughts_to(request.target))
    sent_ids = [message.message_id for message in request.messages]
    thoughts_by_id = dict(zip(sent_ids, thoughts, strict=True))  # also empty ones
    path_ids = {message.message_id for message in path}
    ids_of_dialogue = {message.message_id for message in dialogue_of(path)}
    new = [message for message in request.messages if message.message_id not in path_ids]
    for message in (*path, *new):
        is_new = message.message_id not in path_ids
        state = NAMED if any(why_named(p, message, request, memory) for p in message.files) else ""
        if message.message_id not in thoughts_by_id:
            if not (message.sent_text or message.files):  # such as a failed answer
                continue
            # never sent, as an old system prompt
            state = LEFT_OUT if message.message_id in ids_of_dialogue else NOT_SENT
        author = _AUTHORS.get(message.role) or message.model or "answer"
        if is_new and message.role is Role.USER:
            author = "draft"
        file_names = ", ".join(file.name for file in message.files)
        words = message.text or message.tool_result or tool_calls_text(message) or file_names
        thought = thoughts_by_id.get(message.message_id, "")
        yield ContextItem(
            author=author,
            text=words[:_SHOWN_CHARS],
            message_id="" if is_new else message.message_id,
            state=state,
            tokens=message_tokens(message, thought, factor=factor),
        )


def _with_cached(
    items: Sequence[ContextItem], path: Sequence[ChatMessage], target: Target
) -> Iterator[ContextItem]:
    """Mark the items that were mostly in the server's cache at the last answer.

    An item that is not sent ends them: a cache holds the beginning of a request.
    """
    last = next((message for message in reversed(path) if message.stats is not None), None)
    cached_tokens = 0
    if last is not None and last.stats is not None and last.model == target.model_id:
        cached_tokens = last.stats.cached_tokens or 0
    for item in items:
        is_cached = item.is_sent and item.tokens < 2 * cached_tokens
        cached_tokens = cached_tokens - item.tokens if is_cached else 0
        yield replace(item, state=item.state or CACHED) if is_cached else item


def json_text(prepared: PreparedRequest) -> str:
    """Indent JSON that is safe on a terminal; images are cut."""
    return _indented(_IMAGE.sub(_cut_image, prepared.body))


def curl_command(prepared: PreparedRequest) -> str:
    """Write a command for a POSIX shell, which puts in the API key.

    In the body below, no character is special.
    """
    lines = [f"curl --silent --show-error --no-buffer {shell_word(prepared.url)}"]
    for name, value in STREAM_HEADERS.items():
        lines.append(f"--header {shell_word(f'{name}: {value}')}")
    lines += [f"--header {shell_word(f'{name}: VALUE')}" for name in prepared.header_names]
    if prepared.has_key:
        lines.append(f'--header "Authorization: Bearer ${KEY_VARIABLE}"')
    lines.append(f"--data-binary @- <<'{_END}'")
    command = " \\\n  ".join(lines)
    return f"{command}\n{_indented(prepared.body)}\n{_END}\n"


def _indented(body: bytes) -> str:
    return safe_json(json.dumps(json.loads(body), ensure_ascii=False, indent=2))


def _cut_image(image: re.Match[bytes]) -> bytes:
    media_type, data = image.groups()
    note = f"… ({len(data)} characters)"
    return media_type + data[:_SHOWN_DATA_CHARS] + note.encode()
