"""Import of LM Studio's conversation files, as its version 0.4 writes them.

Their format is not documented. A file has a list of messages, each with versions, one of which is
selected. A version is a content, or a list of steps that each have a content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from lmchat.formats.imports.file_values import (
    BAD_VALUE_ERRORS,
    Record,
    items_of,
    record_in,
    text_in,
    time_of,
)
from lmchat.formats.imports.foreign_chat import ForeignChat, ForeignPart, quoted_call, quoted_result
from lmchat.formats.imports.format import JsonFormat
from lmchat.formats.imports.sources import Source
from lmchat.sessions.message import ReasoningPart

_SYSTEM_PROMPT = "llm.prediction.systemPrompt"
# Types of steps that only say how the answer was made.
_STATES = ("status", "toolStatus", "debugInfoBlock")


def _fits(record: Record) -> bool:
    """Return whether an object is a conversation: whether any message has versions."""
    messages = record.get("messages")
    if not isinstance(messages, list):
        return False
    rows = (message for message in messages if isinstance(message, dict))
    return any(isinstance(row.get("versions"), list) for row in rows)


def _read(records: Sequence[Record], source: Source) -> ForeignChat:
    """Return the chat of a conversation file.

    Each message follows the selected version of the message before it. The path ends with the last
    selected version. The name of the file identifies the chat, since it has no id.
    """
    record = records[0]  # the only one: `FORMAT` has no `begins_chat`
    created_at = record.get("createdAt")
    chat = ForeignChat(
        key=source.name.removesuffix(".conversation.json") or str(created_at),
        title=text_in(record, "name"),
        created_at=time_of(created_at),
        updated_at=time_of(record.get("assistantLastMessagedAt")),
        system=_system_prompt(record),
        model=text_in(record.get("lastUsedModel"), "identifier"),
    )
    chat.omit("note", len(items_of(record.get("notes"))))
    chat.omit("draft", len(items_of(record.get("clientInput"))))
    for number, message in enumerate(record["messages"]):
        parent = chat.path_end  # the selected version of the message before
        try:
            for index, version in enumerate(message["versions"]):
                key = f"{number}.{index}"
                time, model = _time_and_model(version)
                chat.add(
                    key,
                    text_in(version, "role"),
                    _parts(version, source, chat),
                    parent=parent,
                    created_at=time,
                    model=model,
                )
                if index == message.get("currentlySelected", 0):
                    chat.path_end = key
        except BAD_VALUE_ERRORS:
            chat.count_damaged_message()
    return chat


def _parts(version: Record, source: Source, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the parts of a version, and count what is left out.

    A version without steps is read like one step. Structural texts are marks around a thought, such
    as `<think>`; they are left out.
    """
    for step in items_of(version.get("steps", [version])):
        is_thought = text_in(step.get("style"), "type") == "thinking"
        step_kind = text_in(step, "type")
        if "content" not in step and step_kind not in _STATES:
            chat.omit(step_kind)
        for part in items_of(step.get("content")):
            kind = text_in(part, "type")
            if isinstance(part, str):
                yield part
            elif kind == "text" and not part.get("isStructural"):
                text = chat.read_text(part.get("text"))
                yield ReasoningPart(text=text) if is_thought else text
            elif kind == "toolCallRequest":
                arguments = part.get("arguments", part.get("parameters"))
                yield quoted_call(part["name"], arguments)
            elif kind == "toolCallResult":
                yield quoted_result(part.get("content"))
            elif text_in(part, "fileType") == "image":
                yield from chat.image_or_omit(source.file_content(text_in(part, "fileIdentifier")))
            elif kind != "text":  # else it is a structural text
                chat.omit(kind)


def _time_and_model(version: Record) -> tuple[datetime | None, str]:
    """Return the time and the model of a version: those of its last step that has them.

    A prompt has no steps, so it gets neither.
    """
    created_at: datetime | None = None
    model = ""
    for step in items_of(version.get("steps")):
        # `1760000000000-0.123` is a time in milliseconds and a random number.
        begun_ms = text_in(step, "stepIdentifier").partition("-")[0]
        if begun_ms.isdecimal():
            created_at = time_of(int(begun_ms))
        model = text_in(step.get("genInfo"), "identifier") or model
    return created_at, model


def _system_prompt(record: Record) -> str:
    """Return the system prompt, one of the settings of a conversation; empty if it has none.

    Files of older versions, or of older conversations, have it in a field of its own.
    """
    fields = record_in(record, "perChatPredictionConfig").get("fields")
    if isinstance(fields, list):
        for row in fields:
            if text_in(row, "key") == _SYSTEM_PROMPT and text_in(row, "value"):
                return text_in(row, "value")
    return text_in(record, "systemPrompt")


FORMAT = JsonFormat(fits=_fits, read=_read)
