"""Finding messages: what is arriving, titles, whole words, then parts of words; each newest first.

Whole words have an index, and so has any part of a text (`grams`); what neither narrows is looked through.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from msgspec import Struct, structs

from lmchat.domain.message import Part, ReasoningPart, Role, ToolCallPart
from lmchat.domain.session import SearchHit, title_from
from lmchat.storage.connection import Connection
from lmchat.storage.filters import Condition, take_filters
from lmchat.storage.grams import folded, reach, wanted_grams
from lmchat.storage.hits import CLOSE, COLUMNS, OPEN, looked_up_hit, marked_hit
from lmchat.storage.query import Query, fold, parse, pattern
from lmchat.storage.read import arrived_parts
from lmchat.storage.rows import loaded

_SESSION = "cross join sessions s on s.session_id = m.session_id"
_SEEN = "where m.hidden_by is null and s.deleted_at is null"
_MESSAGE = f"cross join messages m on m.number = p.number {_SESSION} {_SEEN}"
"""Joined in this order (`cross`), so that the newest hits come first and it ends with the last one wanted."""
_PART = "p.kind, p.text, p.name"
_HOLDS = "holds(p.kind, cast(p.text as blob), cast(p.name as blob))"
_BY_WORDS = f"""select {COLUMNS}, snippet(words, 0, '{OPEN}', '{CLOSE}', '', 32)
    from words cross join parts p on p.part_id = words.rowid {_MESSAGE} and words match ?"""
_BY_GRAMS = f"""select {COLUMNS}, {_PART} from grams
    cross join parts p on p.part_id = grams.rowid {_MESSAGE} and grams match ? and {_HOLDS}"""
_BY_LOOKING = f"select {COLUMNS}, {_PART} from parts p {_MESSAGE} and p.part_id > ? and {_HOLDS}"
_BY_FILTERS = f"""select {COLUMNS}, {_PART} from messages m {_SESSION}
    cross join parts p on p.number = m.number and p.kind = 'text' {_SEEN}"""
_NEWEST = f"select m.number from messages m {_SESSION} {_SEEN}"
_ARRIVING = f"select {COLUMNS}, m.number from messages m {_SESSION} {_SEEN} and m.state = 'streaming'"
_TITLES = """select session_id, title, '', '', model, updated_at from sessions
    where deleted_at is null
    and (typeof(title) <> 'text' or rtrim(title, '…') glob '*[^ -~]*' or title like ? escape '\\')
    order by +updated_at desc"""
"""Titles in ASCII, which SQLite compares itself, and all others."""
_FIRST_PROMPT = """select p.text from messages m cross join parts p on p.number = m.number and p.kind = 'text'
    where m.session_id = ? and m.role = ? and m.hidden_by is null order by m.number limit 1"""
_MOST_TITLES, _MOST_LOOKED_AT = 3, 50
"""Shown before messages, of so many that hold the terms; the others come behind."""
_FEW_SESSIONS = 100
_WINDOW = 5000
"""Messages, the newest that pass the filters, that are searched before all others."""


class _Wish(Struct, frozen=True):
    """What is searched."""

    query: Query
    filters: tuple[Condition, ...]
    where: str = ""
    """What narrows messages down, where `{id}` stands for the number of a part."""
    values: tuple[object, ...] = ()
    """What to bind in it."""


def search(connection: Connection, text: str, limit: int) -> tuple[SearchHit, ...]:
    """Return hits, one a message; none for an empty search."""
    rest, filters = take_filters(text)
    query = parse(rest)
    _teach(connection, query)
    wish = _Wish(query, tuple(_sharpened(connection, condition) for condition in filters))
    hits: dict[tuple[str, str], SearchHit] = {}
    with closing(_found(connection, wish)) as found:
        while len(hits) < limit:
            try:
                hit = next(found)
            except StopIteration:
                break
            if hit is not None:
                hits.setdefault((hit.session_id, hit.message_id), hit)
    return tuple(hits.values())


def _teach(connection: Connection, query: Query) -> None:
    """Give SQLite the comparisons; values come as bytes: text with a bad one would be refused."""

    def holds(kind: str, text: object, name: object) -> bool:
        said = folded(text, name) if kind == "tool_call" else folded(text)
        return all(term in said for term in connection.searched or ())

    if connection.searched is None:
        connection.create_function("fold", 1, folded, deterministic=True)
        connection.create_function("holds", 3, holds)
    connection.searched = tuple(fold(term) for term in query.terms)


def _sharpened(connection: Connection, condition: Condition) -> Condition:
    """Return a filter that names its sessions, where they are few: their messages are found by an index."""
    if not condition.session_ids:
        return condition
    ask = f"{condition.session_ids} limit ?"
    rows = connection.execute(ask, (*condition.values, _FEW_SESSIONS + 1)).fetchall()
    if len(rows) > _FEW_SESSIONS:
        return condition
    places = ", ".join("?" * len(rows))
    return Condition(sql=f"m.session_id in ({places})" if rows else "0", values=tuple(row[0] for row in rows))


def _found(connection: Connection, wish: _Wish) -> Generator[SearchHit | None, None, None]:
    """Yield all hits, some of them twice."""
    if not wish.query.terms and not wish.filters:
        return
    yield from _arriving(connection, wish)
    if not wish.filters:
        titles = _titles(connection, wish)
        yield from _first(titles)
        yield from _by_text(connection, wish)
        yield from titles
    elif not wish.query.terms:
        yield from _by_filters(connection, wish)
    else:
        for narrowed in _narrowed(connection, wish):
            yield from _by_text(connection, narrowed)


def _narrowed(connection: Connection, wish: _Wish) -> Iterator[_Wish]:
    """Yield the search among the newest messages that pass the filters, then among all others."""
    ask, values = _filtered(_NEWEST, [one for one in wish.filters if not one.has_any])
    rows = connection.execute(f"{ask} order by m.number desc limit ?", (*values, _WINDOW)).fetchall()
    if not rows:
        return
    numbers = json.dumps([row[0] for row in rows])
    parts = connection.execute(
        "select part_id from parts where number in (select value from json_each(?))", (numbers,)
    ).fetchall()
    of_text, _ = _filtered("", [one for one in wish.filters if one.has_any])
    in_window = f"{of_text} and +{{id}} in (select value from json_each(?))"
    yield structs.replace(wish, where=in_window, values=(json.dumps([row[0] for row in parts]),))
    if len(rows) == _WINDOW:
        ask, values = _filtered("", wish.filters)
        yield structs.replace(wish, where=f"{ask} and p.number < ?", values=(*values, rows[-1][0]))


def _by_text(connection: Connection, wish: _Wish) -> Iterator[SearchHit | None]:
    if connection.has_words and wish.query.is_of_words:
        yield from _by_words(connection, wish)
    yield from _by_parts(connection, wish)


def _filtered(ask: str, filters: Sequence[Condition]) -> tuple[str, list[str]]:
    """Return a query with filters, and what to bind in them."""
    conditions = "".join(f" and {condition.sql}" for condition in filters)
    return ask + conditions, [value for condition in filters for value in condition.values]


def _arriving(connection: Connection, wish: _Wish) -> Iterator[SearchHit | None]:
    """Yield answers that arrive now, in whatever window."""
    ask, values = _filtered(_ARRIVING, [one for one in wish.filters if not one.has_any])
    terms = connection.searched or ()
    wanted = [condition.has_any for condition in wish.filters if condition.has_any]
    rows = connection.execute(f"{ask} order by m.number desc", values).fetchall()
    for *row, number in rows:
        for part in arrived_parts(connection, number, row[2]):
            kind, text = _said(part)
            said = folded(text)
            if all(term in said for term in terms) and all(
                any(word in text for word in words) for words in wanted
            ):
                yield looked_up_hit(row, wish.query, kind, text)
                break


def _titles(connection: Connection, wish: _Wish) -> Iterator[SearchHit | None]:
    """Yield sessions by their titles, but for those whose title only repeats a prompt: it is a hit itself."""
    terms = connection.searched or ()
    rows = connection.execute(_TITLES, (pattern(wish.query.terms[0]),)).fetchall()
    for row in rows:
        title = loaded(row[1])
        said = folded(title)
        if all(term in said for term in terms):
            repeats = _repeats_prompt(connection, row[0], title)
            yield None if repeats else looked_up_hit(row, wish.query, "title", title)


def _first(titles: Iterator[SearchHit | None]) -> Iterator[SearchHit | None]:
    """Yield the newest titles that are worth it, and leave the others."""
    count = 0
    for hit in islice(titles, _MOST_LOOKED_AT):
        yield hit
        count += hit is not None
        if count == _MOST_TITLES:
            return


def _repeats_prompt(connection: Connection, session_id: str, title: str) -> bool:
    row = connection.execute(_FIRST_PROMPT, (session_id, Role.USER)).fetchone()
    return row is not None and title_from(loaded(row[0])) == title


def _by_words(connection: Connection, wish: _Wish) -> Iterator[SearchHit | None]:
    ask = f"{_BY_WORDS} {wish.where.format(id='words.rowid')} order by words.rowid desc"
    for row in _rows(connection, ask, (wish.query.words, *wish.values)):
        yield marked_hit(row[:6], wish.query, row[6])


def _by_parts(connection: Connection, wish: _Wish) -> Iterator[SearchHit | None]:
    """Yield what holds the terms anywhere; what is not indexed yet is the newest."""
    grams = wanted_grams(connection, connection.searched or ())
    indexed = 0 if grams is None else reach(connection)
    ask = f"{_BY_LOOKING} {wish.where.format(id='p.part_id')} order by p.part_id desc"
    yield from _looked_up(connection, wish, ask, (indexed, *wish.values))
    if indexed and grams:
        ask = f"{_BY_GRAMS} {wish.where.format(id='grams.rowid')} order by grams.rowid desc"
        yield from _looked_up(connection, wish, ask, (grams, *wish.values))


def _by_filters(connection: Connection, wish: _Wish) -> Iterator[SearchHit | None]:
    ask, values = _filtered(_BY_FILTERS, wish.filters)
    yield from _looked_up(connection, wish, f"{ask} order by m.number desc", values)


def _looked_up(
    connection: Connection, wish: _Wish, ask: str, values: Sequence[object]
) -> Iterator[SearchHit | None]:
    for *row, kind, text, name in _rows(connection, ask, values):
        said = loaded(text)
        yield looked_up_hit(row, wish.query, kind, f"{loaded(name)} {said}" if kind == "tool_call" else said)


def _rows(connection: Connection, ask: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
    """Yield rows one by one; a query that is not asked to its end holds up the log of the file."""
    with closing(connection.execute(ask, values)) as cursor:
        yield from cursor


def _said(part: Part) -> tuple[str, str]:
    match part:
        case ReasoningPart(text=text):
            return "reasoning", text
        case ToolCallPart(name=name, arguments=arguments):
            return "tool_call", f"{name} {arguments}"
        case _:
            return "text", part.text
