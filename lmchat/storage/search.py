"""Search in all sessions: index of trigrams, filters such as `role:you`, hits with the words around.

The index holds all folded texts, thoughts, tool calls and results too, and names of files. It names
candidates, and each of them is compared. Texts that are not indexed yet are all compared.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from itertools import chain, islice
from typing import Any, NamedTuple

from lmchat.domain.message import Role
from lmchat.domain.session import SearchHit
from lmchat.errors import WrongUse
from lmchat.storage.connection import Connection
from lmchat.storage.row_values import encodable, folded, loaded, part_row, stored_time
from lmchat.storage.schema import transaction
from lmchat.storage.session_queries import arrived_parts, first_prompt_title
from lmchat.text import fold, safe_line

log = logging.getLogger(__name__)

_GRAM = 3  # characters of a trigram
_PAD = "\n\n"  # behind each indexed text, so that its last characters, too, begin a trigram
_BATCH_CHARS, _BATCH = 1 << 16, 100  # text and messages indexed in one transaction, about 10 ms
_MOST_GRAMS = 50  # trigrams of one term: the remaining texts are compared anyway
_MOST_BEGINNINGS = (
    1000  # trigrams that may begin with a short term; beyond that, comparing texts is faster
)
_MOST_TERMS, _MOST_FILTERS = 50, 50
_LONGEST_TERM = 1000
_SORTED = (
    50  # newest hits among which those that begin a word come first; all others follow by time
)
_FEW = 2000  # filtered messages up to which comparing all is faster than the index
_MOST_TITLES, _MOST_TITLES_READ = (
    3,
    50,
)  # shown before messages, and read for that; the others come last
_BEFORE_CHARS, _AFTER_CHARS = 60, 120

_TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Scripts without blanks between words: Thai to Khmer, CJK, Hangul."""
_FILTER = re.compile(
    r'(?<!\S)(model|role|before|after|title|has):(?:"([^"]+)"|([^\s"]\S*))', re.IGNORECASE
)
_ROLES = {"you": Role.USER, "me": Role.USER, "model": Role.ASSISTANT} | {
    str(role): role for role in Role
}
_FORMS = {"role": "role:user or role:assistant", "has": "has:code"}
_CODE = ("", "code")
_FENCES = ("```", "~~~")

_HIT = "s.session_id, s.title, m.message_id, m.role, m.model, m.created_at, s.tags"
_PART = "p.kind, p.text, p.name"
_SEEN = "m.hidden_by is null and s.deleted_at is null"
_IN_SESSION = "cross join sessions s on s.session_id = m.session_id"
"""`cross` keeps this order of joins, so that the newest hits come first and a query can end early."""
_RUN = """p.kind = 'tool_call' and m.role = 'assistant' and exists (select 1 from messages t
    cross join parts c on c.number = t.number and c.kind = 'tool_call'
    where t.parent_id = m.message_id and t.role = 'tool' and t.hidden_by is null)"""
"""A call in an answer that a tool message repeats, which is the hit."""
_MESSAGES = f"""select {_HIT}, {_PART} from messages m {_IN_SESSION}
    cross join parts p on p.number = m.number where {_SEEN} and not ({_RUN})"""
_INDEXED = f"""select {_HIT}, {_PART} from trigrams cross join parts p on p.part_id = trigrams.rowid
    cross join messages m on m.number = p.number {_IN_SESSION}
    where {_SEEN} and not ({_RUN}) and m.is_indexed = 1 and trigrams match ?"""
_ARRIVING = (
    f"select {_HIT}, m.number from messages m {_IN_SESSION} where {_SEEN} and m.state = 'streaming'"
)
_NEWEST_FIRST = "order by m.number desc, p.part_id desc"
_TITLES = "select session_id, title, '', '', model, updated_at, tags from sessions where deleted_at is null"
_OF_MESSAGE = "select part_id, kind, text, name from parts where number = ?"


