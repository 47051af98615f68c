"""Find words in all messages of the log, and go from one hit to the next.

A needle is a folded word that is searched. A hit that is wrapped, or in a cell of a table, is on
several rows: it has a `HitSpan` on each.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct

from lmchat.cells import graphemes
from lmchat.markdown.block import AS_WRITTEN, Block, Line
from lmchat.markdown.commonmark import unescaped
from lmchat.matching import normalized
from lmchat.safe_text import safe_text
from lmchat.sessions.attached_files import AttachedFile, split_files
from lmchat.sessions.message import ReasoningPart, Role
from lmchat.tui.chat_log.document import Document, Place
from lmchat.tui.chat_log.headers_footers import call_texts
from lmchat.tui.chat_log.viewport import Viewport

MAX_CHARS = 1_000  # longer words were pasted by mistake; only the beginning is searched
_SELECTORS = "[\ufe00-\ufe0f]"  # they choose between two looks of a character
# `](address "title")` behind the words of a link; the address may have one level of brackets
_TARGET = r"\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"\n]*\")?\)"
_CODE_OR_TARGET = rf"(`[^`\n\x01]*`)|{_TARGET}"  # 1 is code within a line
_MARKUP = "*_`~\\[]<>"  # signs that are not shown where they are markup
_FENCE = "```"
_LINE_END = "\x01"  # replaces a line end while blanks are made alike: no hit crosses it

Range = tuple[int, int]  # first character, and the one after the last


def folded(text: str) -> str:
    """Return text in a form that is the same for each case and each way to write an accent.

    The four letters i of Turkish become one: only then is each found in the other case. Signs that
    choose between two looks of a character are removed.
    """
    if text.isascii():
        return text.lower()
    text = normalized("NFC", text).replace("\u0130", "i").casefold().replace("\u0131", "i")
    return re.sub(_SELECTORS, "", text) if "\ufe0f" in text or "\ufe0e" in text else text


class Query:
    """A search for any of some words.

    `count` estimates the hits in a source, which is fast; `spans` finds them in a shown text.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.needles = _needles(words)  # folded, the longest first
        letters = "".join(self.needles)
        self._has_blank = " " in letters
        # then the targets of links, or the fences, may be what is searched: they are not removed
        self._has_targets = not {"[", "]", "(", ")"}.isdisjoint(letters)
        self._has_ticks = "`" in letters
        self._hidden_marks = ""  # markup that may be between letters of a hit
        has_several_letters = any(len(needle) > 1 for needle in self.needles)
        if has_several_letters:
            self._hidden_marks = "".join(mark for mark in _MARKUP if mark not in letters)
        # the first is for shown text, the second tells which sources cannot have a hit
        self._pattern = re.compile("|".join(map(_shown_pattern, self.needles)))
        self._prefilter = re.compile("|".join(map(self._prefilter_pattern, self.needles)))

    def _prefilter_pattern(self, needle: str) -> str:
        """Return a pattern of a needle that also matches with markup between its letters.

        It may match where no hit is: it only excludes texts. Blanks are matched as a part of the
        markup: with a blank between two such gaps, a run of blanks would take quadratic time.
        """
        gap = f"(?:{_TARGET}|[\\s{re.escape(self._hidden_marks)}])*"
        return gap.join(map(re.escape, needle.replace(" ", "")))

    def count(self, source: str, *, is_plain: bool = False) -> int:
        """Return how many hits a Markdown source is likely to show.

        Code in fences is searched as it is, other text without its markup. With `is_plain`, the
        source is plain text, which is searched as it is.
        """
        text = folded(source)
        # excludes most texts at once; only entities, as `&auml;`, hide letters from the pattern
        may_match = "&" in text or self._prefilter.search(text)
        if not may_match:
            return 0
        if is_plain:
            return self._count_needles(self._with_one_blank(text))

        # a needle with a backtick is searched in the text as a whole
        parts = [text] if self._has_ticks else text.split(_FENCE)
        outside_fences = parts[::2]
        fences = []
        for part in parts[1::2]:  # every second part is between two fence marks
            language, line_end, code_lines = part.partition("\n")
            # in one line, it is code with three backticks, and has no language
            fences.append(code_lines if line_end else language)
        # no hit crosses the "\0" between two parts
        prose = self._with_one_blank("\0".join(outside_fences))
        code = self._with_one_blank("\0".join(fences))
        return self._count_needles(self._without_markup(prose)) + self._count_needles(code)

    def _count_needles(self, text: str) -> int:
        return sum(map(text.count, self.needles))

    def _with_one_blank(self, text: str) -> str:
        """Return text with one blank for each run of blanks, and `_LINE_END` for each line end.

        Blanks at both ends are removed. If no needle has a blank, return the text as it is.
        """
        if not self._has_blank:
            return text
        return " ".join(text.replace("\n", _LINE_END).split())

    def _without_markup(self, text: str) -> str:
        """Return folded Markdown as it is likely shown.

        Targets of links and `_hidden_marks` are removed, and entities become their characters.
        """
        if "](" in text and not self._has_targets:
            pattern = _CODE_OR_TARGET if "`" in text else _TARGET
            text = re.sub(pattern, _kept_of_markup, text)
        for mark in self._hidden_marks:
            text = text.replace(mark, "")
        return self._with_one_blank(unescaped(text)) if "&" in text else text

    def spans(self, text: str) -> Iterator[Range]:
        """Yield the range of each hit in a text as it is shown.

        No hit begins or ends within a drawn character: of `é`, the letter `e` is no hit.
        """
        if not self.needles:
            return
        if text.isascii():
            yield from (match.span() for match in self._pattern.finditer(text.lower()))
            return
        letters, places = _with_places(text)
        match = self._pattern.search(letters)
        while match:
            start, end = match.span()
            next_start = end
            if start in places and end in places:
                yield places[start], places[end]
            else:  # it splits a character: continue with the next letter
                next_start = start + 1
            match = self._pattern.search(letters, next_start)


