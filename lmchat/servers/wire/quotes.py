"""Quotes of a request in the words of a server, which do not tell why it was refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from lmchat.servers.http.json_values import (
    NotJsonError,
    decode,
    dict_or_empty,
    dicts_in,
    encode,
    str_or_empty,
)

_MAX_CHARS = 100_000  # of a request, the newest ones
_SHORT_CHARS = 100  # of a text with one or two words
_LONG_RUN = 8  # words that are a quote wherever they stand
_SHORT_RUN = 3  # words that are a quote beside a quotation mark
_WORD = re.compile(r"(\w+)", re.ASCII)
_ESCAPE = re.compile(r"\\+(?:u[0-9a-f]{4}|x[0-9a-f]{2}|[abfnrtv])", re.IGNORECASE)
_MARK = re.compile("[\"'`\u2018-\u201f\u00ab\u00bb\u2039\u203a]")
_APOSTROPHES = ("'", "\u2019")  # alone between two words, as in "can't"
_INPUT = re.compile(r"input_value=.*?(?=, input_type=|$)", re.DOTALL)
"""Quote of pydantic, which leaves out the middle of a long value."""


def texts_of(body: bytes) -> Iterator[str]:
    """Yield a body as it was sent, and short texts of its messages.

    The messages of a long body come again: other fields may be behind them.
    """
    yield body[-_MAX_CHARS:].decode("utf-8", "replace")
    with suppress(NotJsonError):
        messages = dict_or_empty(decode(body)).get("messages")
        if len(body) > _MAX_CHARS:
            yield encode(messages)[-_MAX_CHARS:].decode("utf-8", "replace")
        for message in dicts_in(messages):
            content = message.get("content")
            for text in (content, *(part.get("text") for part in dicts_in(content))):
                if len(str_or_empty(text)) <= _SHORT_CHARS:
                    yield str_or_empty(text)


def unquoted(said: str, sent: Iterable[str]) -> str:
    """Cut out runs of words that stand in the request: 8 or more, or 3 beside a quotation mark.

    A text of one or two words is cut out between quotation marks. The time is linear.
    """
    parts = _parts(_INPUT.sub("…", said))
    words = [word.lower() for word in parts[1::2]]
    # in front of each word, and at the end
    marks = [bool(_MARK.search(gap)) and gap not in _APOSTROPHES for gap in parts[::2]]
    runs = {size: _runs(words, size) for size in (1, 2, _SHORT_RUN, _LONG_RUN)}
    quoted: set[tuple[str, ...]] = set()
    for text in sent:
        sent_words = _parts(text[-_MAX_CHARS:].lower())[1::2]
        sizes = (_SHORT_RUN, _LONG_RUN) if len(sent_words) >= _SHORT_RUN else (len(sent_words),)
        for size in sizes:
            quoted |= set(runs.get(size, ())).intersection(_runs(sent_words, size))

    cut: set[int] = set()
    for size, found in runs.items():
        quoted_numbers = [number for number, run in enumerate(found) if run in quoted]
        for number in quoted_numbers:
            ends = (marks[number], marks[number + size])
            if size == _LONG_RUN or (all(ends) if size < _SHORT_RUN else any(ends)):
                cut.update(range(number, number + size))
        if size == _SHORT_RUN:  # runs that overlap belong together
            for number in (*quoted_numbers, *reversed(quoted_numbers)):
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
