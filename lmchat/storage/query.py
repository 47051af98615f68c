"""What people type into the search, as something that SQLite understands; pure."""

from __future__ import annotations

import re
import unicodedata

from msgspec import Struct

_TERM = re.compile(r'"([^"]*)("?)|([^\s"]+)')
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Scripts that write words without blanks, or hang endings on them: Thai to Khmer, CJK, Hangul."""

_CODE = re.compile(r"[\]\[(){}<>=+*/\\|&^~$#@%`]")
"""What code is made of; to the index of words `c++` would be any word that begins with c."""
_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
"""Combining marks of alphabets; those of other scripts tell letters apart."""


class Query(Struct, frozen=True, kw_only=True):
    """A search: a message is a hit if it holds every term."""

    terms: tuple[str, ...]
    """Words, and phrases that stood in quotes."""
    is_last_open: bool
    """Whether the last term is still being typed, so that it may be the beginning of a word."""

    @property
    def is_of_words(self) -> bool:
        """Whether the index of words can answer: it knows neither signs nor parts of words."""
        return all(
            any(char.isalnum() for char in term) and not _UNSPACED.search(term) and not _CODE.search(term)
            for term in self.terms
        )

    @property
    def words(self) -> str:
        """The search in the language of FTS5; quotes keep what people type from being syntax."""
        return " ".join(map(quoted, self.terms)) + ("*" if self.is_last_open else "")

    @property
    def patterns(self) -> tuple[str, ...]:
        """The terms, folded, as patterns of `like` with the backslash as escape."""
        return tuple(pattern(term) for term in self.terms)


def quoted(term: str) -> str:
    """Return a term as FTS5 reads it, whatever it holds."""
    return '"' + term.replace('"', '""') + '"'


def pattern(text: str) -> str:
    """Return a text, folded, as a pattern of `like` with the backslash as escape."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", fold(_encodable(text.replace("\0", " ")))) + "%"


def parse(text: str) -> Query:
    """Read a search; whatever is typed means something."""
    found = list(_TERM.finditer(text.replace("\0", " ")))
    pairs = [(" ".join((match[1] or match[3] or "").split()), not match[2]) for match in found]
    pairs = [(_encodable(term), is_open) for term, is_open in pairs if term]
    return Query(terms=tuple(term for term, _ in pairs), is_last_open=bool(pairs) and pairs[-1][1])


def fold(text: str) -> str:
    """Return text without accents and capitals, for comparing."""
    if text.isascii():
        return text.lower()
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).lower()


def around(text: str, term: str) -> tuple[str, str, str]:
    """Return what stands before a term, the term as written, and what stands after it."""
    places = [match.span() for match in re.finditer(re.escape(term), text, re.IGNORECASE)]
    start, end = places[0] if places else _folded_place(text, term)
    return text[:start], text[start:end], text[end:]


def _folded_place(text: str, term: str) -> tuple[int, int]:
    """Find a term by its folded form; each folded character knows where it came from."""
    folded: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        plain = fold(char)
        folded.append(plain)
        places += [place] * len(plain)
    start = "".join(folded).find(fold(term))
    if start < 0:
        return 0, 0
    return places[start], places[start + len(fold(term)) - 1] + 1


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()
