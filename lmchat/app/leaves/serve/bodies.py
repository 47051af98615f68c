"""Bodies of requests: read up to a limit, and decoded as far as routing and checks need it."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Mapping

import msgspec
from msgspec import Struct
from starlette.requests import Request

from lmchat.base.errors import BodyTooLarge, RequestInvalid
from lmchat.base.json_values import JsonObject, dict_or_empty, dicts_in, encode

_MB = 1e6
_MAX_NAME_CHARS = 1000
"""Comparing and showing a longer name would take too long."""

_ROLES = ("system", "developer", "user", "assistant", "tool")
_ROLES_WITHOUT_TEXT = ("assistant", "tool")


class BodyFields(Struct, frozen=True):
    """Fields of a body that lmchat reads; None for a missing field."""

    # of any type, as sent:
    model: object = None
    messages: object = None
    stream: object = None
    endpoint: object = None  # only the bare routes know it
    n: object = None
    tools: object = None

    def model_name(self) -> str:
        """Raises `RequestInvalid`, in whose first words older scripts look for the reason."""
        name = self.model
        if name == "":
            # old scripts send "" if no model was chosen
            raise RequestInvalid("No LM Studio model selected: name a model.")
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
        if messages is not None and not isinstance(messages, list):
            raise RequestInvalid("Invalid messages array: messages must be a list.")
        if not messages:
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
            if content is not None and not isinstance(content, str | list):
                raise RequestInvalid(
                    f"Invalid message content: that of message {position} must be text or parts."
                )
            if not content and role not in _ROLES_WITHOUT_TEXT:
                raise RequestInvalid(f"Invalid message content: message {position} has no text.")


def add_properties(tools: object) -> bool:
    """Add the `properties` without which servers refuse all tools; return whether any lacked."""
    has_lacked = False
    for tool in dicts_in(tools):
        schema = dict_or_empty(tool.get("function")).get("parameters")
        if isinstance(schema, dict) and "properties" not in schema:
            schema["properties"] = {}
            has_lacked = True
    return has_lacked


async def read_body(request: Request, limit_mb: float) -> bytes:
    """Raises `BodyTooLarge`, `ClientDisconnect`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_mb * _MB:
            raise BodyTooLarge(
                f"The request is larger than the limit of {limit_mb:g} MB.",
                next_step="Shorten it, or raise max_body_mb under [limits].",
            )
    return bytes(body).removeprefix(BOM_UTF8)


def fields_of(body: bytes) -> BodyFields:
    """Raises `RequestInvalid` for a body that is no JSON object, or names its model twice.

    Servers differ in which of two fields counts, so another model could get the request.
    """
    names, value = _object(body)
    # servers in Go take `Model` for `model`
    if sum(name.lower() == "model" for name in names) > 1:
        raise RequestInvalid("Invalid model parameter: the request names its model twice.")
    return BodyFields(**{name: value.get(name) for name in BodyFields.__struct_fields__})


def with_changes(body: bytes, changes: Mapping[str, object]) -> bytes:
    """Set fields, and drop `endpoint`, which is for lmchat.

    All other values stay byte for byte, unless half of a surrogate pair is among them: U+FFFD takes
    its place.
    """
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        new = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in changes.items()}
        return msgspec.json.encode(_changed(fields, new))
    except msgspec.DecodeError:
        _, value = _object(body)
        return encode(_changed(value, changes))


def _changed(fields: Mapping[str, object], changes: Mapping[str, object]) -> JsonObject:
    return {name: value for name, value in fields.items() if name != "endpoint"} | dict(changes)


def _object(body: bytes) -> tuple[list[str], JsonObject]:
    """Return the names in a JSON object, a double one twice, and the object."""
    names: list[str] = []

    def closed(pairs: list[tuple[str, object]]) -> JsonObject:
        nonlocal names
        names = [name for name, _ in pairs]  # at last, of the outermost object
        return dict(pairs)

    try:
        value = json.loads(body.decode(), object_pairs_hook=closed)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RequestInvalid(
            "The body of the request is not a JSON object in UTF-8, or nested too deeply."
        )
    return names, value
