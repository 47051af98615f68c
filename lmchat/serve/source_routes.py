"""Routes of older programs of this kind, whose requests, replies and texts stay as they were.

An error is one text: `{"error": "…"}`. Names with `source` are about these programs.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lmchat.errors import LMChatError, NoServerFound, ServerRejected, ServerUnavailable
from lmchat.serve.bodies import fields_of, model_name, with_changes
from lmchat.serve.error_replies import headers_of, status_of
from lmchat.serve.forward_route import ForwardRoute, Gateway
from lmchat.servers.discovery.choose_model import NOTHING_FOUND
from lmchat.servers.model import ModelInfo
from lmchat.servers.request import ForwardedReply, ForwardedRequest
from lmchat.sessions.stats import Metrics

STREAMING_FAILED = "Streaming failed"
RESET = "Metrics reset successfully"


class SourceRoutes:
    """Handlers of these routes, but for the chat, which is a `SourceChatRoute`."""

    def __init__(
        self, gateway: Gateway, metrics_json: Callable[[Metrics], dict[str, object]]
    ) -> None:
        self._gateway = gateway
        self._metrics_json = metrics_json
        self._metrics_at_reset = gateway.client.metrics()

    async def health(self, request: Request) -> Response:
        """Say whether the server in the query (`endpoint`) can answer; without one, if any can."""
        try:
            url = request.query_params.get("endpoint", "")
            probed = self._gateway.watch.routes.server(url)
        except LMChatError as error:
            status = _failure_status(error)
            return JSONResponse({"healthy": False, "error": error.message}, status)
        return JSONResponse(
            {
                "healthy": True,
                "endpoint": probed.endpoint.url,
                "models": len(probed.models),
            }
        )

    async def models(self, request: Request) -> Response:
        """List the models of the server in the query (`endpoint`); without one, those of all."""
        routes = self._gateway.watch.routes
        try:
            url = request.query_params.get("endpoint", "")
            probed = routes.server(url)
        except LMChatError as error:
            return JSONResponse({"error": error.message}, _failure_status(error))
        models = {model.model_id: model for model in probed.models}
        return JSONResponse(list_json(models if url else routes.listed()))

    async def detect_endpoint(self, _: Request) -> Response:
        """Name the best server of the last look."""
        usable = self._gateway.watch.routes.usable
        if not usable:
            document = {"detected": False, "error": NOTHING_FOUND}
            return JSONResponse(document, HTTPStatus.NOT_FOUND)
        return JSONResponse({"endpoint": usable[0].endpoint.url, "detected": True})

    async def metrics(self, _: Request) -> Response:
        """Return the counters since the start or the last reset."""
        counted = self._gateway.client.metrics().since(self._metrics_at_reset)
        return JSONResponse(self._metrics_json(counted))

    async def reset_metrics(self, _: Request) -> Response:
        """Count from 0; the counters of all runs on the disk stay."""
        self._metrics_at_reset = self._gateway.client.metrics()
        return JSONResponse({"message": RESET})


class SourceChatRoute(ForwardRoute):
    """The chat of older programs: the body may name the server, and the answer is streamed."""

    async def new_request(self, request: Request, body: bytes) -> ForwardedRequest:
        """Return the request to pass on, to the server that the body names, if any.

        Without the field `stream`, the answer is streamed, as older programs expect it.
        """
        fields = fields_of(body)
        changes = {"stream": True} if fields.stream is None else {}
        body = with_changes(body, changes, removed="endpoint")
        if not fields.endpoint:
            return await super().new_request(request, body)
        name = model_name(fields, request)
        server = self.gateway.watch.routes.server(str(fields.endpoint))
        # Without facts if the server does not list it: the server itself will refuse it then.
        model = ModelInfo(model_id=name, endpoint=server.endpoint, product=server.product)
        model = next((listed for listed in server.models if listed.model_id == name), model)
        return ForwardedRequest(model=model, path=self.path, body=body, messages=fields.messages)

    def error_reply(self, error: LMChatError) -> Response:
        """Return the reply for an error that occurs before the reply has begun."""
        if isinstance(error, NoServerFound | ServerUnavailable | ServerRejected):
            document = {"error": STREAMING_FAILED, "message": error.message}
            return JSONResponse(document, HTTPStatus.INTERNAL_SERVER_ERROR)
        return JSONResponse({"error": error.message}, status_of(error), headers_of(error))

    def check_reply(self, reply: ForwardedReply) -> None:
        """Raise `ServerRejected` if the server has refused the request."""
        if reply.status >= HTTPStatus.BAD_REQUEST:
            message = f"The server refused the request with status {reply.status}."
            raise ServerRejected(message, kind="server_error", status=reply.status)


def list_json(models: dict[str, ModelInfo]) -> dict[str, object]:
    """Return the models by these names as a list of OpenAI's API."""
    return {"object": "list", "data": [model_json(name, model) for name, model in models.items()]}


def model_json(name: str, model: ModelInfo) -> dict[str, object]:
    """Return a model as a row of OpenAI's list of models."""
    return {
        "id": name,
        "object": "model",
        "created": model.created or 0,
        "owned_by": model.owned_by or model.product,
    }


def _failure_status(error: LMChatError) -> HTTPStatus:
    """Return 500 for a server that cannot be used; other errors have a status of their own."""
    status = status_of(error)
    is_of_server = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return HTTPStatus.INTERNAL_SERVER_ERROR if is_of_server else status
