"""Questions to the user about a tool server, such as whether to sign in to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from msgspec import Struct


class ServerQuestion(Struct, frozen=True, kw_only=True):
    """A yes-or-no question that a front end shows."""

    title: str
    text: str
    url: str = ""  # opened in the browser after a yes


AskUser = Callable[[ServerQuestion], Awaitable[bool]]
"""Shows a question and returns whether the answer is yes."""


class AskUserThen(Protocol):
    """Asks the user, then awaits what `then` returns, within the user's time.

    The result is that of `then`, or whether the answer is yes.
    """

    async def __call__(
        self, question: ServerQuestion, then: Callable[[], Awaitable[Any]] | None = None
    ) -> Any: ...
