"""Questions of one tool server to the user (elicitation), and its time limits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lmchat.errors import RequestInvalid
from lmchat.safe_text import safe_line
from lmchat.tools.calls import ToolHost
from lmchat.tools.questions import ServerQuestion, fields_of

MAX_QUESTIONS = 10  # of a server in one call; later ones are declined
_QUESTION_CHARS = 600
_WARNING = "This is a question of the tool server. Do not type passwords or keys here."


class Elicitation:
    """Asks the user for a server. While a question waits, no limit runs."""

    def __init__(self, server: str, host: ToolHost) -> None:
        self._server = server
        self._host = host  # shared by all servers: a front end has one question at a time
        self.questions_left = 0  # of the call that runs
        self._limits: dict[Any, float] = {}  # scopes of anyio, with their seconds
        self._questions: set[asyncio.Future[Any]] = set()  # that wait for the user

    @contextmanager
    def limited(self, seconds: float) -> Iterator[Any]:
        """Raise `TimeoutError` after this time; the user's time for answers does not count.

        Yield the limit, of anyio and not of asyncio: the SDK cancels with anyio, too.
        """
        import anyio

        with anyio.fail_after(seconds) as limit:
            self._limits[limit] = seconds
            try:
                yield limit
            finally:
                del self._limits[limit]

    def restart(self, limit: Any, seconds: float) -> None:
        """Begin a limit again with another time; `inf` is none."""
        import anyio

        self._limits[limit] = seconds
        limit.deadline = anyio.current_time() + seconds

    def _restart_limits(self) -> None:
        for limit, seconds in self._limits.items():
            self.restart(limit, seconds)
            if self._questions:
                limit.deadline = math.inf

    async def ask(
        self, question: ServerQuestion, then: Callable[[], Awaitable[Any]] | None = None
    ) -> Any:
        """Return the user's answer, or the result of `then`, which is awaited after a yes.

        None for a no, and if nothing can ask or the call stops.
        """
        asked = asyncio.ensure_future(self._answer_of_user(question, then))
        self._questions.add(asked)
        self._restart_limits()
        try:
            await asyncio.wait([asked])
            return None if asked.cancelled() else asked.result()
        finally:
            asked.cancel()
            self._questions.remove(asked)
            self._restart_limits()

    async def _answer_of_user(
        self, question: ServerQuestion, then: Callable[[], Awaitable[Any]] | None
    ) -> Any:
        async with self._host.is_asking:
            ask = self._host.ask_user
            answer = None if ask is None else await ask(question)
            return answer if answer is None or then is None else await then()

    def decline_all(self) -> None:
        """Take a no for the answer to all questions; else the next prompt would wait for them."""
        for asked in self._questions:
            asked.cancel()

    async def elicit(self, context: object, params: Any) -> Any:  # noqa: ARG002 - of the SDK
        """Answer a question of the server, which may ask while it runs a call."""
        from mcp_types import INVALID_PARAMS, ElicitResult, ErrorData

        if not self.questions_left:
            return ElicitResult(action="decline")
        self.questions_left -= 1
        url = getattr(params, "url", "")
        try:
            fields = () if url else fields_of(params.requested_schema)
        except RequestInvalid as error:
            return ErrorData(code=INVALID_PARAMS, message=error.message)
        text = f"{safe_line(params.message, limit=_QUESTION_CHARS)}\n\n{_WARNING}"
        question = ServerQuestion(title=f"{self._server} asks", text=text, url=url, fields=fields)
        answer = await self.ask(question)
        if answer is None:
            return ElicitResult(action="decline")
        return ElicitResult(action="accept", content=None if url else dict(answer))
