"""Search in all sessions: hits with the words around them.

`_Search` finds matches, which are texts that hold all terms: parts of messages and titles. The
search index names texts that may hold the terms, and only these are compared with the terms; texts
that are not indexed yet are all compared. `_hits` keeps one match for each message, as a hit.
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
from lmchat.storage.connection import Connection
from lmchat.storage.row_values import folded, loaded, part_row
from lmchat.storage.search_index import index_query, searched_text
from lmchat.storage.search_terms import Filters, parse_filters, parse_terms
from lmchat.storage.session_queries import arrived_parts, first_prompt_title

log = logging.getLogger(__name__)

_SORTED_HITS = 50
"""Number of the newest matches that are sorted: those whose words begin like the terms come first.
The matches after these are by time."""
# With fewer messages that pass the filters, comparing them all is faster than the index.
_FEW_MESSAGES = 2000
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

_HIT_COLUMNS = ("session_id", "title", "message_id", "role", "model", "created_at", "tags")
_HIT = "s.session_id, s.title, m.message_id, m.role, m.model, m.created_at, s.tags"
_PART = "p.kind, p.text, p.name"
_VISIBLE = "m.hidden_by is null and s.deleted_at is null"
_IN_SESSION = "cross join sessions s on s.session_id = m.session_id"
"""`cross` makes SQLite keep the order of the joins. It then needs no sorting to find the newest
hits first, and a query can end early."""
_REPEATED_CALL = """p.kind = 'tool_call' and m.role = 'assistant' and exists (
    select 1 from messages t
    cross join parts c on c.number = t.number and c.kind = 'tool_call'
    where t.parent_id = m.message_id and t.role = 'tool' and t.hidden_by is null)"""
"""Condition for a call in an answer whose tool message has it too: only that message is a hit."""
_MESSAGES = f"""select {_HIT}, {_PART} from messages m {_IN_SESSION}
    cross join parts p on p.number = m.number where {_VISIBLE} and not ({_REPEATED_CALL})"""
_INDEXED = f"""select {_HIT}, {_PART} from trigrams
    cross join parts p on p.part_id = trigrams.rowid
    cross join messages m on m.number = p.number {_IN_SESSION}
    where {_VISIBLE} and not ({_REPEATED_CALL}) and m.is_indexed = 1 and trigrams match ?"""
_RUNNING = f"""select {_HIT}, m.number from messages m {_IN_SESSION}
    where {_VISIBLE} and m.state = 'streaming'"""
_TITLES = """select session_id, title, '', '', model, updated_at, tags from sessions
    where deleted_at is null"""
_TITLE_HAS_TERM = "and contains(cast(title as blob), ?)"
# Without terms, a message is shown once, by its text; an answer's thoughts and calls are not hits.
_TEXTS_AND_TOOLS = "and (p.kind = 'text' or m.role = 'tool')"
_NEWEST_FIRST = "order by m.number desc, p.part_id desc"


class _Match(Struct, frozen=True, kw_only=True):
    """Text that holds all terms, and the columns of its message and session."""

    columns: dict[str, Any]  # by the names `_HIT_COLUMNS`
    kind: str  # of the part of a message, or `title`
    text: str
    begins_words: bool  # whether words of the text begin like the terms

    @property
    def key(self) -> tuple[str, str]:
        """Ids of session and message, of which a search has one hit; a title has no message id."""
        return self.columns["session_id"], self.columns["message_id"]


def search(connection: Connection, text: str, limit: int) -> tuple[SearchHit, ...]:
    """Return at most `limit` hits for `text`, which the user has typed; one for each message.

    Running answers come first, then `_FIRST_TITLES` titles, then messages, then the other titles.
    Each group is sorted by time, newest first, but see `_SORTED_HITS` for messages. Without terms
    and filters there are no hits. Raises `WrongUse` for a wrong filter.
    """
    text_without_filters, filters = parse_filters(text)
    terms = parse_terms(text_without_filters)
    if not terms and filters == Filters():
        return ()
    # All queries see the same state of the file. Else a message may be indexed between the query
    # for indexed messages and that for others, and would be missed.
    connection.execute("savepoint search")
    try:
        return _hits(_Search(connection, terms, filters), terms, limit)
    finally:
        connection.execute("release search")


def _hits(matches: _Search, terms: Sequence[str], limit: int) -> tuple[SearchHit, ...]:
    """Return at most `limit` hits, in the order that `search` describes, one for each key.

    The methods of `matches` are generators: they look for no more matches than these hits need.
    """
    titles = matches.titles()
    first_titles = [match for match in islice(titles, _FIRST_TITLES_READ) if match is not None]
    all_matches = chain(
        matches.running_answers(),
        first_titles[:_FIRST_TITLES],
        matches.messages(),
        first_titles[_FIRST_TITLES:],
        titles,  # those that were not read above
    )
    hits: dict[tuple[str, str], SearchHit] = {}
    for match in all_matches:
        if match is None or match.key in hits:
            continue
        hit = _hit(match, terms)
        if hit is not None:
            hits[match.key] = hit
            if len(hits) == limit:
                break
    return tuple(hits.values())


class _Search:
    """Texts that match the terms and filters of a search.

    Each public method is a generator, which yields matches as its query finds them.
    """

    def __init__(self, connection: Connection, terms: Sequence[str], filters: Filters) -> None:
        self._connection = connection
        self._terms = [folded(term) for term in terms]
        # patterns for a term at the beginning of a word: no letter or digit is before it
        self._word_starts = [re.compile(rf"(?<!\w){re.escape(term)}") for term in self._terms]
        self._filters = filters

    def running_answers(self) -> Iterator[_Match]:
        """Yield the matches in running answers, also those of other processes, newest first."""
        query = f"{_RUNNING} {self._filters.sql} order by m.number desc"
        for *row, number in self._connection.execute(query, self._filters.values).fetchall():
            match = self._match_running_answer(row, number)
            if match is not None:
                yield match

    def _match_running_answer(self, row: Sequence[Any], number: int) -> _Match | None:
        """Return the match in the first part of an answer that has one; None if none matches.

        `row` has the values of `_HIT_COLUMNS`; `number` is that of the message.
        """
        message_id = row[_HIT_COLUMNS.index("message_id")]
        for part in arrived_parts(self._connection, number, message_id):
            stored = part_row(part)
            text = searched_text(stored.kind, stored.text, stored.name)
            match = self._match(row, stored.kind, text)
            if match is not None:
                return match
        return None

    def titles(self) -> Iterator[_Match | None]:
        """Yield the matches in titles, those of sessions that were changed last first.

        A title that only repeats the first prompt is no match, as that prompt is a hit itself. None
        is yielded for it, so that the caller can limit how many titles are compared with prompts.
        With filters, which are for messages, nothing is yielded.
        """
        if self._filters.sql:
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

        Among the newest `_SORTED_HITS`, those with words that begin like the terms come first.
        """
        matches = self._messages_by_time()
        newest = list(islice(matches, _SORTED_HITS))
        yield from (match for match in newest if match.begins_words)
        yield from (match for match in newest if not match.begins_words)
        yield from matches

    def _messages_by_time(self) -> Iterator[_Match]:
        """Yield the matches in parts of messages, newest first.

        If the index does not help, or few messages pass the filters, all parts are compared. Else
        the parts of messages that are not indexed are compared first, then those that the index
        names.
        """
        values = self._filters.values
        conditions = self._filters.sql
        if not self._terms:
            conditions += f" {_TEXTS_AND_TOOLS}"
        query_of_index: str | None = None
        if not self._have_few_messages():
            query_of_index = index_query(self._connection, self._terms)

        if query_of_index is None:  # all are compared
            yield from self._compare(f"{_MESSAGES} {conditions} {_NEWEST_FIRST}", values)
            return
        not_indexed = f"{_MESSAGES} and m.is_indexed = 0 {conditions} {_NEWEST_FIRST}"
        yield from self._compare(not_indexed, values)
        if query_of_index:  # empty: no text in the index has all terms
            indexed = f"{_INDEXED} {conditions} order by trigrams.rowid desc"
            yield from self._compare(indexed, (query_of_index, *values))

    def _have_few_messages(self) -> bool:
        """Return whether there are filters, and fewer than `_FEW_MESSAGES` messages pass them."""
        if not self._filters.sql:
            return False
        query = f"""select 1 from messages m {_IN_SESSION}
            where {_VISIBLE} {self._filters.sql} limit ?"""
        values = (*self._filters.values, _FEW_MESSAGES)
        return len(self._connection.execute(query, values).fetchall()) < _FEW_MESSAGES

    def _compare(self, query: str, values: Sequence[object]) -> Iterator[_Match]:
        """Yield the matches among the rows of a query.

        The rows have the columns `_HIT_COLUMNS`, then kind, text and name of a part.
        """
        with closing(self._connection.execute(query, values)) as rows:
            for *row, kind, text, name in rows:
                match = self._match(row, kind, searched_text(kind, text, name))
                if match is not None:
                    yield match

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
            begins_words=all(start.search(folded_text) for start in self._word_starts),
        )


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
