"""Import of Open WebUI's JSON exports, checked with version 0.12.4.

A chat has messages by id, in `history.messages`. The content of a message is a list of items today,
and a text in older chats. The text of an older answer has `<details>` elements, which hold
reasoning or a tool call:

    <details type="reasoning" done="true">
    <summary>Thought for 2 seconds</summary>
    > It is 4.
    </details>
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from lmchat.formats.file_values import Record, json_of, record_in, text_in, time_of
from lmchat.formats.foreign import (
    ForeignChat,
    ForeignPart,
    JsonFormat,
    MessageMetadata,
    ToolRun,
    call_of,
)
from lmchat.formats.text_files import TextFile
from lmchat.markdown.commonmark import unescaped
from lmchat.sessions.message import ReasoningPart, Role

_BLOCK = '<details type="'
_BLOCK_END = "</details>"
_SUMMARY = "<summary>"
_SUMMARY_END = "</summary>"
_KIND_CHARS = 50  # of a kind; more are not searched for its end


def fits(value: Record) -> bool:
    """Return whether an object of a file is a chat: whether it has messages by their ids."""
    return isinstance(_messages_by_id(value), dict)


def read(value: Record, _: TextFile) -> Iterator[ForeignChat]:
    """Yield the chat in an object of an export; nothing for one that Open WebUI marks as internal.

    In some exports, the object has the fields of a row of the database, and its field `chat` holds
    the messages; in others, it is that inner object alone. A message that is no object is counted
    as damaged.
    """
    if record_in(value, "meta").get("internal"):
        return
    content = value.get("chat", value)
    chat = ForeignChat(
        key=text_in(value, "id") or text_in(content, "id") or str(content.get("timestamp")),
        title=text_in(value, "title") or text_in(content, "title"),
        path_end=text_in(value, "current_message_id")
        or text_in(record_in(content, "history"), "currentId"),
        created_at=time_of(value.get("created_at")),
        updated_at=time_of(value.get("updated_at")),
        system=text_in(content.get("params"), "system") or text_in(content, "system"),
        is_archived=bool(value.get("archived")),
        is_pinned=bool(value.get("pinned")),
    )
    for key, stored_message in _messages_by_id(value).items():
        message: Record = stored_message if isinstance(stored_message, dict) else {}
        metadata = MessageMetadata(
            created_at=time_of(message.get("timestamp")), model=text_in(message, "model")
        )
        parts = _message_parts(message, chat)
        parent = message.get("parentId")
        chat.add(key, text_in(message, "role"), parts, parent=parent, metadata=metadata)
    yield chat


def _messages_by_id(value: Record) -> Any:
    """Return the messages of a chat: an object in every valid export, else None or anything."""
    return record_in(value.get("chat", value), "history").get("messages")


class DetailsBlock(Struct, frozen=True, kw_only=True):
    """A `<details>` element of a text."""

    kind: str
    attributes: str
    """Attributes after the kind as they are in the text: ` id="1" name="add"`."""
    content: str
    """Text in the element without its summary, with entities as `&gt;`."""
    begin: int  # offset of the element in the text
    end: int  # offset behind the element


def _message_parts(message: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the images of a message, then its content.

    The content is the list `output` if the message has one, else `content`. Files that are no
    images are counted as left out.
    """
    for file in message.get("files") or ():
        if image := chat.add_image(file.get("url"), text_in(file, "name")):
            yield image
        else:
            chat.omit("image" if text_in(file, "type") == "image" else "file")
    if items := message.get("output"):
        yield from _item_parts(items, chat)
        return
    content = message["content"]
    if isinstance(content, list):
        yield chat.read_text(content)
    elif text_in(message, "role") == Role.ASSISTANT:
        yield from _text_parts(content, chat)
    else:
        yield content


def _item_parts(items: list[Record], chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the parts of a list `output`, whose items are those of OpenAI's Responses API.

    Items of unknown kinds are counted as left out.
    """
    for item in items:
        match item["type"]:
            case "message":
                yield chat.read_text(item["content"])
            case "reasoning":
                yield ReasoningPart(text=chat.read_text(item.get("summary") or item["content"]))
            case "function_call":
                yield call_of(item["call_id"], item["name"], item["arguments"])
            case "function_call_output":
                yield ToolRun(call=item["call_id"], result=item["output"])
            case kind:
                chat.omit(kind.removeprefix("open_webui:").replace("_", " "))


def _text_parts(text: str, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the `<details>` elements of a text as parts, and the texts between them as texts.

    White space between a text and an element is left out; that at the beginning and the end of the
    whole text stays.
    """
    read_end = 0  # offset behind the last element
    for block in _details_blocks(text):
        text_before = text[read_end : block.begin].rstrip()
        yield text_before.lstrip() if read_end else text_before
        yield from _block_parts(block, chat)
        read_end = block.end
    yield text[read_end:].lstrip() if read_end else text


def _details_blocks(text: str) -> Iterator[DetailsBlock]:
    """Yield the `<details>` elements of a text that have a kind, up to one that is not closed.

    No part of the text is searched twice, so this takes linear time.
    """
    begin = text.find(_BLOCK)
    while begin >= 0:
        kind_begin = begin + len(_BLOCK)
        kind, quote, _ = text[kind_begin : kind_begin + _KIND_CHARS].partition('"')
        if not quote or not kind.replace("_", "").isalnum():  # it is text of the model
            begin = text.find(_BLOCK, kind_begin)
            continue
        head_end = text.find(">", kind_begin)
        content_end = text.find(_BLOCK_END, head_end)
        if head_end < 0 or content_end < 0:
            return

        content = text[head_end + len(">") : content_end].lstrip()
        if content.startswith(_SUMMARY) and _SUMMARY_END in content:
            content = content.partition(_SUMMARY_END)[2]
        attributes_begin = kind_begin + len(kind) + len(quote)
        block = DetailsBlock(
            kind=kind,
            attributes=text[attributes_begin:head_end],
            content=content,
            begin=begin,
            end=content_end + len(_BLOCK_END),
        )
        yield block
        begin = text.find(_BLOCK, block.end)


def _block_parts(block: DetailsBlock, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the thought of an element, or its tool call and then the result of that.

    An element of another kind is counted as left out. The result is an attribute or the content.
    """
    content = unescaped(block.content).strip()
    if block.kind == "reasoning":
        yield ReasoningPart(text="\n".join(map(_unquoted, content.split("\n"))))
    elif block.kind == "tool_calls":
        values = _attributes(block.attributes)
        call = call_of(values.get("id"), values["name"], values.get("arguments", ""))
        yield call
        yield ToolRun(call=call.call_id, result=values.get("result") or content)
    else:
        chat.omit(block.kind.replace("_", " "))


def _unquoted(line: str) -> str:
    """Return a line without the `> ` of a Markdown quotation."""
    return line.removeprefix(">").removeprefix(" ") if line.startswith(">") else line


def _attributes(text: str) -> dict[str, str]:
    """Return the values by name of attributes: ` id="1" name="add"`."""
    names_and_values = text.split('"')  # names at even indexes, values at odd ones
    names = (name.strip().removesuffix("=") for name in names_and_values[::2])
    values = (_text_of_json(unescaped(value)) for value in names_and_values[1::2])
    return dict(zip(names, values, strict=False))


def _text_of_json(value: str) -> str:
    r"""Return the text of a JSON string like `"a\nb"`; any other value unchanged."""
    text = json_of(value)
    return text if isinstance(text, str) else value


FORMATS = (JsonFormat(fits=fits, read=read),)
