"""Import of ChatGPT's data exports, as seen in exports up to 2026.

The format is not documented. A chat maps ids to nodes: a message, which may be empty, and its parent.
Thoughts and tool calls are messages of their own; a call is an answer with another `recipient` than `all`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lmchat.domain.message import ReasoningPart, Role
from lmchat.formats.checks import number_in, row_in, word
from lmchat.formats.foreign import DAMAGED, ForeignChat, Step, call_of, time_of
from lmchat.formats.sources import Row, Source

SOURCE = "chatgpt"
_ALL = "all"
_THOUGHTS = ("thoughts", "reasoning_recap")
_OMITTED = (*_THOUGHTS, "user_editable_context", "model_editable_context")  # the latter are hidden
_KIND, _IMAGE = "content_type", "image_asset_pointer"
_TEXTS = (
    "text",
    "multimodal_text",
    "code",
    "execution_output",
    "system_error",
    "tether_browsing_display",
    "tether_quote",
)  # kinds of which all that is shown is text
_RECORDINGS = ("audio_asset_pointer", "real_time_user_audio_video_asset_pointer")
Nodes = Mapping[str, Row]


def fits(value: Row) -> bool:
    """Return whether a value is a chat of an export."""
    return isinstance(value.get("mapping"), dict)


def read(value: Row, source: Source) -> Iterator[ForeignChat]:
    """Read all branches; the path leads to `current_node`."""
    nodes = {key: node for key, node in value["mapping"].items() if isinstance(node, dict)}
    chat = ForeignChat(
        source=SOURCE,
        key=word(value, "conversation_id") or word(value, "id") or str(value.get("create_time")),
        title=word(value, "title"),
        current=word(value, "current_node"),
        created_at=time_of(value.get("create_time")),
        updated_at=time_of(value.get("update_time")),
    )
    filled = sum(map(bool, value["mapping"].values()))
    chat.omitted[DAMAGED] += filled - sum(map(bool, nodes.values()))
    used: set[str] = set()  # keys of the thoughts that an answer has
    for key in sorted(nodes, key=lambda key: number_in(_message(nodes[key]), "create_time")):
        message = _message(nodes[key])
        chat.add(
            key,
            word(message.get("author"), "role") or Role.SYSTEM,
            _steps(key, nodes, source, chat, used),
            parent=nodes[key].get("parent"),
            created_at=time_of(message.get("create_time")),
            model=word(message.get("metadata"), "model_slug"),
        )
    yield chat


def _message(node: Row) -> Row:
    return row_in(node, "message")


def _content(node: Row) -> Row:
    return row_in(_message(node), "content")


def _steps(
    key: str, nodes: Nodes, source: Source, chat: ForeignChat, used: set[str]
) -> Iterator[Step]:
    message, content = nodes[key].get("message") or {}, _content(nodes[key])
    if not isinstance(message, dict) or (message and not isinstance(message.get("content"), dict)):
        raise TypeError
    is_hidden = (message.get("metadata") or {}).get("is_visually_hidden_from_conversation")
    if not message or is_hidden or word(content, "content_type") in _OMITTED:
        return
    text, recipient = _text(content, chat), word(message, "recipient") or _ALL
    role, parent = message["author"]["role"], nodes[key].get("parent") or ""
    images = (
        word(one, "asset_pointer")
        for one in content.get("parts") or ()
        if word(one, _KIND) == _IMAGE
    )
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
        yield ReasoningPart(text=_thought_before(key, nodes, chat, used))
    yield call_of(key, recipient, text) if is_call else text


def _text(content: Row, chat: ForeignChat) -> str:
    texts: list[str] = []
    parts = content.get("parts") or []
    if not isinstance(parts, list):
        raise TypeError
    for part in parts:
        if (
            text := part if isinstance(part, str) else word(part, "text")
        ):  # the latter of a recording
            texts.append(text)
        elif part and (kind := word(part, _KIND)) != _IMAGE:
            chat.omit("recording" if kind in _RECORDINGS else kind)
    text = "\n".join(texts) or word(content, "text") or word(content, "result")
    kind = word(content, _KIND)
    others = ("text", "result") if kind in _TEXTS else content.keys() - {_KIND, "parts"}
    if not text and any(content.get(name) for name in others):
        chat.omit(kind)
    return text


def _thought_before(key: str, nodes: Nodes, chat: ForeignChat, used: set[str]) -> str:
    """Return the thoughts directly above an answer that no other answer has."""
    found: list[str] = []
    above = word(nodes[key], "parent")
    while above not in used and word(_content(nodes.get(above, {})), "content_type") in _THOUGHTS:
        used.add(above)
        for thought in reversed(_content(nodes[above]).get("thoughts") or ()):
            title = word(thought, "summary")
            text = chat.text(thought.get("content") if isinstance(thought, dict) else thought)
            found.append(f"**{title}**\n\n{text}".strip() if title else text)
        above = word(nodes[above], "parent")
    return "\n\n".join(text for text in reversed(found) if text)
