"""Search in all sessions: hits with the words around them.

Terms and texts are compared *folded*: without capitals and accents. The index names the parts that
may hold the terms by trigrams, three characters in a row.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from itertools import islice
from typing import Any

from msgspec import Struct

from lmchat.base.errors import WrongUse
from lmchat.base.matching import without_accents
from lmchat.base.safe_text import safe_line
from lmchat.core.sessions.message import Role
from lmchat.core.sessions.session import SearchHit
from lmchat.core.storage.branch_queries import LAST_CHANGED_FIRST
from lmchat.core.storage.opening import Connection
from lmchat.core.storage.record_values import (
    searchable_text,
    searched_text,
    stored_time,
    text_from,
    time_from,
)
from lmchat.core.storage.schema import TRIGRAM_LIST

_logger = logging.getLogger(__name__)

_FIRST_TITLES = 3  # the others come after the messages
_BEFORE_CHARS = 60
_AFTER_CHARS = 120
_TRIGRAM_CHARS = 3
# texts that have these are compared anyway
_MOST_TRIGRAMS = 50
# for a short term; comparing all texts is faster then
_MOST_BEGINNINGS = 300

_HIT = "s.session_id, s.title, m.message_id, m.role, m.model, m.created_at"
# `{}` takes the first tables; conditions with `and` may follow. `cross` makes SQLite keep the order
# of the joins: the newest hits come first without sorting, and a query can end early. A call in an
# answer is no hit if its tool message has it too.
_PARTS = f"""select {_HIT}, p.kind, p.text, p.name from {{}}
    cross join sessions s on s.session_id = m.session_id
    where m.hidden_by is null and s.deleted_at is null and p.kind != 'call_others' and not (
        p.kind = 'tool_call' and m.role = 'assistant' and exists (select 1 from messages t
            cross join parts c on c.number = t.number and c.kind = 'tool_call'
            where t.parent_id = m.message_id and t.role = 'tool' and t.hidden_by is null))"""
_ALL_PARTS = _PARTS.format("messages m cross join parts p on p.number = m.number")
_INDEXED_PARTS = _PARTS.format(
    "trigrams cross join parts p on p.part_id = trigrams.rowid "
    "cross join messages m on m.number = p.number"
)
# with the columns `_HIT`, of which those of a message are empty
_TITLES = """select session_id, title, '', '', model, updated_at from sessions
    where deleted_at is null"""
# cast to bytes, as SQLite cannot pass a text with damaged bytes to a function
_TITLE_HAS_TERM = "and contains(cast(title as blob), ?)"
# without terms, thoughts and calls of an answer are no hits
_TEXTS_AND_TOOLS = "and (p.kind = 'text' or m.role = 'tool')"

_MOST_TERMS = 50
_LONGEST_TERM = 1000  # characters
# `"a phrase"`, whose last quote may be missing, or `word`
_TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')
# `role:you` or `title:"two words"`, after white space or at the beginning
_FILTER = re.compile(
    r'(?<!\S)(model|role|before|after|title|has):(?:"([^"]+)"|([^\s"]\S*))', re.IGNORECASE
)
# the others have a date
_FORMS = {"role": "role:user or role:assistant", "has": "has:code"}


def search(connection: Connection, text: str, limit: int) -> tuple[SearchHit, ...]:
    """Return one hit for each message; raise `WrongUse` for a wrong filter.

    First come `_FIRST_TITLES` titles, then messages, then the other titles, newest first each. A
    title is a hit only if no message of its session is.
    """
    text_without_filters, filters = parse_filters(text)
    terms = parse_terms(text_without_filters)
    if not terms and filters == Filters():
        return ()
    messages: dict[str, SearchHit] = {}  # by id
    with closing(_messages(connection, terms, filters)) as found:
        for hit in found:
            messages.setdefault(hit.message_id, hit)
            if len(messages) >= limit:
                break
    titles: list[SearchHit] = []
    if filters == Filters():  # filters are about messages: no title can pass them
        sessions = {hit.session_id for hit in messages.values()}
        others = (hit for hit in _titles(connection, terms) if hit.session_id not in sessions)
        titles += islice(others, limit)
    hits = (*titles[:_FIRST_TITLES], *messages.values(), *titles[_FIRST_TITLES:])
    return hits[:limit]


def _titles(connection: Connection, terms: Sequence[str]) -> Iterator[SearchHit]:
    query = f"{_TITLES} {_TITLE_HAS_TERM * len(terms)} order by {LAST_CHANGED_FIRST}"
    for record in connection.execute(query, terms):
        yield from _hit(record, "title", text_from(record[1]), terms)


def _messages(
    connection: Connection, terms: Sequence[str], filters: Filters
) -> Generator[SearchHit]:
    """Yield the newest first."""
    values = filters.values
    index_query = _index_query(connection, terms)
    conditions = filters.sql if terms else f"{filters.sql} {_TEXTS_AND_TOOLS}"
    if index_query is None:
        query = f"{_ALL_PARTS} {conditions} order by m.number desc, p.part_id desc"
    else:
        query = f"{_INDEXED_PARTS} and trigrams match ? {conditions} order by trigrams.rowid desc"
        values = (index_query, *values)
    with closing(connection.execute(query, values)) as records:
        for *record, kind, stored_text, name in records:
            text = searched_text(kind, stored_text, name)
            folded_text = searchable_text(text)
            if all(term in folded_text for term in terms):
                yield from _hit(record, kind, text, terms)


def _index_query(connection: Connection, terms: Sequence[str]) -> str | None:
    """Return the query of FTS5 for the texts that may hold all terms; None: compare all texts.

    For “plan” and “b”, it is `"pla" AND "lan"`. If all terms are shorter than a trigram, it is the
    trigrams that start with one of them, unless these are too many.
    """
    trigrams: list[str] = []
    for term in terms:
        starts = range(len(term) - _TRIGRAM_CHARS + 1)  # none in a shorter term
        different = dict.fromkeys(term[start : start + _TRIGRAM_CHARS] for start in starts)
        trigrams += list(different)[:_MOST_TRIGRAMS]
    if trigrams:  # the few texts that they leave are compared with shorter terms, too
        return " AND ".join(map(_quoted, trigrams))

    connection.execute(TRIGRAM_LIST)
    query = "select term from trigram_list where term >= ? and term < ? limit ?"
    for term in sorted(terms, key=len, reverse=True):
        # the last code point is after all trigrams with this beginning
        values = (term, f"{term}\U0010ffff", _MOST_BEGINNINGS + 1)
        longer = [trigram for (trigram,) in connection.execute(query, values)]
        if len(longer) <= _MOST_BEGINNINGS:
            # without any, no text has the term: as it is no trigram, FTS5 finds none
            return " OR ".join(map(_quoted, longer or [term]))
    return None


def _quoted(term: str) -> str:
    """Quote a term for FTS5, so that no character has a special meaning."""
    escaped = term.replace('"', '""')
    return f'"{escaped}"'


def _hit(record: Sequence[Any], kind: str, text: str, terms: Sequence[str]) -> Iterator[SearchHit]:
    """Yield the hit for a row of `_HIT`, with the text around its first term.

    A damaged time gives none: such a session cannot be opened.
    """
    session_id, title, message_id, role, model, created_at = record
    try:
        moment = time_from(created_at)
    except ValueError:
        _logger.warning("a damaged row of a message was left out: %r", message_id)
        return

    spans = list(_spans(text, terms))
    start, end = min(spans, default=(0, 0))
    # twice what is shown: runs of white space become one blank
    before = _on_one_line(text[max(start - _BEFORE_CHARS * 2, 0) : start]).lstrip()
    after = _on_one_line(text[end : end + _AFTER_CHARS * 2]).rstrip()
    yield SearchHit(
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
        words=tuple(dict.fromkeys(text[start:stop] for start, stop in spans)),
    )


def _spans(text: str, terms: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield start and end of the first place of each term.

    A question mark may stand for a lone surrogate, which is not found then.
    """
    folded_text = without_accents(text)
    for term in terms:
        words = map(re.escape, term.split(" "))
        match = re.search(r"[\s\0]+".join(words), folded_text)
        if match is not None:
            last = _index(text, match.end() - 1)
            after = _index(text, match.end())  # after the accents, and `last` within a ligature
            yield _index(text, match.start()), max(last + 1, after)


