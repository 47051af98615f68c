"""Rows out of single pages of a file whose header or trees are lost; its form: sqlite.org/fileformat2.html.

Only what stands in leaves of tables is read, and the chains of pages that long values go on in. Nothing found
is trusted to be of a certain table: who asks has to recognise its rows.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

Value = int | float | str | bytes | None

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_SIZES = (1024, 4096)
"""Pages as lmchat and SQLite make them, the smallest first, for a file that no longer tells."""
_SMALLEST, _LARGEST = 512, 65536
_LEAF = 13
_PAGE_KINDS = frozenset({2, 5, 10, _LEAF})
_LEAST_CELL = 6
"""Bytes that a row takes at least, with the two that say where it is."""
_SAMPLE = 400
_MOST_COLUMNS = 64
_MOST_TIMES = 8
"""How often a file's length is read of values that go on in other pages; each should be there once."""
_HIGHEST = (1 << 63) - 1
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Bytes of an integer, by its type."""
_REAL, _ZERO, _ONE, _FIRST_BLOB = 7, 8, 9, 12


class RawRow(Struct, frozen=True):
    """A row of some table."""

    rowid: int
    """Its number; where a column is a name for it, that column is None."""
    values: Sequence[Value]
    """Its columns, in the order of the table."""


def raw_rows(path: Path) -> Iterator[RawRow]:
    """Yield all rows that can be read, of all tables; also some that were deleted or replaced long ago.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if path.stat().st_size < _SMALLEST:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            pages = _Pages(data)
            for number in range(1, pages.count + 1):
                yield from pages.rows(number)


class _Pages:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.size = _page_size(data)
        self.count = len(data) // self.size
        self._left = _MOST_TIMES * len(data)

    def rows(self, number: int) -> Iterator[RawRow]:
        """Yield the rows of a page; none where it is no leaf of a table, and a broken one costs itself."""
        page = self._page(number)
        start = _HEADER_BYTES if number == 1 else 0
        if page[start] != _LEAF:
            return
        cells = min(int.from_bytes(page[start + 3 : start + 5]), (self.size - start) // _LEAST_CELL)
        for place in range(start + 8, start + 8 + 2 * cells, 2):
            row = self._row(page, int.from_bytes(page[place : place + 2]))
            if row is not None:
                yield row

    def _page(self, number: int) -> bytes:
        return self._data[(number - 1) * self.size : number * self.size]

    def _row(self, page: bytes, at: int) -> RawRow | None:
        try:
            length, at = _varint(page, at)
            rowid, at = _varint(page, at)
            if rowid > _HIGHEST:
                return None
            return RawRow(rowid, _values(self._payload(page, at, length)))
        except (IndexError, ValueError, struct.error):
            return None

    def _payload(self, page: bytes, at: int, length: int) -> bytes:
        """Return what a cell holds, with what goes on in other pages."""
        most = self.size - 35
        if length <= most:
            return _exactly(page[at : at + length], length)
        self._left -= length
        if length > len(self._data) or self._left < 0:
            raise ValueError("longer than the file, as all of them together may be only so many times")
        least = (self.size - 12) * 32 // 255 - 23
        local = least + (length - least) % (self.size - 4)
        local = local if local <= most else least
        found = [page[at : at + local]]
        rest, following = length - local, int.from_bytes(page[at + local : at + local + 4])
        while rest > 0 and 0 < following <= self.count:
            page = self._page(following)
            found.append(page[4 : 4 + rest])
            rest, following = rest - len(found[-1]), int.from_bytes(page[:4])
        return _exactly(b"".join(found), length)


def _page_size(data: mmap.mmap) -> int:
    size = int.from_bytes(data[16:18])
    size = _LARGEST if size == 1 else size
    if data[:16] == _MAGIC and _SMALLEST <= size <= _LARGEST and size & (size - 1) == 0:
        return size
    shares = {size: _share_of_pages(data, size) for size in _SIZES}
    # Every fourth of small pages looks like a large one: only a clear lead speaks for those.
    return next(size for size in _SIZES if 2 * shares[size] >= max(shares.values()))


def _share_of_pages(data: mmap.mmap, size: int) -> float:
    every = len(data) // size // _SAMPLE | 1  # odd, or of small starts only those of large pages are seen
    starts = range(size, len(data), size * every)
    return sum(data[start] in _PAGE_KINDS for start in starts) / max(len(starts), 1)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | data[place] & 0x7F
        if data[place] < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, place + 1
    return value << 8 | data[at + 8], at + 9


def _values(payload: bytes) -> list[Value]:
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if at != end or len(kinds) > _MOST_COLUMNS:
        raise ValueError("no row of ours")
    values: list[Value] = []
    for kind in kinds:
        size = _bytes_of(kind)
        values.append(_value(kind, _exactly(payload[at : at + size], size)))
        at += size
    return values


def _bytes_of(kind: int) -> int:
    if kind >= _FIRST_BLOB:
        return (kind - _FIRST_BLOB) // 2
    return 8 if kind == _REAL else _INTEGERS.get(kind, 0)


def _value(kind: int, data: bytes) -> Value:
    if kind >= _FIRST_BLOB:
        return data.decode(errors="replace") if kind % 2 else data
    if kind in _INTEGERS:
        return int.from_bytes(data, signed=True)
    known: dict[int, Value] = {0: None, _ZERO: 0, _ONE: 1}
    if kind == _REAL:
        return float(struct.unpack(">d", data)[0])
    if kind not in known:
        raise ValueError("a type that there is not")
    return known[kind]


def _exactly(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise ValueError("a value that is cut off")
    return data
