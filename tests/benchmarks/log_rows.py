"""What it takes to find in the log."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.benchmarks.bench import Bench, Row, median, row
from tests.benchmarks.stores import fill_store

_COUNT = 10_000
_PLACE, _NONE = r"▌.*\d+/\d+", "no hits"  # patterns
_QUERIES = {
    "one letter that is everywhere": ("e", _PLACE, "<= 100 ms"),
    "words of one message": ("def f777(", _PLACE, "<= 150 ms"),
    "what nobody said": ("qzxv", _NONE, "<= 150 ms"),
}
_FIND, _ERASE, _ESCAPE = "\x06", "\x15", "\x1b"


def find(bench: Bench) -> Iterator[Row]:
    """Type what is to be found: until the first hit is marked."""
    home = bench.still(bench.copy_of(fill_store(bench.folder / f"store{_COUNT}", _COUNT)))
    drawn = bench.lmchat("-r", "last", home=home)
    drawn.wait_for("LAST-ANSWER")
    drawn.rest()
    drawn.type(_FIND)
    drawn.wait_for("in this session")
    for name, (words, told, must) in _QUERIES.items():
        shown = []
        for _ in range(bench.runs):
            drawn.type(_ERASE)
            drawn.rest()
            since = drawn.count
            at_s = drawn.type(words)
            drawn.rest()
            shown.append((drawn.shown_s([told], since=since)[told] - at_s) * 1e3)
        figure = f"find, {_COUNT} messages, {name}: key -> shown"
        yield row(figure, f"{median(shown):.0f} ms", must)
    drawn.type(_ESCAPE)
    time.sleep(0.5)
    drawn.end()
