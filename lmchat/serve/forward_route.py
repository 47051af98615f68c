"""Routes whose requests are passed on to a model server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lmchat.errors import LMChatError
from lmchat.serve.bodies import fields_of, model_name, read_body, with_changes
from lmchat.serve.error_replies import openai_error
from lmchat.serve.request_log import report_of
from lmchat.serve.server_watch import ServerWatch
from lmchat.servers.request import ForwardedReply, ForwardedRequest
from lmchat.services.ports import ServerClient
from lmchat.sessions.stats import TurnRecord

EMBEDDINGS_PATH = "/embeddings"
_PASSED_HEADERS = ("content-type", "retry-after", "x-request-id")
_log = logging.getLogger(__name__)


class Gateway(Struct, frozen=True, kw_only=True):
    """The client, servers, the turn records and limit that all routes share."""

    client: ServerClient
    watch: ServerWatch
    add_turn_record: Callable[[TurnRecord], Awaitable[None]]  # may raise `LMChatError`
    max_body_mb: float


class ForwardRoute:
    """ASGI application for one path, whose requests are passed on to the server of their model."""

    def __init__(self, gateway: Gateway, path: str) -> None:
        """`path` is that of the request to the server, behind the address of its API."""
        self.gateway = gateway
        self.path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; a program that hangs up ends the generation of its answer.

        Two tasks run at once: one passes the reply on, the other waits for the hang-up.
        """
        request = Request(scope, receive)
        try:
            body = await read_body(request, self.gateway.max_body_mb)
        except ClientDisconnect:
            return
        except LMChatError as error:
            await self.error_reply(error)(scope, receive, send)
            return
        answering = asyncio.create_task(self._answer(request, body, send), name="forward")
        hanging_up = asyncio.create_task(_hang_up(receive), name="hang-up")
        report = report_of(scope)
        try:
            await asyncio.wait({answering, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
            # `receive` also reports a hang-up once the whole reply is sent and nothing is
            # left to stop. Then `answering` is not cancelled: it has to count the result.
            if report.is_sent:
                await asyncio.wait({answering})
        finally:
            answering.cancel()
            hanging_up.cancel()
            outcome, _ = await asyncio.gather(answering, hanging_up, return_exceptions=True)
        await self._save_figures(report.row)
        if isinstance(outcome, Exception):  # unexpected; `CancelledError` is no `Exception`
            raise outcome

    async def new_request(self, request: Request, body: bytes) -> ForwardedRequest:
        """Return the request to pass on; raises `LMChatError` if it is wrong or has no server."""
        fields = fields_of(body)
        name = model_name(fields, request)
        routes = self.gateway.watch.routes
        model = routes.find(name)
        if routes.is_alias(name, model):  # the server does not know this name
            body = with_changes(body, {"model": model.model_id})
        return ForwardedRequest(model=model, path=self.path, body=body, messages=fields.messages)

    def error_reply(self, error: LMChatError) -> Response:
        """Return the reply for an error that occurs before the reply has begun."""
        return openai_error(error)

    def check_reply(self, reply: ForwardedReply) -> None:
        """Raise `LMChatError` if a reply of the server may not be passed on; here, each may."""

    async def _answer(self, request: Request, body: bytes, send: Send) -> None:
        """Pass on a request and its reply.

        An error before the reply has begun is sent as a reply. After that, the reply can only break
        off: this returns without sending the end of the body, and uvicorn closes the connection.
        """
        report = report_of(request.scope)

        def keep_row(row: TurnRecord) -> None:
            report.row = row

        try:
            forwarded = await self.new_request(request, body)
            async with self.gateway.client.forward(forwarded, keep_row) as reply:
                self.check_reply(reply)
                await _send_reply(reply, send)
        except LMChatError as error:
            if not report.status:
                await self.error_reply(error)(request.scope, request.receive, send)

    async def _save_figures(self, row: TurnRecord | None) -> None:
        """Write the figures of a request into the turn records, which has answers only."""
        if row is None or self.path == EMBEDDINGS_PATH:
            return
        try:
            await self.gateway.add_turn_record(row)
        except LMChatError as error:
            _log.warning("the record of a turn could not be written: %s", error.kind)


async def _send_reply(reply: ForwardedReply, send: Send) -> None:
    """Send a reply with the headers that are passed on, each chunk as soon as it has come."""
    headers = [
        (name.encode(), reply.headers[name].encode())
        for name in _PASSED_HEADERS
        if name in reply.headers
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    async for chunk in reply.chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _hang_up(receive: Receive) -> None:
    """Return when the program has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
