"""Reports of the requests, one for each."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmchat.sessions.stats import TurnRecord

_REPORT = "lmchat.report"  # key of the report in the scope of a request


class RequestReport(Struct, kw_only=True):
    """Facts of one request, without content."""

    program: str  # first word of its `User-Agent`
    subject: str  # name of its model; of other requests, the path
    status: int = 0  # of the reply; 0 if none has begun
    is_sent: bool = False  # whether the end of the reply was sent, or is being sent
    row: TurnRecord | None = None  # figures of a request that was passed on


def report_of(scope: Scope) -> RequestReport:
    """Return the report of a request, which its route completes."""
    report: RequestReport = scope[_REPORT]
    return report


class RequestLog:
    """ASGI application that reports each request when another application has answered it."""

    def __init__(self, app: ASGIApp, on_request: Callable[[RequestReport], None]) -> None:
        self._app = app
        self._on_request = on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and report it at the end, also if the program has hung up before.

        The route finds the report in `scope` (`report_of`) and adds the model and the figures.
        """
        agent = Headers(scope=scope).get("user-agent", "")
        program = next(iter(agent.split()), "")
        report = RequestReport(program=program, subject=scope["path"])
        scope[_REPORT] = report

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                report.status = message["status"]
            elif not message.get("more_body", False):
                # before the end is sent: the program then hangs up at once, which the route has to
                # tell from a program that hangs up earlier
                report.is_sent = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            self._on_request(report)
