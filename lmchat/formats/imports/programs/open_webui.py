"""Import of Open WebUI's JSON exports, checked with version 0.12.4.

A chat has messages by id, in `history.messages`; older chats have a list `messages` alone. The
content of an answer is a list of items today (`output`). In older chats, it is a text (`content`)
with `<details>` elements, which hold reasoning, or a tool call that is left out:

    <details type="reasoning" done="true">
    <summary>Thought for 2 seconds</summary>
    > It is 4.
    </details>
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lmchat.formats.imports.file_values import Record, items_of, record_in, text_in, time_of
from lmchat.formats.imports.foreign_chat import (
    ForeignChat,
    ForeignPart,
    failure_of,
    quoted_call,
    quoted_result,
)
from lmchat.formats.imports.format import JsonFormat
from lmchat.formats.imports.sources import Source
from lmchat.markdown.commonmark import unescaped
from lmchat.sessions.message import ReasoningPart, Role

_ELEMENT = '<details type="'  # its kind follows, then the closing quote
# Fields of an answer that are not read, with the kind of their items.
_NOT_READ = (
    ("sources", "source"),
    ("citations", "source"),  # an older name
    ("code_executions", "code execution"),
    ("embeds", "embed"),
    ("merged", "merged answer"),
)


def _fits(record: Record) -> bool:
    """Return whether an object is a chat: a row of the database, or only the object in its `chat`.

    An older chat, which has no `history`, must have its row around it. Otherwise, it looks like one
    of the lists that `message_list` imports.
    """
    has_history = isinstance(_content(record).get("history"), dict)
    is_row_of_older_chat = isinstance(record_in(record, "chat").get("messages"), list)
    return has_history or is_row_of_older_chat


def _content(record: Record) -> Record:
    """Return the object with the messages: that in `chat`, or in some exports the whole record."""
    return record_in(record, "chat") or record


def _read(records: Sequence[Record], _: Source) -> ForeignChat:
    """Return a chat; it has no messages if Open WebUI marks it as internal."""
    record = records[0]  # the only one: `FORMAT` has no `begins_chat`
    content = _content(record)
    history = record_in(content, "history")
    chat = ForeignChat(
        # without an id, its time identifies a chat
        key=text_in(record, "id") or text_in(content, "id") or str(content.get("timestamp")),
        title=text_in(record, "title") or text_in(content, "title"),
        path_end=text_in(record, "current_message_id") or text_in(history, "currentId"),
        created_at=time_of(record.get("created_at")),
        updated_at=time_of(record.get("updated_at")),
        system=text_in(content.get("params"), "system") or text_in(content, "system"),
    )
    if record_in(record, "meta").get("internal"):
        return chat
    if isinstance(history.get("messages"), dict):
        rows = [  # key, message and key of its parent
            (key, message, text_in(message, "parentId"))
            for key, message in history["messages"].items()
        ]
    else:  # an older chat: each message follows the one before it, and the first one has no parent
        rows = []
        for number, message in enumerate(content["messages"]):
            key = text_in(message, "id") or str(number)
            rows.append((key, message, rows[-1][0] if rows else ""))
    for key, row, parent in rows:
        message = row if isinstance(row, dict) else {}
        chat.add(
            key,
            text_in(message, "role"),
            _parts(message, chat),
            parent=parent,
            created_at=time_of(message.get("timestamp")),
            model=text_in(message, "model"),
        )
    return chat


def _parts(message: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the images of a message, then its content and its error, if the answer has failed.

    Other files and what belongs to an answer are counted as left out.
    """
    for name, kind in _NOT_READ:
        chat.omit(kind, len(items_of(message.get(name))))
    for file in items_of(message.get("files")):
        kind = "image" if text_in(file, "type") == "image" else "file"
        yield from chat.image_or_omit(file.get("url"), text_in(file, "name"), omitted_as=kind)
    error = message.get("error")
    content = message.get("content") if error else message["content"]
    if error:
        reason = error.get("content") if isinstance(error, dict) else None
        if reason is None:  # then the content is the error, as in older chats
            reason, content = content or error, ""
        yield failure_of(reason)
    if items := items_of(message.get("output")):  # an answer
        yield from _item_parts(items, chat)
    elif not isinstance(content, str):  # text parts
        yield chat.read_text(content)
    elif text_in(message, "role") == Role.ASSISTANT:  # an older answer
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
                yield quoted_call(item["name"], item["arguments"])
            case "function_call_output":
                yield quoted_result(item["output"])
            case kind:
                chat.omit(kind.removeprefix("open_webui:").replace("_", " "))


def _text_parts(text: str, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the `<details>` elements of a text as thoughts, and the texts between them as texts.

    Elements of other kinds, such as tool calls, are counted as left out.
    """
    before, *elements = text.split(_ELEMENT)
    yield before.strip() if elements else text  # a text without elements stays as it is
    for element in elements:
        content, end, after = element.partition("</details>")
        kind, _, _ = content.partition('"')  # `_ELEMENT` ends before it: `reasoning" done="true">…`
        if not end:  # without an end tag, it is text of the model
            yield _ELEMENT + element
        elif kind == "reasoning":
            _, _, inside = content.partition(">")
            _, _, quotation = inside.rpartition("</summary>")
            thought = unescaped(quotation).strip()
            lines = (line.removeprefix(">").removeprefix(" ") for line in thought.split("\n"))
            yield ReasoningPart(text="\n".join(lines))
        else:
            chat.omit(kind.replace("_", " ").removesuffix("s"))  # `tool_calls`: in the singular
        yield after.strip()


FORMAT = JsonFormat(fits=_fits, read=_read)
