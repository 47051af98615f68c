"""Texts to stream."""

from __future__ import annotations

from collections.abc import Callable

PARAGRAPH = (
    "The **quick** brown fox jumps over the `lazy` dog while [the link](https://example.org/x) stays *calm*, "
    "and 漢字 with emoji 🙂 keep their width in a long line that wraps more than once at eighty columns.\n\n"
)


def section(n: int) -> str:
    return (
        f"## Section #{2 * n + 1:03d}# here\n\n{PARAGRAPH}"
        f"- first item {n} with **bold**\n- second item\n  - nested item\n\n"
        f"```python\n{_function(n)}```\n\n| name | value |\n|---|---:|\n| alpha | 1 |\n| beta | 22 |\n\n"
        f"1. one\n2. two\n\n> a quote #{2 * n + 2:03d}# that says something\n\n{PARAGRAPH}"
    )


def _function(n: int) -> str:
    return f'def f{n}(x: int) -> str:\n    return f"{{x + {n}}}"  # note\n'


def _grow(length: int, piece: Callable[[int], str]) -> str:
    parts: list[str] = []
    while length > 0:
        parts.append(piece(len(parts)))
        length -= len(parts[-1])
    return "".join(parts)


def mixed(length: int) -> str:
    return _grow(length, section)[:length]


def _item(n: int) -> str:
    return f"{n + 1}. item **{n}** with a text long enough to wrap once at the usual width, or so\n   - sub item\n"


KINDS: dict[str, Callable[[int], str]] = {
    "prose": lambda n: _grow(n, lambda _: PARAGRAPH)[:n],
    "paragraph": lambda n: _grow(n, lambda _: PARAGRAPH.replace("\n", " "))[:n],
    "fence": lambda n: ("```python\n" + _grow(n, _function))[:n],
    "table": lambda n: (
        "| name | value |\n|---|---|\n" + _grow(n, lambda i: f"| item {i} | **bold** {i} |\n")
    )[:n],
    "list": lambda n: _grow(n, _item)[:n],
    "quote": lambda n: _grow(n, lambda i: f"> quoted line {i} with `code` in it\n")[:n],
}
"""Each is cut to a length."""
