"""Search in all sessions: hits with the words around them.

The user types terms and filters. A term is a word, or a phrase in quotes. A filter is a name and a
value, such as `role:user`. A match is a text that holds all terms: a part of a message, or a title.
It becomes a hit, which is shown.

Texts and terms are compared once they are *folded*: without capitals and accents. The search index
names the parts that may hold the terms by their trigrams, three characters in a row. Only these
parts are compared with the terms.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from itertools import chain
from typing import Any

from msgspec import Struct

from lmchat.errors import WrongUse
from lmchat.matching import fold
from lmchat.safe_text import safe_line
from lmchat.sessions.message import Role
from lmchat.sessions.session import SearchHit
from lmchat.storage.branch_queries import first_prompt_title
from lmchat.storage.opening import Connection
from lmchat.storage.row_values import (
    encodable,
    folded,
    searched_text,
    stored_time,
    text_from,
    time_from,
)

_logger = logging.getLogger(__name__)

# With fewer messages that pass the filters, comparing them all is faster than the index: for a
# common word and a date that no message passes, 52 instead of 237 ms among 100,000 messages.
_FEW_MESSAGES = 2000
_FIRST_TITLES = 3  # number of titles that come before messages; the others come last
# Limit of the titles that are compared with the first prompts of their sessions: each comparison
# takes a query.
_MOST_TITLES = 100
# text around a match in a hit
_BEFORE_CHARS = 60
_AFTER_CHARS = 120
_TRIGRAM_CHARS = 3
# Only the first trigrams of a term are looked up: texts that have these are compared anyway.
_MOST_TRIGRAMS = 50
# If more trigrams begin with a short term, comparing all texts is faster.
_MOST_BEGINNINGS = 300

_HIT = "s.session_id, s.title, m.message_id, m.role, m.model, m.created_at"
# Query of visible parts. It has the columns `_HIT`, then kind, text and name of a part. `{}` takes
# the tables with which it begins; conditions with `and` may follow.
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
# Query of the titles, with the columns `_HIT`. There is no message: its id and role are empty, and
# model and time are those of the session.
_TITLES = """select session_id, title, '', '', model, updated_at from sessions
    where deleted_at is null"""
# Condition for one term. SQLite has no `contains`: `opening.py` gives each connection the one of
# `row_values.py`. Names are cast to bytes, as SQLite cannot pass a text with damaged bytes to a
# function of Python.
_TITLE_HAS_TERM = "and contains(cast(title as blob), ?)"
# Condition for a search without terms: a message is shown once, by its text or as a tool message.
# The thoughts and calls of an answer are no hits.
_TEXTS_AND_TOOLS = "and (p.kind = 'text' or m.role = 'tool')"

# A row of the columns `_HIT`, the kind of the part or `title`, and the text of the match.
_Match = tuple[Sequence[Any], str, str]


_MOST_TERMS = 50
_LONGEST_TERM = 1000  # characters
# `"a phrase"`, whose last quote may be missing, or `word`
_TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')
# `role:you` or `title:"two words"`, after white space or at the beginning
_FILTER = re.compile(
    r'(?<!\S)(model|role|before|after|title|has):(?:"([^"]+)"|([^\s"]\S*))', re.IGNORECASE
)
_ROLES = {str(role): role for role in Role}
# How to write a filter, by its name. Other filters that can be wrong have a date.
_FORMS = {"role": "role:user or role:assistant", "has": "has:code"}


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
    # filters are conditions for messages: no title can pass them
    titles = [] if filters != Filters() else _titles(connection, folded_terms)
    # a generator: it looks for no more matches than the hits need
    messages = _messages(connection, folded_terms, filters)
    # by the ids of session and message; the latter is empty for a title
    hits: dict[tuple[str, str], SearchHit] = {}
    for match in chain(titles[:_FIRST_TITLES], messages, titles[_FIRST_TITLES:]):
        if len(hits) == limit:
            break
        hit = _hit(*match, terms)
        if hit is not None:
            hits.setdefault((hit.session_id, hit.message_id), hit)
    return tuple(hits.values())


def _titles(connection: Connection, folded_terms: Sequence[str]) -> list[_Match]:
    """Return the titles that hold all terms; the session that was changed last comes first.

    A title that only repeats the first prompt is no match, as that prompt is a hit itself.
    """
    query = f"{_TITLES} {_TITLE_HAS_TERM * len(folded_terms)} order by updated_at desc limit ?"
    matches: list[_Match] = []
    for row in connection.execute(query, (*folded_terms, _MOST_TITLES)).fetchall():
        session_id, stored_title, *_ = row
        title = text_from(stored_title)
        if title != first_prompt_title(connection, session_id):
            matches.append((row, "title", title))
    return matches


def _messages(
    connection: Connection, folded_terms: Sequence[str], filters: Filters
) -> Iterator[_Match]:
    """Yield the parts of messages that hold all terms, newest first.

    Only the parts that the index names are compared with the terms. If the index does not help,
    all parts of the messages that pass the filters are compared. The same is done if few messages
    pass the filters, as the index would save no work then. If a filter asks for a code block, a
    part must be a text with a fence.
    """
    values = filters.values
    has_few_messages = False
    if filters.sql:  # each filter begins with `and`: `1` is the condition before the first
        first_query = f"select 1 from messages m where 1 {filters.sql} limit {_FEW_MESSAGES}"
        first_messages = connection.execute(first_query, values).fetchall()
        has_few_messages = len(first_messages) < _FEW_MESSAGES
    index_query = None if has_few_messages else _index_query(connection, folded_terms)
    # without terms, each part of a message would be a hit
    conditions = filters.sql if folded_terms else f"{filters.sql} {_TEXTS_AND_TOOLS}"
    if index_query is None:
        query = f"{_ALL_PARTS} {conditions} order by m.number desc, p.part_id desc"
    else:
        query = f"{_INDEXED_PARTS} and trigrams match ? {conditions} order by trigrams.rowid desc"
        values = (index_query, *values)
    with closing(connection.execute(query, values)) as rows:
        for *row, kind, stored_text, name in rows:
            text = searched_text(kind, stored_text, name)
            has_fence = kind == "text" and ("```" in text or "~~~" in text)
            if filters.needs_code and not has_fence:
                continue
            folded_text = folded(text)
            if all(term in folded_text for term in folded_terms):
                yield row, kind, text


def _index_query(connection: Connection, folded_terms: Sequence[str]) -> str | None:
    """Return the query of FTS5 for the texts that may hold all terms.

    For the terms “plan” and “b”, it is `"pla" AND "lan"`: a term shorter than a trigram is not in
    it. If all terms are shorter, one of them is looked up, by all trigrams that begin with it. The
    longest is tried first. A term with which too many trigrams begin is passed over.

    Return None if the index does not help: without terms, or if all are passed over.
    """
    trigrams: list[str] = []
    for term in folded_terms:
        starts = range(len(term) - _TRIGRAM_CHARS + 1)  # none in a shorter term
        different = dict.fromkeys(term[start : start + _TRIGRAM_CHARS] for start in starts)
        trigrams += list(different)[:_MOST_TRIGRAMS]
    if trigrams:  # they leave few texts, which are compared with the shorter terms, too
        return " AND ".join(map(_quoted, trigrams))

    # a table of this connection with all trigrams that are in the index
    connection.execute(
        "create virtual table if not exists temp.trigram_list using fts5vocab (main, trigrams, row)"
    )
    query = "select term from trigram_list where term >= ? and term < ? limit ?"
    for term in sorted(folded_terms, key=len, reverse=True):
        # the last code point is after all trigrams with this beginning
        values = (term, f"{term}\U0010ffff", _MOST_BEGINNINGS + 1)
        longer = [trigram for (trigram,) in connection.execute(query, values)]
        if len(longer) <= _MOST_BEGINNINGS:
            # without any, no text has the term: as it is no trigram, FTS5 finds nothing for it
            return " OR ".join(map(_quoted, longer or [term]))
    return None


def _quoted(term: str) -> str:
    """Return a term as a string in a query of FTS5, in which no character has a special meaning."""
    escaped = term.replace('"', '""')
    return f'"{escaped}"'


def _hit(row: Sequence[Any], kind: str, text: str, terms: Sequence[str]) -> SearchHit | None:
    """Return the hit for a match, with the text around the first place of a term.

    `row`, `kind` and `text` are a `_Match`; the terms are as they were typed, not folded. Without
    terms, the hit shows the beginning of the text. Return None for a row with a damaged time: such
    a message or session cannot be opened.
    """
    session_id, title, message_id, role, model, created_at = row
    try:
        moment = time_from(created_at)
    except ValueError:
        _logger.warning("a damaged row of a message was left out: %r", message_id)
        return None

    # Start and end of each term in the text as it is spelled. A term may have no place there, as
    # the match was found in a text without NULs and lone surrogates.
    spans = [span for term in terms if (span := _span(text, term)) is not None]
    start, end = min(spans, default=(0, 0))
    # Twice as many characters as are shown: runs of white space become one blank.
    before = _on_one_line(text[max(start - _BEFORE_CHARS * 2, 0) : start]).lstrip()
    after = _on_one_line(text[end : end + _AFTER_CHARS * 2]).rstrip()
    return SearchHit(
        session_id=session_id,
        title=text_from(title),
        message_id=message_id,
        role=role,
        model=text_from(model),
        created_at=moment,
        before=before[-_BEFORE_CHARS:],
        match=_on_one_line(text[start:end][:_AFTER_CHARS]),
        after=after[:_AFTER_CHARS],
        kind=kind,
        words=tuple(dict.fromkeys(text[begin:stop] for begin, stop in spans)),
    )


def _span(text: str, term: str) -> tuple[int, int] | None:
    """Return start and end of the first place of a term in a text; None if there is no place.

    First the term is looked for with its own accents, then in the folded text. Capitals and white
    space may always differ. So “cafe” is found in “Café”, but a “cafe” anywhere is preferred.
    """
    escaped_words = map(re.escape, term.split(" "))
    match = re.search(r"\s+".join(escaped_words), text, re.IGNORECASE)
    if match is not None:
        return match.span()

    folded_text, origins = _folded_with_origins(text)
    folded_term = fold(term)
    start = folded_text.find(folded_term)
    if start < 0:
        return None
    last = start + len(folded_term) - 1
    return origins[start], origins[last] + 1


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
        # an accent is folded into nothing: it is left out, so that the blank before it counts
        if folded_char and not repeats_blank:
            folded_chars.append(folded_char)
            origins += [index] * len(folded_char)
    return "".join(folded_chars), origins


def _on_one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


# What the user has typed


class Filters(Struct, frozen=True, kw_only=True):
    """Filters of a search as conditions of SQL over messages `m` and sessions `s`."""

    sql: str = ""  # conditions, each with ` and ` before it; empty without any
    values: tuple[str, ...] = ()  # of the question marks in `sql`, in their order
    needs_code: bool = False  # whether a text must have a code block, which SQL does not check


def parse_terms(text: str) -> tuple[str, ...]:
    """Return the different terms of a search whose filters were removed.

    Terms that `folded` makes empty are left out, and so are all terms after the first
    `_MOST_TERMS`.
    """
    terms: dict[str, None] = {}
    for match in _TERM.finditer(text.replace("\0", " ")):
        phrase, word = match.groups()
        # In other programs, `gard*` asks for all words that begin with `gard`. Here every word
        # finds these anyway, so the star is dropped, unless the word is nothing but stars.
        term = phrase if word is None else word.rstrip("*") or word
        term = encodable(" ".join(term.split())[:_LONGEST_TERM])
        if folded(term):
            terms[term] = None
    return tuple(terms)[:_MOST_TERMS]


def parse_filters(text: str) -> tuple[str, Filters]:
    """Return a search without its filters, and its different filters.

    Raises `WrongUse` for a filter with a wrong value.
    """
    conditions: dict[tuple[str, str], None] = {}  # a set that keeps the order
    needs_code = False
    for match in _FILTER.finditer(text):
        name = match[1].lower()
        value = match[2] or match[3]  # in quotes, or a word
        if name == "has" and value.lower() == "code":
            needs_code = True
            continue
        condition = _condition(name, value)
        if condition is None:
            form = _FORMS.get(name, f"a date, such as {name}:2026-11-01")
            raise WrongUse(
                f"The filter {safe_line(match[0], limit=40)} is not valid; write {form}.",
                hint="To search for these words, quote them: '\"WORDS\"'.",
            )
        conditions[condition] = None

    return _FILTER.sub(" ", text), Filters(
        sql="".join(f" and {sql}" for sql, _ in conditions),
        values=tuple(value for _, value in conditions),
        needs_code=needs_code,
    )


def _condition(name: str, value: str) -> tuple[str, str] | None:
    """Return a filter as a condition of SQL and the value of its question mark.

    Return None for a wrong value. `name` is one of the names in `_FILTER`, in small letters.
    """
    folded_value = folded(value[:_LONGEST_TERM])
    # names are cast to bytes, as in `_TITLE_HAS_TERM`
    match name:
        case "model":
            models = """select model from (select distinct model from messages)
                where contains(cast(model as blob), ?)"""
            return f"m.model in ({models})", folded_value
        case "title":
            # `+` keeps SQLite from looking up the messages of each session: they would not come
            # newest first, so that it would have to sort all of them.
            sessions = "select session_id from sessions where contains(cast(title as blob), ?)"
            return f"+m.session_id in ({sessions})", folded_value
        case "role" if role := _ROLES.get(value.lower()):
            return "m.role = ?", role
        case "before" if day := _day(value):
            return "m.created_at < ?", day
        case "after" if day := _day(value):
            return "m.created_at >= ?", day
        case _:
            return None


def _day(value: str) -> str | None:
    """Return the moment that a typed date and time name, in the form of a stored time.

    A date alone means the beginning of that day. Without a time zone, the zone of this machine
    counts. Return None if the text is no date.
    """
    try:
        moment = datetime.fromisoformat(value)
        return stored_time(moment if moment.tzinfo else moment.astimezone())
    except (ValueError, OverflowError):
        return None
