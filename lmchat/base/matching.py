"""Fuzzy match of names, folded comparison, closest word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from lmchat.base.safe_text import UNSEEN

# marks of alphabets; in other scripts they distinguish letters
_ACCENTS = "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
_MARK_LETTERS = "\uff9e\uff9f"  # that normalization changes into marks
_MOST_MARKS = 64  # in a row: Python sorts a run in quadratic time
# may hold more marks than the limit: `\W` finds all marks
_MARK_RUN = rf"[\W{_MARK_LETTERS}]{{{_MOST_MARKS + 1},}}"
_ASCII = bytes(range(128))
_MOST_REPLACED = 40  # different characters, one after the other; the time must stay linear
_SIMILARITY = 0.65  # least one, to offer a word for a misspelt one


def folded(text: str) -> str:
    """Fold text for find and for filters of lists: `Café` becomes `cafe`, and `Straße` `strasse`.

    The four Turkish letters i become one; else some would not be found in the other case. Composed
    syllables and kana stay one character, of which no part is found.
    """
    if text.isascii():
        return text.lower()
    if len(text) == 1:
        return _folded_char(text)
    data = text.encode(errors="surrogatepass").lower()  # which changes ASCII only
    letters = data.decode(errors="surrogatepass")
    # decomposing the whole text, or translating it, would take three times as long
    changed = {char: plain for char in non_ascii(text) if (plain := _folded_char(char)) != char}
    if len(changed) > _MOST_REPLACED:
        letters = letters.translate({ord(char): plain for char, plain in changed.items()})
    else:
        for char, plain in changed.items():
            letters = letters.replace(char, plain)
    return normalized("NFC", letters)  # joins what was written as parts of a letter


def non_ascii(text: str) -> set[str]:
    """Return the different characters, ten times as fast as a set of all."""
    if text.isascii():
        return set()
    data = text.encode(errors="surrogatepass")
    return set(data.translate(None, _ASCII).decode(errors="surrogatepass"))


@lru_cache(maxsize=16 * 1024)
def _folded_char(char: str) -> str:
    if char in UNSEEN:
        return ""
    return normalized("NFC", without_accents(char)).casefold().replace("\u0131", "i")


def without_accents(text: str) -> str:
    """Fold text as the search index does: `Café` becomes `cafe`, and `x²` `x2`."""
    if text.isascii():
        return text.lower()
    return re.sub(_ACCENTS, "", normalized("NFKD", text)).lower()


def normalized(form: Literal["NFC", "NFKD"], text: str) -> str:
    """Take linear time: a text with too many marks in a row is hostile, and cut into sections."""
    if text.isascii():
        return text
    # a longer run covers an index that is a multiple of `_MOST_MARKS`
    if not any(
        unicodedata.category(char)[0] == "M" or char in _MARK_LETTERS
        for char in text[::_MOST_MARKS]
    ):
        return unicodedata.normalize(form, text)

    boundaries = [0]
    for run in re.finditer(_MARK_RUN, text):
        boundaries += range(run.start() + _MOST_MARKS, run.end(), _MOST_MARKS)
    boundaries.append(len(text))
    sections = (text[start:end] for start, end in pairwise(boundaries))
    return "".join(unicodedata.normalize(form, section) for section in sections)


class FuzzyMatch(Struct, frozen=True):
    score: float  # higher is better
    offsets: tuple[int, ...]  # of typed characters in a name; empty if folding changes its length


def fuzzy_match(typed: str, name: str) -> FuzzyMatch | None:
    """Find the typed characters in a name, in order; both are folded."""
    query, text = folded(typed), folded(name)
    start = text.find(query)
    at_word = re.search(rf"(?<!\w){re.escape(query)}", text)
    if at_word is not None:
        start = at_word.start()
    is_contained = start >= 0
    offsets: list[int] = []
    if is_contained:
        offsets += range(start, start + len(query))
    else:  # each is searched behind the one before
        offset = -1
        for char in query:
            offset = text.find(char, offset + 1)
            if offset < 0:
                return None
            offsets.append(offset)

    adjacent_pairs = sum(1 for before, after in pairwise(offsets) if after == before + 1)
    word_starts = sum(1 for offset in offsets if offset == 0 or not text[offset - 1].isalnum())
    lateness = offsets[0] / (len(text) + 1) if offsets else 0  # less than 1
    score = len(offsets) + adjacent_pairs + word_starts - lateness
    if is_contained:
        score += 2 * len(query)  # more than any other match gets
    # in the name, other letters may be at these places
    return FuzzyMatch(score=score, offsets=tuple(offsets) if len(text) == len(name) else ())


def closest_word(word: str, words: Sequence[str], likeness: float = _SIMILARITY) -> str:
    """Return the only word that starts with `word`, else the most similar one; "" without one."""
    import difflib  # noqa: PLC0415 - needed for a misspelt word only

    by_letters = {known.lower(): known for known in words}
    starting = [known for known in by_letters if word and known.startswith(word.lower())]
    if len(starting) == 1:
        return by_letters[starting[0]]
    matches = difflib.get_close_matches(word.lower(), by_letters, n=1, cutoff=likeness)
    return by_letters[matches[0]] if matches else ""


def did_you_mean(word: str, words: tuple[str, ...]) -> str:
    suggestion = closest_word(word, words)
    return f"; did you mean {suggestion}?" if suggestion else "."
