"""Import of LM Studio's conversation files, as its version 0.4 writes them.

Their format is not documented. A file has a list of messages, each with versions, one of which is
selected. A version is a content, or a list of steps that each have a content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from lmchat.core.formats.reading import (
    BAD_VALUE_ERRORS,
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
    OTHER_VERSION,
    STOPPED,
    ForeignChat,
    ForeignPart,
    failure_of,
    quoted_result,
)
from lmchat.core.sessions.message import ReasoningPart
from lmchat.core.sessions.session import Session

_SYSTEM_PROMPT = "llm.prediction.systemPrompt"
# only say how the answer was made
_STATES = ("status", "toolStatus", "debugInfoBlock")


def _fits(record: Record) -> bool:
    return any(
        isinstance(at(message, "versions"), list) for message in items_of(record.get("messages"))
    )


def _session(records: Sequence[Record], source: Source, now: datetime) -> Session:
    """Return the session of the selected version of each message.

    The name of the file identifies the chat, since it has no id.
    """
    record = records[0]
    created_at = record.get("createdAt")
    chat = ForeignChat(
        key=source.name.removesuffix(".conversation.json") or str(created_at),
        title=text_at(record, "name"),
        created_at=time_of(created_at),
        updated_at=time_of(record.get("assistantLastMessagedAt")),
        system=_system_prompt(record),
        model=text_at(record, "lastUsedModel", "identifier"),
        tags=source.folders_below("conversations"),
        is_pinned=record.get("pinned") is True,
    )
    chat.omit("preset", 1 if text_at(record, "preset") and not chat.system else 0)
    chat.omit("note", len(items_of(record.get("notes"))))
    chat.omit("draft", len(items_of(record.get("clientInput"))))
    for number, message in enumerate(record["messages"]):
        try:
            versions = message["versions"]
            selected = message.get("currentlySelected", 0)
            if selected >= len(versions):
                selected = 0
            version = versions[selected]
            chat.omit(OTHER_VERSION, len(versions) - 1)
            time, model = _time_and_model(version)
            chat.add(
                f"{number}.{selected}",
                version.get("role"),
                _parts(version, source, chat),
                parent=chat.last_key,
                created_at=time,
                model=model,
            )
        except BAD_VALUE_ERRORS:
            chat.omit("damaged message")
    return chat.session(now, source="lmstudio")


def _parts(version: Record, source: Source, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the parts of a version, and count what is left out.

    A version without steps is read like one step. Structural texts are marks around a thought, such
    as `<think>`; they are left out.
    """
    for step in items_of(version.get("steps", [version])):
        is_thought = at(step, "style", "type") == "thinking"
        if "content" not in step and step["type"] not in _STATES:
            chat.omit(step["type"])
        if reason := text_at(step, "statusState", "status", "error"):  # of a tool call
            yield quoted_result(reason)
        if text_at(step, "statusState", "status") == "error":
            yield failure_of(text_at(step, "statusState", "text") or True)
        if at(step, "genInfo", "stats", "stopReason") == "userStopped":
            yield STOPPED
        for part in items_of(step.get("content")):
            kind = text_at(part, "type")
            if isinstance(part, str):
                yield part
            elif kind == "text" and not part.get("isStructural"):
                text = chat.read_text(part.get("text"))
                yield ReasoningPart(text=text) if is_thought else text
            elif kind == "toolCallRequest":
                yield quoted_call(part["name"], part.get("arguments", part.get("parameters")))
            elif kind == "toolCallResult":
                yield quoted_result(part.get("content"))
            elif text_at(part, "fileType") == "image":
                key = text_at(part, "fileIdentifier")
                facts = parsed(source.read_beside(f"{key}.metadata.json"))
                image = source.read_beside(key)
                yield from chat.image_or_omit(image, text_at(facts, "originalName"))
            elif kind != "text":  # else it is a structural text
                chat.omit(kind)


def _time_and_model(version: Record) -> tuple[datetime | None, str]:
    """Return the time and the model of a version: those of its last step that has them."""
    created_at: datetime | None = None
    model = text_at(version, "senderInfo", "senderName")
    for step in items_of(version.get("steps")):
        # a time in milliseconds and a random number: `1760000000000-0.123`
        started_ms = text_at(step, "stepIdentifier").partition("-")[0]
        if started_ms.isdecimal():
            created_at = time_of(int(started_ms))
        model = text_at(step, "genInfo", "identifier") or model
    return created_at, model


def _system_prompt(record: Record) -> str:
    """Return the system prompt; files of older conversations have it in a field of its own."""
    settings = items_of(at(record, "perChatPredictionConfig", "fields"))
    values = (
        text_at(setting, "value") for setting in settings if at(setting, "key") == _SYSTEM_PROMPT
    )
    return next(filter(None, values), text_at(record, "systemPrompt"))


FORMAT = Format(fits=_fits, session=_session)
