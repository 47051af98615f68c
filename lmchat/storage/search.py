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

from lmchat.matching import fold
from lmchat.sessions.session import SearchHit
from lmchat.storage.branch_queries import first_prompt_title
from lmchat.storage.opening import Connection
from lmchat.storage.row_values import folded, loaded, searched_text
from lmchat.storage.search_terms import Filters, parse_filters, parse_terms

log = logging.getLogger(__name__)

# With fewer messages that pass the filters, comparing them all is faster than the index.
_FEW_MESSAGES = 2000
_FIRST_TITLES = 3  # number of titles that come before messages; the others come last
# number of titles among which these are looked for: many of the newest only repeat a prompt
_FIRST_TITLES_READ = 50
# text around a match in a hit
_BEFORE_CHARS = 60
_AFTER_CHARS = 120
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Scripts without blanks between words: Thai to Khmer, CJK, Hangul."""

_TRIGRAM_CHARS = 3
# Only the first trigrams of a term are looked up: texts that have these are compared anyway.
_MOST_TRIGRAMS = 50
# If more trigrams begin with a short term, comparing all texts is faster.
_MOST_BEGINNINGS = 300

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

_Match = tuple[Sequence[Any], str, str]
"""Row of the columns `_HIT`, kind of the part of a message or `title`, and the text of a match."""


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
    folded_terms = [folded(term) for term in terms]
    # these are generators: they look for no more matches than the hits need
    titles = iter(()) if filters != Filters() else _titles(connection, folded_terms)
    first_titles = [match for match in islice(titles, _FIRST_TITLES_READ) if match is not None]
    matches = chain(
        first_titles[:_FIRST_TITLES],
        _messages(connection, folded_terms, filters),
        first_titles[_FIRST_TITLES:],
        titles,
    )
    hits: dict[tuple[str, str], SearchHit] = {}
    for match in matches:
        if len(hits) == limit:
            break
        hit = None if match is None else _hit(*match, terms)
        if hit is not None:
            hits.setdefault((hit.session_id, hit.message_id), hit)
    return tuple(hits.values())


def _titles(connection: Connection, terms: Sequence[str]) -> Iterator[_Match | None]:
    """Yield the titles that hold all terms, those of sessions that were changed last first.

    A title that only repeats the first prompt is no match, as that prompt is a hit itself. None is
    yielded for it, so that the caller can limit how many titles are compared with prompts.
    """
    query = f"{_TITLES} {_TITLE_HAS_TERM * len(terms)} order by updated_at desc"
    for row in connection.execute(query, terms).fetchall():
        title = loaded(row[1])
        repeats_prompt = first_prompt_title(connection, row[0]) == title
        yield None if repeats_prompt else (row, "title", title)


def _messages(connection: Connection, terms: Sequence[str], filters: Filters) -> Iterator[_Match]:
    """Yield the parts of messages that hold all terms, newest first.

    If the index does not help, or few messages pass the filters, all parts are compared, else those
    that the index names. If a filter asks for a code block, a part must be a text with a fence.
    """
    values = filters.values
    index_query = None
    few = f"select 1 from messages m where 1 {filters.sql} limit {_FEW_MESSAGES}"
    if not filters.sql or len(connection.execute(few, values).fetchall()) == _FEW_MESSAGES:
        index_query = _index_query(connection, terms)
    if index_query == "":  # no text has all terms
        return
    conditions = filters.sql if terms else f"{filters.sql} {_TEXTS_AND_TOOLS}"
    if index_query is None:
        query = f"{_ALL_PARTS} {conditions} order by m.number desc, p.part_id desc"
    else:
        query = f"{_INDEXED_PARTS} and trigrams match ? {conditions} order by trigrams.rowid desc"
        values = (index_query, *values)
    with closing(connection.execute(query, values)) as rows:
        for *row, kind, stored_text, name in rows:
            text = searched_text(kind, stored_text, name)
            if filters.needs_code and not (kind == "text" and ("```" in text or "~~~" in text)):
                continue
            folded_text = folded(text)
            if all(term in folded_text for term in terms):
                yield row, kind, text


def _index_query(connection: Connection, terms: Sequence[str]) -> str | None:
    """Return the query of FTS5 for the texts that may hold all terms.

    For the terms “plan” and “b”, it is `"pla" AND "lan"`. Terms that are shorter than a trigram
    count only if there are no longer ones: the query then has all trigrams that begin with one.
    The query is empty if no text can hold the terms. Return None if the index does not help:
    without terms, or if too many trigrams begin with each short term.
    """
    # a table of this connection with all trigrams that are in the index
    connection.execute(
        "create virtual table if not exists temp.trigram_list using fts5vocab (main, trigrams, row)"
    )
    conditions: list[str] = []
    for term in sorted(terms, key=len, reverse=True):
        if len(term) >= _TRIGRAM_CHARS:
            starts = range(len(term) - _TRIGRAM_CHARS + 1)
            trigrams = dict.fromkeys(term[start : start + _TRIGRAM_CHARS] for start in starts)
            conditions += map(_quoted, list(trigrams)[:_MOST_TRIGRAMS])
        elif not conditions:  # longer terms leave few texts, which are compared with all terms
            query = "select term from trigram_list where term >= ? and term < ? limit ?"
            # the last code point is after all trigrams with this beginning
            values = (term, f"{term}\U0010ffff", _MOST_BEGINNINGS + 1)
            beginnings = [_quoted(row[0]) for row in connection.execute(query, values)]
            if not beginnings:
                return ""
            if len(beginnings) <= _MOST_BEGINNINGS:
                conditions.append(f"({' OR '.join(beginnings)})")
    return " AND ".join(conditions) or None


def _quoted(term: str) -> str:
    """Return a term as a string in a query of FTS5, in which no character has a special meaning."""
    escaped = term.replace('"', '""')
    return f'"{escaped}"'


def _hit(row: Sequence[Any], kind: str, text: str, terms: Sequence[str]) -> SearchHit | None:
    """Return the hit for a match, with the text around the first place of a term.

    Without terms, the hit shows the beginning of the text. Return None for a damaged row, whose
    time cannot be read.
    """
    session_id, title, message_id, role, model, created_at, tags = row
    try:
        moment = datetime.fromisoformat(created_at)
    except (ValueError, TypeError):
        log.warning("a damaged row of a message was left out: %r", message_id)
        return None

    # a term may have no place here: the match was found in a text without NULs and lone surrogates
    spans = [span for term in terms if (span := _span(text, term)) is not None]
    start, end = min(spans, default=(0, 0))
    # Twice as many characters as are shown: runs of white space become one blank.
    before = _on_one_line(text[max(start - _BEFORE_CHARS * 2, 0) : start]).lstrip()
    after = _on_one_line(text[end : end + _AFTER_CHARS * 2]).rstrip()
    return SearchHit(
        session_id=session_id,
        title=loaded(title),
        message_id=message_id,
        role=role,
        model=loaded(model),
        created_at=moment,
        before=before[-_BEFORE_CHARS:],
        match=_on_one_line(text[start:end][:_AFTER_CHARS]),
        after=after[:_AFTER_CHARS],
        kind=kind,
        tags=tuple(loaded(tags).split()),
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
