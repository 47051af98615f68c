"""The next request of a session: its messages as a list, its JSON, or a shell command.

The model is not asked for an answer. But the servers of tools are started, as their tools are in
the request. The model's server may be asked to count the tokens of the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from lmchat.chat.context import ContextMeter, dialogue_of, message_tokens
from lmchat.chat.service import ChatService
from lmchat.chat.session import OpenSession
from lmchat.errors import LMChatError, WrongUse
from lmchat.safe_text import safe_json, safe_line, shell_word
from lmchat.servers.products import sent_thoughts_to
from lmchat.servers.request import ChatRequest, tool_in_request
from lmchat.servers.sending.prepared_request import PreparedRequest
from lmchat.servers.target import Target
from lmchat.sessions.attached_files import Prompt
from lmchat.sessions.message import (
    NOT_SENT,
    ChatMessage,
    Role,
    thoughts_to_send,
    tool_calls_text,
)
from lmchat.token_estimate import estimate_tokens

FORMS = ("text", "json", "curl")
"""Forms of a request: the text that the model gets, the body, and a shell command."""
KEY_VARIABLE = "LMCHAT_API_KEY"  # of the environment, in place of the key in a command
_SHOWN_DATA_CHARS = 32  # of an image; a whole one would hide the rest of the request
_IMAGE = re.compile(rb'(?<="url":"data:)(image/[a-z]+;base64,)([A-Za-z0-9+/=]+)(?=")')
"""An image in an encoded body: its type and its data, between `"url":"data:` and `"`."""
_END = "JSON"  # line that ends the body in a command; no line of indented JSON is equal to it
LEFT_OUT = "left out"
_SHOWN_CHARS = 300  # of the words of an item
_AUTHORS = {Role.SYSTEM: "system", Role.USER: "you", Role.TOOL: "tool"}


class ContextItem(Struct, frozen=True, kw_only=True):
    """A message with its files, or all tools, for `/context`."""

    author: str  # "system", "tools", "you", "draft", "tool", or the name of the model
    words: str  # first characters of its text or result, or the names of its calls, files or tools
    message_id: str = ""  # empty if the message is not on the path, as a draft, and for the tools
    state: str = ""  # `LEFT_OUT` or `NOT_SENT`; empty for a message that is sent
    # estimate; that of a sent message is scaled to the server's count of the request, if it counts
    tokens: int = 0


class ContextList(Struct, frozen=True, kw_only=True):
    """Content of the next request, and the messages of the session that it does not hold."""

    items: tuple[ContextItem, ...]
    tokens: int  # of the next request
    limit: int | None  # tokens of the context window; None if unknown
    is_estimated: bool  # whether the server has not counted `tokens`


async def context_of_next_request(
    chat: ChatService, opened: OpenSession, prompt: Prompt
) -> ContextList:
    """Return what the next request holds, for `/context`.

    The estimates are scaled to the server's count, if it can count now. Messages that do not fit
    are listed as left out, even if the settings do not allow that. Raises the errors of
    `ChatService.next_request`.
    """
    settings = replace(chat.turn_choices.settings(opened.own_sampling), is_truncating=True)
    await opened.load_older()
    path = opened.shown_messages  # an answer may begin while the request is made
    request = await chat.next_request(opened, prompt, settings=settings)
    total: int | None = None
    with suppress(LMChatError):
        total = await chat.backend.count_tokens(request)
    return _context_list(
        request,
        path,
        settings.target,
        chat.context_window.meter,
        total=total,
    )


def _context_list(
    request: ChatRequest,
    path: Sequence[ChatMessage],
    target: Target,
    meter: ContextMeter,
    *,
    total: int | None,
) -> ContextList:
    """List the messages of a session and of its next request, with estimates of their tokens.

    After the messages of the path come those that only the request has, such as the draft. `total`
    is the server's count of the request, to which the estimates are scaled; None if it cannot count
    now.
    """
    factor = meter.factor(target)
    thoughts = thoughts_to_send(request.messages, sent_thoughts_to(target))
    sent_ids = [message.message_id for message in request.messages]
    thoughts_by_id = dict(zip(sent_ids, thoughts, strict=True))  # also empty ones
    path_ids = {message.message_id for message in path}
    ids_of_dialogue = {message.message_id for message in dialogue_of(path)}
    new = [message for message in request.messages if message.message_id not in path_ids]
    items: list[ContextItem] = []
    for message in (*path, *new):
        is_new = message.message_id not in path_ids
        state = ""
        if message.message_id not in thoughts_by_id:  # it is not in the request
            if not (message.sent_text or message.files):  # such as a failed answer
                continue
            # never sent are, for example, an old system prompt and an answer without a prompt
            state = LEFT_OUT if message.message_id in ids_of_dialogue else NOT_SENT
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
        items=tuple(items),
        tokens=tokens,
        limit=meter.window(target),
        is_estimated=total is None,
    )


def checked_form(typed: str) -> str:
    """Return the form that was typed, which may be empty; raises `WrongUse` for an unknown one."""
    form = typed.strip().lower()
    if form and form not in FORMS:
        problem = f"Unknown form of a request: {safe_line(typed, limit=20)}."
        raise WrongUse(problem, hint="The forms are text, json and curl.")
    return form


def json_text(prepared: PreparedRequest) -> str:
    """Return the body as indented JSON that is safe on a terminal; images are cut."""
    return _indented(_IMAGE.sub(_cut_image, prepared.body))


def curl_command(prepared: PreparedRequest) -> str:
    """Return a command for a POSIX shell that sends the request.

    The shell puts the API key into the command. It reads the body from the lines below the command,
    in which no character is special.
    """
    lines = [f"curl --silent --show-error --no-buffer {shell_word(prepared.url)}"]
    for name, value in prepared.headers.items():
        lines.append(f"--header {shell_word(f'{name}: {value}')}")
    if prepared.has_key:
        lines.append(f'--header "Authorization: Bearer ${KEY_VARIABLE}"')
    lines.append(f"--data-binary @- <<'{_END}'")
    command = " \\\n  ".join(lines)
    return f"{command}\n{_indented(prepared.body)}\n{_END}\n"


def _indented(body: bytes) -> str:
    return safe_json(json.dumps(json.loads(body), ensure_ascii=False, indent=2))


def _cut_image(image: re.Match[bytes]) -> bytes:
    """Return an image with only the beginning of its data, and the number of its characters.

    An image with short data stays as it is.
    """
    media_type, data = image.groups()
    if len(data) <= _SHOWN_DATA_CHARS:
        return image[0]
    note = f"… ({len(data)} characters)"
    return media_type + data[:_SHOWN_DATA_CHARS] + note.encode()
