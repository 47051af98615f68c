"""Search in all sessions: the index of trigrams, filters such as `role:you`, and hits with the words around.

The index holds all that was said, thoughts and calls of tools too, folded. It names the texts that may be
hits; each is looked at before it is one. Texts that are not indexed yet are looked through.
"""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, tzinfo
from itertools import chain, islice
from typing import Any, NamedTuple

from msgspec import Struct

from lmchat.domain.message import Part, ReasoningPart, Role, ToolCallPart
from lmchat.domain.session import SearchHit, title_from
from lmchat.storage.database import Connection, transaction
from lmchat.storage.read import arrived_parts
from lmchat.storage.rows import loaded, stored_time
from lmchat.text import fold

log = logging.getLogger(__name__)

_GRAM = 3
"""Characters of a trigram."""
_PAD = "\n\n"
"""Put behind each indexed text, so that its last characters, too, begin a trigram."""
_BATCH_BYTES = 1 << 16
"""Text indexed in one transaction: about 10 ms, for which the next write has to wait."""
_MOST_GRAMS = 50
"""Trigrams asked for of one term; the texts that remain are looked at anyway."""
_MOST_BEGINNINGS = 1000
"""Trigrams that may begin with a short term; where there are more, looking through the texts is faster."""
_MOST_TERMS = 50
_LONGEST_TERM = 1000
"""Characters; SQLite refuses patterns of 50 000 bytes, and what is folded may be many times as long."""
_SORTED = 50
"""Hits, the newest, of which those that begin a word come first; all others follow by time."""
_WINDOW = 5000
"""Messages, the newest that pass the filters, that are searched before all others."""
_MOST_TITLES, _MOST_TITLES_READ = 3, 50
"""Titles shown before messages, of so many that hold the terms; the others come behind."""
_MOST_FILTERS = 50
"""SQLite refuses a thousand."""
_BEFORE_CHARS = 60
_AFTER_CHARS = 120

_TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')
_STARRED = re.compile(r"(\w+)\*+")
"""A word with a star at its end, which other searches want for a beginning; here each word may be one."""
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Scripts that write words without blanks, or hang endings on them: Thai to Khmer, CJK, Hangul."""
_FILTER = re.compile(r'(?<!\S)(model|role|before|after|title|has):(?:"([^"]+)"|([^\s"]\S*))', re.IGNORECASE)
_ROLES = {"you": Role.USER, "me": Role.USER, "model": Role.ASSISTANT} | {str(role): role for role in Role}

_HIT = "s.session_id, s.title, m.message_id, m.role, m.model, m.created_at"
_PART = "p.kind, p.text, p.name"
_SEEN = "m.hidden_by is null and s.deleted_at is null"
_IN_SESSION = "cross join sessions s on s.session_id = m.session_id"
"""`cross` keeps this order of joins, so that the newest hits come first and a query can end early."""
_MESSAGES = f"""select {_HIT}, {_PART} from messages m {_IN_SESSION}
    cross join parts p on p.number = m.number where {_SEEN}"""
_NEWEST_FIRST = "order by m.number desc, p.part_id desc"
_INDEXED = f"""select {_HIT}, {_PART} from trigrams cross join parts p on p.part_id = trigrams.rowid
    cross join messages m on m.number = p.number {_IN_SESSION}
    where {_SEEN} and m.is_indexed = 1 and trigrams match ?"""
_LATEST_PART_FIRST = "order by trigrams.rowid desc"
_ARRIVING = f"select {_HIT}, m.number from messages m {_IN_SESSION} where {_SEEN} and m.state = 'streaming'"
_TITLES = """select session_id, title, '', '', model, updated_at from sessions where deleted_at is null
    order by updated_at desc"""
_FIRST_PROMPT = """select p.text from messages m cross join parts p on p.number = m.number and p.kind = 'text'
    where m.session_id = ? and m.role = ? and m.hidden_by is null order by m.number limit 1"""
_OF_MESSAGE = "select part_id, kind, text, name from parts where number = ?"


class Condition(Struct, frozen=True, kw_only=True):
    """One filter as SQL over messages `m`, sessions `s` and, where it is of the text, parts `p`."""

    sql: str
    values: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    """Strings of which the text must contain one; empty where the filter is not about the text."""


class _Match(NamedTuple):
    """A text that holds all terms."""

    row: Sequence[Any]
    kind: str
    text: str
    begins_words: bool


def index_message(connection: Connection, number: int) -> None:
    """Put a message into the index."""
    if not connection.has_index:
        return
    rows = connection.execute(_OF_MESSAGE, (number,)).fetchall()
    connection.executemany("insert into trigrams (rowid, text) values (?, ?)", map(_indexed, rows))
    connection.execute("update messages set is_indexed = 1 where number = ?", (number,))


def unindex_message(connection: Connection, number: int) -> None:
    """Take a message out of the index; its parts must still be there, FTS5 wants the text again."""
    if connection.has_index:
        rows = connection.execute(
            f"{_OF_MESSAGE} and (select is_indexed from messages m where m.number = parts.number)", (number,)
        ).fetchall()
        connection.executemany(
            "insert into trigrams (trigrams, rowid, text) values ('delete', ?, ?)", map(_indexed, rows)
        )
    connection.execute("update messages set is_indexed = 0 where number = ?", (number,))


def index_batch(connection: Connection) -> bool:
    """Index some messages of an older file or one written without FTS5; return whether there may be more."""
    waiting = "select number from messages where is_indexed = 0 and state <> 'streaming' order by number"
    if not connection.has_index or connection.execute(f"{waiting} limit 1").fetchone() is None:
        return False
    with transaction(connection, is_durable=False), closing(connection.execute(waiting)) as rows:
        size, numbers = 0, []
        for (number,) in rows:
            numbers.append(number)
            size += connection.execute(
                "select ifnull(sum(length(text)), 0) from parts where number = ?", (number,)
            ).fetchone()[0]
            if size > _BATCH_BYTES:
                break
        for number in numbers:
            index_message(connection, number)
    return True


def search(connection: Connection, text: str, limit: int) -> tuple[SearchHit, ...]:
    """Return hits, one a message: arriving answers, titles, messages, other titles; each newest first."""
    rest, filters = take_filters(text)
    terms = parse(rest)
    if not (terms or filters):
        return ()
    if filters and not connection.can_fold:
        connection.create_function("fold", 1, _folded, deterministic=True)
        connection.can_fold = True
    with _snapshot(connection):
        return _hits(_Wanted(connection, terms, filters), terms, limit, has_titles=not filters)


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """Read one state of the file: a message that is just being indexed would be in neither query else."""
    if connection.in_transaction:
        yield
        return
    connection.execute("begin")
    try:
        yield
    finally:
        with suppress(sqlite3.Error):
            connection.execute("rollback")


def _hits(wanted: _Wanted, terms: Sequence[str], limit: int, *, has_titles: bool) -> tuple[SearchHit, ...]:
    titles = wanted.titles() if has_titles else iter(())
    first = list(islice(titles, _MOST_TITLES_READ))
    shown = [match for match in first if match is not None]
    hits: dict[tuple[str, str], SearchHit] = {}
    for match in chain(
        wanted.arriving(), shown[:_MOST_TITLES], wanted.messages(), shown[_MOST_TITLES:], titles
    ):
        if match is None or (key := (match.row[0], match.row[2])) in hits:
            continue
        if hit := _hit(match, terms):
            hits[key] = hit
            if len(hits) == limit:
                break
    return tuple(hits.values())


def parse(text: str) -> tuple[str, ...]:
    """Return the terms of a search: words, and phrases in quotes; of very many, the last ones."""
    found = (
        match[1] if match[2] is None else _bare(match[2]) for match in _TERM.finditer(text.replace("\0", " "))
    )
    terms = (_encodable(" ".join(term.split())[:_LONGEST_TERM]) for term in found)
    last_first = dict.fromkeys(reversed([term for term in terms if _folded(term)]))
    return tuple(reversed(list(last_first)[:_MOST_TERMS]))


def take_filters(text: str, *, zone: tzinfo | None = None) -> tuple[str, tuple[Condition, ...]]:
    """Return a search without its filters, and the filters; days are of a zone, by default this machine's."""
    conditions: list[Condition] = []

    def take(match: re.Match[str]) -> str:
        if len(conditions) < _MOST_FILTERS:
            condition = _READERS[match[1].lower()](match[2] or match[3], zone)
            if condition is None:
                return match[0]
            conditions.append(condition)
        return " "

    return _FILTER.sub(take, text), tuple(conditions)


