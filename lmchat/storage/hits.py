"""Rows that a search found as hits: where they are, and the words around what was searched."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from lmchat.domain.session import SearchHit
from lmchat.storage.query import Query, around, fold
from lmchat.storage.rows import loaded

log = logging.getLogger(__name__)

OPEN, CLOSE = "\x02", "\x03"
"""Around each match in what FTS5 returns."""
COLUMNS = "s.session_id, s.title, m.message_id, m.role, m.model, m.created_at"
"""What a hit tells beside its words."""
_BEFORE_CHARS = 60
_AFTER_CHARS = 120
_MARKED = re.compile(f"{OPEN}([^{OPEN}{CLOSE}]+){CLOSE}")


def marked_hit(row: Sequence[Any], query: Query, snippet: str) -> SearchHit | None:
    """Return a hit of the index of words, which has marked its matches."""
    before, _, rest = snippet.partition(OPEN)
    match, _, after = rest.partition(CLOSE)
    found = _MARKED.findall(snippet)
    left = [term for term in query.terms if not any(fold(one).startswith(fold(term)) for one in found)]
    words = tuple(dict.fromkeys((*found, *left)))
    return _hit(row, "text", (before, match, after.replace(OPEN, "").replace(CLOSE, "")), words)


def looked_up_hit(row: Sequence[Any], query: Query, kind: str, text: str) -> SearchHit | None:
    """Return a hit whose matches have to be looked for."""
    if not query.terms:
        return _hit(row, kind, ("", "", text), ())
    places = [around(text, term) for term in query.terms]
    words = dict.fromkeys(match for _, match, _ in places if match)
    return _hit(row, kind, places[0], tuple(words))


def _hit(
    row: Sequence[Any], kind: str, around_it: tuple[str, str, str], words: tuple[str, ...]
) -> SearchHit | None:
    session_id, title, message_id, role, model, created_at = row
    before, match, after = around_it
    try:
        moment = datetime.fromisoformat(created_at)
    except (ValueError, TypeError):
        log.warning("a damaged row of a message was left out: %r", message_id)
        return None
    return SearchHit(
        session_id=session_id,
        title=loaded(title),
        message_id=message_id,
        role=role,
        model=loaded(model),
        created_at=moment,
        before=_one_line(before[-_BEFORE_CHARS * 2 :]).lstrip()[-_BEFORE_CHARS:],
        match=_one_line(match[:_AFTER_CHARS]),
        after=_one_line(after[: _AFTER_CHARS * 2]).rstrip()[:_AFTER_CHARS],
        kind=kind,
        words=words,
    )


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
