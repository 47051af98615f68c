"""Bodies of requests: read up to a limit, and decoded as far as routing and checks need it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct
from starlette.requests import Request

from lmchat.errors import BodyTooLarge, RequestInvalid
from lmchat.serve.request_log import report_of

_MB = 1e6
_MAX_NAME_CHARS = 1000
"""Limit for the name of a model: to compare and to show a longer one takes too long."""


class BodyFields(Struct, frozen=True):
    """Fields of a body that lmchat reads; None for a missing one. All others stay unread."""

    model: object = None
    messages: object = None
    stream: object = None
    endpoint: object = None


_decoder = msgspec.json.Decoder(BodyFields)


async def read_body(request: Request, limit_mb: float) -> bytes:
    """Return the body of a request.

    Raises `BodyTooLarge` as soon as it is known to exceed the limit, and `ClientDisconnect` if the
    program hangs up.
    """
    limit_bytes = limit_mb * _MB
    announced = request.headers.get("content-length", "")
    _check_size(int(announced) if announced.isdecimal() else 0, limit_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        _check_size(len(body), limit_bytes)
    return bytes(body)


def _check_size(size_bytes: int, limit_bytes: float) -> None:
    if size_bytes > limit_bytes:
        raise BodyTooLarge(
            f"The request is larger than the limit of {limit_bytes / _MB:g} MB.",
            hint="Shorten it, or raise max_body_mb under [limits].",
        )


def fields_of(body: bytes) -> BodyFields:
    """Return the fields of a body; raises `RequestInvalid` if it is no JSON object."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _no_json_object() from None


def _no_json_object() -> RequestInvalid:
    return RequestInvalid("The body of the request is not a JSON object.")


def model_name(fields: BodyFields, request: Request) -> str:
    """Return the name of the model in a body, and note it in the report of the request.

    Raises `RequestInvalid` if it is missing or no text. Programs rely on the wording of that.
    """
    name = fields.model
    if name == "":
        raise RequestInvalid("No LM Studio model selected", hint="Name a model.")
    if not isinstance(name, str) or not name.strip():
        raise RequestInvalid("Invalid model parameter: the name of a model is needed.")
    if len(name) > _MAX_NAME_CHARS:
        raise RequestInvalid("Invalid model parameter: the name is too long.")
    report_of(request.scope).subject = name
    return name


def with_changes(body: bytes, changes: Mapping[str, object], *, removed: str = "") -> bytes:
    """Return a JSON object with some fields set to other values, and one removed, if any is named.

    The values of all other fields stay byte for byte as they are. Raises `RequestInvalid` if the
    name of one of them is no UTF-8, which `fields_of` does not read.
    """
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _no_json_object() from None
    fields.pop(removed, None)
    for name, value in changes.items():
        fields[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(fields)
