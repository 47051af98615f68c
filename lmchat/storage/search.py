"""Search in all sessions: hits with the words around them.

The search index names candidates, and each of them is compared. Texts that are not indexed yet are
all compared.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from itertools import chain, islice
from typing import Any

from msgspec import Struct

from lmchat.domain.session import SearchHit
from lmchat.storage.connection import Connection
from lmchat.storage.row_values import folded, loaded, part_row
from lmchat.storage.search_index import index_query, searched_text
from lmchat.storage.search_terms import Filters, parse_filters, parse_terms
from lmchat.storage.session_queries import arrived_parts, first_prompt_title
from lmchat.text import fold

log = logging.getLogger(__name__)

_SORTED = 50
"""Newest hits among which those that begin a word come first; all others follow by time."""
_FEW = 2000  # filtered messages up to which comparing all is faster than the index
_FIRST_TITLES = 3  # shown before messages; the others come last
_FIRST_TITLES_READ = 50  # to find these
_BEFORE_CHARS = 60
_AFTER_CHARS = 120
_FENCES = ("```", "~~~")
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Scripts without blanks between words: Thai to Khmer, CJK, Hangul."""

_HIT_COLUMNS = ("session_id", "title", "message_id", "role", "model", "created_at", "tags")
_HIT = "s.session_id, s.title, m.message_id, m.role, m.model, m.created_at, s.tags"
_PART = "p.kind, p.text, p.name"
_SEEN = "m.hidden_by is null and s.deleted_at is null"
_IN_SESSION = "cross join sessions s on s.session_id = m.session_id"
"""`cross` keeps this order of joins: newest hits come first, and a query can end early."""
_REPEATED_CALL = """p.kind = 'tool_call' and m.role = 'assistant' and exists (
    select 1 from messages t
    cross join parts c on c.number = t.number and c.kind = 'tool_call'
    where t.parent_id = m.message_id and t.role = 'tool' and t.hidden_by is null)"""
"""A call in an answer that a tool message repeats, which is the hit."""
_MESSAGES = f"""select {_HIT}, {_PART} from messages m {_IN_SESSION}
    cross join parts p on p.number = m.number where {_SEEN} and not ({_REPEATED_CALL})"""
_INDEXED = f"""select {_HIT}, {_PART} from trigrams
    cross join parts p on p.part_id = trigrams.rowid
    cross join messages m on m.number = p.number {_IN_SESSION}
    where {_SEEN} and not ({_REPEATED_CALL}) and m.is_indexed = 1 and trigrams match ?"""
_RUNNING = f"""select {_HIT}, m.number from messages m {_IN_SESSION}
    where {_SEEN} and m.state = 'streaming'"""
_TITLES = """select session_id, title, '', '', model, updated_at, tags from sessions
    where deleted_at is null"""
_TITLE_HAS_TERM = "and contains(cast(title as blob), ?)"
_SPOKEN = "and (p.kind = 'text' or m.role = 'tool')"
_NEWEST_FIRST = "order by m.number desc, p.part_id desc"


class _Match(Struct, frozen=True, kw_only=True):
    """Text that holds all terms, and the columns of its message and session."""

    columns: dict[str, Any]
    kind: str
    text: str
    begins_words: bool

    @property
    def key(self) -> tuple[str, str]:
        return self.columns["session_id"], self.columns["message_id"]


def search(connection: Connection, text: str, limit: int) -> tuple[SearchHit, ...]:
    """Return hits, one a message, each kind newest first.

    Running answers lead, then some titles, messages, and the other titles.
    """
    rest, filters = parse_filters(text)
    terms = parse_terms(rest)
    if not terms and filters == Filters():
        return ()
    # one state of the file: else a message may be indexed in between
    connection.execute("savepoint search")
    try:
        return _hits(_Search(connection, terms, filters), terms, limit)
    finally:
        connection.execute("release search")


def _hits(matches: _Search, terms: Sequence[str], limit: int) -> tuple[SearchHit, ...]:
    titles = matches.titles()
    first_read = [match for match in islice(titles, _FIRST_TITLES_READ) if match is not None]
    ordered = chain(
        matches.running_answers(),
        first_read[:_FIRST_TITLES],
        matches.messages(),
        first_read[_FIRST_TITLES:],
        titles,
    )
    hits: dict[tuple[str, str], SearchHit] = {}
    for match in ordered:
        if match is None or match.key in hits:
            continue
        hit = _hit(match, terms)
        if hit is not None:
            hits[match.key] = hit
            if len(hits) == limit:
                break
    return tuple(hits.values())


