"""Import of LM Studio's conversation files, as its version 0.4 writes them.

Their format is not documented. A file has a list of messages, each with versions, one of which is
selected. A version is a content, or a list of steps that each have a content.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from lmchat.formats.file_values import Record, record_in, text_in, time_of
from lmchat.formats.foreign import (
    ForeignChat,
    ForeignPart,
    JsonFormat,
    MessageMetadata,
    ToolRun,
    call_of,
)
from lmchat.formats.text_files import TextFile
from lmchat.sessions.message import AnswerStats, ReasoningPart

_WITHOUT_CONTENT = ("toolStatus", "debugInfoBlock")  # steps that only the program needs
_SYSTEM_PROMPT = "llm.prediction.systemPrompt"


def fits(value: Record) -> bool:
    """Return whether a value is a conversation of LM Studio: if any message has versions."""
    messages = value.get("messages")
    if not isinstance(messages, list):
        return False
    records = (message for message in messages if isinstance(message, dict))
    return any(isinstance(record.get("versions"), list) for record in records)


def read(value: Record, file: TextFile) -> Iterator[ForeignChat]:
    """Yield the chat of a conversation file.

    Each message follows the selected version of the message before it. The path ends with the last
    selected version. The name of the file identifies the chat, since it has no id.
    """
    created_at = value.get("createdAt")
    chat = ForeignChat(
        key=file.name.removesuffix(".conversation.json") or str(created_at),
        title=text_in(value, "name"),
        created_at=time_of(created_at),
        updated_at=time_of(value.get("assistantLastMessagedAt")),
        system=_system_prompt(value),
        model=text_in(value.get("lastUsedModel"), "identifier"),
    )
    for number, message in enumerate(value["messages"]):
        with chat.damage_counted():
            _add_versions(number, message, file, chat)
    yield chat


def _add_versions(number: int, message: Record, file: TextFile, chat: ForeignChat) -> None:
    """Add the versions of a message, and let the path end with the selected one.

    `number` is the index of the message in its conversation.
    """
    parent = chat.path_end  # the selected version of the message before
    selected_index = message.get("currentlySelected", 0)
    for index, version in enumerate(message["versions"]):
        key = f"{number}.{index}"
        with chat.damage_counted():
            parts = _message_parts(version, file, chat)
            chat.add(
                key, text_in(version, "role"), parts, parent=parent, metadata=_metadata(version)
            )
        if index == selected_index and key in chat.messages:
            chat.path_end = key


def _message_parts(version: Record, file: TextFile, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the parts of a version, and count what is left out.

    A version without steps is read like one step. Structural texts are marks around a thought, such
    as `<think>`; they are left out.
    """
    for step in version.get("steps", [version]):
        step_kind = text_in(step, "type")
        if "content" not in step and step_kind not in _WITHOUT_CONTENT:
            chat.omit(step_kind)
        is_thought = text_in(step.get("style"), "type") == "thinking"
        for part in step.get("content") or ():
            if text_in(part, "type") != "text":
                yield from _other_part(part, file, chat)
            elif not part.get("isStructural"):
                text = chat.read_text(part.get("text"))
                yield ReasoningPart(text=text) if is_thought else text


def _other_part(part: Record, file: TextFile, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield a part that is no text: a tool call, the result of one, or an image.

    Any other part is counted as left out.
    """
    kind = text_in(part, "type")
    call_id = text_in(part, "toolCallRequestId") or str(part.get("callId", ""))
    if kind == "toolCallResult":
        yield ToolRun(call=call_id, result=part.get("content"))
    elif kind == "toolCallRequest":
        arguments = part.get("arguments", part.get("parameters"))
        yield call_of(call_id, text_in(part, "name"), arguments)
    elif text_in(part, "fileType") == "image":
        yield from chat.add_images([file.stored(text_in(part, "fileIdentifier"))])
    else:
        chat.omit(kind)


def _metadata(version: Record) -> MessageMetadata:
    """Return the time, the model and the figures of a version from its steps.

    If several steps have them, those of the last one count. A prompt has no steps, so it gets none
    of these.
    """
    created_at: datetime | None = None
    model = ""
    figures: AnswerStats | None = None
    for step in version.get("steps") or ():
        # `1760000000000-0.123` is a time in milliseconds and a random number.
        begun_ms = text_in(step, "stepIdentifier").partition("-")[0]
        if begun_ms.isdecimal():
            created_at = time_of(int(begun_ms))
        info = step.get("genInfo")
        if isinstance(info, dict):
            model = text_in(info, "identifier")
            stats = record_in(info, "stats")
            figures = AnswerStats(
                tokens_per_second=stats.get("tokensPerSecond"),
                prompt_tokens=stats.get("promptTokensCount"),
                completion_tokens=stats.get("predictedTokensCount"),
                is_estimated=False,
                finish_reason="stop",
            )
    return MessageMetadata(created_at=created_at, model=model, stats=figures)


def _system_prompt(value: Record) -> str:
    """Return the system prompt of a conversation; older ones have it in another field."""
    fields = record_in(value, "perChatPredictionConfig").get("fields")
    if isinstance(fields, list):
        for row in fields:
            if text_in(row, "key") == _SYSTEM_PROMPT:
                return text_in(row, "value")
    return text_in(value, "systemPrompt")


FORMATS = (JsonFormat(fits=fits, read=read),)
