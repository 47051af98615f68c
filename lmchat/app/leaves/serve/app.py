"""The ASGI application of `lmchat serve`: who may use it, its routes, and passing requests on.

The routes below `/v1` are those of OpenAI's and Anthropic's API. A request to a bare route, without
`/v1`, may name its server (`endpoint`), and the reply for an error is one text: older programs know
only these.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable
from http import HTTPStatus

from msgspec import Struct, field
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from lmchat.app.cli.as_json import (
    detection_json,
    health_json,
    list_json,
    metrics_json,
    model_json,
)
from lmchat.app.leaves.serve.bodies import add_properties, fields_of, read_body, with_changes
from lmchat.app.leaves.serve.model_routes import ServerWatch
from lmchat.base.errors import (
    BodyTooLarge,
    EndpointNotAllowed,
    LMChatError,
    NoServerFound,
    ServerRejected,
    ServerUnavailable,
    StreamInterrupted,
    TooManyRequests,
)
from lmchat.base.metrics import METRICS_RESET, Metrics
from lmchat.core.config.settings import Settings
from lmchat.core.servers.discovery.finder import ServerFinder
from lmchat.core.servers.discovery.status import ServerStatus
from lmchat.core.servers.model import ModelInfo
from lmchat.core.servers.products import product_named
from lmchat.core.servers.protocols import ServerClient
from lmchat.core.servers.request import CHAT_PATH, ForwardedRequest
from lmchat.core.sessions.message import AnswerState, AnswerStats, new_id
from lmchat.core.storage.stats_store import StatsStore

API = "/v1"
_ANSWERED = (CHAT_PATH, "/completions", "/responses", "/messages")
"""Paths of requests for an answer, which stats count."""
_FORWARDED = (
    *_ANSWERED,
    "/responses/input_tokens",
    "/messages/count_tokens",
    "/embeddings",
    "/rerank",
)
_PASSED_HEADERS = ("content-type", "retry-after", "x-request-id")
_OWN_SITES = frozenset(("none", "same-origin"))
"""`Sec-Fetch-Site` if a person has typed the address, or a page at it sends a request."""
_NO_PATH = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
_STATUS_BY_KIND = {
    "auth": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "model_missing": HTTPStatus.NOT_FOUND,
    "wrong_path": HTTPStatus.NOT_FOUND,
    "bug": HTTPStatus.INTERNAL_SERVER_ERROR,
}
_OPENAI_CODES = {"auth": "invalid_api_key", "model_missing": "model_not_found"}
"""Codes of OpenAI; other kinds are their own code."""
_REPORT = "lmchat.report"  # in the scope of a request
_logger = logging.getLogger(__name__)


class RequestReport(Struct, kw_only=True):
    """Facts of one request, without content."""

    program: str  # first word of its `User-Agent`
    subject: str  # its model; of other requests, the path
    status: int = 0  # of the reply; 0 if none has started
    is_sent: bool = False  # the end of the reply, or being sent
    model: ModelInfo | None = None
    state: AnswerState = AnswerState.STREAMING
    stats: AnswerStats | None = None  # of a request that was passed on

    def keep_end(self, state: AnswerState, stats: AnswerStats) -> None:
        self.state = state
        self.stats = stats

    def note(self, message: Message) -> None:
        """Note the end before it is sent, as the program may then hang up."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body", False):
            self.is_sent = True


