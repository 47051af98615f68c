"""Answers with every kind of block, in which each marker stands once."""

from __future__ import annotations

import random

_WORDS = 80
_ITEMS = 6
_FUNCTIONS = 25
_ROWS = 12


def markdown_answer(number: int) -> str:
    """Return an answer with a heading, paragraph, list, code, table, quote and formula."""
    words = " ".join(f"word{number}-{index}" for index in range(_WORDS))
    items = "".join(
        f"- item{number}-{index} with so many words that it takes more than one row of a terminal\n"
        for index in range(_ITEMS)
    )
    code = "".join(
        f"def function_{number}_{index}():  # a comment\n    return {index}\n"
        for index in range(_FUNCTIONS)
    )
    rows = "".join(f"| row{number}-{index} | {index} |\n" for index in range(_ROWS))
    return (
        f"# Heading{number}\n\nWith **bold** words, *slanted* ones and `code`: {words}.\n\n{items}\n"
        f"```python\n{code}```\n\n| name | value |\n|---|---:|\n{rows}\n"
        f"> quote{number}\n\nThe end{number}: $x^2$"
    )


def markers_of(number: int) -> list[str]:
    """Return the words of the answer that stand in it once, in their order."""
    return [
        f"Heading{number}",
        *(f"word{number}-{index}" for index in range(_WORDS)),
        *(f"item{number}-{index}" for index in range(_ITEMS)),
        *(f"function_{number}_{index}" for index in range(_FUNCTIONS)),
        *(f"row{number}-{index}" for index in range(_ROWS)),
        f"quote{number}",
        f"end{number}",
    ]


def pieces(text: str, seed: int) -> list[str]:
    """Cut a text into the pieces in which a server might send it."""
    chance = random.Random(seed)  # noqa: S311 - the same pieces in each run
    cut = []
    while text:
        size = chance.randint(1, 12)
        cut.append(text[:size])
        text = text[size:]
    return cut
