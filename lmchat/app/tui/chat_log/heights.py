"""Prefix sums of heights: of the blocks of a message, or of the messages of the log."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, islice


class Heights:
    """List of heights, with the sums before them, which are computed when they are needed."""

    __slots__ = ("_tops", "_values")

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._values = list(values)
        # the sums that are known: at each index, the sum of the heights before it
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
        self._values.append(height)

    def truncate(self, count: int) -> None:
        del self._values[count:]
        del self._tops[count + 1 :]

    def top(self, index: int) -> int:
        """Return the sum of the heights before an index."""
        last_known = len(self._tops) - 1
        if index > last_known:
            sums = accumulate(islice(self._values, last_known, index), initial=self._tops[-1])
            self._tops.extend(islice(sums, 1, None))
        return self._tops[index]

    @property
    def total(self) -> int:
        return self.top(len(self._values))

    def find(self, y: int) -> tuple[int, int]:
        """Return the index of the element that covers row `y`, and the row within it.

        After the end: the last element, with a row beyond its height. Above the beginning: the
        first one that has a height, with a negative row.
        """
        total = self.total  # this computes all sums
        index = len(self._values) - 1
        if y < total:
            index = bisect_right(self._tops, max(y, 0)) - 1
        return index, y - self._tops[index]
