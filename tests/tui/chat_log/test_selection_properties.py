"""What holds for every selection: it copies what it marks, in order, and nothing else."""

from __future__ import annotations

import random

from lmchat.domain.session import MessagePath
from lmchat.tui.widgets.chat_log.anchor import anchor_in_text, unwrapped_text
from lmchat.tui.widgets.chat_log.copying import copied
from lmchat.tui.widgets.chat_log.document import Document
from lmchat.tui.widgets.chat_log.selection import Selected
from tests.support.chat_log_app import LogApp, answer, chosen, drag, load, plain_page, question

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


def talk(chance, count=3):
    """Prompts and answers of random pieces, laid out at a random width."""
    messages = [
        (question if chance.random() < 0.3 else answer)("".join(chance.choices(PIECES, k=3)))
        for _ in range(count)
    ]
    document = Document()
    document.load(MessagePath(messages))
    document.set_page(plain_page(chance.choice((30, 44, 60, 97))))
    return document, messages


def said_blocks(document):
    """All blocks of what was said, with their texts."""
    for index in range(len(document)):
        for number in range(document.build(index)):
            block = document.entries[index].blocks[number]
            if block.source:
                document.lay_out_block(index, number)
                yield index, number, unwrapped_text(block)


def random_places(chance, document, count):
    blocks = list(said_blocks(document))
    places = []
    for _ in range(count):
        index, number, text = chance.choice(blocks)
        places.append(anchor_in_text(document, index, number, chance.randrange(len(text) + 1)))
    return sorted(places, key=lambda spot: spot.order)


def between(start, end):
    return Selected((start, start), (end, end))


def shown(document, selected):
    """What is marked: the text of the rows between the ends."""
    texts = []
    for index, number, text in said_blocks(document):
        span = selected.span(index, number)
        texts.append(text[slice(*span)] if span else "")
    return "".join(texts)


def test_what_is_copied_holds_what_is_marked_in_its_order_and_parts_cover_the_whole():
    for seed in range(8):
        chance = random.Random(seed)  # noqa: S311 - not a secret
        document, _ = talk(chance)
        for _ in range(6):
            first, second, third = random_places(chance, document, 3)
            parts = [between(first, second), between(second, third)]
            for selected in (*parts, between(first, third)):
                assert is_within(
                    solid(shown(document, selected)), solid(copied(document, selected))
                )
            joined = solid("".join(shown(document, part) for part in parts))
            assert joined == solid(shown(document, between(first, third)))
            assert is_within(joined, solid("".join(copied(document, part) for part in parts)))


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