class Filters(NamedTuple):
    """Filters as SQL over messages `m` and sessions `s`, and whether a text needs a code block."""

    sql: str = ""
    values: tuple[str, ...] = ()
    needs_code: bool = False


class _Match(NamedTuple):
    """Text that holds all terms."""

    row: Sequence[Any]
    kind: str
    text: str
    begins_words: bool


def index_message(connection: Connection, number: int) -> None:
    """Put a message into the index."""
    rows = connection.execute(_OF_MESSAGE, (number,)).fetchall()
    connection.executemany("insert into trigrams (rowid, text) values (?, ?)", map(_indexed, rows))
    connection.execute("update messages set is_indexed = 1 where number = ?", (number,))


def unindex_message(connection: Connection, number: int) -> None:
    """Take a message out of the index; its parts must still be there, FTS5 wants the text again."""
    query = f"{_OF_MESSAGE} and (select is_indexed from messages m where m.number = parts.number)"
    rows = connection.execute(query, (number,)).fetchall()
    deletion = "insert into trigrams (trigrams, rowid, text) values ('delete', ?, ?)"
    connection.executemany(deletion, map(_indexed, rows))
    connection.execute("update messages set is_indexed = 0 where number = ?", (number,))


def forget_old_words(connection: Connection) -> None:
    """Write the index again without what was taken out: until then, FTS5 keeps its words.

    That takes about 1 s for 40 MB of text.
    """
    with transaction(connection):
        connection.execute("insert into trigrams (trigrams) values ('optimize')")


def index_batch(connection: Connection) -> bool:
    """Index some messages of an older or repaired file; return whether there were any."""
    waiting = connection.execute(
        """select number, (select sum(length(text)) from parts p where p.number = m.number) from messages m
            where is_indexed = 0 and state <> 'streaming' order by number limit ?""",
        (_BATCH,),
    ).fetchall()
    room = _BATCH_CHARS
    for number, size in waiting:
        if room > 0:
            index_message(connection, number)
            room -= size or 0
    return bool(waiting)


def search(connection: Connection, text: str, limit: int) -> tuple[SearchHit, ...]:
    """Return hits, one a message: arriving answers, titles, messages, other titles; each newest first."""
    rest, filters = parse_filters(text)
    terms = parse(rest)
    if not terms and filters == Filters():
        return ()
    connection.execute(
        "create virtual table if not exists temp.gram_list using fts5vocab (main, trigrams, row)"
    )
    connection.execute(
        "savepoint search"
    )  # one state of the file: else a message may be indexed in between
    try:
        return _hits(_Wanted(connection, terms, filters), terms, limit)
    finally:
        connection.execute("release search")


def _hits(wanted: _Wanted, terms: Sequence[str], limit: int) -> tuple[SearchHit, ...]:
    titles = wanted.titles()
    first = [match for match in islice(titles, _MOST_TITLES_READ) if match]
    hits: dict[tuple[str, str], SearchHit] = {}
    early, late = first[:_MOST_TITLES], first[_MOST_TITLES:]
    for match in chain(wanted.arriving(), early, wanted.messages(), late, titles):
        if match is None or (key := (match.row[0], match.row[2])) in hits:
            continue
        if hit := _hit(match, terms):
            hits[key] = hit
            if len(hits) == limit:
                break
    return tuple(hits.values())


def parse(text: str) -> tuple[str, ...]:
    """Return the terms of a search: words, and phrases in quotes."""
    matches = _TERM.finditer(text.replace("\0", " "))
    # A star behind a word, as other searches want for a beginning, means nothing: each word may be one.
    found = (
        match[1] if match[2] is None else match[2].rstrip("*") or match[2] for match in matches
    )
    terms = (encodable(" ".join(term.split())[:_LONGEST_TERM]) for term in found)
    return tuple(dict.fromkeys(term for term in terms if folded(term)))[:_MOST_TERMS]


