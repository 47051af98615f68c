"""Markdown that costs a parser or a page more than its length tells: signs, short lines, cells, depth."""

from __future__ import annotations

from collections.abc import Callable


def _of(piece: str, start: str = "") -> Callable[[int], str]:
    return lambda chars: (start + piece * (chars // len(piece) + 1))[:chars]


def _head(columns: int, before: str = "") -> str:
    return f"{before}|{'hd|' * columns}\n{before}|{'-|' * columns}\n"


def _each_deeper(chars: int) -> str:
    return "".join(">" * (number % 40 + 1) + " a\n" for number in range(chars // 20))[:chars]


def _short_rows(before: str = "") -> Callable[[int], str]:
    return _of(before + "x\n", _head(32, before))


DEAR: dict[str, Callable[[int], str]] = {
    "names between dunders": _of("__a__b"),
    "emphasis in each word": _of("***a** b* "),
    "struck words": _of("~~a~~ "),
    "open brackets": _of("["),
    "half links": _of("[a"),
    "pictures": _of("!["),
    "references": _of("[a][b]"),
    "defined references": _of("[a][b]", "[b]: /x\n\n"),
    "links": _of("[a](b) "),
    "links in angles": _of("<http://a>"),
    "addresses": _of("http://a.b "),
    "tags": _of("<br>"),
    "CDATA": _of("<![CDATA["),
    "entities": _of("&amp;"),
    "escapes": _of("\\*"),
    "mathematics": _of("\\("),
    "lines of a letter": _of("a\n"),
    "breaks": _of("a\\\n"),
    "title without an end": _of("a\n", "[a]: /b '"),
    "lazy lines": _of("a\n", "> "),
    "lazy lines in 30 quotes": _of("a\n", "> " * 30),
    "short lines in a quote": _of("> a\n"),
    "short lines in an item": _of("  a\n", "- a\n"),
    "quotes in quotes": _each_deeper,
    "rows of a letter": _short_rows(),
    "rows of a letter in a quote": _short_rows("> "),
    "rows of a letter in an item": _of("  x\n", "- a\n\n" + _head(32, "  ")),
    "rows without words": _of("|\n", _head(32)),
    "bold cells": _of("|" + "**a**|" * 32 + "\n", _head(32)),
    "short cells": _of("|" + "abc|" * 32 + "\n", _head(32)),
    "short cells in a quote": _of("> |" + "abc|" * 32 + "\n", _head(32, "> ")),
    "rows of no table": _of("a|b\n"),
    "brackets in code": _of("(", "```python\n"),
    "paths in code": _of("a::b<'c>(", "```rust\n"),
    "marks between ideographs": _of("*\u6f22"),
}
"""Each cut to a number of characters."""
