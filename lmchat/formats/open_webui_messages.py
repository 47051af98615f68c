"""Messages of Open WebUI: today a list of items, in older chats a text with `<details>` in it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from lmchat.domain.message import ReasoningPart, Role
from lmchat.formats.file_values import Record, json_of, text_in
from lmchat.formats.foreign import ForeignChat, MessagePiece, ToolRun, call_of
from lmchat.text import unescaped

_BLOCK = '<details type="'
_BLOCK_END = "</details>"
_SUMMARY = "<summary>"
_SUMMARY_END = "</summary>"
_LONGEST_KIND = 50  # characters


class DetailsBlock(Struct, frozen=True, kw_only=True):
    """A `<details>` element of a text."""

    kind: str
    attributes: str
    inner: str
    begin: int  # offset in the text
    end: int  # offset behind it


def message_pieces(message: Record, chat: ForeignChat) -> Iterator[MessagePiece]:
    """Yield the parts of a message, and count what is left out."""
    for file in message.get("files") or ():
        if image := chat.image(file.get("url"), text_in(file, "name")):
            yield image
        else:
            chat.omit("image" if text_in(file, "type") == "image" else "file")
    if items := message.get("output"):
        yield from _item_pieces(items, chat)
        return
    content = message["content"]
    if isinstance(content, list):
        yield chat.text(content)
    elif text_in(message, "role") == Role.ASSISTANT:
        yield from _text_pieces(content, chat)
    else:
        yield content


def _item_pieces(items: list[Record], chat: ForeignChat) -> Iterator[MessagePiece]:
    for item in items:
        match item["type"]:
            case "message":
                yield chat.text(item["content"])
            case "reasoning":
                yield ReasoningPart(text=chat.text(item.get("summary") or item["content"]))
            case "function_call":
                yield call_of(item["call_id"], item["name"], item["arguments"])
            case "function_call_output":
                yield ToolRun(call=item["call_id"], result=item["output"])
            case kind:
                chat.omit(kind.removeprefix("open_webui:").replace("_", " "))


def _text_pieces(text: str, chat: ForeignChat) -> Iterator[MessagePiece]:
    end = 0
    for block in _blocks(text):
        before = text[end : block.begin].rstrip()
        yield before.lstrip() if end else before
        yield from _block_pieces(block, chat)
        end = block.end
    yield text[end:].lstrip() if end else text


def _blocks(text: str) -> Iterator[DetailsBlock]:
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
        block = DetailsBlock(
            kind=kind,
            attributes=text[kind_begin + len(kind) + 1 : head_end],
            inner=inner,
            begin=begin,
            end=inner_end + len(_BLOCK_END),
        )
        yield block
        begin = text.find(_BLOCK, block.end)


def _block_pieces(block: DetailsBlock, chat: ForeignChat) -> Iterator[MessagePiece]:
    inner = unescaped(block.inner).strip()
    if block.kind == "reasoning":
        yield ReasoningPart(text="\n".join(map(_unquoted, inner.split("\n"))))
    elif block.kind == "tool_calls":
        values = _attributes(block.attributes)
        call = call_of(values.get("id"), values["name"], values.get("arguments", ""))
        yield call
        yield ToolRun(call=call.call_id, result=values.get("result") or inner)
    else:
        chat.omit(block.kind.replace("_", " "))


def _unquoted(line: str) -> str:
    return line[1:].removeprefix(" ") if line.startswith(">") else line


def _attributes(text: str) -> dict[str, str]:
    """Return the values by name of `name="value"` pairs."""
    names_and_values = text.split('"')
    names = (name.strip().removesuffix("=") for name in names_and_values[::2])
    values = (_unpacked(unescaped(value)) for value in names_and_values[1::2])
    return dict(zip(names, values, strict=False))


def _unpacked(value: str) -> str:
    """Return a text that was packed in JSON; other JSON stays as it is."""
    text = json_of(value)
    return text if isinstance(text, str) else value
