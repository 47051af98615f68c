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


def fits(content: Content) -> bool:
    """Return whether a value is a conversation of LM Studio."""
    messages = content.value.get("messages") if isinstance(content.value, dict) else None
    rows = messages if isinstance(messages, list) else []
    return any(isinstance(one, dict) and isinstance(one.get("versions"), list) for one in rows)


def read(content: Content) -> Iterator[Session | Skipped]:
    """Read the versions of all messages; the next message follows the selected version."""
    chat = content.value
    rows: list[ForeignMessage] = []
    others: Counter[str] = Counter()
    last: str | None = None
    for number, message in enumerate(chat["messages"]):
        parent = last
        for index, version in enumerate(message["versions"]):
            above = parent
            for count, (role, parts, facts) in enumerate(_rows(version, others)):
                key = f"{number}.{index}.{count}"
                rows.append(ForeignMessage(key=key, role=role, parts=parts, parent=above, **facts))
                above = key
            if index == message.get("currentlySelected", 0):
                last = above
    head = ForeignChat(
        source=SOURCE,
        key=content.name.removesuffix(".conversation.json") or str(chat.get("createdAt")),
        title=word(chat, "name"),
        current=last,
        created_at=time_of(chat.get("createdAt")),
        updated_at=time_of(chat.get("assistantLastMessagedAt")),
        system=_system(chat),
        model=word(chat.get("lastUsedModel"), "identifier"),
    )
    yield from left_out(head.title, others)
    yield foreign_session(head, rows, moment=content.moment)


def _rows(version: Any, others: Counter[str]) -> Iterator[tuple[Role, tuple[Part, ...], dict[str, Any]]]:
    """Yield role, parts and facts: of an answer, of the results of its calls, of the answer after them."""
    role = Role(version["role"])
    parts: list[Part] = []
    facts: dict[str, Any] = {}
    for step in version.get("steps", [version]):
        facts |= _facts(step)
        is_thought = word(step.get("style"), "type") == "thinking"
        for part in step.get("content") or ():
            kind, text = word(part, "type"), word(part, "text")
            call_id = word(part, "toolCallRequestId") or str(part.get("callId", ""))
            if kind == "toolCallResult":
                if parts:
                    yield role, tuple(parts), facts
                    parts = []
                call = ToolCallPart(call_id=call_id, name="", arguments="")
                yield Role.TOOL, (call, ToolResultPart(text=_plain(part.get("content")))), {}
            elif kind == "toolCallRequest":
                arguments = _plain(part.get("arguments", part.get("parameters")))
                parts.append(ToolCallPart(call_id=call_id, name=word(part, "name"), arguments=arguments))
            elif kind != "text":
                others["image" if word(part, "fileType") == "image" else kind or "unknown part"] += 1
            elif is_thought and not part.get("isStructural"):
                parts.append(ReasoningPart(text=text))
            elif not part.get("isStructural"):
                parts += spoken(text) if role is Role.ASSISTANT else [TextPart(text=text)]
    if parts:
        yield role, tuple(parts), facts


def _facts(step: Any) -> dict[str, Any]:
    """Return the time of a step, and the model and figures of an answer."""
    begun_ms = word(step, "stepIdentifier").partition("-")[0]
    facts: dict[str, Any] = {"created_at": time_of(int(begun_ms))} if begun_ms.isdecimal() else {}
    if isinstance(info := step.get("genInfo"), dict):
        stats = info.get("stats") or {}
        facts["model"] = word(info, "identifier")
        facts["receipt"] = Receipt(
            tokens_per_second=stats.get("tokensPerSecond"),
            prompt_tokens=stats.get("promptTokensCount"),
            completion_tokens=stats.get("predictedTokensCount"),
            is_estimated=False,
            finish_reason="stop",
        )
    return facts


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _system(chat: Any) -> str:
    fields = (chat.get("perChatPredictionConfig") or {}).get("fields") or ()
    found = (word(one, "value") for one in fields if word(one, "key") == "llm.prediction.systemPrompt")
    return next(found, word(chat, "systemPrompt"))
