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
_STARRED = re.compile(r"(\w+)\*+")
"""A word with a star at its end, as elsewhere beginnings are asked for; here each word may be one."""
_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
"""Combining marks of alphabets; those of other scripts tell letters apart."""
_MOST_MARKS = 64
_MARK_LETTERS = "\uff9e\uff9f"
"""Letters that normalizing makes marks of."""
_SIGNS = re.compile(rf"[\W{_MARK_LETTERS}]{{{_MOST_MARKS + 1},}}")
"""A run that may be of combining marks only: to sort them takes Python time with the square of its length."""
_JOINER = "\u034f"
"""Looks like nothing, ends an order of marks, and goes with the accents."""
_MOST_TERMS = 50
_LONGEST_TERM = 1000
"""Characters; SQLite refuses patterns of 50 000 bytes, and what is folded may be many times as long."""


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


def quoted(term: str) -> str:
    """Return a term as FTS5 reads it, whatever it holds."""
    return '"' + term.replace('"', '""') + '"'


def pattern(text: str) -> str:
    """Return a text, folded, as a pattern of `like` with the backslash as escape."""
    folded = fold(_encodable(text[:_LONGEST_TERM].replace("\0", " ")))[:_LONGEST_TERM]
    return "%" + re.sub(r"([\\%_])", r"\\\1", folded) + "%"


def parse(text: str) -> Query:
    """Read a search; whatever is typed means something. Of what nobody types, the end is looked for."""
    found = list(_TERM.finditer(text.replace("\0", " ")))
    pairs = [(" ".join((match[1] or _bare(match[3] or "")).split()), not match[2]) for match in found]
    pairs = [(_encodable(term[:_LONGEST_TERM]), is_open) for term, is_open in pairs if term]
    last_first = dict.fromkeys(term for term, _ in reversed(pairs))
    terms = tuple(reversed(list(last_first)[:_MOST_TERMS]))
    return Query(terms=terms, is_last_open=bool(pairs) and pairs[-1][1])


def _bare(word: str) -> str:
    """Return a word without a star at its end; one that stands in quotes is looked for as it is."""
    starred = _STARRED.fullmatch(word)
    return starred[1] if starred else word


def fold(text: str) -> str:
    """Return text without accents and capitals, for comparing."""
    if text.isascii():
        return text.lower()
    if any(map(_is_mark, text[::_MOST_MARKS])):  # each run that is too long holds one of these places
        text = _SIGNS.sub(_sorted_marks, text)
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).lower()


def _is_mark(char: str) -> bool:
    return unicodedata.category(char).startswith("M") or char in _MARK_LETTERS


def _sorted_marks(run: re.Match[str]) -> str:
    """Bring marks into order, a few at a time, with what ends the order between them."""
    signs = run[0]
    pieces = (signs[at : at + _MOST_MARKS] for at in range(0, len(signs), _MOST_MARKS))
    return _JOINER.join(unicodedata.normalize("NFKD", piece) for piece in pieces)


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
