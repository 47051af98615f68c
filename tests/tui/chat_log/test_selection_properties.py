"""What holds for every selection: it copies what it marks, in order, and nothing else."""

from __future__ import annotations

import random

from tests.support.chat_log_app import LogApp, answer, chosen, drag, load

PIECES = (
    "A paragraph with **bold** words, `code` and *more* of it, long enough to be wrapped.\n\n",
    "漢字仮名まじりの文はどこででも折り返される、とても長い文章。 🙂👩\u200d👩\u200d👧 e\u0301\n\n",
    "# Head\n\n",
    "- one\n- two **b**\n- three\n\n",
    "1. first\n2. second\n   - nested\n\n",
    "> quoted *words*\n> and more\n\n",
    "```python\ndef f(x):\n\treturn x\n\n\n# 漢字\n```\n\n",
    "```\n" + "".join(f"line {n}\tof many\n" for n in range(40)) + "```\n\n",
    "| a | b |\n|---|---|\n| one | two |\n| three | four |\n\n",
    "word " * 1_200 + "end.\n\n",
    "x" * 300 + "\n\n",
    "---\n\n",
)


def solid(text):
    return "".join(text.split())


def is_within(part, whole):
    """Whether all characters of one text stand in another in the same order."""
    rest = iter(whole)
    return all(char in rest for char in part)


async def test_the_cells_that_are_marked_are_those_that_are_copied():
    width = 80
    chance = random.Random(width)  # noqa: S311 - not a secret
    pieces = [piece for piece in PIECES if len(piece) < 200]
    async with LogApp().run_test(size=(width, 24)) as pilot:
        log = pilot.app.log_view
        await load(pilot, *(answer("".join(chance.choices(pieces, k=4))) for _ in range(5)))
        for _ in range(12):
            ends = [(chance.randrange(width), chance.randrange(log.size.height)) for _ in range(2)]
            await drag(pilot, log, *ends)
            seen, text = solid("".join(chosen(log))), solid(log.selected_text)
            assert is_within(seen, text)
            assert bool(seen) == bool(text)
            if (
                ends[0][1] == ends[1][1]
            ):  # on one row: the text itself, or all of its block as it was written
                assert seen == text or log.selected_text in "".join(pieces)
