"""Import of LM Studio's conversation files, as its version 0.4 writes them.

Their format is not documented. A file has one row of messages, each with versions, one of which is selected.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmchat.domain.message import ReasoningPart, Receipt
from lmchat.formats.checks import row_in, word
from lmchat.formats.foreign import ForeignChat, Step, call_of, time_of
from lmchat.formats.sources import Row, Source

SOURCE = "lmstudio"
_WITHOUT_CONTENT = ("toolStatus", "debugInfoBlock")  # steps that only the program needs


def fits(value: Row) -> bool:
    """Return whether a value is a conversation of LM Studio."""
    rows = value.get("messages")
    objects = [one for one in rows if isinstance(one, dict)] if isinstance(rows, list) else []
    return any(isinstance(one.get("versions"), list) for one in objects)


def read(value: Row, source: Source) -> Iterator[ForeignChat]:
    """Read the versions of all messages; the next message follows the selected version."""
    chat = ForeignChat(
        source=SOURCE,
        key=source.name.removesuffix(".conversation.json") or str(value.get("createdAt")),
        title=word(value, "name"),
        created_at=time_of(value.get("createdAt")),
        updated_at=time_of(value.get("assistantLastMessagedAt")),
        system=_system(value),
        model=word(value.get("lastUsedModel"), "identifier"),
    )
    for number, message in enumerate(value["messages"]):
        with chat.damage_counted():
            _add_versions(number, message, source, chat)
    yield chat


def _add_versions(number: int, message: Row, source: Source, chat: ForeignChat) -> None:
    parent = chat.current
    for index, version in enumerate(message["versions"]):
        key = f"{number}.{index}"
        with chat.damage_counted():
            steps = _steps(version, source, chat)
            chat.add(key, word(version, "role"), steps, parent=parent, **_facts(version))
        if index == message.get("currentlySelected", 0) and key in chat.rows:
            chat.current = key


def _steps(version: Row, source: Source, chat: ForeignChat) -> Iterator[Step]:
    for step in version.get("steps", [version]):
        if "content" not in step and word(step, "type") not in _WITHOUT_CONTENT:
            chat.omit(word(step, "type"))
        is_thought = word(step.get("style"), "type") == "thinking"
        for part in step.get("content") or ():
            kind = word(part, "type")
            call_id = word(part, "toolCallRequestId") or str(part.get("callId", ""))
            if kind == "toolCallResult":
                yield call_id, part.get("content")
            elif kind == "toolCallRequest":
                yield call_of(
                    call_id, word(part, "name"), part.get("arguments", part.get("parameters"))
                )
            elif word(part, "fileType") == "image":
                yield from chat.images([source.stored(word(part, "fileIdentifier"))])
            elif kind != "text":
                chat.omit(kind)
            elif not part.get("isStructural"):
                text = chat.text(part.get("text"))
                yield ReasoningPart(text=text) if is_thought else text


def _facts(version: Row) -> dict[str, Any]:
    """Return the time of a version, and the model and figures of an answer."""
    facts: dict[str, Any] = {}
    for step in version.get("steps") or ():
        begun_ms = word(step, "stepIdentifier").partition("-")[0]
        if begun_ms.isdecimal():
            facts["created_at"] = time_of(int(begun_ms))
        if isinstance(info := step.get("genInfo"), dict):
            stats = row_in(info, "stats")
            facts["model"] = word(info, "identifier")
            facts["receipt"] = Receipt(
                tokens_per_second=stats.get("tokensPerSecond"),
                prompt_tokens=stats.get("promptTokensCount"),
                completion_tokens=stats.get("predictedTokensCount"),
                is_estimated=False,
                finish_reason="stop",
            )
    return facts


def _system(value: Row) -> str:
    fields = row_in(value, "perChatPredictionConfig").get("fields")
    rows = fields if isinstance(fields, list) else ()
    found = (
        word(row, "value") for row in rows if word(row, "key") == "llm.prediction.systemPrompt"
    )
    return next(found, word(value, "systemPrompt"))
