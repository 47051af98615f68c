"""Import of ChatGPT's data exports, as seen in exports up to 2026.

The format is not documented. A chat maps ids to nodes. A node has a message, which may be empty,
and the id of its parent. Thoughts and tool calls are messages of their own; a call is an answer
with another `recipient` than `all`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from lmchat.core.formats.reading import (
    BAD_VALUE_ERRORS,
    Format,
    Record,
    Source,
    ToolQuote,
    at,
    items_of,
    quoted_call,
    text_at,
    time_of,
)
from lmchat.core.imports.foreign_chat import (
    STOPPED,
    ForeignChat,
    ForeignPart,
    failure_of,
    quoted_document,
    quoted_result,
)
from lmchat.core.sessions.message import ReasoningPart, Role
from lmchat.core.sessions.session import Session

_TO_USER = "all"  # of a text; a tool call has the name of the tool instead
_KIND = "content_type"  # kind of a content or of a part
_IMAGE = "image_asset_pointer"
_RECORDINGS = ("audio_asset_pointer", "real_time_user_audio_video_asset_pointer")
_HIDDEN = ("user_editable_context", "model_editable_context", "reasoning_recap")
# ChatGPT shows only the text of these: if it is empty, nothing is left out
_TEXTS = (
    "text",
    "multimodal_text",
    "code",
    "execution_output",
    "system_error",
    "tether_browsing_display",
    "tether_quote",
)
_NO_MODELS = ("", "auto", "research")  # without a model: that of the chat is meant
# As for a citation: `\ue200cite\ue202turn0search1\ue201`. A stopped answer may end in one, but not
# with whole lines in it.
_MARK = re.compile(
    "\ue200([a-z_]{1,50}(?: [a-z_]{1,50}){0,9}"
    "(?:\ue202[^\ue200\ue201]{0,10000}(?=\ue201)|\ue202[^\ue200\ue201\n]{0,10000}\\Z)?)"
    "(?:\ue201|\\Z)"
    "|【[^【】\n]{0,500}】"  # as citations were marked until 2025
)
_REST_OF_MARKS = dict.fromkeys(range(0xE200, 0xE207))  # such as those around a cited span


def _session(records: Sequence[Record], source: Source, now: datetime) -> Session:
    record = records[0]
    nodes = record["mapping"]
    times = {key: at(node, "message", "create_time") for key, node in nodes.items()}
    dated = [key for key, time in times.items() if isinstance(time, int | float)]
    end = text_at(record, "current_node")
    active = nodes.get(end)
    # missing, or the root
    if active is None or (isinstance(active, dict) and not active.get("message", True)):
        end = max(dated, key=times.__getitem__, default="")
    chat = ForeignChat(
        # without an id, its time identifies a chat
        key=text_at(record, "conversation_id")
        or text_at(record, "id")
        or str(record.get("create_time") or ""),
        title=text_at(record, "title"),
        path_end=end,
        created_at=time_of(record.get("create_time")),
        updated_at=time_of(record.get("update_time")),
        is_pinned=record.get("is_starred") is True,
        is_archived=record.get("is_archived") is True,
    )
    # the file lacks its name
    chat.omit("project", 1 if text_at(record, "gizmo_id").startswith("g-p-") else 0)
    for key, node in nodes.items():  # an empty node, too: others may name it as their parent
        is_damaged = not isinstance(node, dict) or "message" not in node
        message = at(node, "message")
        model = text_at(message, "metadata", "model_slug")
        if model in _NO_MODELS:
            model = text_at(record, "default_model_slug")
        chat.add(
            key,
            text_at(message, "author", "role") or Role.SYSTEM,
            _parts(node, source, chat),
            parent=chat.last_key if is_damaged else node.get("parent"),
            created_at=time_of(times[key]),
            model=model,
        )
    return chat.session(now, source="chatgpt")


def _parts(node: Any, source: Source, chat: ForeignChat) -> Iterator[ForeignPart]:
    """Yield the parts of the message of a node; a hidden message has none."""
    message = node["message"]
    if not message:
        return
    content = message["content"]
    role = message["author"]["role"]
    kind = text_at(content, _KIND)
    if at(message, "metadata", "is_visually_hidden_from_conversation") or kind in _HIDDEN:
        return
    parts = items_of(content.get("parts"))
    images = {
        # `sediment://file_1a2b` is in a file whose name starts with `file_1a2b`
        text_at(part, "asset_pointer").rpartition("/")[2]: ""
        for part in parts
        if at(part, _KIND) == _IMAGE
    }
    for file in items_of(at(message, "metadata", "attachments")):
        if at(file, "id") in images:
            images[file["id"]] = text_at(file, "name")
        elif not text_at(file, "mime_type").startswith("image/"):
            chat.omit("file")
    for key, name in images.items():  # images first: lmchat has files before the text
        # one that a model or tool has made is not looked for: `b""` is counted as left out
        data = source.read_beside(key) if role == Role.USER else b""
        yield from chat.image_or_omit(data, name)

    if kind == "thoughts":
        for thought in items_of(content.get("thoughts")):
            title = text_at(thought, "summary")
            words = chat.read_text(thought["content"])
            yield ReasoningPart(text=f"**{title}**\n\n{words}".strip() if title else words)
        return
    text = _text(content, chat)
    if role != Role.USER:
        text = _without_marks(text, at(message, "metadata", "content_references"))
    recipient = text_at(message, "recipient") or _TO_USER
    if role == Role.ASSISTANT and recipient != _TO_USER:
        yield _document(recipient, text) or quoted_call(recipient, text)
    elif role == Role.TOOL:
        if text.strip():
            yield quoted_result(text)
        yield _report(message)
    elif kind != "system_error":  # else it is the failure below
        yield text
    if role != Role.ASSISTANT:
        return
    if kind == "system_error" or message.get("status") == "finished_with_error":
        yield failure_of(text or text_at(content, "name") or True)
    elif at(message, "metadata", "finish_details", "type") == "interrupted":
        yield STOPPED


def _text(content: Record, chat: ForeignChat) -> str:
    """Return the text of a message: that of its parts, or else of the field `text` or `result`.

    A part without a text, such as a recording, is counted as left out, and so is a message of an
    unknown kind without any text.
    """
    texts: list[str] = []
    left_out: list[str] = []
    for part in items_of(content.get("parts")):
        text = part if isinstance(part, str) else text_at(part, "text")
        part_kind = text_at(part, _KIND)  # empty for a string
        if text:
            texts.append(text)
        elif part and part_kind != _IMAGE:  # `_parts` reads images
            left_out.append("recording" if part_kind in _RECORDINGS else part_kind)
    for kind in left_out:
        if kind != "recording" or not texts:  # else the text is what was said
            chat.omit(kind)
    text = "\n".join(texts) or text_at(content, "text") or text_at(content, "result")
    kind = text_at(content, _KIND)
    if not text and kind not in _TEXTS:
        chat.omit(kind)
    if url := text_at(content, "url"):  # of a quoted page
        text = f"[{text_at(content, 'title') or url}]({url})\n\n{text}"
    return text


def _without_marks(text: str, references: Any) -> str:
    """Replace marks by links, names or nothing."""
    by_mark = {text_at(reference, "matched_text"): reference for reference in items_of(references)}

    def words(mark: re.Match[str]) -> str:
        kind, *values = (mark[1] or "").split("\ue202")
        reference = by_mark.get(mark[0])
        if alt := text_at(reference, "alt"):
            return alt
        if kind == "url" and len(values) > 1:
            return f"[{values[0]}]({values[1]})"
        if kind.endswith("entity"):
            try:  # like `["place", "Bern"]`
                return str(json.loads(values[0])[1])
            except BAD_VALUE_ERRORS:
                return ""
        links = [
            f"[{text_at(item, 'title') or item['url']}]({item['url']})"
            for item in items_of(at(reference, "items"))
            if text_at(item, "url")
        ]
        if links:
            return f"({', '.join(links)})"
        return text_at(reference, "name") or (mark[0] if mark[1] is None else "")

    return _MARK.sub(words, text).translate(_REST_OF_MARKS)


def _document(recipient: str, call: str) -> ToolQuote | None:
    """Return the document that a call writes into the canvas, below its name, if it is one.

    A call is like `{"name": "Plan", "type": "document", "content": "…"}`, or for a later version
    `{"updates": [{"pattern": ".*", "replacement": "…"}]}`.
    """
    if not recipient.startswith("canmore."):
        return None
    try:
        value = json.loads(call)
        if "content" in value:
            name = value["name"]
            text = value["content"]
        else:
            (update,) = value["updates"]
            name = ""
            text = update["replacement"] if update["pattern"] == ".*" else None
    except BAD_VALUE_ERRORS:
        return None
    if not isinstance(text, str):
        return None
    _, is_code, language = text_at(value, "type").partition("code/")
    return quoted_document(name, text, language if is_code else None)


def _report(message: Record) -> str:
    """Return the report of a deep research, which is JSON in a string; empty if there is none."""
    state = text_at(message, "metadata", "chatgpt_sdk", "widget_state")
    report = at(json.loads(state or "{}"), "report_message")
    texts = (part for part in items_of(at(report, "content", "parts")) if isinstance(part, str))
    return _without_marks("\n".join(texts), at(report, "metadata", "content_references"))


FORMAT = Format(fits=lambda record: isinstance(record.get("mapping"), dict), session=_session)
