"""What it takes to find in the log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from lmchat.app.tui.chat_log.document import Document
from lmchat.app.tui.chat_log.viewport import Viewport
from lmchat.core.sessions.message import Role, text_message
from tests.benchmarks.bench import Bench, Row, ratio_row, row
from tests.benchmarks.stores import fill_store
from tests.support.chat_log_app import plain_page

_COUNT = 10_000
_PLACE, _NONE = r"▌.*\d+/\d+", "no hits"  # patterns
_QUERIES = {
    "one letter that is everywhere": ("e", _PLACE, "<= 100 ms"),
    "words of one message": ("def f777(", _PLACE, "<= 150 ms"),
    "what nobody said": ("qzxv", _NONE, "<= 150 ms"),
}
_MEGABYTE = 1_000_000
_LONG = {
    "prose": "The quick brown fox jumps over the lazy dog, and then it walks home. " * 7 + "\n\n",
    "lines of a word": "ok\n",
    "lines of a letter": "a\n",
    "lists and quotes": "- a\n  - b\n    > c\n",
    "a table": "| a | b |\n|---|---|\n" + "| word | 12 |\n" * 80_000,
    "code": "```python\n" + "x = 1\n" * 170_000,
    "emphasis": "_a_ ",
    "links": "[a](http://a.b/c) ",
    "base64": "TWFueSBoYW5kcyBtYWtl",
    "ideographs": "漢字かな交じり文。",
}
_FIND = "\x06"
_ERASE = "\x15"
_ESCAPE = "\x1b"


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


def megabyte(bench: Bench) -> Iterator[Row]:
    """Open a session with one answer of 1 MB, and make the window narrower; CPU, against prose."""
    opened: dict[str, list[float]] = {}
    resized: dict[str, list[float]] = {}
    for _ in range(bench.runs):
        for name, piece in _LONG.items():
            text = (piece * (_MEGABYTE // len(piece) + 1))[:_MEGABYTE]
            viewport = Viewport(Document(), lambda: False)
            viewport.set_page(plain_page(94), 40)
            for times, work in (
                (opened, lambda v=viewport, t=text: _show(v, t)),
                (resized, lambda v=viewport: v.set_page(plain_page(70), 40)),
            ):
                started_s = time.process_time()
                work()
                times.setdefault(name, []).append(time.process_time() - started_s)
    yield row("1 MB of prose: open; resize", f"{_ms(opened['prose'])}; {_ms(resized['prose'])} ms")
    for name in list(_LONG)[1:]:
        yield row(
            f"1 MB of {name}: open; resize",
            f"{_ms(opened[name])}; {_ms(resized[name])} ms",
            "<= 200; 200",
        )
        for what, times in (("open", opened), ("resize", resized)):
            yield ratio_row(f"  {what} : prose", times[name], times["prose"])


def _ms(times: list[float]) -> str:
    return f"{median(times) * 1e3:.0f}"


def _show(viewport: Viewport, text: str) -> None:
    viewport.document.reset([text_message(Role.ASSISTANT, text)])
    viewport.reset()
