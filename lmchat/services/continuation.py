"""An answer that is gone on with, joined to what it begins with: nothing twice, nothing lost; pure.

A server that takes the answer up writes on from its last character, and what comes is taken as it is. One
that is only told to go on is asked to repeat the last words first, and may greet, comment or open a fence
again: what comes is held back until it is clear where it begins to be new.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from unicodedata import east_asian_width

from msgspec import Struct

from lmchat.domain.event import (
    ReasoningDelta,
    RefusalDelta,
    Rethought,
    StreamEvent,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
)
from lmchat.domain.message import ChatMessage
from lmchat.text import open_fence

_LONGEST = 160
_STARTS = ("sure", "certainly", "of course", "okay", "ok", "absolutely", "here", "continu", "sorry", "apolog")
_GREETING = r"""\W{0,3}(?:
        (?:sure|certainly|of\ course|okay|ok|absolutely|sorry|apologies)\b[^\n:]{0,40}[.!:…]?[ \t]*\n+
      | (?:sure|certainly|of\ course|okay|ok|absolutely|here|continu|sorry|apolog)[^\n:]{0,100}?
        (?:continu|left\ off|broke\ off|cut\ off|stopped|rest)[^\n:]{0,80}
        (?::[ \t]*\n*|\.{3}[ \t]*\n+|[.…][ \t]*\n+)
    )"""
"""Compiled when an answer is gone on with: each start would wait half a millisecond for it."""
_DOTS = re.compile(r"(?:\.{3}|…)[ \t]?")
_FENCE_LINE = re.compile(r"(?:`{3,}|~{3,})[ \t]*([^\s`]*)[^\n`]*\n")
_BEGUN_FENCE = re.compile(r"[`~]{1,2}\Z|(?:```|~~~)[^\n]*\Z")
_QUOTES = "\"'“”„«»"


class View(Struct, frozen=True, kw_only=True):
    """What has come, without something that may be a preface."""

    text: str
    """What is left."""
    is_sure: bool = False
    """Whether it was a preface in any case, not only where the last words follow."""
    is_code: bool = False
    """Whether what is left stood in a fence of its own."""


def _may_be_greeting(said: str) -> bool:
    """Whether more has to come before it is clear whether this is a greeting."""
    head = said.lstrip()
    if not head:
        return True
    if "\n" in head or ":" in head or len(head) > _LONGEST:
        return False
    low = head[: max(map(len, _STARTS))].lower()
    return any(start.startswith(low) or low.startswith(start) for start in _STARTS)


def views(text: str, said: str, *, is_all: bool) -> list[View] | None:
    """Return what has come, and what is left of it without prefaces, the barest last; None: see more."""
    if not is_all and _may_be_greeting(said):
        return None
    greeting = re.match(_GREETING, said.lstrip(), re.IGNORECASE | re.VERBOSE)
    rest = said.lstrip()[greeting.end() :] if greeting else said
    found = [View(text=rest, is_sure=True)]
    head, is_in_fence = rest.lstrip(), open_fence(text) is not None
    if not is_all and _is_unclear(head, is_in_fence=is_in_fence):
        return None
    fence = _FENCE_LINE.match(head) if is_in_fence else None
    dots = _DOTS.match(head)
    if fence is not None:
        begins_line = text.endswith("\n") or (not greeting and "\n" in rest[: len(rest) - len(head)])
        is_opened_again = bool(fence[1]) or not begins_line
        found.append(View(text=head[fence.end() :], is_sure=is_opened_again, is_code=True))
    elif dots is not None:
        is_sure = not is_in_fence and not text.rstrip().endswith((".", "…"))
        found.append(View(text=head[dots.end() :], is_sure=is_sure))
    elif head[:1] and head[0] in _QUOTES:
        found.append(View(text=head[1:]))
    return found


def _is_unclear(head: str, *, is_in_fence: bool) -> bool:
    if not head or head in (".", "..", "...", "…", *_QUOTES):
        return True
    return is_in_fence and _BEGUN_FENCE.match(head) is not None


ANCHOR_CHARS = 60
"""So much of the end of an answer is quoted to who is told to go on with it."""
_LOOKED_BACK = 4_000
"""So much of the end may be said once more before what is new; a whole answer is recognised beside it."""
_SURE_LETTERS = 16
"""So many letters that stand at the end, and nowhere before, are not said twice by chance."""
_SAMPLE_CHARS = 500
"""So much of a text is enough to know whether it has letters, and goes round."""
_ECHO_LETTERS = 8
_WORD_LETTERS = 5
_BEGUN_LETTERS = 3
_ENDS_OF_CODE_LINES = (":", ";", "{", "}", ",", ")")


class Joint:
    """Takes the events of a stream that goes on with an answer, and gives those that belong to it."""

    def __init__(self, begun: ChatMessage, *, is_taken_up: bool) -> None:
        """`is_taken_up`: the server writes on from the last character, instead of having been told to."""
        self._text = begun.text
        self._is_taken_up = is_taken_up
        self._is_new_thought = bool(begun.reasoning) and not (is_taken_up and not begun.text)
        self._gap = "\n\n"[: 2 - begun.reasoning[-2:].count("\n")]
        self._held, self._pieces = "", 0
        self._is_joined = False

    def feed(self, event: StreamEvent) -> tuple[StreamEvent, ...]:
        """Take an event; text waits until it is clear what of it is new."""
        match event:
            case TextDelta(text=text, pieces=pieces) if not self._is_joined:
                self._held += text
                self._pieces += pieces
                return self._take(is_all=False)
            case ReasoningDelta(text=text, pieces=pieces) if self._is_new_thought:
                self._is_new_thought = False
                return (ReasoningDelta(text=self._gap + text.lstrip("\n"), pieces=pieces),)
            case Rethought(is_thought=is_thought):
                before = self.close()
                self._is_joined = not is_thought  # what comes behind a thought has still to be joined
                return (*before, event)
            case RefusalDelta() | ToolCallDelta() | StreamFinished():
                return (*self.close(), event)
            case _:
                return (event,)

    def close(self) -> tuple[StreamEvent, ...]:
        """Return what was held back, however the stream ended."""
        return self._take(is_all=True) if self._held else ()

    def _take(self, *, is_all: bool) -> tuple[StreamEvent, ...]:
        fresh = continuation(self._text, self._held, is_taken_up=self._is_taken_up, is_all=is_all)
        if fresh is None:
            return ()
        pieces, self._pieces = self._pieces, 0
        self._held, self._is_joined = "", True
        return (TextDelta(text=fresh, pieces=pieces),) if fresh else ()


def anchor(text: str) -> str:
    """Return the last words of an answer, to be said once more before it goes on."""
    whole = text.rstrip()
    end = whole[-ANCHOR_CHARS:]
    words = end.partition(" ")[2].lstrip()
    return words if len(whole) > ANCHOR_CHARS and len(words) > ANCHOR_CHARS // 2 else end


def continuation(text: str, said: str, *, is_taken_up: bool, is_all: bool) -> str | None:
    """Return what of `said` goes on with a text; None where more of it has to be seen first.

    Args:
        text: The unfinished answer.
        said: What has come so far.
        is_taken_up: Whether the server writes on from the last character.
        is_all: Whether nothing more comes.
    """
    if not text:
        return said
    if is_taken_up:
        return _without_echo(text, said, is_all=is_all)
    found = views(text, said, is_all=is_all)
    return None if found is None else _behind_repetition(text, found, is_all=is_all)


def _behind_repetition(text: str, found: Sequence[View], *, is_all: bool) -> str | None:
    base = text.rstrip()
    if not is_all and any(_may_repeat(base, view.text.lstrip()) for view in found):
        return None
    for view in found:
        head = view.text.lstrip()
        if length := _repeated(base, head, is_code=view.is_code):
            blanks, rest = text[len(base) :], head[length:]
            return None if blanks and not rest.strip() and not is_all else _merged(blanks, rest)
    best = [view for view in found if view.is_sure][-1]
    return _on_new_line(text, best) if best.is_code else best.text


def _without_echo(text: str, said: str, *, is_all: bool) -> str | None:
    """Some servers send what they were given once more before what they add to it."""
    if _letters(text) < _ECHO_LETTERS or _goes_round(text):
        return said
    if said.startswith(text):
        return said[len(text) :]
    return None if text.startswith(said) and not is_all else said


def _may_repeat(base: str, head: str) -> bool:
    """Whether what has come may be the beginning of a repetition, so that more has to be seen."""
    if not head:
        return True
    place = base.find(head, max(len(base) - _LOOKED_BACK, 0))
    return 0 <= place < len(base) - len(head) or (base != head and base.startswith(head))


def _repeated(base: str, head: str, *, is_code: bool) -> int:
    """Return how much of what has come was said before: the longest end of the text that it begins with."""
    if head.startswith(base) and _is_repetition(base, base, head):
        return len(base)
    for start in range(max(len(base) - min(len(head), _LOOKED_BACK), 0), len(base)):
        if base[start] == head[0] and head.startswith(base[start:]):
            end = base[start:]
            is_line = is_code and base[:start].rpartition("\n")[2].isspace()
            if is_line or _is_repetition(base, end, head):
                return len(end)
    return 0


def _is_repetition(base: str, end: str, head: str) -> bool:
    """Whether the end of a text that also begins what has come was said twice, and does not go on so."""
    if end.startswith(("```", "~~~")) and "\n" not in end and open_fence(base) is not None:
        return True  # the line that opens the fence was not yet at its end
    if _goes_round(end) or base.find(end) != len(base) - len(end):
        return False
    letters, following = _letters(end), head[len(end) : len(end) + 1]
    if letters >= _SURE_LETTERS or (end == anchor(base) and letters >= _BEGUN_LETTERS):
        return True
    begins_word = len(base) == len(end) or not (_is_letter(end[0]) and _is_letter(base[-len(end) - 1]))
    if not (begins_word and _is_letter(end[-1]) and any(char.isalpha() for char in end)):
        return False
    # `vegeta` + `vegetables`, or `several` + `several do`: said on, they would make one word of two
    return letters >= (_BEGUN_LETTERS if _is_letter(following) else _WORD_LETTERS)


def _goes_round(end: str) -> bool:
    """Whether a text is the same again and again, as a rule or a row of equal cells: it may go on so."""
    begin = end[:_SAMPLE_CHARS]
    periods = range(1, min(len(end) // 2, _SAMPLE_CHARS) + 1)
    return any(end.startswith(begin[: len(end) - one], one) and end.startswith(end[one:]) for one in periods)


def _letters(text: str) -> int:
    """Return how many letters and figures a text begins with; one that is as wide as two counts as two."""
    letters = (char for char in text[:_SAMPLE_CHARS] if char.isalnum())
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in letters)


def _is_letter(char: str) -> bool:
    return char.isalnum() or char == "_"


def _merged(blanks: str, rest: str) -> str:
    """Return what comes behind a repetition, without the white space that the text ends with already."""
    lead = rest[: len(rest) - len(rest.lstrip())]
    for length in range(min(len(blanks), len(lead)), 0, -1):
        if blanks.endswith(lead[:length]):
            return rest[length:]
    return rest


def _on_new_line(text: str, view: View) -> str:
    """Return code that came in a fence of its own: it begins a line, unless a line was cut in its middle."""
    last = text.rpartition("\n")[2].rstrip()
    is_cut = bool(last) and not (last.endswith(_ENDS_OF_CODE_LINES) or view.text[:1].isspace())
    return view.text if not last or is_cut else f"\n{view.text}"
