"""Messages of Open WebUI: today a list of items, in older versions a text with `<details>` in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from lmchat.domain.message import ReasoningPart, Role
from lmchat.formats.checks import word
from lmchat.formats.foreign import ForeignChat, Step, call_of
from lmchat.formats.sources import Row
from lmchat.text import unescaped

_BLOCK, _BLOCK_END = '<details type="', "</details>"
_SUMMARY, _SUMMARY_END = "<summary>", "</summary>"
_LONGEST_KIND = 50


class DetailsBlock(NamedTuple):
    """A `<details>` element of a text."""

    kind: str
    attributes: str
    inner: str
    begin: int  # offset in the text
    end: int  # offset behind it


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
        yield chat.text(content)
    elif word(message, "role") == Role.ASSISTANT:
        yield from _blocks(content, chat)
    else:
        yield content


def _items(items: list[Row], chat: ForeignChat) -> Iterator[Step]:
    for item in items:
        match item["type"]:
            case "message":
                yield chat.text(item["content"])
            case "reasoning":
                yield ReasoningPart(text=chat.text(item.get("summary") or item["content"]))
            case "function_call":
                yield call_of(item["call_id"], item["name"], item["arguments"])
            case "function_call_output":
                yield item["call_id"], item["output"]
            case kind:
                chat.omitted[kind.removeprefix("open_webui:").replace("_", " ")] += 1


def _blocks(text: str, chat: ForeignChat) -> Iterator[Step]:
    end = 0
    for block in _found(text):
        yield _between(text[end : block.begin], is_after_block=end > 0).rstrip()
        yield from _block_steps(block, chat)
        end = block.end
    yield _between(text[end:], is_after_block=end > 0)


def _between(text: str, *, is_after_block: bool) -> str:
    return text.lstrip() if is_after_block else text


def _found(text: str) -> Iterator[DetailsBlock]:
    """Yield the elements one after the other; each part of the text is searched once."""
    begin = text.find(_BLOCK)
    while begin >= 0:
        kind_begin = begin + len(_BLOCK)
        kind, quote, _ = text[kind_begin : kind_begin + _LONGEST_KIND].partition('"')
        if not quote or not kind.replace("_", "").isalnum():
            begin = text.find(_BLOCK, kind_begin)
            continue
        head_end = text.find(">", kind_begin)
        inner_end = text.find(_BLOCK_END, head_end)
        if head_end < 0 or inner_end < 0:
            return
        inner = text[head_end + 1 : inner_end].lstrip()
        if inner.startswith(_SUMMARY) and _SUMMARY_END in inner:
            inner = inner.partition(_SUMMARY_END)[2]
        end = inner_end + len(_BLOCK_END)
        attributes = text[kind_begin + len(kind) + 1 : head_end]
        yield DetailsBlock(kind, attributes, inner, begin, end)
        begin = text.find(_BLOCK, end)


def _block_steps(block: DetailsBlock, chat: ForeignChat) -> Iterator[Step]:
    inner = unescaped(block.inner).strip()
    if block.kind == "reasoning":
        yield ReasoningPart(text="\n".join(map(_unquoted, inner.split("\n"))))
    elif block.kind == "tool_calls":
        values = _attributes(block.attributes)
        call = call_of(values.get("id"), values["name"], values.get("arguments", ""))
        yield call
        yield call.call_id, values.get("result") or inner
    else:
        chat.omitted[block.kind.replace("_", " ")] += 1


def _unquoted(line: str) -> str:
    return line[1:].removeprefix(" ") if line.startswith(">") else line


def _attributes(text: str) -> dict[str, str]:
    """Return the values by name of `name="value"` pairs."""
    names_and_values = text.split('"')
    pairs = zip(names_and_values[::2], names_and_values[1::2], strict=False)
    return {name.strip().removesuffix("="): _unpacked(unescaped(value)) for name, value in pairs}


def _unpacked(value: str) -> str:
    """Return a text that was packed in JSON; other JSON stays as it is."""
    with suppress(ValueError):
        if isinstance(text := json.loads(value), str):
            return text
    return value