def _index(text: str, offset: int) -> int:
    """Return the index of the character at an offset of the folded text.

    `without_accents` makes “fi” of the ligature “ﬁ”, and nothing of an accent.
    """
    index = 0
    for step in (4096, 64, 1):  # pieces first: single characters take long
        while (
            index < len(text)
            and (length := len(without_accents(text[index : index + step]))) <= offset
        ):
            offset -= length
            index += step
    return index


def _on_one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


# What the user has typed


class Filters(Struct, frozen=True, kw_only=True):
    """Filters as conditions of SQL over messages `m`, parts `p` and sessions `s`."""

    sql: str = ""  # conditions, each with ` and ` before it
    values: tuple[str, ...] = ()


def parse_terms(text: str) -> tuple[str, ...]:
    """Return the different terms, folded."""
    terms: dict[str, None] = {}
    for match in _TERM.finditer(text.replace("\0", " ")):
        phrase, word = match.groups()
        # In other programs, `gard*` asks for words that start with `gard`. Here every word finds
        # these, so the star is dropped, unless the word is only stars.
        term = phrase if word is None else word.rstrip("*") or word
        term = " ".join(term.split())[:_LONGEST_TERM]
        terms[searchable_text(term)] = None
    terms.pop("", None)
    return tuple(terms)[:_MOST_TERMS]