class _Wanted:
    def __init__(self, connection: Connection, terms: Sequence[str], filters: Sequence[Condition]) -> None:
        self._connection = connection
        self._terms = [_folded(term) for term in terms]
        self._starts = [re.compile(rf"(?<!\w){re.escape(term)}") for term in self._terms]
        self._filters = filters

    def arriving(self) -> Iterator[_Match]:
        """Yield answers that arrive now, in whatever window."""
        where, values = _where(one for one in self._filters if not one.texts)
        wanted = [one.texts for one in self._filters if one.texts]
        for *row, number in self._connection.execute(
            f"{_ARRIVING} {where} order by m.number desc", values
        ).fetchall():
            for part in arrived_parts(self._connection, number, row[2]):
                kind, text = _said(part)
                match = self._match(row, kind, text)
                if match and all(any(word in text for word in words) for words in wanted):
                    yield match
                    break

    def titles(self) -> Iterator[_Match | None]:
        """Yield sessions by title; None for a title that only repeats a prompt, which is a hit itself."""
        for row in self._connection.execute(_TITLES).fetchall():
            title = loaded(row[1])
            if match := self._match(row, "title", title):
                prompt = self._connection.execute(_FIRST_PROMPT, (row[0], Role.USER)).fetchone()
                repeats = prompt is not None and title_from(loaded(prompt[0])) == title
                yield None if repeats else match

    def messages(self) -> Iterator[_Match]:
        """Yield messages, newest first; of the newest, those with words that begin like the terms lead."""
        matches = self._matches()
        yield from sorted(islice(matches, _SORTED), key=lambda one: not one.begins_words)
        yield from matches

    def _matches(self) -> Iterator[_Match]:
        where, values = _where(self._filters)
        grams = _grams(self._connection, self._terms)
        if not self._terms:
            where += " and p.kind = 'text'"
        if grams is None:
            yield from self._looked_at(f"{_MESSAGES} {where} {_NEWEST_FIRST}", values)
            return
        yield from self._looked_at(f"{_MESSAGES} and m.is_indexed = 0 {where} {_NEWEST_FIRST}", values)
        if grams and not self._filters:
            yield from self._looked_at(f"{_INDEXED} {_LATEST_PART_FIRST}", (grams,))
        elif grams:
            yield from self._narrowed(grams, where, values)

    def _narrowed(self, grams: str, where: str, values: Sequence[str]) -> Iterator[_Match]:
        """Search the newest filtered messages first: a common word would be looked up in all the others."""
        plain, of_message = _where(one for one in self._filters if not one.texts)
        rows = self._connection.execute(
            f"""select m.number from messages m {_IN_SESSION} where {_SEEN} {plain}
                order by m.number desc limit ?""",
            (*of_message, _WINDOW),
        ).fetchall()
        if not rows:
            return
        parts = self._connection.execute(
            "select part_id from parts where number in (select value from json_each(?))",
            (json.dumps([row[0] for row in rows]),),
        ).fetchall()
        of_text, _ = _where(one for one in self._filters if one.texts)
        yield from self._looked_at(
            f"""{_INDEXED} {of_text} and +trigrams.rowid in (select value from json_each(?))
                {_LATEST_PART_FIRST}""",
            (grams, json.dumps([row[0] for row in parts])),
        )
        if len(rows) == _WINDOW:
            yield from self._looked_at(
                f"{_INDEXED} {where} and p.number < ? order by trigrams.rowid desc",
                (grams, *values, rows[-1][0]),
            )

    def _looked_at(self, query: str, values: Sequence[object]) -> Iterator[_Match]:
        with closing(
            self._connection.execute(query, values)
        ) as rows:  # an open query holds up the log of the file
            for *row, kind, text, name in rows:
                if match := self._match(row, kind, _whole(kind, text, name)):
                    yield match

    def _match(self, row: Sequence[Any], kind: str, text: str) -> _Match | None:
        said = _folded(text)
        if not all(term in said for term in self._terms):
            return None
        return _Match(row, kind, text, all(start.search(said) for start in self._starts))