def _needles(words: Iterable[str]) -> list[str]:
    """Return the folded words, the longest first, without those that a longer one contains.

    Hits of a word within another word would be counted twice.
    """
    needles: list[str] = []
    folded_words = {re.sub(r"\s+", " ", folded(safe_text(word[:MAX_CHARS]))) for word in words}
    for needle in sorted(folded_words, key=len, reverse=True):
        if needle and not any(needle in longer for longer in needles):
            needles.append(needle)
    return needles


def _shown_pattern(needle: str) -> str:
    """Return the pattern of a needle in shown text, where a blank matches any run of blanks."""
    pattern = r"\s+".join(map(re.escape, needle.split(" ")))
    if not needle.startswith(" "):
        return pattern
    # a run of blanks matches from its first blank only: the time stays linear
    return rf"(?<!\s){pattern}"


def _kept_of_markup(match: re.Match[str]) -> str:
    """Return what replaces a match of `_CODE_OR_TARGET` or `_TARGET`.

    Code stays as it is. Of the target of a link, the bracket after the link's words stays.
    """
    code = match[1] if match.lastindex else None  # only `_CODE_OR_TARGET` has a group: code
    return "]" if code is None else code


def _with_places(text: str) -> tuple[str, dict[int, int]]:
    """Return folded text, and the place in `text` for each of its places between two characters.

    The keys of the dictionary are places in the folded text, the values are those in `text`.
    """
    bounds = [*(start for start, _ in graphemes(text)), len(text)]
    letters = [folded(text[start:end]) for start, end in pairwise(bounds)]
    places = {0: 0}
    folded_end = 0
    for end, letter in zip(bounds[1:], letters, strict=True):
        folded_end += len(letter)
        places[folded_end] = end
    return "".join(letters), places


SLICE = 60_000  # characters that are searched at a time, between keys and frames: about 3 ms
_KEPT_BLOCKS = 2_000  # blocks whose hits are remembered


class HitSpan(Struct, frozen=True):
    """The part of a hit that is on one row."""

    start: int  # characters of the row before it
    end: int
    nth_in_block: int  # index of the hit in its block


RowHits = list[HitSpan]


