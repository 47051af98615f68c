"""Bodies of requests: read up to a limit, and decoded as far as routing and checks need it."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import Request

from lmchat.errors import BodyTooLarge, RequestInvalid
from lmchat.servers.products import no_model_selected
from lmchat.servers.products.product import OPENAI_COMPATIBLE

_MB = 1e6
_MAX_NAME_CHARS = 1000
"""Limit for the name of a model: comparing and showing a longer one would take too long."""

_ROLES = ("system", "developer", "user", "assistant", "tool")
_ROLES_WITHOUT_TEXT = ("assistant", "tool")

T = TypeVar("T")


class BodyFields(Struct, frozen=True):
    """Fields of a body that lmchat reads; None for a missing field. Other fields stay unread."""

    # of any type, as a program may send anything:
    model: object = None
    messages: object = None
    stream: object = None
    endpoint: object = None  # address of the server, which only the bare routes know

    def model_name(self) -> str:
        """Return the name of the model.

        Raises `RequestInvalid` if it is missing, blank, no text or too long. Older scripts look for
        the first words of these messages, such as "No LM Studio model selected".
        """
        name = self.model
        if name == "":
            # Old scripts send "" if no model was chosen, and look for the words for LM Studio. The
            # words for any OpenAI-compatible server are the same.
            raise RequestInvalid(f"{no_model_selected(OPENAI_COMPATIBLE)}: name a model.")
        if not isinstance(name, str) or not name.strip():
            raise RequestInvalid("Invalid model parameter: the name of a model is needed.")
        if len(name) > _MAX_NAME_CHARS:
            raise RequestInvalid("Invalid model parameter: the name is too long.")
        return name

    def check_messages(self) -> None:
        """Raise `RequestInvalid` for the first message that no server would take.

        Answers and results of tools may be empty; an answer may have no content beside its calls.
        """
        messages = self.messages
        if not isinstance(messages, list) or not messages:
            raise RequestInvalid("Invalid messages array: at least one message is needed.")
        for position, message in enumerate(messages, 1):
            if not isinstance(message, dict):
                raise RequestInvalid(
                    f"Invalid messages array: message {position} is not an object."
                )
            role = message.get("role")
            if role not in _ROLES:
                roles = ", ".join(_ROLES)
                raise RequestInvalid(
                    f"Invalid message role: the role of message {position} must be one of {roles}."
                )
            content = message.get("content")
            if not content and role not in _ROLES_WITHOUT_TEXT:
                raise RequestInvalid(f"Invalid message content: message {position} has no text.")
            if content is not None and not isinstance(content, str | list):
                raise RequestInvalid(
                    f"Invalid message content: that of message {position} must be text or parts."
                )


async def read_body(request: Request, limit_mb: float) -> bytes:
    """Return the body of a request, without a byte order mark.

    Raises `BodyTooLarge` as soon as it exceeds the limit, and `ClientDisconnect` if the program
    hangs up.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_mb * _MB:
            raise BodyTooLarge(
                f"The request is larger than the limit of {limit_mb:g} MB.",
                hint="Shorten it, or raise max_body_mb under [limits].",
            )
    return bytes(body).removeprefix(BOM_UTF8)


def fields_of(body: bytes) -> BodyFields:
    """Return the fields of a body; raises `RequestInvalid` if it is no JSON object."""
    return _decoded(body, BodyFields)


def with_changes(body: bytes, changes: Mapping[str, object]) -> bytes:
    """Return a body with the fields in `changes` set, and without `endpoint`, which is for lmchat.

    The values of all other fields stay byte for byte as they are. Raises `RequestInvalid` if the
    name of one of them is no UTF-8. This error can still come after `fields_of` has accepted the
    body, as that does not read these names.
    """
    fields = _decoded(body, dict[str, msgspec.Raw])
    fields.pop("endpoint", None)
    for name, value in changes.items():
        fields[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(fields)


def _decoded(body: bytes, value_type: type[T]) -> T:
    """Return a JSON object as a value of this type; raises `RequestInvalid` for another body."""
    try:
        return msgspec.json.decode(body, type=value_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RequestInvalid("The body of the request is not a JSON object.") from None
