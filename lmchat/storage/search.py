"""Finding messages: by the index of words, or by looking through the texts where that cannot help."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from datetime import datetime

from lmchat.domain.session import SearchHit
from lmchat.storage.connection import Connection
from lmchat.storage.filters import take_filters
from lmchat.storage.query import Query, around, fold, parse
from lmchat.storage.rows import loaded

log = logging.getLogger(__name__)

_BEFORE_CHARS = 60
_AFTER_CHARS = 120
_OPEN, _CLOSE = "\x02", "\x03"
"""Around the match in what FTS5 returns."""

_COLUMNS = "s.session_id, s.title, m.message_id, m.role, m.model, m.created_at"
_JOINS = """cross join messages m on m.number = p.number
    cross join sessions s on s.session_id = m.session_id
    where m.hidden_by is null and s.deleted_at is null"""
_BY_WORDS = f"""select {_COLUMNS}, snippet(words, 0, '{_OPEN}', '{_CLOSE}', '', 32)
    from words cross join parts p on p.part_id = words.rowid {_JOINS} and words match ?"""
"""Joined in this order (`cross`), so that the newest hits come first and it ends with the last one wanted."""
_BY_TEXT = f"select {_COLUMNS}, p.text from parts p {_JOINS} and p.kind = 'text'"


def search(connection: Connection, text: str, limit: int) -> tuple[SearchHit, ...]:
    """Return hits, newest first; none for an empty search."""
    rest, filters = take_filters(text)
    query = parse(rest)
    if not query.terms and not filters:
        return ()
    connection.create_function("fold", 1, _fold_value, deterministic=True)
    where = "".join(f" and {condition.sql}" for condition in filters)
    values = [value for condition in filters for value in condition.values]
    if connection.has_words and query.terms and query.is_of_words:
        rows = connection.execute(
            f"{_BY_WORDS} {where} order by words.rowid desc limit ?", (query.words, *values, limit)
        )
        return _once(_hit(row[:6], *_marked(row[6])) for row in rows)
    like = " and fold(cast(p.text as blob)) like ? escape '\\'" * len(query.terms)
    rows = connection.execute(
        f"{_BY_TEXT} {where} {like} order by p.part_id desc limit ?", (*values, *query.patterns, limit)
    )
    return _once(_hit(row[:6], *_looked_up(loaded(row[6]), query)) for row in rows)


def _marked(snippet: str) -> tuple[str, str, str]:
    before, _, rest = snippet.partition(_OPEN)
    match, _, after = rest.partition(_CLOSE)
    return before, match, after.replace(_OPEN, "").replace(_CLOSE, "")


def _looked_up(text: str, query: Query) -> tuple[str, str, str]:
    return around(text, query.terms[0]) if query.terms else ("", "", text)


def _hit(row: tuple[str, ...], before: str, match: str, after: str) -> SearchHit | None:
    session_id, title, message_id, role, model, created_at = row
    try:
        moment = datetime.fromisoformat(created_at)
    except ValueError:
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
    )


def _once(hits: Iterable[SearchHit | None]) -> tuple[SearchHit, ...]:
    """Keep one hit a message."""
    return tuple({hit.message_id: hit for hit in hits if hit is not None}.values())


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _fold_value(value: object) -> str:
    """Fold a text that comes as bytes: as text, SQLite's Python would refuse the search for one bad byte."""
    return fold(loaded(value)).encode(errors="replace").decode()