class Hit(Struct, frozen=True):
    """A hit in the text that a message shows."""

    number: int  # block
    first_row: int  # row in the block; a blank row above the block is row 0
    last_row: int
    nth_in_block: int  # index of the hit in its block


class Fragment(Struct, frozen=True):
    """The part of a wrapped text that is on one row."""

    row: int  # index of the line in its block
    start: int  # characters of the row before it
    words: str  # the text; in a table, without the padding of its cell
    tail: str  # in a table, what is between it and the next fragment of its cell


class CachedHits(Struct, frozen=True):
    """The hits in a block, valid as long as the block has the same list of lines."""

    block: Block  # kept, so that no other block gets its `id`
    lines: list[Line]
    rows: list[RowHits]  # hits of each line


class Hits:
    """Hits of one search in all messages of a document.

    At first, hits of a message are counted in its source without the markup, which is fast. In
    blocks that are laid out, the hits are those in the shown text. `Finder` sets the count of a
    message to these when it goes to one of them. What the log adds (stats, states, cards) is not
    searched.
    """

    def __init__(self, document: Document, words: Iterable[str] = (), first: int = 0) -> None:
        """Create it; messages are counted from index `first` to the last one, then those before.

        Without words, it is not active, and counts nothing.
        """
        self._document = document
        self._query = Query(words)
        self.counts: list[int] = []  # hits of each message; 0 until it was counted
        if self.is_active:
            self.counts = [0] * len(document)
        self.is_complete = False  # whether all messages were counted
        self._uncounted = iter((*range(first, len(document)), *range(first)))
        self._cached: dict[int, CachedHits] = {}  # by `id(block)`

    @property
    def is_active(self) -> bool:
        return bool(self._query.needles)

    # Counting

    def count_slice(self) -> None:
        """Count the hits of the next messages, until about `SLICE` characters were searched.

        If no message is left, set `is_complete`.
        """
        if not self.is_active:
            return
        chars_left = SLICE
        for index in self._uncounted:
            chars_left -= self.count(index)
            if chars_left <= 0:
                return
        self.is_complete = True

    def count(self, index: int) -> int:
        """Set `counts[index]` to the hits in all texts of a message, shown or not.

        Return how many characters were searched.
        """
        added = len(self._document) - len(self.counts)  # messages since the search began
        self.counts += [0] * added
        texts, is_plain = self._document.entries.texts(index)
        self.counts[index] = self._count_in(texts, is_plain=is_plain)
        return sum(map(len, texts))

    def _count_in(self, texts: Iterable[str], *, is_plain: bool) -> int:
        return sum(self._query.count(text, is_plain=is_plain) for text in texts)

    def count_folded(self, index: int) -> int:
        """Return the number of hits in the text that a message hides because it is folded.

        That text is the reasoning of an answer, the arguments and the result of a call, the files
        in a prompt, or a system prompt. A notice hides nothing, nor does a message as source. An
        answer must be cut into blocks before: its reasoning is known only then.
        """
        entry = self._document.entries[index]
        message = entry.message
        if message is None or not entry.is_folded or entry.is_source:
            return 0
        match message.role:
            case Role.ASSISTANT:
                thoughts = (part.text for part in entry.parts if part.kind is ReasoningPart)
                return self._count_in(thoughts, is_plain=False)
            case Role.TOOL:
                texts = [text.text for text in call_texts(message)]
            case Role.USER:
                pieces = split_files(message.text)
                texts = [piece.text for piece in pieces if isinstance(piece, AttachedFile)]
            case _:
                texts = [message.text]
        return self._count_in(texts, is_plain=True)

    # Rows

    def shown_hits(self, index: int) -> list[Hit]:
        """Return all hits in the blocks of a message, in order.

        The message is cut into blocks if it was not. Of a block that is not laid out, the hits in
        its source are returned; their rows have no meaning.
        """
        hits: list[Hit] = []
        block_count = self._document.build(index)
        for number in range(block_count):
            entry = self._document.entries[index]
            block = entry.blocks[number]
            blank_rows = entry.heights[number] - len(block.lines or ())
            first_rows: dict[int, int] = {}  # by the index of the hit in the block
            last_rows: dict[int, int] = {}
            for row, spans in enumerate(self.hits_by_row(block), blank_rows):
                for span in spans:
                    first_rows.setdefault(span.nth_in_block, row)
                    last_rows[span.nth_in_block] = row
            hits += [
                Hit(number, first_rows[nth], last_rows[nth], nth) for nth in sorted(first_rows)
            ]
        return hits

    def hits_by_row(self, block: Block) -> list[RowHits]:
        """Return a list of spans for each line of a block; a wrapped hit has a span on each line.

        Of a block that is not laid out, the hits in its source are returned as those of one line,
        at place 0. What the log adds has no source, and the list is empty.
        """
        if not block.source:
            return []
        if block.lines is None:
            count = self._query.count(block.source, is_plain=block.kind in AS_WRITTEN)
            return [[HitSpan(0, 0, nth) for nth in range(count)]]
        cached = self._cached.get(id(block))
        if cached is None or cached.lines is not block.lines:
            if len(self._cached) > _KEPT_BLOCKS:
                self._cached.clear()
            rows = _hits_in_lines(self._query, block.lines)
            cached = CachedHits(block, block.lines, rows)
            self._cached[id(block)] = cached
        return cached.rows


