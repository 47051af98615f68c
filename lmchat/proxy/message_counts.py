"""Tokens of each part of a request, counted by llama.cpp with a few short requests.

The total is what the server counts for the whole request, which is what a chat request then has.
For the parts, the chat template is applied to the request with a mark at the end of each part. The
marks are removed from the text, its tokens are listed, and each belongs to the part in which it
ends. If they are not as many as the server counts, the template has read a mark as something else,
and only the total is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from lmchat.domain.token_counts import MessageCounts
from lmchat.proxy.json_values import dicts_in, str_or_empty
from lmchat.proxy.server_api import ServerApi
from lmchat.proxy.servers.base import Server

REQUESTS = 4  # of one count
TOKENIZE = "/tokenize"
NO_LOAD = "?autoload=false"  # a router then loads no model; other servers ignore it
_MARKS = [chr(code) for code in range(0xE000, 0xE010)]  # private use: no text should have them


def unused_mark(body: bytes) -> str:
    """Return a mark that the encoded body of a request does not have; empty without one."""
    text = body.decode()
    return next((mark for mark in _MARKS if mark not in text), "")


async def count_messages(
    server: Server, api: ServerApi, body: dict[str, Any], marked_body: dict[str, Any], mark: str
) -> MessageCounts | None:
    """Count the tokens of a request; None if the server cannot.

    `body` and `marked_body` are of the request without and with marks; an empty `mark` says that
    there is no second one. The tools are no part: their tokens are those that the request has fewer
    without them.
    """
    total = await server.count_tokens(api, body)
    if total is None:
        return None
    without_tools = total
    if "tools" in body:
        body = {name: value for name, value in body.items() if name != "tools"}
        without_tools = await server.count_tokens(api, body) or 0
    if not mark or not server.template_path or without_tools > total:
        return MessageCounts(total=total)

    marked_body = {name: value for name, value in marked_body.items() if name != "tools"}
    reply = await api.post_optional(server.template_path + NO_LOAD, marked_body)
    if reply is None:
        return MessageCounts(total=total)
    text = str_or_empty(api.require_good(reply).object.get("prompt"))
    parts = text.split(mark)
    tokens = {"model": body["model"], "content": "".join(parts), "with_pieces": True}
    reply = await api.post(TOKENIZE + NO_LOAD, tokens | {"add_special": True})
    pieces = dicts_in(api.require_good(reply).object.get("tokens"))
    if len(pieces) != without_tools:
        return MessageCounts(total=total)
    counts = _tokens_per_part(parts, [_size(piece.get("piece")) for piece in pieces])
    return MessageCounts(total=total, tools=total - without_tools, parts=tuple(counts))


def _size(piece: object) -> int:
    """Return the bytes of the text of a token; one that is no valid text is a list of bytes."""
    return len(piece) if isinstance(piece, list) else len(str_or_empty(piece).encode())


def _tokens_per_part(parts: Sequence[str], token_bytes: Sequence[int]) -> list[int]:
    """Return how many tokens end in each part but the last, which counts for the one before it.

    Some tokenizers begin with bytes that are not in the text: the ends are counted from behind.
    """
    part_ends = list(accumulate(len(part.encode()) for part in parts))
    surplus = sum(token_bytes) - part_ends[-1]
    counts = [0] * (len(parts) - 1)
    index = 0
    for end in accumulate(token_bytes):
        while index < len(counts) - 1 and end - surplus > part_ends[index]:
            index += 1
        if counts:
            counts[index] += 1
    return counts
