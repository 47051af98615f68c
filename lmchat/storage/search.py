"""Search in all sessions: hits with the words around them.

A match is a text that holds all terms: a part of a message, or a title. The search index names the
parts that may hold the terms, and only these are compared with the terms.
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

from lmchat.matching import fold
from lmchat.sessions.session import SearchHit
from lmchat.storage.branch_queries import first_prompt_title
from lmchat.storage.opening import Connection
from lmchat.storage.row_values import folded, loaded, searched_text
from lmchat.storage.search_terms import Filters, parse_filters, parse_terms

log = logging.getLogger(__name__)

_FIRST_TITLES = 3  # number of titles that come before messages; the others come last
# number of titles among which these are looked for: many of the newest only repeat a prompt
_FIRST_TITLES_READ = 50
# text around a match in a hit
_BEFORE_CHARS = 60
_AFTER_CHARS = 120
_FENCES = ("```", "~~~")
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Scripts without blanks between words: Thai to Khmer, CJK, Hangul."""

_TRIGRAM_CHARS = 3
# Only the first trigrams of a term are looked up: texts that have these are compared anyway.
_MOST_TRIGRAMS = 50
# If more trigrams begin with a short term, comparing all texts is faster.
_MOST_BEGINNINGS = 1000

_HIT_COLUMNS = ("session_id", "title", "message_id", "role", "model", "created_at", "tags")
_HIT = "s.session_id, s.title, m.message_id, m.role, m.model, m.created_at, s.tags"
# `cross` makes SQLite keep the order of the joins. It then needs no sorting to find the newest hits
# first, and a query can end early. A call in an answer is no hit if its tool message has it too.
_PARTS = f"""select {_HIT}, p.kind, p.text, p.name from {{}}
    cross join sessions s on s.session_id = m.session_id
    where m.hidden_by is null and s.deleted_at is null and not (
        p.kind = 'tool_call' and m.role = 'assistant' and exists (select 1 from messages t
            cross join parts c on c.number = t.number and c.kind = 'tool_call'
            where t.parent_id = m.message_id and t.role = 'tool' and t.hidden_by is null))"""
_ALL_PARTS = _PARTS.format("messages m cross join parts p on p.number = m.number")
_INDEXED_PARTS = _PARTS.format(
    "trigrams cross join parts p on p.part_id = trigrams.rowid "
    "cross join messages m on m.number = p.number"
)
_TITLES = """select session_id, title, '', '', model, updated_at, tags from sessions
    where deleted_at is null"""
_TITLE_HAS_TERM = "and contains(cast(title as blob), ?)"
# Without terms, a message is shown once, by its text; an answer's thoughts and calls are not hits.
_TEXTS_AND_TOOLS = "and (p.kind = 'text' or m.role = 'tool')"


class _Match(Struct, frozen=True, kw_only=True):
    """Text that holds all terms, and the columns of its message and session."""

    columns: dict[str, Any]  # by the names `_HIT_COLUMNS`
    kind: str  # of the part of a message, or `title`
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """Ids of session and message, of which a search has one hit; a title has no message id."""
        return self.columns["session_id"], self.columns["message_id"]


def search(connection: Connection, text: str, limit: int) -> tuple[SearchHit, ...]:
    """Return at most `limit` hits for `text`, which the user has typed; one for each message.

    First come `_FIRST_TITLES` titles, then messages, then the other titles. Each group is sorted by
    time, newest first. Without terms and filters there are no hits. Raises `WrongUse` for a wrong
    filter.
    """
    text_without_filters, filters = parse_filters(text)
    terms = parse_terms(text_without_filters)
    if not terms and filters == Filters():
        return ()
    # The methods are generators: they look for no more matches than the hits need.
    matches = _Search(connection, terms, filters)
    titles = matches.titles()
    first_titles = [match for match in islice(titles, _FIRST_TITLES_READ) if match is not None]
    hits: dict[tuple[str, str], SearchHit] = {}
    for match in chain(
        first_titles[:_FIRST_TITLES], matches.messages(), first_titles[_FIRST_TITLES:], titles
    ):
        if len(hits) == limit:
            break
        if match is not None and match.key not in hits:
            hit = _hit(match, terms)
            if hit is not None:
                hits[match.key] = hit
    return tuple(hits.values())