def _hits_in_lines(query: Query, lines: Sequence[Line]) -> list[RowHits]:
    """Return the spans of hits on each line; a hit that is wrapped has one on each of its lines."""
    rows: list[RowHits] = [[] for _ in lines]
    nth_in_block = 0
    for fragments in unwrapped_lines(lines):
        text = "".join(fragment.words + fragment.tail for fragment in fragments)
        for first, last in query.spans(text):
            before = 0  # characters of the fragments that were passed
            for fragment in fragments:
                start = max(first - before, 0)
                end = min(last - before, len(fragment.words))
                if start < end:
                    span = HitSpan(fragment.start + start, fragment.start + end, nth_in_block)
                    rows[fragment.row].append(span)
                before += len(fragment.words) + len(fragment.tail)
            nth_in_block += 1
    return rows


def unwrapped_lines(lines: Sequence[Line]) -> Iterator[list[Fragment]]:
    """Yield each unwrapped line of text and each cell of a table, as the fragments on its rows."""
    first = 0
    while first < len(lines):
        last = first  # the last line of the same wrapped text, or of the same row of a table
        # in a table, a line has `tails` if the next line belongs to the same row
        while (lines[last].is_wrapped or lines[last].tails) and last + 1 < len(lines):
            last += 1
        for column in range(len(lines[first].cells) or 1):
            yield [_fragment(lines[row], row, column) for row in range(first, last + 1)]
        first = last + 1


def _fragment(line: Line, row: int, column: int) -> Fragment:
    """Return the text of a line; in a table, that of its cell in a column, without padding."""
    if not line.cells:
        return Fragment(row, 0, line.text, "")
    start, end = line.cells[column]
    text = line.text[start:end].rstrip()
    words = text.lstrip()
    tail = line.tails[column] if column < len(line.tails) else ""
    return Fragment(row, start + len(text) - len(words), words, tail)


_LAST = 1 << 40  # more than the number of any hit of a message


class Standing(NamedTuple):
    """Which hit is the current one, and how many were counted so far."""

    current_number: int  # from 1; 0 if no hit is current
    hits: int


class Mark(Struct, frozen=True):
    """Characters of a row to be marked."""

    start: int
    end: int
    is_current: bool  # whether they belong to the current hit


class CurrentHit(Struct, frozen=True):
    """The hit that is current."""

    index: int  # message
    nth: int  # its index in the message; hits in folded text come first
    hit: Hit

    @property
    def place(self) -> Place:
        return Place(self.index, self.hit.number, self.hit.first_row)