def parse_filters(text: str) -> tuple[str, Filters]:
    """Return a search without its filters, and the filters; raises `WrongUse`."""
    found: list[tuple[str, str]] = []

    def parse_one(match: re.Match[str]) -> str:
        name = match[1].lower()
        condition = _condition(name, match[2] or match[3])
        if condition is None:
            form = _FORMS.get(name, f"a date, such as {name}:2026-11-01")
            words = f"The filter {safe_line(match[0], limit=40)} is not valid; write {form}."
            raise WrongUse(words, hint="To search for these words, quote them: '\"WORDS\"'.")
        found.append(condition)
        return " "

    rest = _FILTER.sub(parse_one, text)
    conditions = [one for one in dict.fromkeys(found) if one[0]][:_MOST_FILTERS]
    sql = "".join(f" and {one}" for one, _ in conditions)
    return rest, Filters(sql, tuple(value for _, value in conditions), _CODE in found)


class _Wanted:
    def __init__(self, connection: Connection, terms: Sequence[str], filters: Filters) -> None:
        self._connection = connection
        self._terms = [folded(term) for term in terms]
        self._starts = [re.compile(rf"(?<!\w){re.escape(term)}") for term in self._terms]
        self._filters = filters

    def arriving(self) -> Iterator[_Match]:
        """Yield running answers, also of other processes."""
        query = f"{_ARRIVING} {self._filters.sql} order by m.number desc"
        for *row, number in self._connection.execute(query, self._filters.values).fetchall():
            for part in arrived_parts(self._connection, number, row[2]):
                stored = part_row(part)
                whole = _whole(stored.kind, stored.text, stored.name)
                if match := self._match(row, stored.kind, whole):
                    yield match
                    break

    def titles(self) -> Iterator[_Match | None]:
        """Yield sessions by title; None for a title that only repeats a prompt, which is a hit itself."""
        if self._filters.sql:
            return
        query = f"{_TITLES} {'and contains(cast(title as blob), ?)' * len(self._terms)} order by updated_at desc"
        for row in self._connection.execute(query, self._terms).fetchall():
            title = loaded(row[1])
            if match := self._match(row, "title", title):
                yield None if first_prompt_title(self._connection, row[0]) == title else match

    def messages(self) -> Iterator[_Match]:
        """Yield messages, newest first; of the newest, those with words that begin like the terms lead."""
        matches = self._matches()
        yield from sorted(islice(matches, _SORTED), key=lambda one: not one.begins_words)
        yield from matches

    def _matches(self) -> Iterator[_Match]:
        where, values, _ = self._filters
        passing = _FEW
        if where:
            query = f"select 1 from messages m {_IN_SESSION} where {_SEEN} {where} limit ?"
            passing = len(self._connection.execute(query, (*values, _FEW)).fetchall())
        grams = None if passing < _FEW else _grams(self._connection, self._terms)
        if not self._terms:
            where += " and (p.kind = 'text' or m.role = 'tool')"
        if grams is None:
            yield from self._looked_at(f"{_MESSAGES} {where} {_NEWEST_FIRST}", values)
            return
        yield from self._looked_at(
            f"{_MESSAGES} and m.is_indexed = 0 {where} {_NEWEST_FIRST}", values
        )
        if grams:
            yield from self._looked_at(
                f"{_INDEXED} {where} order by trigrams.rowid desc", (grams, *values)
            )

    def _looked_at(self, query: str, values: Sequence[object]) -> Iterator[_Match]:
        with closing(self._connection.execute(query, values)) as rows:
            for *row, kind, text, name in rows:
                if match := self._match(row, kind, _whole(kind, text, name)):
                    yield match

    def _match(self, row: Sequence[Any], kind: str, text: str) -> _Match | None:
        if self._filters.needs_code and not (
            kind == "text" and any(one in text for one in _FENCES)
        ):
            return None
        said = folded(text)
        if not all(term in said for term in self._terms):
            return None
        return _Match(row, kind, text, all(start.search(said) for start in self._starts))


