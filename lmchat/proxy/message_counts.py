"""Tokens of each part of a request, counted by llama.cpp with a few short requests.

The total is the server's count of the whole request, so a chat request will have as many tokens.
For the parts, the chat template is applied to the request with a mark at the end of each part. The
marks are removed from the text, its tokens are listed, and each belongs to the part in which it
ends. If they are not as many as the server counts, the template has read a mark as something else,
and only the total is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from lmchat.proxy.json_values import dicts_in, str_or_empty
from lmchat.proxy.server_api import ServerApi
from lmchat.proxy.servers.base import Server
from lmchat.servers.token_count import MessageCounts

REQUESTS = 4  # of one count
TOKENIZE = "/tokenize"
NO_LOAD = "?autoload=false"  # a router then loads no model; other servers ignore it
_MARKS = [chr(code) for code in range(0xE000, 0xE010)]  # private use: no text should have them


def unused_mark(body: bytes) -> str:
    """Return a mark that is not in the encoded body of a request; empty if all of them are."""
    text = body.decode()
    return next((mark for mark in _MARKS if mark not in text), "")


async def count_messages(
    server: Server, api: ServerApi, body: dict[str, Any], marked_body: dict[str, Any], mark: str
) -> MessageCounts | None:
    """Count the tokens of a request; None if the server cannot.

    `body` and `marked_body` are bodies of the same request, without and with a `mark` behind each
    part; if `mark` is empty, there are no marks, and only the total is counted. The tools are not a
    part: their count is the difference between the totals with and without them.
    """
    total = await server.count_tokens(api, body)
    if total is None:
        return None
    total_without_tools = total
    if "tools" in body:
        total_without_tools = await server.count_tokens(api, _without_tools(body)) or 0
    can_mark = bool(mark and server.template_path)
    if not can_mark or total_without_tools > total:  # tools with fewer than 0 tokens: a wrong count
        return MessageCounts(total=total)

    texts = await _texts_of_parts(server, api, _without_tools(marked_body), mark)
    if texts is None:
        return MessageCounts(total=total)
    tokenize_body = {
        "model": body["model"],
        "content": "".join(texts),
        "with_pieces": True,
        "add_special": True,  # with the token that begins a prompt, as in a chat request
    }
    reply = await api.post(TOKENIZE + NO_LOAD, tokenize_body)
    tokens = dicts_in(api.require_good(reply).object.get("tokens"))
    if len(tokens) != total_without_tools:
        return MessageCounts(total=total)
    counts = _tokens_per_part(texts, [_bytes_of(token.get("piece")) for token in tokens])
    return MessageCounts(total=total, tools=total - total_without_tools, parts=tuple(counts))


async def _texts_of_parts(
    server: Server, api: ServerApi, marked_body: dict[str, Any], mark: str
) -> list[str] | None:
    """Let the server apply its chat template to a body with marks; return the texts between them.

    The last one is the text behind the last mark. None if the server cannot do that.
    """
    reply = await api.post_optional(server.template_path + NO_LOAD, marked_body)
    if reply is None:
        return None
    marked_text = str_or_empty(api.require_good(reply).object.get("prompt"))
    return marked_text.split(mark)


def _without_tools(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "tools"}


def _bytes_of(piece: object) -> int:
    """Return how many bytes a token has; a piece that is no valid text is a list of its bytes."""
    return len(piece) if isinstance(piece, list) else len(str_or_empty(piece).encode())


def _tokens_per_part(texts: Sequence[str], token_bytes: Sequence[int]) -> list[int]:
    """Return the number of tokens of each part; a token belongs to the part in which it ends.

    `texts` are those of the parts, and last the text behind the last mark, which has no count of
    its own: its tokens belong to the last part. `token_bytes` are the sizes of all tokens.
    """
    text_ends = list(accumulate(len(text.encode()) for text in texts))
    # Some tokenizers add bytes before the text, such as a blank; they count for the first part.
    bytes_before = sum(token_bytes) - text_ends[-1]
    counts = [0] * (len(texts) - 1)
    if not counts:  # the request has no parts
        return counts
    part = 0
    for token_end in accumulate(token_bytes):
        while part < len(counts) - 1 and token_end - bytes_before > text_ends[part]:
            part += 1
        counts[part] += 1
    return counts
