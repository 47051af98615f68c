"""How soon a hit is shown, and all are counted, in a session of 10 000 messages."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from tests.benchmarks.bench import Bench, Row, median, row
from tests.benchmarks.store import fill_store
from tests.benchmarks.terminal import Drawn
from tests.support.pty_program import Terminal

_COUNT = 10_000
_PLACE, _NONE = re.compile(r"▌.*\d+/\d+"), re.compile("no hits")
_QUERIES = {
    "one letter that is everywhere": ("e", _PLACE),
    "words of one message": ("def f777(", _PLACE),
    "what nobody said": ("qzxv", _NONE),
}
_FIND, _ERASE, _ESCAPE = "\x06", "\x15", "\x1b"


def find(bench: Bench) -> Iterator[Row]:
    """Type what is to be found: until the first hit is marked, until all are counted, and what it takes."""
    home = bench.copy_of(fill_store(bench.folder / f"store{_COUNT}", _COUNT))
    (home / "config.toml").write_text("[ui]\nreduced_motion = true\n")
    drawn = bench.lmchat("-r", "last", home=home)
    drawn.wait_for("LAST-ANSWER")
    drawn.rest()
    drawn.type(_FIND)
    drawn.wait_for("in this session")
    for name, (words, told) in _QUERIES.items():
        shown, cpus, echoes = [], [], []
        for _ in range(bench.runs):
            drawn.type(_ERASE)
            cpu_s, since = drawn.rest(), drawn.count
            at_s = drawn.type(words)
            cpus.append((drawn.rest() - cpu_s) * 1e3)
            shown.append((_first_shown_s(drawn, told, since) - at_s) * 1e3)
            drawn.type(_ERASE)
            drawn.rest()
            drawn.type(words)
            echoes.append(_echo(drawn))
        yield row(f"find, {_COUNT} messages, {name}: key -> shown", f"{median(shown):.0f} ms", "<= 100 ms")
        yield row("  a key typed while all are counted, worst", f"{max(echoes):.0f} ms", "<= 100 ms")
        yield row("  CPU, all keys of it", f"{median(cpus):.0f} ms")
    drawn.type(_ESCAPE)
    time.sleep(0.5)
    drawn.end()


def _echo(drawn: Drawn) -> float:
    """Type a sign of its own while hits are counted; return how long it takes to be shown."""
    mark, at_s = drawn.count, time.perf_counter()
    drawn.type("\u4e05")
    return (drawn.wait_for("\u4e05", since=mark) - at_s) * 1e3


def _first_shown_s(drawn: Drawn, wanted: re.Pattern[str], since: int) -> float:
    """Return when something stood on the screen first; what changed may have come in pieces."""
    terminal = Terminal(120, 40)
    for number, (at_s, data) in enumerate(list(drawn.chunks)):
        terminal.feed(data)
        if number >= since and any(wanted.search(line) for line in terminal.lines):
            return at_s
    raise TimeoutError(f"{wanted.pattern} was not shown:\n" + "\n".join(terminal.lines))
