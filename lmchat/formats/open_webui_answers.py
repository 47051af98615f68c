"""Messages of Open WebUI: today a list of items, in older versions a text with `<details>` in it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from contextlib import suppress

from lmchat.domain.message import ReasoningPart, Role
from lmchat.formats.checks import word
from lmchat.formats.foreign import ForeignChat, Step, call_of
from lmchat.formats.sources import Row

_DETAILS = re.compile(
    r'\s*<details type="(\w+)"([^>]*)>\s*(?:<summary>.*?</summary>)?(.*?)</details>\s*', re.DOTALL
)
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


def steps(message: Row, chat: ForeignChat) -> Iterator[Step]:
    """Yield the parts of a message, and count what is left out."""
    for file in message.get("files") or ():
        if image := chat.image(file.get("url"), word(file, "name")):
            yield image
        else:
            chat.omitted["image" if word(file, "type") == "image" else "file"] += 1
    if items := message.get("output"):
        yield from _items(items, chat)
    elif isinstance(content := message["content"], list):
        yield _joined(content)
    elif word(message, "role") == Role.ASSISTANT:
        yield from _blocks(content, chat)
    else:
        yield content


def _items(items: list[Row], chat: ForeignChat) -> Iterator[Step]:
    for item in items:
        match item["type"]:
            case "message":
                yield _joined(item["content"])
            case "reasoning":
                yield ReasoningPart(text=_joined(item.get("summary") or item["content"]))
            case "function_call":
                yield call_of(item["call_id"], item["name"], item["arguments"])
            case "function_call_output":
                yield item["call_id"], item["output"]
            case kind:
                chat.omitted[kind.removeprefix("open_webui:").replace("_", " ")] += 1


def _joined(parts: list[Row]) -> str:
    return "".join(word(part, "text") for part in parts)


def _blocks(text: str, chat: ForeignChat) -> Iterator[Step]:
    end = 0
    for found in _DETAILS.finditer(text):
        yield text[end : found.start()]
        kind, inner = found[1], html.unescape(found[3]).strip()
        end = found.end()
        if kind == "reasoning":
            yield ReasoningPart(text=re.sub("(?m)^> ?", "", inner))
        elif kind == "tool_calls":
            values = {name: _unpacked(html.unescape(value)) for name, value in _ATTRIBUTE.findall(found[2])}
            call = call_of(values.get("id"), values["name"], values.get("arguments", ""))
            yield call
            yield call.call_id, values.get("result") or inner
        else:
            chat.omitted[kind.replace("_", " ")] += 1
    yield text[end:]


def _unpacked(value: str) -> str:
    """Return a text that was packed in JSON; other JSON stays as it is."""
    with suppress(ValueError):
        if isinstance(text := json.loads(value), str):
            return text
    return value
