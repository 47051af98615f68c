"""Requests of other programs, which `lmchat serve` passes on, and the replies to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from msgspec import Struct

from lmchat.domain.server import ModelInfo

CHAT_PATH = "/chat/completions"  # behind the address of the API


class ForwardedRequest(Struct, frozen=True, kw_only=True):
    """A request of another program, which is sent to the server of its model as it came."""

    model: ModelInfo
    path: str  # behind the address of the API, such as `CHAT_PATH`
    body: bytes  # JSON
    messages: object = None
    """The value of `messages` in the body; None if the requests of this path have none."""


class ForwardedReply(Struct, frozen=True, kw_only=True):
    """The reply of a server as it comes, with whatever status."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    chunks: AsyncIterator[bytes]
    """The body, each part as soon as it has come; raises `LMChatError` if the rest is missing."""