def _grams(connection: Connection, terms: Sequence[str]) -> str | None:
    """Return the query for the index; empty where no text can hold the terms, None where it is no help."""
    if not connection.has_index:
        return None
    asked: list[str] = []
    for term in sorted(terms, key=len, reverse=True):
        if len(term) >= _GRAM:
            grams = dict.fromkeys(term[at : at + _GRAM] for at in range(len(term) - _GRAM + 1))
            asked += [_quoted(gram) for gram in list(grams)[:_MOST_GRAMS]]
        elif not asked:  # else the texts that the longer ones name are few enough to look at
            beginnings = _beginnings(connection, term)
            if not beginnings:
                return ""
            if len(beginnings) <= _MOST_BEGINNINGS:
                asked.append(f"({' OR '.join(map(_quoted, beginnings))})")
    return " AND ".join(asked) or None


def _beginnings(connection: Connection, term: str) -> list[str]:
    rows = connection.execute(
        "select term from gram_list where term >= ? and term < ? limit ?",
        (term, term + "\U0010ffff", _MOST_BEGINNINGS + 1),
    )
    return [row[0] for row in rows]


def _indexed(row: tuple[int, str, object, object]) -> tuple[int, str]:
    part_id, kind, text, name = row
    return part_id, _folded(_whole(kind, text, name)) + _PAD


def _whole(kind: str, text: object, name: object) -> str:
    return f"{loaded(name)} {loaded(text)}" if kind == "tool_call" else loaded(text)


def _said(part: Part) -> tuple[str, str]:
    match part:
        case ReasoningPart(text=text):
            return "reasoning", text
        case ToolCallPart(name=name, arguments=arguments):
            return "tool_call", f"{name} {arguments}"
        case _:
            return "text", part.text


def _folded(value: object) -> str:
    """Return a text to compare: folded, in UTF-8, with one blank for all white space."""
    text = " ".join(fold(loaded(value)).replace("\0", " ").split())
    return text if text.isascii() else _encodable(text)


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _quoted(term: str) -> str:
    return '"' + term.replace('"', '""') + '"'


def _bare(word: str) -> str:
    starred = _STARRED.fullmatch(word)
    return starred[1] if starred else word


def _hit(match: _Match, terms: Sequence[str]) -> SearchHit | None:
    session_id, title, message_id, role, model, created_at = match.row
    try:
        moment = datetime.fromisoformat(created_at)
    except (ValueError, TypeError):
        log.warning("a damaged row of a message was left out: %r", message_id)
        return None
    text = match.text
    places = [place for term in terms if (place := _place(text, term))]
    start, end = min(places, default=(0, 0))
    return SearchHit(
        session_id=session_id,
        title=loaded(title),
        message_id=message_id,
        role=role,
        model=loaded(model),
        created_at=moment,
        before=_one_line(text[max(start - _BEFORE_CHARS * 2, 0) : start]).lstrip()[-_BEFORE_CHARS:],
        match=_one_line(text[start:end][:_AFTER_CHARS]),
        after=_one_line(text[end : end + _AFTER_CHARS * 2]).rstrip()[:_AFTER_CHARS],
        kind=match.kind,
        words=tuple(dict.fromkeys(text[begin:stop] for begin, stop in places)),
    )


