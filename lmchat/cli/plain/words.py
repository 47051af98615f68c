"""How the plain chat names sessions and models."""

from __future__ import annotations

from lmchat.servers.model import ModelInfo, Target
from lmchat.sessions.session import SessionHeader
from lmchat.terminal.output import SHORT_ID, local_time


def session_words(header: SessionHeader) -> str:
    """Return what tells a session from others in a list: title, size, time and short id."""
    changed = local_time(header.updated_at)
    short_id = header.session_id[:SHORT_ID]
    return f"“{header.title or 'Untitled'}”, {header.message_count} messages, {changed}, {short_id}"


def model_words(model: ModelInfo | Target) -> str:
    """Return the name of a model and its server: several servers may have a model of this name."""
    return f"{model.model_id} at {model.product} {model.endpoint.netloc}"
