"""Notes below an answer whose text alone does not show what happened."""

from __future__ import annotations

from lmchat.safe_text import safe_line
from lmchat.sessions.message import AnswerStats, ChatMessage, Limit

_NAME_CHARS = 80
_SERVER_LIMIT = "the token limit of the server"


def answer_note(message: ChatMessage) -> str:
    """Return a sentence about a complete answer, and what helps; "" if there is nothing to say.

    It starts with a small letter, and has no full stop.
    """
    stats = message.stats or AnswerStats()
    if stats.call_as_text:
        name = safe_line(stats.call_as_text, limit=_NAME_CHARS)
        return (
            f"the model tried to call {name}, and the server did not understand it: nothing was "
            "run; start the server with a tool parser for this model, or use another build of it"
        )
    if message.text.strip() or message.tool_calls or message.refusal or not message.reasoning:
        return ""
    if stats.limit is Limit.CONTEXT:
        cause, step = f": {stats.limit}", "load it with a larger context window, or set the effort"
    elif stats.is_cut:
        cause = f": {stats.limit or _SERVER_LIMIT}"
        step = "set a larger max_tokens, or the effort"
    else:
        cause, step = "", "ask again with the effort"
    return f"the model thought and wrote no answer{cause}; {step} none"
