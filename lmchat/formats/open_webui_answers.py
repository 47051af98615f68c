"""Messages of Open WebUI: today a list of items, in older versions a text with `<details>` in it."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from lmchat.domain.message import ReasoningPart, Role, TextPart, ToolCallPart, ToolResultPart
from lmchat.formats.checks import word
from lmchat.formats.foreign import Step, picture, said

_DETAILS = re.compile(
    r'\s*<details type="(\w+)"([^>]*)>\s*(?:<summary>.*?</summary>)?(.*?)</details>\s*', re.DOTALL
)
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
Row = dict[str, Any]


def steps(message: Row, others: Counter[str], role: Role) -> Iterator[Step]:
    """Yield the parts of a message, and count what is left out."""
    for file in message.get("files") or ():
        if image := picture(file.get("url"), word(file, "name")):
            yield image
        else:
            others["image" if word(file, "type") == "image" else "file"] += 1
    if items := message.get("output"):
        yield from _items(items, others)
    elif isinstance(content := message["content"], list):
        yield TextPart(text="".join(word(part, "text") for part in content))
    elif role is Role.ASSISTANT:
        yield from _blocks(content, others)
    else:
        yield from said(content, role)


def _items(items: list[Row], others: Counter[str]) -> Iterator[Step]:
    for item in items:
        call_id = word(item, "call_id")
        match item["type"]:
            case "message":
                yield from said(_joined(item["content"]), Role.ASSISTANT)
            case "reasoning":
                yield ReasoningPart(text=_joined(item.get("summary") or item["content"]))
            case "function_call":
                yield ToolCallPart(call_id=call_id, name=item["name"], arguments=item["arguments"])
            case "function_call_output":
                call = ToolCallPart(call_id=call_id, name="", arguments="")
                yield call, ToolResultPart(text=_joined(item["output"]))
            case kind:
                others[kind.removeprefix("open_webui:").replace("_", " ")] += 1


def _joined(parts: list[Row]) -> str:
    return "".join(word(part, "text") for part in parts)


def _blocks(text: str, others: Counter[str]) -> Iterator[Step]:
    end = 0
    for found in _DETAILS.finditer(text):
        yield from said(text[end : found.start()], Role.ASSISTANT)
        kind, inner = found[1], html.unescape(found[3]).strip()
        end = found.end()
        if kind == "reasoning":
            yield ReasoningPart(text=re.sub("(?m)^> ?", "", inner))
        elif kind == "tool_calls":
            values = {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(found[2])}
            arguments, result = (_unpacked(values.get(name) or "") for name in ("arguments", "result"))
            call = ToolCallPart(call_id=values.get("id", ""), name=values["name"], arguments=arguments)
            yield call
            yield call, ToolResultPart(text=result or inner)
        else:
            others[kind.replace("_", " ")] += 1
    yield from said(text[end:], Role.ASSISTANT)


def _unpacked(value: str) -> str:
    """Return a text that was packed in JSON; other JSON stays as it is."""
    try:
        text = json.loads(value)
    except ValueError:
        return value
    return text if isinstance(text, str) else value
