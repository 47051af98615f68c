"""Messages of MCP servers, changed so that the SDK refuses none that lmchat can use."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from lmchat.base.files.images import image_type
from lmchat.base.json_values import (
    NotJsonError,
    decode,
    dict_or_empty,
    dicts_in,
    encode,
    str_or_empty,
)
from lmchat.base.safe_text import marked_line, safe_line

NOT_MCP = "its answer does not follow MCP"
MESSAGE_BYTES = 32 * 1024 * 1024  # longest message of a server
_MOST_IMAGES = 10  # of a result
_INNER = r"(?s)\A(\s*\{[^\[{]*)[\[{].*[\]}]([^\]}]*\}\s*)\Z"  # of an object, all that is nested
REQUEST_ID: ContextVar[Any] = ContextVar("REQUEST_ID", default=None)
"""Id of the request over HTTP whose reply is read."""


class MessageReader:
    """Reads messages of servers for the SDK, which would refuse some that lmchat can use."""

    def validate_json(self, data: bytes | str, *, by_name: bool) -> Any:
        """Read also faults of JSON, such as half an emoji; raises `ValidationError`.

        An error without an id gets that of its request, which only HTTP tells.
        """
        from mcp_types import jsonrpc_message_adapter

        with suppress(NotJsonError):
            message = decode(data.encode(errors="replace") if isinstance(data, str) else data)
            fields = dict_or_empty(message)
            if "error" in fields and fields.get("id") is None:
                fields["id"] = REQUEST_ID.get()
            if fields.get("method") == "notifications/progress":
                dict_or_empty(fields.get("params"))["progress"] = (
                    0  # that it came is all that counts
                )
            _make_readable(dict_or_empty(fields.get("result")))
            return jsonrpc_message_adapter.validate_python(message, by_name=by_name)
        return jsonrpc_message_adapter.validate_json(data, by_name=by_name)  # raises the error


def answered_id(line: bytes) -> object:
    """Return the id in an answer that is no message of MCP; None if this is no answer."""
    text = line.decode("utf-8-sig", "replace")
    for part in (text, re.sub(_INNER, r"\1 0\2", text)):  # without what is nested too deep
        with suppress(ValueError, RecursionError):
            # Python reads no integer of more than 4,300 digits, but as a float
            value = json.loads(part, parse_int=float, strict=False)
            for fields in dicts_in(value if isinstance(value, list) else [value]):  # of a batch
                if "method" not in fields and fields.keys() & {"jsonrpc", "result", "error"}:
                    return fields.get("id")
            return None
    return None


def _make_readable(result: dict[str, Any]) -> None:
    """Change a handshake, a list of tools or the result of a call: the SDK shall refuse no part.

    No other results have these fields. What lmchat needs of the tools is put into `_meta`.
    """
    if "capabilities" in result or "serverInfo" in result:
        told = dict_or_empty(dict_or_empty(result.get("capabilities")).get("tools"))
        result["capabilities"] = {"tools": {"listChanged": told.get("listChanged") is True}}
        result["serverInfo"] = {"name": "", "version": ""}  # lmchat has the name of the settings
        result["instructions"] = str_or_empty(result.get("instructions"))
    if "content" in result or "structuredContent" in result:
        images: dict[str, str] = {}
        result["content"] = [{"type": "text", "text": _text_of(result, images)}]
        result["isError"] = result.get("isError") is True
        result["_meta"] = {"images": images}
        result.pop("structuredContent", None)
    if "tools" in result and result["tools"] is None:  # as Go writes an empty list
        result["tools"] = []
    if not isinstance(result.get("tools"), list):
        return
    if result.get("nextCursor") is not None:
        result["nextCursor"] = str(result["nextCursor"])
    tools: list[dict[str, Any]] = []
    unusable: dict[str, str] = {}
    for number, definition in enumerate(result["tools"], 1):
        fields = dict_or_empty(definition)
        name = fields.get("name")
        if not isinstance(name, str) or not name.strip():
            unusable[f"number {number}"] = "it has no name"
        elif marked_line(name) != name:  # it would draw its own question
            unusable[safe_line(name)] = "its name has unseen characters"
        elif fault := _schema_fault(fields.get("inputSchema")):
            unusable[name] = fault
        else:
            annotations = dict_or_empty(fields.get("annotations"))
            tools.append(
                {
                    "name": name,
                    "description": str_or_empty(fields.get("description")),
                    "schema": _input_schema(fields.get("inputSchema") or {}),
                    "is_read_only": annotations.get("readOnlyHint") is True,
                }
            )
    result["_meta"] = {"tools": tools, "unusable": unusable}
    # The SDK gets what it needs: the parameters, which may be headers over HTTP. It would check
    # results against an output schema, and a slow pattern would block the event loop.
    result["tools"] = [
        {"name": tool["name"], "inputSchema": _parameters_of(tool["schema"])} for tool in tools
    ]


def _text_of(result: Mapping[str, Any], images: dict[str, str]) -> str:
    """Return a result as text, and put its pictures into `images` as base64, by names in the text.

    Another block without text is a line: `[audio/wav: not shown]`.
    """
    content = result.get("content") or []
    if not content and (value := result.get("structuredContent")) is not None:
        return encode(value).decode()
    texts: list[str] = []
    for block in content if isinstance(content, list) else [content]:
        fields = dict_or_empty(block)
        # an embedded file is one level below its block
        fields = dict_or_empty(fields.get("resource")) or fields
        media_type = fields.get("mimeType") or dict_or_empty(block).get("type")
        address = fields.get("uri") or "not shown"  # files and links have an address
        text = fields.get("text", f"[{media_type}: {address}]") if fields else block
        # of a picture, or of an embedded file
        data = str_or_empty(fields.get("data") or fields.get("blob"))
        if len(images) < _MOST_IMAGES and (kind := image_type(image_bytes(data))):
            name = f"image-{len(images) + 1}.{kind.partition('/')[2]}"
            images[name] = data
            text = f"[image {name}]"
        texts.append(text if isinstance(text, str) else encode(text).decode())
    return "\n".join(texts)


def image_bytes(data: str) -> bytes:
    with suppress(ValueError):  # no base64
        return b64decode(data)
    return b""


def _schema_fault(schema: object) -> str:
    """Return why this schema cannot be that of a tool's arguments, or ""."""
    if schema in (None, []):  # of a tool without arguments, as PHP writes it, too
        return ""
    if not isinstance(schema, dict):
        return "its inputSchema is not an object"
    kind = schema.get("type", "object")
    if kind == "object" or (isinstance(kind, list) and "object" in kind):
        return ""
    return f"its inputSchema is of the type {safe_line(str(kind), limit=20)}, not object"


def _input_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an object; servers in PHP say of one without properties: `[]`."""
    known = dict(schema) | {"type": "object"}
    for name, kind in (("properties", dict), ("required", list)):
        if not isinstance(known.get(name, kind()), kind):
            del known[name]
    return known


def _parameters_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with parameters only, which the SDK refuses if one is no object."""
    parameters = dict_or_empty(schema.get("properties")).items()
    known = {name: value for name, value in parameters if isinstance(value, dict)}
    return {"type": "object", "properties": known}
