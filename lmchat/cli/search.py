"""`lmchat search`: where words occur in all sessions, newest first."""

from __future__ import annotations

from contextlib import aclosing

from lmchat.cli.parts import Parts
from lmchat.cli.wiring import make_store, tell_notice
from lmchat.domain.session import SearchHit
from lmchat.text import safe_line

_SHORT_ID = 8
_HOLDERS = {"reasoning": "thought", "tool_call": "tool call", "title": "title"}
"""What holds the words, where it is not what was said."""


async def search(parts: Parts) -> int:
    """Print where words occur: whole words first, then parts of words."""
    async with aclosing(make_store(parts)) as store:
        hits = await store.search(" ".join(parts.options.query), limit=parts.options.limit)
        tell_notice(parts, store)
    if parts.output.is_json:
        parts.output.document({"object": "list", "data": [_json(hit) for hit in hits]})
    elif hits:
        parts.output.text("\n".join(_text(hit) for hit in hits))
    else:
        parts.output.note("Nothing found.")
    return 0


def _json(hit: SearchHit) -> dict[str, object]:
    return {
        "session_id": hit.session_id,
        "title": hit.title,
        "message_id": hit.message_id,
        "role": hit.role,
        "model": hit.model,
        "kind": hit.kind,
        "created_at": hit.created_at.isoformat(),
        "before": hit.before,
        "match": hit.match,
        "after": hit.after,
    }


def _text(hit: SearchHit) -> str:
    who = hit.model if hit.role == "assistant" and hit.model else hit.role
    told = (
        hit.session_id[:_SHORT_ID],
        hit.created_at.astimezone().strftime("%Y-%m-%d %H:%M"),
        ", ".join(word for word in (safe_line(who) if hit.role else "", _HOLDERS.get(hit.kind, "")) if word),
        safe_line(hit.title),
    )
    match = f"[{safe_line(hit.match)}]" if hit.match else ""
    around = f"{safe_line(hit.before)} {match} {safe_line(hit.after)}"
    return f"{'  '.join(told)}\n    {around.strip()}"