class Finder:
    """Finds words in all messages, and brings one hit after the other into view.

    The hits of an answer that streams are counted when a search begins, and again when it ends.
    """

    def __init__(self, viewport: Viewport, on_change: Callable[[], None]) -> None:
        """Create it; `on_change` is called when the marks or the counts may have changed."""
        self.last_words: tuple[str, ...] = ()  # of the last search, for `n` without the find bar
        self.searches = 0  # number of searches so far
        self._viewport = viewport
        self._document = viewport.document
        self._on_change = on_change
        self._words: tuple[str, ...] = ()
        self._is_for_all_sessions = True  # whether another session is searched for the words too
        self._has_remembered_view = False  # whether the position before typing is remembered
        self._waits_for_first_hit = False  # whether the first hit is shown as soon as it is counted
        self._unfolded: int | None = None  # the message that was unfolded for a hit
        self._start = Place(0, -1, 0)  # row from which on the first hit is searched
        self._current: CurrentHit | None = None
        self._hits = Hits(self._document)

    @property
    def is_active(self) -> bool:
        return self._hits.is_active

    @property
    def is_complete(self) -> bool:
        """Whether all messages were counted."""
        return self._hits.is_complete

    @property
    def is_counting(self) -> bool:
        """Whether `count_rest` has work to do."""
        return self.is_active and not self.is_complete

    @property
    def index(self) -> int | None:
        """The message of the current hit."""
        return self._current.index if self._current else None

    @property
    def place(self) -> Place | None:
        """The first row of the current hit."""
        return self._current.place if self._current else None

    @property
    def standing(self) -> Standing:
        """The number of the current hit, and how many hits there are."""
        counts = self._hits.counts
        current = self._current
        current_number = sum(counts[: current.index]) + current.nth + 1 if current else 0
        return Standing(current_number, sum(counts))

    def marks(self, place: Place, block: Block, row: int) -> Iterator[Mark]:
        """Yield the parts of hits in one line of the block at a place.

        `row` is the index of the line among the lines of the block, and not the row of `place`,
        which counts the blank row above. Nothing is marked in annotations, and in blocks that are
        not laid out.
        """
        if not self.is_active or not block.source or block.lines is None:
            return
        current = self._current
        current_nth = None  # index of the current hit, if it is in this block
        if current and (current.index, current.hit.number) == (place.message, place.block):
            current_nth = current.hit.nth_in_block
        for span in self._hits.hits_by_row(block)[row]:
            yield Mark(span.start, span.end, span.nth_in_block == current_nth)

    # Searching

    def find(self, *words: str) -> int:
        """Begin a search for words, without moving the view; return how many hits it has so far."""
        self._search(words)
        self._on_change()
        return self.standing.hits

    def seek(self, query: str) -> None:
        """Mark all hits of what is typed, and show the first one at or below the top of the screen.

        Each change of the query searches from where the log was before the first letter was typed.
        Without a hit, that position is shown.
        """
        if not self._has_remembered_view:
            self._has_remembered_view = True
            self._viewport.remember("find")
        elif self._current is not None:  # the query before has moved the view to this hit
            with self._viewport.anchored():
                self._fold_again()
            self._viewport.return_to("find")
        self._search((query,))
        self._waits_for_first_hit = True
        self._show_first_hit()
        self._on_change()

    def mark_words(self, message_id: str, words: Sequence[str]) -> None:
        """Search words, and show the first hit in a message: in its text, else in its reasoning.

        This is for a message that was found in the saved sessions: unlike words from the find bar,
        these are not searched again in the next session. If it is not in the log, do nothing.
        """
        index = self._document.entries.index_of(message_id)
        if index is None:
            return
        self._search(words, Place(index, -1, 0))
        self._is_for_all_sessions = False
        with self._viewport.anchored():
            self._document.build(index)
            folded_count = self._hits.count_folded(index)  # hits in reasoning come first
            if not self._select_hit(index, folded_count, 1):
                self._select_hit(index, 0, 1)
        self._show_current()

    def clear(self) -> None:
        """End the search; the view stays where it is."""
        self._reset()
        self._on_change()

    def restart(self) -> None:
        """Search the messages of another session, unless the words were only for the last one.

        The session has been loaded into the document already.
        """
        words = self._words if self._is_for_all_sessions else ()
        self._reset()
        if words:
            self._search(words)

    def _reset(self) -> None:
        """Forget the search; nothing is folded, and the view stays where it is."""
        self._current = None
        self._has_remembered_view = False
        self._waits_for_first_hit = False
        self._unfolded = None
        self._words = ()
        self._hits = Hits(self._document)

    def _search(self, words: Sequence[str], first: Place | None = None) -> None:
        """Begin a search for words; the first hit is searched from row `first` on.

        Without `first`, that is the top of the screen. Some messages are counted at once; the
        others are left to `count_rest`. No hit is current yet.
        """
        if first is None:
            is_empty = not len(self._document)
            first = Place(0, -1, 0) if is_empty else self._document.locate(self._viewport.top)
        self.searches += 1
        self._words = tuple(words)
        if any(words):  # an emptied query is not searched again by `n`
            self.last_words = self._words
        self._is_for_all_sessions = True
        self._waits_for_first_hit = False
        self._start = first
        self._current = None
        self._count_all()

    def _show_first_hit(self) -> None:
        """Show the first hit once, if `seek` waits for it and its message was counted."""
        if self._waits_for_first_hit and self._is_first_hit_known():
            self._waits_for_first_hit = False
            self._go_to_next(1)

    def _is_first_hit_known(self) -> bool:
        """Return whether the first hit at or below the row `_start` was counted.

        Messages are counted in the order in which hits are shown: from the message of `_start` on.
        So the first hit is known as soon as any was counted, except for those that are above
        `_start` in its own message: they come last.
        """
        counts = self._hits.counts
        hit_count = sum(counts)
        if not hit_count:
            return False
        is_in_other_message = counts[self._start.message] < hit_count
        if self.is_complete or is_in_other_message:
            return True
        return self._count_above_start() < hit_count

    # Counting

    def _count_all(self) -> None:
        """Begin to count the hits of all messages, from the one where the search begins."""
        self._hits = Hits(self._document, self._words, self._start.message)
        self._hits.count_slice()

    async def count_rest(self) -> None:
        """Count the messages that were not counted yet, between keys and frames.

        The first hit is shown as soon as it is counted, if `seek` waits for it.
        """
        while self.is_counting:
            self._hits.count_slice()
            self._show_first_hit()
            if self.is_complete:
                with self._viewport.anchored():
                    self._update_current()  # its message was counted by source; now as it is shown
                self._on_change()
            await asyncio.sleep(0)

    def recount(self, index: int) -> None:
        """Count the hits of a new or changed message; the current hit is found again in it.

        An answer that streams is counted when it ends.
        """
        if not self.is_active or self._document.entries[index].is_streaming:
            return
        self._hits.count(index)
        if index == self.index:
            self._update_current()

    def shift_messages(self, count: int) -> None:
        """Adapt to `count` messages that were put before all others.

        All indexes are shifted, and all messages are counted again.
        """
        if not self.is_active:
            return
        start = self._start
        self._start = Place(start.message + count, start.block, start.row)
        if self._unfolded is not None:
            self._unfolded += count
        current = self._current
        if current is not None:
            self._current = CurrentHit(current.index + count, current.nth, current.hit)
        self._count_all()

    # Going to hits

    def step(self, step: int) -> Standing:
        """Show the next hit (`step` 1) or the previous one (-1); return which one it is."""
        self._has_remembered_view = False  # the next query begins where this hit is
        self._go_to_next(step)
        return self.standing

    def _go_to_next(self, step: int) -> None:
        """Select the next hit (`step` 1) or the previous one (-1), and bring it into view."""
        with self._viewport.anchored():  # blocks are unfolded, folded and laid out on the way
            self._select_next(step)
        self._show_current()

    def _show_current(self) -> None:
        """Bring the current hit into view if there is one, and report the change.

        A hit that is in view already does not move.
        """
        current = self._current
        if current is not None:
            viewport = self._viewport
            row = self._document.position(current.place) - viewport.top
            rows_below = current.hit.last_row - current.hit.first_row
            if not 0 <= row < viewport.height - rows_below:
                rows_above = viewport.height // 3  # so that what leads to the hit can be read
                viewport.scroll_to_place(current.place, rows_above)
            if viewport.is_following and self._document.entries[-1].is_streaming:
                viewport.stop_following()  # or new text would push the hit away
        self._on_change()

    def _select_next(self, step: int) -> None:
        """Select the next hit (`step` 1) or the previous one (-1); after the last comes the first.

        Without a current hit, search from the row where the search began. Without any hit, no hit
        is current afterwards.
        """
        counts = self._hits.counts
        if not counts:
            return
        if self._current is not None:
            index = self._current.index
            nth = self._current.nth + step
        else:
            index = self._start.message
            above_start = self._count_above_start()
            nth = above_start if step > 0 else above_start - 1
        # the message in which the search begins is tried twice: its other hits come last
        for distance in range(len(counts) + 1):
            other = (index + step * distance) % len(counts)
            if distance:
                nth = 0 if step > 0 else _LAST
            if counts[other] and self._select_hit(other, nth, step):
                return
        self._current = None

    def _count_above_start(self) -> int:
        """Return how many hits of a message are above the row `_start`, which is in that message.

        The search began at that row. Hits in folded text are the first of a message, as if they
        were in its first block. They count as above the row, unless the row is in that block and no
        shown hit is above it.
        """
        index, number, row = self._start
        if number < 0 or not self._hits.counts[index]:  # it begins above the text of the message
            return 0
        shown = self._hits.shown_hits(index)
        above = [hit for hit in shown if (hit.number, hit.last_row) < (number, row)]
        if number == 0 and not above:
            return 0
        return self._hits.count_folded(index) + len(above)

    def _select_hit(self, index: int, nth: int, step: int) -> bool:
        """Select the n-th hit of a message; return False if the message has no such hit.

        `step` is the direction in which hits are gone through. With -1, a message is entered from
        its end: a too large `nth` is its last hit. The message that was unfolded for a hit before
        is folded again, unless it is this one.
        """
        selected = self._lay_out_hit(index, nth, step)
        if selected is None:
            return False
        if index != self._unfolded:
            self._fold_again()
        self._current = selected
        return True

    def _lay_out_hit(self, index: int, nth: int, step: int) -> CurrentHit | None:
        """Unfold the message if its n-th hit is in folded text, and lay out the block of the hit.

        Return the hit, or None if the message has no such hit. What is unfolded or laid out may
        have fewer hits than its source, in which they were counted before: all hits of the message
        are then counted again, and the n-th one is searched again, until it is in a block that is
        laid out.
        """
        while True:
            shown = self._hits.shown_hits(index)
            folded_count = self._hits.count_folded(index)
            total = folded_count + len(shown)
            self._hits.counts[index] = total
            if step < 0:
                nth = min(nth, total - 1)
            if not 0 <= nth < total:
                return None

            if nth < folded_count:
                self._unfold(index)  # the folded hits come first, so `nth` stays
                continue
            hit = shown[nth - folded_count]
            if self._is_final(index, hit):
                return CurrentHit(index, nth, hit)
            self._document.lay_out_block(index, hit.number)
            if step < 0:
                # The block was entered from its end: its last hit is wanted. The hits that it has
                # lost are before that one.
                nth += len(self._hits.shown_hits(index)) - len(shown)

    def _is_final(self, index: int, hit: Hit) -> bool:
        """Return whether a hit of a message stays as it is: its block is laid out.

        Before the log is shown first, nothing is laid out, and nothing can be.
        """
        block = self._document.entries[index].blocks[hit.number]
        return block.lines is not None or self._document.layout is None

    def _update_current(self) -> None:
        """Select the current hit again in its message, which has changed, or else no hit."""
        current = self._current
        if current is not None and not self._select_hit(current.index, current.nth, 1):
            self._current = None

    def _unfold(self, index: int) -> None:
        """Unfold a message for a hit, and fold the one that was unfolded for another hit."""
        self._fold_again()
        self._document.entries[index].is_folded = False
        self._document.rebuild(index)
        self._unfolded = index

    def _fold_again(self) -> None:
        """Fold the message that was unfolded for a hit."""
        index = self._unfolded
        self._unfolded = None
        if index is None or index >= len(self._document):
            return
        entry = self._document.entries[index]
        if not entry.is_folded:
            entry.is_folded = True
            self._document.rebuild(index)
