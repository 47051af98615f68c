"""Notice of a model that repeats the same text without end.

Such a text has a period: each character is equal to the one so many characters before it. So have
equal rows of tables and code, choruses, and notes of music: no measure tells them from a loop. So
it is told once it is very long, or at the end of an answer that a limit has ended.
"""

from __future__ import annotations

from msgspec import Struct

from lmchat.base.token_estimate import estimate_tokens
from lmchat.core.config.settings import Stuck
from lmchat.core.servers.events import (
    ReasoningDelta,
    RefusalDelta,
    Rethought,
    TextDelta,
    ToolCallDelta,
)

_WINDOW = 4_000  # characters at the end of a text that are compared
_STEP = 100  # characters between two looks
_TOLD_TOKENS = 8_000  # of a repeated part that is told before its end
_TIMES = 3  # a period comes so often at least
_LEAST = 400  # characters that all its repetitions have


class Repetition(Struct, frozen=True, kw_only=True):
    """The same text several times, up to the last character that has come."""

    is_thought: bool
    times: int
    way_out: str = ""  # what lmchat does, with `stuck = "act"`

    @property
    def text(self) -> str:
        subject = "thought" if self.is_thought else "answer"
        return f"The {subject} has repeated itself {self.times} times. {self.way_out}".rstrip()


class RepetitionWatch:
    """Watches the events of one answer for a thought or a text that repeats itself."""

    def __init__(self, stuck: Stuck) -> None:
        """With "tell", it is found once in the thoughts and once in the text; with "act", again."""
        self._stuck = stuck
        self._found: set[bool] = set()  # True: in a thought; False: in the text
        self._start(is_thought=False)

    def _start(self, *, is_thought: bool) -> None:
        self._is_thought = is_thought
        self._window = self._new = ""
        self._repeated_chars = self._repeated_tokens = 0  # tokens: of what came since it was found

    def add(self, event: Struct) -> Repetition | None:
        match event:
            case ReasoningDelta(text=text):
                is_thought = True
            case TextDelta(text=text) | RefusalDelta(text=text) | ToolCallDelta(arguments=text):
                is_thought = False
            case Rethought():  # what was found in the text was found in a thought
                self._found.clear()
                self._start(is_thought=False)
                return None
            case _:
                return None
        if is_thought is not self._is_thought:
            self._start(is_thought=is_thought)
        if is_thought in self._found or self._stuck == "off":
            return None
        self._new += text
        if self._repeated_chars:
            self._repeated_tokens += estimate_tokens(text)
        if len(self._new) < _STEP:
            return None
        repetition = self.at_end()
        if repetition is None or self._repeated_tokens < _TOLD_TOKENS:
            return None
        self._start(is_thought=is_thought)
        if self._stuck == "tell":
            self._found.add(is_thought)
        return repetition

    def at_end(self) -> Repetition | None:
        """Return what is repeated at the end of the text so far, unless it was told."""
        self._window = (self._window + self._new)[-_WINDOW:]
        new_chars = len(self._new)
        self._new = ""
        period, chars = _repeated(self._window)
        if not period:
            self._repeated_chars = self._repeated_tokens = 0
            return None
        self._repeated_chars = max(chars, self._repeated_chars + new_chars)
        return Repetition(is_thought=self._is_thought, times=self._repeated_chars // period)


def _repeated(text: str) -> tuple[int, int]:
    """Return the period and the length of what is repeated at the end, else 0.

    If the last `size` characters come before, their distance is the period, or part of a longer
    one, for which `size` is doubled. The time is linear, as that of `find` is.
    """
    backwards = text[::-1]
    size = _LEAST // _TIMES
    while (period := backwards.find(backwards[:size], 1)) > 0:
        length = max(_TIMES * period, _LEAST)
        if backwards[period:length] == backwards[: length - period]:
            return period, length
        size *= 2
    return 0, 0
