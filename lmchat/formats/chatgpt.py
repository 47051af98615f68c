"""Import of ChatGPT's data exports, as seen in exports up to 2026.

The format is not documented. A chat maps ids to nodes: a message, which may be empty, and its parent.
Thoughts and tool calls are messages of their own; a call is an answer with another `recipient` than `all`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lmchat.domain.message import ReasoningPart, Role
from lmchat.formats.checks import word
from lmchat.formats.foreign import ForeignChat, Step, call_of, time_of
from lmchat.formats.sources import Row, Source

SOURCE = "chatgpt"
_ALL = "all"
_INSTRUCTIONS = "user_editable_context"  # the user's own, as a hidden message
_THOUGHTS = ("thoughts", "reasoning_recap")
_OMITTED = (*_THOUGHTS, _INSTRUCTIONS, "model_editable_context")
_KIND, _IMAGE = "content_type", "image_asset_pointer"
_RECORDINGS = ("audio_asset_pointer", "real_time_user_audio_video_asset_pointer")
Nodes = Mapping[str, Row]


def fits(value: Row) -> bool:
    """Return whether a value is a chat of an export."""
    return isinstance(value.get("mapping"), dict)


def read(value: Row, source: Source) -> Iterator[ForeignChat]:
    """Read all branches; the path leads to `current_node`."""
    nodes = {key: node for key, node in value["mapping"].items() if isinstance(node, dict)}
    contents = (_content(node) for node in nodes.values())
    about: Row = next((one for one in contents if word(one, "content_type") == _INSTRUCTIONS), {})
    chat = ForeignChat(
        source=SOURCE,
        key=word(value, "conversation_id") or value["id"],
        title=word(value, "title"),
        current=word(value, "current_node"),
        created_at=time_of(value.get("create_time")),
        updated_at=time_of(value.get("update_time")),
        system=f"{word(about, 'user_profile')}\n\n{word(about, 'user_instructions')}".strip(),
    )
    for key in sorted(nodes, key=lambda key: _message(nodes[key]).get("create_time") or 0):
        message = _message(nodes[key])
        chat.add(
            key,
            word(message.get("author"), "role") or Role.SYSTEM,
            _steps(key, nodes, source, chat),
            parent=nodes[key].get("parent"),
            created_at=time_of(message.get("create_time")),
            model=word(message.get("metadata"), "model_slug"),
        )
    yield chat


def _message(node: Row) -> Row:
    return node.get("message") or {}


def _content(node: Row) -> Row:
    return _message(node).get("content") or {}


def _steps(key: str, nodes: Nodes, source: Source, chat: ForeignChat) -> Iterator[Step]:
    message, content = _message(nodes[key]), _content(nodes[key])
    is_hidden = (message.get("metadata") or {}).get("is_visually_hidden_from_conversation")
    if not message or is_hidden or word(content, "content_type") in _OMITTED:
        return
    text, recipient = _text(content, chat), word(message, "recipient") or _ALL
    role, parent = message["author"]["role"], nodes[key].get("parent") or ""
    images = (word(one, "asset_pointer") for one in content.get("parts") or () if word(one, _KIND) == _IMAGE)
    names = (one.rpartition("/")[2] for one in images)
    yield from chat.images(source.stored(name) if role == Role.USER else b"" for name in names)
    if role == Role.TOOL:
        if parent in chat.calls:
            yield parent, text
        elif text.strip():
            yield call_of("", word(message["author"], "name") or "tool", ""), text
        return
    is_call = role == Role.ASSISTANT and recipient != _ALL
    if role == Role.ASSISTANT and (is_call or text.strip()):
        yield ReasoningPart(text=_thought_before(key, nodes))
    yield call_of(key, recipient, text) if is_call else text


def _text(content: Row, chat: ForeignChat) -> str:
    texts: list[str] = []
    for part in content.get("parts") or ():
        if text := part if isinstance(part, str) else word(part, "text"):  # the latter of a recording
            texts.append(text)
        elif (kind := word(part, _KIND)) and kind != _IMAGE:
            chat.omitted["recording" if kind in _RECORDINGS else kind] += 1
    return "\n".join(texts) or word(content, "text") or word(content, "result")


def _thought_before(key: str, nodes: Nodes) -> str:
    """Return the thoughts directly above an answer."""
    found: list[str] = []
    above = nodes[key]
    for _ in nodes:
        above = nodes.get(above.get("parent") or "", {})
        if word(_content(above), "content_type") not in _THOUGHTS:
            break
        for thought in reversed(_content(above).get("thoughts") or ()):
            title, text = word(thought, "summary"), word(thought, "content")
            found.append(f"**{title}**\n\n{text}".strip() if title else text)
    return "\n\n".join(reversed([one for one in found if one]))
