"""Import of LM Studio's conversation files, as its version 0.4 writes them.

Their format is not documented. A file has one row of messages, each with versions, one of which is selected.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from lmchat.domain.message import Part, ReasoningPart, Receipt, Role, TextPart, ToolCallPart, ToolResultPart
from lmchat.domain.session import Session, Skipped
from lmchat.formats.checks import Content, word
from lmchat.formats.foreign import ForeignChat, ForeignMessage, foreign_session, left_out, spoken, time_of

SOURCE = "lmstudio"
_ENDING = ".conversation.json"


def fits(content: Content) -> bool:
    """Return whether a value is a conversation of LM Studio."""
    messages = content.value.get("messages") if isinstance(content.value, dict) else None
    if not isinstance(messages, list):
        return False
    is_named = content.name.endswith(_ENDING) and not messages
    return is_named or any(
        isinstance(one, dict) and isinstance(one.get("versions"), list) for one in messages
    )


def read(content: Content) -> Iterator[Session | Skipped]:
    """Read the versions of all messages; the next message follows the selected version."""
    chat = content.value
    rows: list[ForeignMessage] = []
    others: Counter[str] = Counter()
    last: str | None = None
    for number, message in enumerate(chat["messages"]):
        parent = last
        selected = message.get("currentlySelected", 0) if isinstance(message, dict) else 0
        for index, version in enumerate(message["versions"] if isinstance(message, dict) else ()):
            found = list(_version(version, f"{number}.{index}", parent, others))
            rows += found
            if index == selected and found:
                last = found[-1].key
    title = word(chat, "name")
    yield from left_out(title, others)
    head = ForeignChat(
        source=SOURCE,
        key=content.name.removesuffix(_ENDING) or str(chat.get("createdAt")),
        title=title,
        current=last,
        created_at=time_of(chat.get("createdAt")),
        updated_at=time_of(chat.get("assistantLastMessagedAt")),
        system=_system(chat),
        model=word(chat.get("lastUsedModel"), "identifier"),
    )
    yield foreign_session(head, rows, moment=content.moment)


def _version(version: Any, key: str, parent: str | None, others: Counter[str]) -> Iterator[ForeignMessage]:
    """Yield a version's rows: an answer, the results of its tool calls, the answer after them, and so on."""
    role = Role(version["role"])
    parts: list[Part] = []
    facts: dict[str, Any] = {}
    count = 0

    def row(role: Role, parts: tuple[Part, ...]) -> ForeignMessage:
        nonlocal count, parent
        more = facts if role is Role.ASSISTANT else {}
        made = ForeignMessage(key=f"{key}.{count}", role=role, parts=parts, parent=parent, **more)
        count, parent = count + 1, made.key
        return made

    for step in version.get("steps", [version]):
        facts |= _facts(step)
        is_thought = word(step.get("style"), "type") == "thinking"
        for part in step.get("content") or ():
            kind, text = word(part, "type"), word(part, "text")
            if kind == "toolCallResult":
                if parts:
                    yield row(role, tuple(parts))
                    parts.clear()
                call = ToolCallPart(call_id=_call_id(part), name="", arguments="")
                yield row(Role.TOOL, (call, ToolResultPart(text=_plain(part.get("content")))))
            elif kind == "toolCallRequest":
                arguments = _plain(part.get("arguments", part.get("parameters")))
                parts.append(
                    ToolCallPart(call_id=_call_id(part), name=word(part, "name"), arguments=arguments)
                )
            elif kind != "text":
                others["image" if word(part, "fileType") == "image" else kind or "unknown part"] += 1
            elif part.get("isStructural"):
                continue
            elif is_thought:
                parts.append(ReasoningPart(text=text))
            else:
                parts += spoken(text) if role is Role.ASSISTANT else [TextPart(text=text)]
    if parts:
        yield row(role, tuple(parts))


def _facts(step: Any) -> dict[str, Any]:
    """Return the time of a step, or the model and figures of an answer."""
    facts: dict[str, Any] = {}
    made_at = time_of(_number(word(step, "stepIdentifier").partition("-")[0]))
    if made_at is not None:
        facts["created_at"] = made_at
    info = step.get("genInfo")
    if isinstance(info, dict):
        stats = info.get("stats") or {}
        facts["model"] = word(info, "identifier") or word(info, "indexedModelIdentifier")
        facts["receipt"] = Receipt(
            tokens_per_second=stats.get("tokensPerSecond"),
            prompt_tokens=stats.get("promptTokensCount"),
            completion_tokens=stats.get("predictedTokensCount"),
            is_estimated=False,
            finish_reason="stop",
        )
    return facts


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _call_id(part: Any) -> str:
    return word(part, "toolCallRequestId") or str(part.get("callId", ""))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _system(chat: Any) -> str:
    config = chat.get("perChatPredictionConfig")
    fields = config.get("fields") if isinstance(config, dict) else None
    for field in fields if isinstance(fields, list) else ():
        if word(field, "key") == "llm.prediction.systemPrompt":
            return word(field, "value")
    return word(chat, "systemPrompt")
