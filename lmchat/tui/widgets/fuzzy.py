"""Matching of what is typed with names: in linear time, since names come from servers and may be long."""

from __future__ import annotations

from itertools import pairwise

from msgspec import Struct

from lmchat.tui.widgets.line import HIT, Parts


class Match(Struct, frozen=True, kw_only=True):
    """How well a name fits."""

    score: float
    """More is better."""
    offsets: tuple[int, ...]
    """Which characters of the name were typed, in order."""


def match(typed: str, name: str) -> Match | None:
    """Find the typed letters in a name, in their order; best where they stand together or begin words."""
    query, text = _folded(typed), _folded(name)
    if not query:
        return Match(score=0.0, offsets=())
    at = text.find(query)
    if at >= 0:
        offsets = tuple(range(at, at + len(query)))
        return Match(score=_score(text, offsets) + 2 * len(query), offsets=offsets)
    best: Match | None = None
    start = text.find(query[0])
    while start >= 0:
        found = _letters(query, text, start)
        if found is None:
            break
        score = _score(text, found)
        if best is None or score > best.score:
            best = Match(score=score, offsets=found)
        start = text.find(query[0], start + 1)
    return best


def highlighted(name: str, offsets: tuple[int, ...], style: str) -> Parts:
    """Split a name into parts, with what was typed marked as a hit."""
    parts: list[tuple[str, str]] = []
    hits = set(offsets)
    for index, char in enumerate(name):
        wanted = HIT if index in hits else style
        if parts and parts[-1][1] == wanted:
            parts[-1] = (parts[-1][0] + char, wanted)
        else:
            parts.append((char, wanted))
    return tuple(parts)


def _folded(text: str) -> str:
    """Return lower case of the same length, so that offsets hold for the original."""
    lower = text.lower()
    return lower if len(lower) == len(text) else text


def _letters(query: str, text: str, start: int) -> tuple[int, ...] | None:
    offsets = []
    at = start
    for letter in query:
        at = text.find(letter, at)
        if at < 0:
            return None
        offsets.append(at)
        at += 1
    return tuple(offsets)


def _score(text: str, offsets: tuple[int, ...]) -> float:
    together = sum(after == before + 1 for before, after in pairwise(offsets))
    starts = sum(at == 0 or not text[at - 1].isalnum() for at in offsets)
    return len(offsets) + together + starts - offsets[0] / (len(text) + 1)