def parse_filters(text: str) -> tuple[str, Filters]:
    """Raises `WrongUse` for a wrong value."""
    conditions: dict[tuple[str, str], None] = {}  # a set that keeps the order
    for match in _FILTER.finditer(text):
        name = match[1].lower()
        value = match[2] or match[3]  # in quotes, or a word
        condition = _condition(name, value)
        if condition is None:
            form = _FORMS.get(name, f"a date, such as {name}:2026-11-01")
            raise WrongUse(
                f"The filter {safe_line(match[0], limit=40)} is not valid; write {form}.",
                next_step="To search for these words, quote them: '\"WORDS\"'.",
            )
        conditions[condition] = None

    return _FILTER.sub(" ", text), Filters(
        sql="".join(f" and {sql}" for sql, _ in conditions),
        values=tuple(value for _, value in conditions),
    )


def _condition(name: str, value: str) -> tuple[str, str] | None:
    """None for a wrong value."""
    folded_value = searchable_text(value[:_LONGEST_TERM])
    # bytes, as in `_TITLE_HAS_TERM`
    match name:
        case "model":
            models = """select model from (select distinct model from messages)
                where contains(cast(model as blob), ?)"""
            return f"m.model in ({models})", folded_value
        case "title":
            # `+` keeps SQLite from looking up the messages of each session, which it would then
            # have to sort
            sessions = "select session_id from sessions where contains(cast(title as blob), ?)"
            return f"+m.session_id in ({sessions})", folded_value
        case "role" if value.lower() in tuple(Role):
            return "m.role = ?", value.lower()
        case "has" if value.lower() == "code":
            return "p.kind = 'text' and (instr(p.text, ?) or instr(p.text, '~~~'))", "```"
        case "before" if day := _day(value):
            return "m.created_at < ?", day
        case "after" if day := _day(value):
            return "m.created_at >= ?", day
        case _:
            return None


def _day(value: str) -> str | None:
    """Return the beginning of a day, or a moment; None if it is neither.

    By default in this machine's time zone.
    """
    try:
        return stored_time(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return None
