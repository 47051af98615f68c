"""Quotes of a request in the words of a server, which do not tell why it was refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from lmchat.servers.http.json_values import (
    NotJsonError,
    decode,
    dict_or_empty,
    encode,
)

_MAX_CHARS = 100_000  # of a request, the newest ones
_LONG_RUN = 8  # words that are a quote wherever they stand
_SHORT_RUN = 3  # words that are a quote beside a quotation mark
_WORD = re.compile(r"(\w+)", re.ASCII)
_ESCAPE = re.compile(r"\\+(?:u[0-9a-f]{4}|x[0-9a-f]{2}|[abfnrtv])", re.IGNORECASE)
_MARK = re.compile("[\"'`\u2018-\u201f\u00ab\u00bb\u2039\u203a]")
_APOSTROPHES = ("'", "\u2019")  # alone between two words, as in "can't"
_INPUT = re.compile(r"input_value=.*?(?=, input_type=|$)", re.DOTALL)
"""Quote of pydantic, which leaves out the middle of a long value."""


def texts_of(body: bytes) -> Iterator[str]:
    """Yield a body as it was sent, and the messages of a long one: other fields may follow them."""
    yield body[-_MAX_CHARS:].decode("utf-8", "replace")
    if len(body) > _MAX_CHARS:
        with suppress(NotJsonError):
            messages = dict_or_empty(decode(body)).get("messages")
            yield encode(messages)[-_MAX_CHARS:].decode("utf-8", "replace")


def unquoted(said: str, sent: Iterable[str]) -> str:
    """Cut out runs of words that stand in the request: 8 or more, or 3 beside a quotation mark.

    The time is linear.
    """
    parts = _parts(_INPUT.sub("…", said))
    words = [word.lower() for word in parts[1::2]]
    # in front of each word, and at the end
    marks = [bool(_MARK.search(gap)) and gap not in _APOSTROPHES for gap in parts[::2]]
    sent_words = [_parts(text.lower())[1::2] for text in sent]
    cut: set[int] = set()
    for size in (_LONG_RUN, _SHORT_RUN):
        sent_runs = {run for one in sent_words for run in _runs(one, size)}
        quoted = [number for number, run in enumerate(_runs(words, size)) if run in sent_runs]
        for number in quoted:
            if size == _LONG_RUN or marks[number] or marks[number + size]:
                cut.update(range(number, number + size))
        # runs that overlap belong together
        for number in (*quoted, *reversed(quoted)):
            if len(cut.intersection(range(number, number + size))) == size - 1:
                cut.update(range(number, number + size))
    for number in cut:
        parts[2 * number + 1] = "…"
    return "".join(parts)


def _parts(text: str) -> list[str]:
    """Return what is between the words at even places, the words at odd ones."""
    return _WORD.split(_ESCAPE.sub(" ", text))


def _runs(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Return all runs of so many neighbours."""
    return list(zip(*(words[first:] for first in range(size)), strict=False))