class _Search:
    """Texts that match the terms and filters of a search."""

    def __init__(self, connection: Connection, terms: Sequence[str], filters: Filters) -> None:
        self._connection = connection
        self._terms = [folded(term) for term in terms]
        self._starts = [re.compile(rf"(?<!\w){re.escape(term)}") for term in self._terms]
        self._filters = filters

    def running_answers(self) -> Iterator[_Match]:
        """Yield running answers, also of other processes."""
        query = f"{_RUNNING} {self._filters.sql} order by m.number desc"
        for *row, number in self._connection.execute(query, self._filters.values).fetchall():
            for part in arrived_parts(self._connection, number, row[2]):
                stored = part_row(part)
                text = searched_text(stored.kind, stored.text, stored.name)
                match = self._match(row, stored.kind, text)
                if match is not None:
                    yield match
                    break

    def titles(self) -> Iterator[_Match | None]:
        """Yield sessions by title.

        None is a title that only repeats a prompt, which is a hit itself.
        """
        if self._filters.sql:
            return
        query = f"{_TITLES} {_TITLE_HAS_TERM * len(self._terms)} order by updated_at desc"
        for row in self._connection.execute(query, self._terms).fetchall():
            title = loaded(row[1])
            match = self._match(row, "title", title)
            if match is not None:
                is_prompt = first_prompt_title(self._connection, row[0]) == title
                yield None if is_prompt else match

    def messages(self) -> Iterator[_Match]:
        """Yield messages, newest first.

        Of the newest ones, those with words that begin like the terms lead.
        """
        matches = self._messages_by_time()
        yield from sorted(islice(matches, _SORTED), key=lambda match: not match.begins_words)
        yield from matches

    def _messages_by_time(self) -> Iterator[_Match]:
        values = self._filters.values
        where = self._filters.sql
        candidates = None if self._are_few() else index_query(self._connection, self._terms)
        if not self._terms:
            where += f" {_SPOKEN}"
        if candidates is None:
            yield from self._compare(f"{_MESSAGES} {where} {_NEWEST_FIRST}", values)
            return

        not_indexed = f"{_MESSAGES} and m.is_indexed = 0 {where} {_NEWEST_FIRST}"
        yield from self._compare(not_indexed, values)
        if candidates:
            indexed = f"{_INDEXED} {where} order by trigrams.rowid desc"
            yield from self._compare(indexed, (candidates, *values))

    def _are_few(self) -> bool:
        """Return whether so few messages pass the filters that all can be compared."""
        if not self._filters.sql:
            return False
        query = f"""select 1 from messages m {_IN_SESSION}
            where {_SEEN} {self._filters.sql} limit ?"""
        return len(self._connection.execute(query, (*self._filters.values, _FEW)).fetchall()) < _FEW

    def _compare(self, query: str, values: Sequence[object]) -> Iterator[_Match]:
        with closing(self._connection.execute(query, values)) as rows:
            for *row, kind, text, name in rows:
                match = self._match(row, kind, searched_text(kind, text, name))
                if match is not None:
                    yield match

    def _match(self, row: Sequence[Any], kind: str, text: str) -> _Match | None:
        """Return a match if the text holds all terms."""
        if self._filters.needs_code:
            has_code = kind == "text" and any(fence in text for fence in _FENCES)
            if not has_code:
                return None
        folded_text = folded(text)
        if not all(term in folded_text for term in self._terms):
            return None
        return _Match(
            columns=dict(zip(_HIT_COLUMNS, row, strict=True)),
            kind=kind,
            text=text,
            begins_words=all(start.search(folded_text) for start in self._starts),
        )


def _hit(match: _Match, terms: Sequence[str]) -> SearchHit | None:
    """Return a hit with the words around its first term, None for a damaged row."""
    columns = match.columns
    try:
        moment = datetime.fromisoformat(columns["created_at"])
    except (ValueError, TypeError):
        log.warning("a damaged row of a message was left out: %r", columns["message_id"])
        return None

    text = match.text
    spans = [span for term in terms if (span := _span(text, term))]
    start, end = min(spans, default=(0, 0))
    # white space is cut afterwards: twice as many characters are enough
    before = _on_one_line(text[max(start - _BEFORE_CHARS * 2, 0) : start]).lstrip()
    after = _on_one_line(text[end : end + _AFTER_CHARS * 2]).rstrip()
    return SearchHit(
        session_id=columns["session_id"],
        title=loaded(columns["title"]),
        message_id=columns["message_id"],
        role=columns["role"],
        model=loaded(columns["model"]),
        created_at=moment,
        before=before[-_BEFORE_CHARS:],
        match=_on_one_line(text[start:end][:_AFTER_CHARS]),
        after=after[:_AFTER_CHARS],
        kind=match.kind,
        tags=tuple(loaded(columns["tags"]).split()),
        words=tuple(dict.fromkeys(text[begin:stop] for begin, stop in spans)),
    )


def _span(text: str, term: str) -> tuple[int, int] | None:
    """Return where a text holds a term, in other letters perhaps."""
    words = map(re.escape, term.split(" "))
    match = _find(text, r"\s+".join(words))
    if match is not None:
        return match.span()

    letters: list[str] = []
    origins: list[int] = []  # index in the text of each letter
    for index, char in enumerate(text):
        plain = " " if char.isspace() else fold(char)
        if plain != " " or letters[-1:] != [" "]:
            letters.append(plain)
            origins += [index] * len(plain)
    match = _find("".join(letters), re.escape(fold(term)))
    if match is None:
        return None
    return origins[match.start()], origins[match.end() - 1] + 1


def _find(text: str, pattern: str) -> re.Match[str] | None:
    """Find a term: first one that begins a word, with the whole word, else any."""
    letter = rf"[^\W{_UNSPACED}]"
    word = rf"(?<!\w){pattern}(?:(?<={letter}){letter}*)?"
    return re.search(word, text, re.IGNORECASE) or re.search(pattern, text, re.IGNORECASE)


def _on_one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
