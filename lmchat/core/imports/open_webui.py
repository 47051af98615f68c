"""Import of Open WebUI's JSON exports, checked with version 0.12.4.

A chat has messages by id, in `history.messages`; older chats have a list `messages` alone. The
content of an answer is a list of items today (`output`). In older chats, it is a text (`content`)
with `<details>` elements, which hold reasoning or a tool call:

    <details type="reasoning" done="true">
    <summary>Thought for 2 seconds</summary>
    > It is 4.
    </details>
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from lmchat.base.markdown.commonmark import unescaped
from lmchat.core.formats.reading import (
    Format,
    Record,
    Source,
    at,
    items_of,
    parsed,
    quoted_call,
    text_at,
    time_of,
)
from lmchat.core.imports.foreign_chat import (
    STOPPED,
    ForeignChat,
    ForeignPart,
    failure_of,
    quoted_result,
)
from lmchat.core.sessions.message import ReasoningPart, Role
from lmchat.core.sessions.prompts import file_as_prompt_text
from lmchat.core.sessions.session import Session

_ELEMENT = '<details type="'  # its kind follows, then the closing quote
# of an answer, with the kind of their items
_NOT_READ = (
    ("sources", "source"),
    ("citations", "source"),  # an older name
    ("code_executions", "code execution"),
    ("embeds", "embed"),
    ("merged", "merged answer"),
)


def _fits(record: Record) -> bool:
    """Whether it is a chat: a row of the database, or only the object in its `chat`.

    An older chat, without `history`, must have its row around it: else it looks like a list that
    `message_list` imports.
    """
    has_history = isinstance(_content(record).get("history"), dict)
    return has_history or isinstance(at(record, "chat", "messages"), list)


def _content(record: Record) -> Record:
    """Return the object with the messages: in `chat`, or in some exports the whole record."""
    chat = record.get("chat")
    return chat if chat and isinstance(chat, dict) else record


def _session(records: Sequence[Record], _source: Source, now: datetime) -> Session:
    """Return no messages for a chat that Open WebUI marks as internal."""
    record = records[0]
    content = _content(record)
    history = content.get("history")
    chat = ForeignChat(
        # without an id, its time identifies it
        key=text_at(record, "id") or text_at(content, "id") or str(content.get("timestamp") or ""),
        title=text_at(record, "title") or text_at(content, "title"),
        path_end=text_at(record, "current_message_id") or text_at(history, "currentId"),
        created_at=time_of(record.get("created_at")),
        updated_at=time_of(record.get("updated_at")),
        system=text_at(content, "params", "system") or text_at(content, "system"),
        tags=[
            tag if isinstance(tag, str) else text_at(tag, "name")
            for tag in (*items_of(at(record, "meta", "tags")), *items_of(content.get("tags")))
        ],
        is_pinned=record.get("pinned") is True,
        is_archived=record.get("archived") is True,
    )
    chat.omit("folder", 1 if record.get("folder_id") else 0)  # the file lacks its name
    by_id = at(history, "messages")
    has_parents = isinstance(by_id, dict)
    if has_parents:
        messages = [*by_id.items()]
    else:  # an older chat: each follows the one before
        messages = [
            (text_at(message, "id") or str(n), message)
            for n, message in enumerate(content["messages"])
        ]
    for key, message in [] if at(record, "meta", "internal") else messages:
        chat.add(
            key,
            at(message, "role"),
            _parts(message, chat),
            parent=at(message, "parentId") if has_parents else chat.last_key,
            created_at=time_of(at(message, "timestamp")),
            model=at(message, "model"),
        )
    return chat.session(now, source="openwebui")


def _parts(message: Record, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Images come before the content and the error; count what is left out."""
    for name, kind in _NOT_READ:
        chat.omit(kind, len(items_of(message.get(name))))
    for file in items_of(message.get("files")):
        name = text_at(file, "name")
        if text := text_at(file, "file", "data", "content"):  # what the model has read of it
            yield file_as_prompt_text(name, len(text.encode()), text)
            continue
        is_image = "image" in (text_at(file, "type"), text_at(file, "content_type")[:5])
        kind = "image" if is_image else "file"
        yield from chat.image_or_omit(file.get("url"), name, omitted_as=kind)
    error = message.get("error")
    content = message.get("content") if error else message["content"]
    if error is True:  # then the content is the error, as in older chats
        error = content or error
        content = ""
    if error:
        yield failure_of(at(error, "content") or error)
    if items := items_of(message.get("output")):  # an answer
        yield from _item_parts(items, chat)
    elif not isinstance(content, str):  # text parts
        yield chat.read_text(content)
    elif text_at(message, "role") == Role.ASSISTANT:  # an older answer
        yield from _text_parts(content, chat)
    else:
        yield content


def _item_parts(items: list[Record], chat: ForeignChat) -> Iterator[ForeignPart]:
    """Read a list `output`, whose items are those of OpenAI's Responses API."""
    for item in items:
        if item.get("status") == "incomplete":
            yield STOPPED
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
    """Split a text into its `<details>` elements, and the texts between."""
    before, *elements = text.split(_ELEMENT)
    yield before.strip() if elements else text  # without elements, it stays as it is
    for element in elements:
        content, end, after = element.partition("</details>")
        kind, _, _ = content.partition('"')  # `_ELEMENT` ends before it: `reasoning" done="true">…`
        opening, _, inside = content.partition(">")
        _, *pieces = opening.split('"')  # like ` done=`, `true`, ` name=`, `add`
        pairs = zip(pieces[::2], pieces[1::2], strict=False)
        values = {key.strip(" ="): unescaped(value) for key, value in pairs}
        if not end:  # without an end tag, it is text of the model
            yield _ELEMENT + element
        elif kind == "reasoning":
            _, _, quotation = inside.rpartition("</summary>")
            thought = unescaped(quotation).strip()
            lines = (line.removeprefix(">").removeprefix(" ") for line in thought.split("\n"))
            yield ReasoningPart(text="\n".join(lines))
        elif kind == "tool_calls" and "name" in values:
            yield quoted_call(values["name"], parsed(values.get("arguments", "")))
            if "result" in values:
                yield quoted_result(parsed(values["result"]))
        else:
            chat.omit(kind.replace("_", " ").removesuffix("s"))  # `tool_calls`: in the singular
        yield after.strip()


FORMAT = Format(fits=_fits, session=_session)
