"""Import of ChatGPT's data exports, as seen in exports up to 2026.

The format is not documented. A chat maps ids to nodes: a message, which may be empty, and its parent.
Thoughts and tool calls are messages of their own; a call is an answer with another `recipient` than `all`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from lmchat.domain.message import Part, ReasoningPart, Role, TextPart, ToolCallPart, ToolResultPart
from lmchat.domain.session import Session, Skipped
from lmchat.formats.checks import Content, word
from lmchat.formats.foreign import ForeignChat, ForeignMessage, foreign_session, left_out, time_of

SOURCE = "chatgpt"
_ALL = "all"
_CONTEXT = "user_editable_context"  # the user's own instructions, as a hidden message
_KINDS = {"image_asset_pointer": "image", "audio_asset_pointer": "recording"}
_KINDS["real_time_user_audio_video_asset_pointer"] = "recording"
Nodes = Mapping[str, Any]


def fits(content: Content) -> bool:
    """Return whether a value is a chat of an export."""
    return isinstance(content.value, dict) and isinstance(content.value.get("mapping"), dict)


def read(content: Content) -> Iterator[Session | Skipped]:
    """Read all branches; the path leads to `current_node`."""
    chat = content.value
    nodes: Nodes = {key: node for key, node in chat["mapping"].items() if isinstance(node, dict)}
    others: Counter[str] = Counter()
    rows = [_row(key, nodes, others) for key in nodes]
    rows.sort(key=lambda row: row.created_at.timestamp() if row.created_at else 0)
    yield from left_out(word(chat, "title"), others)
    head = ForeignChat(
        source=SOURCE,
        key=word(chat, "conversation_id") or chat["id"],
        title=word(chat, "title"),
        current=word(chat, "current_node"),
        created_at=time_of(chat.get("create_time")),
        updated_at=time_of(chat.get("update_time")),
        system=next(filter(None, map(_instructions, nodes.values())), ""),
    )
    yield foreign_session(head, rows, moment=content.moment)


def _row(key: str, nodes: Nodes, others: Counter[str]) -> ForeignMessage:
    node = nodes[key]
    message = node.get("message") or {}
    about = message.get("metadata") or {}
    author = message.get("author") or {}
    role = Role(author.get("role", "system"))
    is_hidden = bool(about.get("is_visually_hidden_from_conversation"))
    return ForeignMessage(
        key=key,
        role=role,
        parts=() if is_hidden else _parts(key, nodes, role, others),
        parent=node.get("parent"),
        created_at=time_of(message.get("create_time")),
        model=word(about, "model_slug"),
    )


def _parts(key: str, nodes: Nodes, role: Role, others: Counter[str]) -> tuple[Part, ...]:
    message = nodes[key].get("message") or {}
    content = message.get("content") or {}
    kind, text = word(content, "content_type"), _text(content, others)
    if kind in ("thoughts", "reasoning_recap", "model_editable_context", _CONTEXT):
        return ()
    recipient = word(message, "recipient") or _ALL
    if role is Role.TOOL:
        parent = nodes[key].get("parent", "")
        is_called = word((nodes.get(parent) or {}).get("message"), "recipient") not in ("", _ALL)
        name = "" if is_called else word(message.get("author"), "name")
        call = ToolCallPart(call_id=parent if is_called else "", name=name, arguments="")
        return (call, ToolResultPart(text=text)) if is_called or text.strip() else ()
    parts: list[Part] = []
    if role is Role.ASSISTANT and recipient != _ALL:
        parts.append(ToolCallPart(call_id=key, name=recipient, arguments=text))
    elif text.strip():
        parts.append(TextPart(text=f"```\n{text}\n```" if kind == "code" else text))
    if parts and role is Role.ASSISTANT and (thought := _thought_before(key, nodes)):
        parts.insert(0, ReasoningPart(text=thought))
    return tuple(parts)


def _text(content: Any, others: Counter[str]) -> str:
    texts: list[str] = []
    for part in content.get("parts") or ():
        if isinstance(part, str):
            texts.append(part)
        elif text := word(part, "text"):  # of a recording
            texts.append(text)
        else:
            kind = word(part, "content_type")
            others[_KINDS.get(kind, kind or "unknown part")] += 1
    return "\n".join(texts) or word(content, "text") or word(content, "result")


def _thought_before(key: str, nodes: Nodes) -> str:
    """Return the thoughts directly above an answer."""
    found: list[str] = []
    above = nodes[key]
    for _ in nodes:
        above = nodes.get(above.get("parent", ""), {})
        content = (above.get("message") or {}).get("content") or {}
        if word(content, "content_type") not in ("thoughts", "reasoning_recap"):
            break
        for thought in reversed(content.get("thoughts") or ()):
            title, text = word(thought, "summary"), word(thought, "content")
            found.append(f"**{title}**\n\n{text}".strip() if title else text)
    return "\n\n".join(reversed(list(filter(None, found))))


def _instructions(node: Any) -> str:
    content = (node.get("message") or {}).get("content") or {}
    if word(content, "content_type") != _CONTEXT:
        return ""
    return "\n\n".join(filter(None, (word(content, "user_profile"), word(content, "user_instructions"))))
