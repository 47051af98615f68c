"""Quotes of a request or an answer in the words of a server, which do not tell why it refuses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from lmchat.base.json_values import NotJsonError, decode, dict_or_empty, encode

_MAX_CHARS = 100_000  # of a request, the newest ones
_RUN = 3  # words that are a quote
_WORD = re.compile(r"(\w+)", re.ASCII)
_ESCAPE = re.compile(r"\\+(?:u[0-9a-f]{4}|x[0-9a-f]{2}|[abfnrtv])", re.IGNORECASE)
_INPUT = re.compile(r"input_value=.*?(?=, input_type=|$)", re.DOTALL)
"""Quote of pydantic, which leaves out the middle of a long value."""
_WRITTEN = re.compile(
    r"(at pos \d{1,9}:|last read:|failed_generation|raw=|Invalid diff:).*", re.DOTALL
)
"""What the model has written, as llama.cpp, Groq and Ollama quote it."""


def texts_of(body: bytes) -> Iterator[str]:
    """Yield a body as it was sent, and the messages of a long one: other fields may follow them."""
    yield body[-_MAX_CHARS:].decode("utf-8", "replace")
    if len(body) > _MAX_CHARS:
        with suppress(NotJsonError):
            messages = dict_or_empty(decode(body)).get("messages")
            yield encode(messages)[-_MAX_CHARS:].decode("utf-8", "replace")


def unquoted(said: str, texts: Iterable[str]) -> str:
    """Cut out runs of three words that stand in one of the texts; the time is linear."""
    parts = _parts(_WRITTEN.sub(r"\1 …", _INPUT.sub("…", said)))
    known = {run for text in texts for run in _runs(_parts(text.lower()))}
    for number, run in enumerate(_runs([part.lower() for part in parts])):
        if run in known:
            first = 2 * number + 1
            parts[first : first + 2 * _RUN : 2] = ["…"] * _RUN
    return "".join(parts)


def _parts(text: str) -> list[str]:
    """Return what is between the words at even places, the words at odd ones."""
    return _WORD.split(_ESCAPE.sub(" ", text))


def _runs(parts: Sequence[str]) -> list[tuple[str, ...]]:
    """Return all runs of neighbouring words."""
    words = parts[1::2]
    return list(zip(*(words[first:] for first in range(_RUN)), strict=False))