class _Search:
    """Texts that match the terms and filters of a search.

    Each public method is a generator, which yields matches as its query finds them.
    """

    def __init__(self, connection: Connection, terms: Sequence[str], filters: Filters) -> None:
        self._connection = connection
        self._terms = [folded(term) for term in terms]
        self._filters = filters

    def titles(self) -> Iterator[_Match | None]:
        """Yield the matches in titles, those of sessions that were changed last first.

        A title that only repeats the first prompt is no match, as that prompt is a hit itself. None
        is yielded for it, so that the caller can limit how many titles are compared with prompts.
        With filters, which are for messages, nothing is yielded.
        """
        if self._filters != Filters():
            return
        query = f"{_TITLES} {_TITLE_HAS_TERM * len(self._terms)} order by updated_at desc"
        for row in self._connection.execute(query, self._terms).fetchall():
            title = loaded(row[1])
            match = self._match(row, "title", title)
            if match is not None:
                repeats_prompt = first_prompt_title(self._connection, row[0]) == title
                yield None if repeats_prompt else match

    def messages(self) -> Iterator[_Match]:
        """Yield the matches in parts of messages, newest first.

        If the index does not help, all parts are compared, else those that the index names.
        """
        values = self._filters.values
        conditions = self._filters.sql
        if not self._terms:
            conditions += f" {_TEXTS_AND_TOOLS}"
        query_of_index = self._query_of_index()
        if query_of_index == "":  # no text has all terms
            return
        if query_of_index is None:
            query = f"{_ALL_PARTS} {conditions} order by m.number desc, p.part_id desc"
        else:
            query = (
                f"{_INDEXED_PARTS} and trigrams match ? {conditions} order by trigrams.rowid desc"
            )
            values = (query_of_index, *values)
        with closing(self._connection.execute(query, values)) as rows:
            for *row, kind, text, name in rows:
                match = self._match(row, kind, searched_text(kind, text, name))
                if match is not None:
                    yield match

    def _query_of_index(self) -> str | None:
        """Return the query of FTS5 for the texts that may hold all terms.

        For the terms “plan” and “b”, it is `"pla" AND "lan"`. Terms that are shorter than a trigram
        count only if there are no longer ones: the query then has all trigrams that begin with one.
        The query is empty if no text can hold the terms. Return None if the index does not help:
        without terms, or if too many trigrams begin with each short term.
        """
        # a table of this connection with all trigrams that are in the index
        self._connection.execute(
            "create virtual table if not exists temp.trigram_list"
            " using fts5vocab (main, trigrams, row)"
        )
        conditions: list[str] = []
        for term in sorted(self._terms, key=len, reverse=True):
            if len(term) >= _TRIGRAM_CHARS:
                starts = range(len(term) - _TRIGRAM_CHARS + 1)
                trigrams = dict.fromkeys(term[start : start + _TRIGRAM_CHARS] for start in starts)
                conditions += map(_quoted, list(trigrams)[:_MOST_TRIGRAMS])
            elif not conditions:  # longer terms leave few texts, which are compared with all terms
                query = "select term from trigram_list where term >= ? and term < ? limit ?"
                # the last code point is after all trigrams with this beginning
                values = (term, f"{term}\U0010ffff", _MOST_BEGINNINGS + 1)
                beginnings = [_quoted(row[0]) for row in self._connection.execute(query, values)]
                if not beginnings:
                    return ""
                if len(beginnings) <= _MOST_BEGINNINGS:
                    conditions.append(f"({' OR '.join(beginnings)})")
        return " AND ".join(conditions) or None

    def _match(self, row: Sequence[Any], kind: str, text: str) -> _Match | None:
        """Return a match if the text holds all terms, else None.

        If a filter asks for a code block, the text must be of the kind `text` and have a fence.
        `row` has the values of `_HIT_COLUMNS`; `kind` is that of the part, or `title`.
        """
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
        )


def _quoted(term: str) -> str:
    """Return a term as a string in a query of FTS5, in which no character has a special meaning."""
    escaped = term.replace('"', '""')
    return f'"{escaped}"'


def _hit(match: _Match, terms: Sequence[str]) -> SearchHit | None:
    """Return the hit for a match, with the text around the first place of a term.

    Without terms, the hit shows the beginning of the text. Return None for a damaged row, whose
    time cannot be read.
    """
    columns = match.columns
    try:
        moment = datetime.fromisoformat(columns["created_at"])
    except (ValueError, TypeError):
        log.warning("a damaged row of a message was left out: %r", columns["message_id"])
        return None

    text = match.text
    # a term may have no place here: the match was found in a text without NULs and lone surrogates
    possible_spans = [_span(text, term) for term in terms]
    spans = [span for span in possible_spans if span is not None]
    start, end = min(spans, default=(0, 0))  # a search without terms shows the beginning
    # Twice as many characters as are shown: runs of white space become one blank.
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
    """Return start and end of the first place of a term in a text; None if there is no place.

    First the term is looked for with its own accents, then in the folded text. Capitals and white
    space may always differ. So “cafe” is found in “Café”, but a “cafe” anywhere is preferred.
    """
    escaped_words = map(re.escape, term.split(" "))
    match = _find(text, r"\s+".join(escaped_words))
    if match is not None:
        return match.span()

    folded_text, origins = _folded_with_origins(text)
    match = _find(folded_text, re.escape(fold(term)))
    if match is None:
        return None
    last_index = match.end() - 1
    return origins[match.start()], origins[last_index] + 1


def _folded_with_origins(text: str) -> tuple[str, list[int]]:
    """Return a folded text with one blank for each run of white space, and a list of indices.

    The list has for each character of the folded text the index of its original in `text`. One
    character may be folded into several, as the ligature “ﬁ” into “fi”, or an accent into none.
    """
    folded_chars: list[str] = []
    origins: list[int] = []
    for index, char in enumerate(text):
        folded_char = " " if char.isspace() else fold(char)
        repeats_blank = folded_char == " " and folded_chars[-1:] == [" "]
        if not repeats_blank:
            folded_chars.append(folded_char)
            origins += [index] * len(folded_char)
    return "".join(folded_chars), origins


def _find(text: str, pattern: str) -> re.Match[str] | None:
    """Return the match of a term at the beginning of a word, else anywhere; None without one.

    `pattern` is the regular expression of the term. A match at the beginning of a word reaches to
    the end of that word: “run” finds “running”, and is found in “overrun” only if no word begins
    with it. In scripts without blanks between words, a match ends with the term.
    """
    letter = rf"[^\W{_UNSPACED}]"  # letter or digit of a script with blanks between words
    word_rest = rf"(?:(?<={letter}){letter}*)?"  # if the term ends with such a letter
    word = rf"(?<!\w){pattern}{word_rest}"
    return re.search(word, text, re.IGNORECASE) or re.search(pattern, text, re.IGNORECASE)


def _on_one_line(text: str) -> str:
    """Return a text with one blank for each run of white space."""
    return re.sub(r"\s+", " ", text)
