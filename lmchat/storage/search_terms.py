"""Reading of a search that the user has typed: terms and filters.

A term is a word, or a phrase in quotes. A filter is a name and a value, such as `role:you`.
"""

from __future__ import annotations

import re
from datetime import datetime

from msgspec import Struct

from lmchat.errors import WrongUse
from lmchat.safe_text import safe_line
from lmchat.sessions.message import Role
from lmchat.storage.row_values import encodable, folded, stored_time

_MOST_TERMS = 50
_MOST_FILTERS = 50
_LONGEST_TERM = 1000  # characters
# `"a phrase"`, whose last quote may be missing, or `word`
_TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')
# `role:you` or `title:"two words"`, after white space or at the beginning
_FILTER = re.compile(
    r'(?<!\S)(model|role|before|after|title|has):(?:"([^"]+)"|([^\s"]\S*))', re.IGNORECASE
)
_ROLES = {
    "you": Role.USER,
    "me": Role.USER,
    "model": Role.ASSISTANT,
    **{str(role): role for role in Role},
}
_FORMS = {"role": "role:user or role:assistant", "has": "has:code"}
"""How to write a filter, by its name. The others that can be wrong are those with a date."""


class Filters(Struct, frozen=True, kw_only=True):
    """Filters of a search as conditions of SQL over messages `m` and sessions `s`."""

    sql: str = ""  # each condition begins with `and`
    values: tuple[str, ...] = ()  # of the question marks in it
    needs_code: bool = False  # whether a text must have a code block, which SQL does not check


def parse_terms(text: str) -> tuple[str, ...]:
    """Return the different terms of a search whose filters were removed.

    Terms that `folded` makes empty are left out, and so are those after the first `_MOST_TERMS`.
    """
    terms: dict[str, None] = {}
    for match in _TERM.finditer(text.replace("\0", " ")):
        phrase, word = match.groups()
        term = phrase
        if word is not None:
            # In other programs, a star at the end asks for words that begin so. Here every word
            # finds these anyway, so the star is dropped, unless the word is nothing but stars.
            term = word.rstrip("*") or word
        term = encodable(" ".join(term.split())[:_LONGEST_TERM])
        if folded(term):
            terms[term] = None
    return tuple(terms)[:_MOST_TERMS]


def parse_filters(text: str) -> tuple[str, Filters]:
    """Return a search without its filters, and its first `_MOST_FILTERS` different filters.

    Raises `WrongUse` for a filter with a wrong value.
    """
    conditions: dict[tuple[str, str], None] = {}  # different ones, in their order
    needs_code = False
    for match in _FILTER.finditer(text):
        name = match[1].lower()
        value = match[2] or match[3]
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

    used_conditions = list(conditions)[:_MOST_FILTERS]
    return _FILTER.sub(" ", text), Filters(
        sql="".join(f" and {sql}" for sql, _ in used_conditions),
        values=tuple(value for _, value in used_conditions),
        needs_code=needs_code,
    )


def _condition(name: str, value: str) -> tuple[str, str] | None:
    """Return a filter as a condition of SQL and the value of its question mark.

    Return None for a wrong value. `name` is one of the names in `_FILTER`, in small letters.
    """
    folded_value = folded(value[:_LONGEST_TERM])
    # Names are cast to bytes: SQLite cannot pass a text with damaged bytes to `contains`.
    match name:
        case "model":
            models = """select model from (select distinct model from messages)
                where contains(cast(model as blob), ?)"""
            return f"m.model in ({models})", folded_value
        case "title":
            # `+` keeps SQLite from using the index of sessions: it would then sort all their
            # texts by time.
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
    """Return the moment in a text, or the beginning of the day, in the form of a stored time.

    A text without a time zone is in the zone of this machine. Return None if it is no date.
    """
    try:
        moment = datetime.fromisoformat(value)
        return stored_time(moment if moment.tzinfo else moment.astimezone())
    except (ValueError, OverflowError):
        return None
