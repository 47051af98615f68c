"""The ASGI application of `lmchat serve`: its routes, and what each request passes before them."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from lmchat.errors import LMChatError
from lmchat.serve.access import AccessCheck, AccessRules
from lmchat.serve.error_replies import openai_error
from lmchat.serve.forward_route import EMBEDDINGS_PATH, ForwardRoute, Gateway
from lmchat.serve.request_log import RequestLog, RequestReport
from lmchat.serve.source_routes import SourceChatRoute, SourceRoutes, list_json, model_json
from lmchat.servers.request import CHAT_PATH
from lmchat.sessions.stats import Metrics

API = "/v1"


def new_app(
    gateway: Gateway,
    rules: AccessRules,
    *,
    metrics_json: Callable[[Metrics], dict[str, object]],
    on_request: Callable[[RequestReport], None],
    log_bug: Callable[[Exception], LMChatError],
) -> ASGIApp:
    """Return the application.

    `metrics_json` writes counters as JSON, `on_request` gets a report of each request, and
    `log_bug` logs an unexpected error and returns the one to show.
    """
    source = SourceRoutes(gateway, metrics_json)

    async def list_models(_: Request) -> Response:
        try:
            gateway.watch.routes.server()
        except LMChatError as error:
            return openai_error(error)
        return JSONResponse(list_json(gateway.watch.routes.listed()))

    async def show_model(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            return JSONResponse(model_json(name, gateway.watch.routes.find(name)))
        except LMChatError as error:
            return openai_error(error)

    async def refuse(_: Request, error: Exception) -> Response:
        return _http_error(error)

    async def show_bug(_: Request, error: Exception) -> Response:
        return openai_error(log_bug(error))

    forwarded_paths = (CHAT_PATH, "/completions", EMBEDDINGS_PATH)
    app = Starlette(
        routes=[
            Route(f"{API}/models", list_models),
            Route(f"{API}/models/{{name:path}}", show_model),
            *(
                Route(f"{API}{path}", ForwardRoute(gateway, path), methods=["POST"])
                for path in forwarded_paths
            ),
            # routes of older programs, which use no `API` before the path
            Route("/health", source.health),
            Route("/models", source.models),
            Route("/detect-endpoint", source.detect_endpoint),
            Route(CHAT_PATH, SourceChatRoute(gateway, CHAT_PATH), methods=["POST"]),
            Route("/metrics", source.metrics),
            Route("/metrics/reset", source.reset_metrics, methods=["POST"]),
        ],
        exception_handlers={HTTPException: refuse, Exception: show_bug},
    )
    return RequestLog(AccessCheck(app, rules), on_request)


def _http_error(error: Exception) -> Response:
    """Return the reply for a path or method that does not exist."""
    if not isinstance(error, HTTPException):  # Starlette passes nothing else
        raise error
    message = "lmchat serve has no such path."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        message = "This path does not take this method."
    refusal = LMChatError(message, kind="wrong_path", hint="lmchat serve --help lists the paths.")
    reply = openai_error(refusal, error.status_code)
    reply.headers.update(error.headers or {})
    return reply
