"""Errors as replies, in the shape of OpenAI's API and in that of older programs."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse, Response

from lmchat.errors import (
    BodyTooLarge,
    EndpointNotAllowed,
    LMChatError,
    NoServerFound,
    ServerRejected,
    ServerUnavailable,
    TooManyRequests,
)

STREAMING_FAILED = "Streaming failed"
_STATUS_BY_KIND = {
    "auth": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "model_missing": HTTPStatus.NOT_FOUND,
    "bug": HTTPStatus.INTERNAL_SERVER_ERROR,
}
_CODES = {"auth": "invalid_api_key", "model_missing": "model_not_found"}
"""Codes of OpenAI for kinds of errors; others have the kind as their code."""


def status_of(error: LMChatError) -> HTTPStatus:
    """Return the status of the reply for an error."""
    match error:
        case TooManyRequests():
            return HTTPStatus.TOO_MANY_REQUESTS
        case BodyTooLarge():
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        case EndpointNotAllowed():
            return HTTPStatus.FORBIDDEN
        case ServerUnavailable(kind="timeout"):
            return HTTPStatus.GATEWAY_TIMEOUT
        case NoServerFound() | ServerUnavailable() | ServerRejected():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            return _STATUS_BY_KIND.get(error.kind, HTTPStatus.BAD_REQUEST)


def openai_error(error: LMChatError, status: int | None = None) -> Response:
    """Return the reply for an error in the shape of OpenAI's API.

    `status` is that of the reply; None: the one for the error.
    """
    if status is None:
        status = status_of(error)
    is_server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    detail = {
        "message": error.message_with_hint,
        "type": "server_error" if is_server_error else "invalid_request_error",
        "param": None,
        "code": _CODES.get(error.kind, error.kind),
    }
    return JSONResponse({"error": detail}, status, _headers_of(error))


def source_error(error: LMChatError, *, is_chat: bool) -> Response:
    """Return the reply for an error in the shape of older programs, which is one text.

    All failures of servers have the status 500.
    """
    status = status_of(error)
    document = {"error": error.message}
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        if is_chat:
            document = {"error": STREAMING_FAILED, "message": error.message}
    return JSONResponse(document, status, _headers_of(error))


def _headers_of(error: LMChatError) -> dict[str, str]:
    if isinstance(error, TooManyRequests):
        return {"Retry-After": f"{error.wait_s:.0f}"}
    return {"WWW-Authenticate": "Bearer"} if error.kind == "auth" else {}