class ServeApp(Struct, kw_only=True):
    """One address for all model servers."""

    client: ServerClient
    watch: ServerWatch
    settings: Settings
    finder: ServerFinder
    hosts: frozenset[str]
    """Allowed without a key: in small letters, with and without port."""
    key: str = ""  # that each request needs, if set
    pause_s: float = 60.0  # longest time for which a program takes nothing of its reply
    stats_store: StatsStore
    on_request: Callable[[RequestReport], None]  # at the end of each
    on_remote: Callable[[ModelInfo], None] = lambda _: None
    """Called before each request to a remote model."""
    log_unexpected: Callable[[Exception], LMChatError]  # returns the error to show
    # when this app started, or at the last reset: `/metrics` counts from them
    _metrics_at_reset: Metrics = field(default_factory=Metrics)
    _app: Starlette = field(default_factory=Starlette)

    def __post_init__(self) -> None:
        self._metrics_at_reset = self.client.counters.metrics
        forwarded = (CHAT_PATH, *(f"{API}{path}" for path in _FORWARDED))  # first the bare one
        self._app = Starlette(
            routes=[
                Route(f"{API}/models", self._list_models),
                Route(f"{API}/models/{{name:path}}", self._show_model),
                *(Route(path, _ForwardRoute(self), methods=["POST"]) for path in forwarded),
                Route("/health", self._health),
                Route("/models", self._list_models),
                Route("/detect-endpoint", self._detect),
                Route("/metrics", self._metrics),
                Route("/metrics/reset", self._reset_metrics, methods=["POST"]),
            ],
            exception_handlers=dict.fromkeys((HTTPException, LMChatError, Exception), self._refuse),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Report the request at its end, also if the program has hung up."""
        headers = Headers(scope=scope)
        program = next(iter(headers.get("user-agent", "").split()), "")
        report = RequestReport(program=program, subject=scope["path"])
        scope = {**scope, "path": _usual_path(scope["path"]), _REPORT: report}

        async def send_noted(message: Message) -> None:
            report.note(message)
            await send(message)

        try:
            self._check_access(headers)
            await self._app(scope, receive, send_noted)
        except LMChatError as error:  # others are handled inside
            await _openai_error(error)(scope, receive, send_noted)
        finally:
            self.on_request(report)

    def _check_access(self, headers: Headers) -> None:
        """Raise `LMChatError` for a request of a web page, or without the API key.

        A web page in a browser can send requests to this machine. Such a request has the origin of
        the page, or the name of a host that only pretends to be this machine (DNS rebinding). A
        request for an image has neither, but the browser says in `Sec-Fetch-Site` that another site
        asks. Other programs send no such header.
        """
        if self.key:  # web pages do not know it
            if not self._has_key(headers):
                raise LMChatError(
                    "The API key is missing or wrong.",
                    kind="auth",
                    next_step="Use the key that lmchat serve was started with (--key).",
                )
            return
        if headers.get("host", "").lower() not in self.hosts:
            raise LMChatError(
                "This address is for programs of this machine: the Host header does not name it.",
                kind="forbidden",
                next_step="Use http://127.0.0.1 with this port.",
            )
        if "origin" in headers or not _OWN_SITES.issuperset(headers.getlist("sec-fetch-site")):
            raise LMChatError(
                "Web pages and web views cannot use lmchat serve.",
                kind="forbidden",
                next_step="Use a program that sends its requests itself.",
            )

    def _has_key(self, headers: Headers) -> bool:
        """Programs for OpenAI and for Anthropic send the key in different headers."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        keys = [headers.get("x-api-key", ""), bearer if scheme.lower() == "bearer" else ""]
        # takes as long for any wrong key, so its time does not help to guess
        return any(hmac.compare_digest(key.strip().encode(), self.key.encode()) for key in keys)

    async def _refuse(self, request: Request, error: Exception) -> Response:
        """Reply in the shape of the routes that were asked, or of OpenAI's API."""
        if isinstance(error, HTTPException):
            refusal = LMChatError(
                "lmchat serve has no such path or method.",
                kind="wrong_path",
                next_step="lmchat serve --help lists the paths.",
            )
            reply = _openai_error(refusal, error.status_code)
            reply.headers.update(error.headers or {})  # `Allow`: the methods of the path
            return reply
        if not isinstance(error, LMChatError):
            return _openai_error(self.log_unexpected(error))
        path = request.scope["path"]
        if path.startswith(f"{API}/"):
            return _openai_error(error)
        # where a server has failed, programs of the chat route expect a fixed text
        return _bare_route_error(error, is_chat=path == CHAT_PATH)

    # Models

    async def _list_models(self, request: Request) -> Response:
        routes = self.watch.routes
        endpoint = request.query_params.get("endpoint", "")
        server = routes.server(endpoint)  # raises the error to show if it cannot be used
        models = routes.listed()
        if endpoint:
            remote_last = sorted(server.models, key=lambda model: model.is_remote)
            models = {model.model_id: model for model in remote_last}
        return JSONResponse(list_json(models))

    async def _show_model(self, request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(model_json(self.watch.routes.find(name), name))

    # The bare routes except the one for chat

    async def _health(self, request: Request) -> Response:
        servers: tuple[ServerStatus, ...] = ()
        error = None
        try:
            servers = self.watch.routes.at(request.query_params.get("endpoint", ""))
        except LMChatError as failure:
            error = failure
        document = health_json(
            self.finder.choice(among=servers), servers, self.settings, error=error
        )
        if error and "endpoint" in request.query_params:
            document["endpoint"] = None  # else the configured server, which was not asked for
        if document["healthy"]:
            return JSONResponse(document)
        status = _status_of(error) if error else HTTPStatus.INTERNAL_SERVER_ERROR
        return JSONResponse(document, status)

    async def _detect(self, _: Request) -> Response:
        servers = self.watch.routes.servers
        document = detection_json(self.finder.choice(among=servers), servers)
        status = HTTPStatus.OK if document["detected"] else HTTPStatus.NOT_FOUND
        return JSONResponse(document, status)

    async def _metrics(self, _: Request) -> Response:
        return JSONResponse(
            metrics_json(self.client.counters.metrics.since(self._metrics_at_reset))
        )

    async def _reset_metrics(self, _: Request) -> Response:
        """Leave the counters of all runs on the disk."""
        self._metrics_at_reset = self.client.counters.metrics
        return JSONResponse({"message": METRICS_RESET})

    # Passing on

    async def forward(self, request: Request, send: Send) -> None:
        """Pass on a request and its reply; a program that hangs up ends the generation.

        An `LMChatError` is raised only as long as a reply with its status can be sent.
        """
        report: RequestReport = request.scope[_REPORT]
        try:
            body = await read_body(request, self.settings.limits.max_body_mb)
        except ClientDisconnect:
            return  # nothing was sent to a server yet
        answering = asyncio.create_task(self._answer(request, body, send, report), name="forward")
        hanging_up = asyncio.create_task(_wait_for_hang_up(request.receive), name="hang-up")
        try:
            await asyncio.wait({answering, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
            # `receive` also reports a hang-up once the whole reply is sent. Then `answering` is not
            # cancelled: it has to count the result.
            if report.is_sent:
                await asyncio.wait({answering})
        finally:  # also if uvicorn cancels this, when `lmchat serve` ends
            answering.cancel()
            hanging_up.cancel()
            # their errors are returned: the stats are written first
            outcome, _ = await asyncio.gather(answering, hanging_up, return_exceptions=True)

        model = report.model
        stats = report.stats
        if model is not None and stats is not None and request.scope["path"].endswith(_ANSWERED):
            await self.stats_store.add(
                new_id(),
                endpoint=model.server_id,
                model=model.model_id,
                state=report.state,
                stats=stats,
            )

        has_started = report.status != 0
        if has_started and isinstance(outcome, LMChatError):
            return  # without the end of the body: uvicorn then closes the connection
        if isinstance(outcome, Exception):  # the `CancelledError` after a hang-up is none
            raise outcome

    async def _answer(
        self, request: Request, body: bytes, send: Send, report: RequestReport
    ) -> None:
        """Send a request to the server of its model, and the reply to the program as it comes."""
        path = request.scope["path"].removeprefix(API)
        is_bare_route = path == request.scope["path"]
        fields = fields_of(body)
        name = report.subject = fields.model_name()
        routes = self.watch.routes
        changes: dict[str, object] = {}
        if is_bare_route and fields.stream is None:
            changes["stream"] = True
        if is_bare_route and fields.endpoint:
            model = self.finder.model_at(routes.server(str(fields.endpoint)), name)
        else:
            model = routes.find(name)
        if model.model_id != name:  # such as a name with `@`, which only lmchat knows
            changes["model"] = model.model_id
        if path == CHAT_PATH and add_properties(fields.tools):
            changes["tools"] = fields.tools
        if changes or is_bare_route:
            body = with_changes(body, changes)

        if path == CHAT_PATH:  # others, such as `/embeddings`, have no messages
            fields.check_messages()
        if model.is_remote:
            self.on_remote(model)
        report.model = model
        is_parallel = fields.n not in (None, 1)
        forwarded = ForwardedRequest(model=model, path=path, body=body, is_parallel=is_parallel)
        async with self.client.forward(forwarded, report.keep_end) as reply:
            if is_bare_route and reply.status >= HTTPStatus.BAD_REQUEST:
                raise ServerRejected(
                    f"The server refused the request with status {reply.status}.",
                    kind="server_error",
                    status=reply.status,
                )
            has_words = "json" in reply.headers.get("content-type", "")
            if reply.status in _NO_PATH and not has_words:
                subject = product_named(model.product).subject
                raise LMChatError(
                    f"{subject} has no path {API}{path}.",
                    kind="wrong_path",
                    next_step="A newer version may have it.",
                )
            headers = [
                (header.encode(), reply.headers[header].encode())
                for header in _PASSED_HEADERS
                if header in reply.headers
            ]
            start = {"type": "http.response.start", "status": reply.status, "headers": headers}
            await send(start)
            async for chunk in reply.chunks:
                part = {"type": "http.response.body", "body": chunk, "more_body": True}
                try:
                    async with asyncio.timeout(self.pause_s):
                        await send(part)
                except TimeoutError:
                    raise StreamInterrupted(
                        f"Streaming failed: the program took nothing for {self.pause_s:g} s."
                    ) from None
            await send({"type": "http.response.body", "body": b""})


class _ForwardRoute(Struct, frozen=True):
    """Route that sends its reply itself: Starlette sends what a function returns."""

    app: ServeApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app.forward(Request(scope, receive), send)


def _usual_path(path: str) -> str:
    """Drop one slash more, or a second `/v1`, as addresses are typed.

    `/v1` may be missing where no bare route has the name.
    """
    parts = [part for part in path.split("/") if part]
    while parts[:2] == [API[1:]] * 2:
        del parts[0]
    path = "/" + "/".join(parts)
    return f"{API}{path}" if path in _FORWARDED and path != CHAT_PATH else path


async def _wait_for_hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _status_of(error: LMChatError) -> HTTPStatus:
    match error:
        case TooManyRequests():
            return HTTPStatus.TOO_MANY_REQUESTS
        case BodyTooLarge():
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        case EndpointNotAllowed():
            return HTTPStatus.FORBIDDEN
        case ServerUnavailable(kind="timeout"):
            return HTTPStatus.GATEWAY_TIMEOUT
        # That lmchat cannot use a server is no fault of the program: a key that the server wants is
        # no 401, as the program's own key is right. What a server answers to a passed on request is
        # no error here, except in a bare route.
        case NoServerFound() | ServerUnavailable() | ServerRejected():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            return _STATUS_BY_KIND.get(error.kind, HTTPStatus.BAD_REQUEST)


def _openai_error(error: LMChatError, status: int | None = None) -> Response:
    if status is None:
        status = _status_of(error)
    is_server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    detail = {
        "message": error.message_with_next_step,
        "type": "server_error" if is_server_error else "invalid_request_error",
        "param": None,
        "code": _OPENAI_CODES.get(error.kind, error.kind),
    }
    # `type`: Anthropic's programs look for it
    return JSONResponse({"type": "error", "error": detail}, status, _headers_of(error))


def _bare_route_error(error: LMChatError, *, is_chat: bool) -> Response:
    """Give all failures of servers the status 500.

    Programs that use the chat route expect a fixed text for them.
    """
    status = _status_of(error)
    document = {"error": error.message}
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        if is_chat:
            document = {"error": "Streaming failed", "message": error.message}
    return JSONResponse(document, status, _headers_of(error))


def _headers_of(error: LMChatError) -> dict[str, str]:
    """Return those that HTTP asks for with the status."""
    if isinstance(error, TooManyRequests):
        return {"Retry-After": f"{error.wait_s:.0f}"}
    return {"WWW-Authenticate": "Bearer"} if error.kind == "auth" else {}
