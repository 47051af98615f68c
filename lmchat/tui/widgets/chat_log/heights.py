"""Prefix sums of heights that are mostly appended to and changed near the end."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, islice


class Heights:
    """A list of heights that knows where each one starts; a change costs what stands behind it."""

    __slots__ = ("_tops", "_values")

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._values = list(values)
        self._tops = array("q", (0,))

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> int:
        return self._values[index]

    def __setitem__(self, index: int, height: int) -> None:
        if self._values[index] != height:
            self._values[index] = height
            del self._tops[index + 1 :]

    def append(self, height: int) -> None:
        """Add one at the end."""
        self._values.append(height)

    def prepend(self, values: list[int]) -> None:
        """Put some before all others."""
        self._values[:0] = values
        del self._tops[1:]

    def truncate(self, count: int) -> None:
        """Keep the first ones only."""
        del self._values[count:], self._tops[count + 1 :]

    def top(self, index: int) -> int:
        """Return where one starts; the total for the length of the list."""
        known = len(self._tops) - 1
        if index > known:
            rest = accumulate(islice(self._values, known, index), initial=self._tops[-1])
            self._tops.extend(islice(rest, 1, None))
        return self._tops[index]

    @property
    def total(self) -> int:
        """All of them together."""
        return self.top(len(self._values))

    def find(self, y: int) -> tuple[int, int]:
        """Return which one a position falls into, and how far; beyond the end, the last one."""
        total = self.total
        index = len(self._values) - 1 if y >= total else bisect_right(self._tops, max(y, 0)) - 1
        return index, y - self._tops[index]