def _grams(connection: Connection, terms: Sequence[str]) -> str | None:
    """Return the query for the index; empty if no text can hold the terms, None if it is no help."""
    asked: list[str] = []
    for term in sorted(terms, key=len, reverse=True):
        if len(term) >= _GRAM:
            grams = dict.fromkeys(term[at : at + _GRAM] for at in range(len(term) - _GRAM + 1))
            asked += [_quoted(gram) for gram in list(grams)[:_MOST_GRAMS]]
        elif not asked:  # else the texts that the longer ones name are few enough to look at
            query = "select term from gram_list where term >= ? and term < ? limit ?"
            found = connection.execute(query, (term, term + "\U0010ffff", _MOST_BEGINNINGS + 1))
            beginnings = [_quoted(gram) for (gram,) in found]
            if not beginnings:
                return ""
            if len(beginnings) <= _MOST_BEGINNINGS:
                asked.append(f"({' OR '.join(beginnings)})")
    return " AND ".join(asked) or None


def _indexed(row: tuple[int, str, object, object]) -> tuple[int, str]:
    part_id, kind, text, name = row
    return part_id, folded(_whole(kind, text, name)) + _PAD


def _whole(kind: str, text: object, name: object) -> str:
    if kind == "file":
        return loaded(name)
    return f"{loaded(name)} {loaded(text)}" if kind == "tool_call" else loaded(text)


def _quoted(term: str) -> str:
    return '"' + term.replace('"', '""') + '"'


def _hit(match: _Match, terms: Sequence[str]) -> SearchHit | None:
    session_id, title, message_id, role, model, created_at, tags = match.row
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
        tags=tuple(loaded(tags).split()),
        words=tuple(dict.fromkeys(text[begin:stop] for begin, stop in places)),
    )


def _place(text: str, term: str) -> tuple[int, int] | None:
    if match := _found(text, r"\s+".join(map(re.escape, term.split(" ")))):
        return match.span()
    letters: list[str] = []
    places: list[int] = []  # of each letter
    for place, char in enumerate(text):
        plain = " " if char.isspace() else fold(char)
        if plain != " " or letters[-1:] != [" "]:
            letters.append(plain)
            places += [place] * len(plain)
    match = _found("".join(letters), re.escape(fold(term)))
    return match and (places[match.start()], places[match.end() - 1] + 1)


def _found(text: str, pattern: str) -> re.Match[str] | None:
    """Find a term; one that begins a word first, and then the whole word."""
    letter = rf"[^\W{_UNSPACED}]"
    word = re.search(rf"(?<!\w){pattern}(?:(?<={letter}){letter}*)?", text, re.IGNORECASE)
    return word or re.search(pattern, text, re.IGNORECASE)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _condition(name: str, value: str) -> tuple[str, str] | None:
    wanted = folded(value[:_LONGEST_TERM])
    match name:
        case "model":
            models = """select model from (select distinct model from messages)
                where contains(cast(model as blob), ?)"""
            return f"m.model in ({models})", wanted
        case "title":
            # `+` keeps SQLite from using the index of sessions: it would then sort all their texts by time.
            return (
                "+m.session_id in (select session_id from sessions where contains(cast(title as blob), ?))",
                wanted,
            )
        case "role" if role := _ROLES.get(value.lower()):
            return "m.role = ?", role
        case "before" | "after" if day := _day(value):
            return f"m.created_at {'<' if name == 'before' else '>='} ?", day
        case "has" if value.lower() == "code":
            return _CODE
    return None


def _day(value: str) -> str | None:
    """Return a moment, or the local beginning of a day, as it is stored."""
    try:
        moment = datetime.fromisoformat(value)
        return stored_time(moment if moment.tzinfo else moment.astimezone())
    except (ValueError, OverflowError):
        return None
