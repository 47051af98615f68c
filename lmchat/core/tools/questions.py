"""Questions to the user about a tool server, such as whether to sign in to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from lmchat.base.errors import LMChatError
from lmchat.base.markdown.links import ascii_host
from lmchat.base.safe_text import SafeText, marked_line, safe_line

_ADDRESS_CHARS = 300


class ServerQuestion(Struct, frozen=True, kw_only=True):
    """A yes-or-no question that a front end shows."""

    title: str
    text: str
    url: str = ""  # opened in the browser after a yes

    @property
    def rows(self) -> list[str]:
        """The text, and for an address its host alone, and the address, cut in its middle.

        Raises `LMChatError` for an address with a user name, which can look like another host.
        """
        if not self.url:
            return [self.text]
        if "@" in urlsplit(self.url).netloc:
            raise LMChatError(
                "The address of the sign-in has a user name, which can look like another host.",
                next_step="Tell the author of the server.",
                kind="auth",
            )
        address = marked_line(self.url)
        half = _ADDRESS_CHARS // 2
        if len(address) > _ADDRESS_CHARS:
            address = SafeText(f"{address[:half]}…{address[-half:]}")
        return [self.text, safe_line(f"This page is at {ascii_host(self.url)}"), address]


AskUser = Callable[[ServerQuestion], Awaitable[bool]]
"""Shows a question and returns whether the answer is yes."""


class AskUserThen(Protocol):
    """Asks the user, then awaits what `then` returns, within the user's time.

    The result is that of `then`, or whether the answer is yes.
    """

    async def __call__(
        self, question: ServerQuestion, then: Callable[[], Awaitable[Any]] | None = None
    ) -> Any: ...