def _place(text: str, term: str) -> tuple[int, int] | None:
    if match := _found(text, r"\s+".join(map(re.escape, term.split(" ")))):
        return match.span()
    folded: list[str] = []
    places: list[int] = []  # of each folded character
    for place, char in enumerate(text):
        plain = " " if char.isspace() else fold(char)
        if plain != " " or folded[-1:] != [" "]:
            folded.append(plain)
            places += [place] * len(plain)
    match = _found("".join(folded), re.escape(fold(term)))
    return match and (places[match.start()], places[match.end() - 1] + 1)


def _found(text: str, pattern: str) -> re.Match[str] | None:
    """Find a term, preferably as the beginning of a word, and then all of that word."""
    letter = rf"[^\W{_UNSPACED}]"
    word = re.search(rf"(?<!\w){pattern}(?:(?<={letter}){letter}*)?", text, re.IGNORECASE)
    return word or re.search(pattern, text, re.IGNORECASE)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _where(conditions: Iterable[Condition]) -> tuple[str, list[str]]:
    chosen = list(conditions)
    return "".join(f" and {one.sql}" for one in chosen), [value for one in chosen for value in one.values]


def _like(column: str) -> str:
    """Return a comparison with two patterns; SQLite itself compares ASCII, three times as fast."""
    other = f"typeof({column}) <> 'text' or {column} glob '*[^ -~]*'"
    folded = f"fold(cast({column} as blob)) like ? escape '\\'"
    return f"({column} like ? escape '\\' or (({other}) and {folded}))"


def _pattern(text: str) -> str:
    folded = _folded(_encodable(text[:_LONGEST_TERM]))[:_LONGEST_TERM]
    return "%" + re.sub(r"([\\%_])", r"\\\1", folded) + "%"


def _model(value: str, _zone: tzinfo | None) -> Condition:
    return Condition(sql=_like("m.model"), values=(_pattern(value),) * 2)


def _title(value: str, _zone: tzinfo | None) -> Condition:
    ids = f"select session_id from sessions where {_like('title')}"
    return Condition(sql=f"m.session_id in ({ids})", values=(_pattern(value),) * 2)


def _role(value: str, _zone: tzinfo | None) -> Condition | None:
    role = _ROLES.get(value.lower())
    return None if role is None else Condition(sql="m.role = ?", values=(role,))


def _before(value: str, zone: tzinfo | None) -> Condition | None:
    day = _day(value, zone)
    return None if day is None else Condition(sql="m.created_at < ?", values=(day,))


def _after(value: str, zone: tzinfo | None) -> Condition | None:
    day = _day(value, zone)
    return None if day is None else Condition(sql="m.created_at >= ?", values=(day,))


def _has(value: str, _zone: tzinfo | None) -> Condition | None:
    if value.lower() != "code":
        return None
    fences = ("```", "~~~")
    tests = " or ".join(f"p.text like '%{fence}%'" for fence in fences)
    return Condition(sql=f"(p.kind = 'text' and ({tests}))", texts=fences)


def _day(value: str, zone: tzinfo | None) -> str | None:
    """Return the beginning of a day, or a moment, as it is stored; None where it is neither."""
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.astimezone() if zone is None else moment.replace(tzinfo=zone)
        return stored_time(moment)
    except (ValueError, OverflowError):
        return None


_READERS: dict[str, Callable[[str, tzinfo | None], Condition | None]] = {
    "model": _model,
    "title": _title,
    "role": _role,
    "before": _before,
    "after": _after,
    "has": _has,
}
