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
_INSTRUCTIONS = "user_editable_context"  # the user's own, as a hidden message
_THOUGHTS = ("thoughts", "reasoning_recap")
_OMITTED = (*_THOUGHTS, _INSTRUCTIONS, "model_editable_context")
_NAMES = {"image_asset_pointer": "image", "audio_asset_pointer": "recording"}
_NAMES["real_time_user_audio_video_asset_pointer"] = "recording"
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
    contents = (_content(node) for node in nodes.values())
    about: Any = next((one for one in contents if word(one, "content_type") == _INSTRUCTIONS), {})
    head = ForeignChat(
        source=SOURCE,
        key=word(chat, "conversation_id") or chat["id"],
        title=word(chat, "title"),
        current=word(chat, "current_node"),
        created_at=time_of(chat.get("create_time")),
        updated_at=time_of(chat.get("update_time")),
        system=f"{word(about, 'user_profile')}\n\n{word(about, 'user_instructions')}".strip(),
    )
    yield from left_out(head.title, others)
    yield foreign_session(head, rows, moment=content.moment)


def _row(key: str, nodes: Nodes, others: Counter[str]) -> ForeignMessage:
    message = nodes[key].get("message") or {}
    about = message.get("metadata") or {}
    role = Role(word(message.get("author"), "role") or Role.SYSTEM)
    is_omitted = word(_content(nodes[key]), "content_type") in _OMITTED
    is_hidden = is_omitted or about.get("is_visually_hidden_from_conversation")
    return ForeignMessage(
        key=key,
        role=role,
        parts=() if is_hidden else _parts(key, nodes, role, others),
        parent=nodes[key].get("parent"),
        created_at=time_of(message.get("create_time")),
        model=word(about, "model_slug"),
    )


def _parts(key: str, nodes: Nodes, role: Role, others: Counter[str]) -> tuple[Part, ...]:
    message, text = nodes[key].get("message"), _text(_content(nodes[key]), others)
    recipient = word(message, "recipient") or _ALL
    if role is Role.TOOL:
        parent = nodes[key].get("parent", "")
        is_called = word(nodes.get(parent, {}).get("message"), "recipient") not in ("", _ALL)
        name = "" if is_called else word(message["author"], "name")
        call = ToolCallPart(call_id=parent if is_called else "", name=name, arguments="")
        return (call, ToolResultPart(text=text)) if is_called or text.strip() else ()
    parts: tuple[Part, ...] = (TextPart(text=text),) if text.strip() else ()
    if role is Role.ASSISTANT and recipient != _ALL:
        parts = (ToolCallPart(call_id=key, name=recipient, arguments=text),)
    if parts and role is Role.ASSISTANT and (thought := _thought_before(key, nodes)):
        parts = (ReasoningPart(text=thought), *parts)
    return parts


def _content(node: Any) -> Any:
    return (node.get("message") or {}).get("content") or {}


def _text(content: Any, others: Counter[str]) -> str:
    texts: list[str] = []
    for part in content.get("parts") or ():
        if text := part if isinstance(part, str) else word(part, "text"):  # the latter of a recording
            texts.append(text)
        elif kind := word(part, "content_type"):
            others[_NAMES.get(kind, kind)] += 1
    return "\n".join(texts) or word(content, "text") or word(content, "result")


def _thought_before(key: str, nodes: Nodes) -> str:
    """Return the thoughts directly above an answer."""
    found: list[str] = []
    above = nodes[key]
    for _ in nodes:
        above = nodes.get(above.get("parent", ""), {})
        if word(_content(above), "content_type") not in _THOUGHTS:
            break
        for thought in reversed(_content(above).get("thoughts") or ()):
            title, text = word(thought, "summary"), word(thought, "content")
            found.append(f"**{title}**\n\n{text}".strip() if title else text)
    return "\n\n".join(reversed([one for one in found if one]))
