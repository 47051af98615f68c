"""Every letter and digit of an answer is on the screen, and every character is in the copy."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from rich.cells import cell_len

from lmchat.app.markdown_lines.block import PIECE_CHARS
from lmchat.app.tui.chat_log.copying import copied
from lmchat.app.tui.chat_log.entry import Entry
from lmchat.app.tui.chat_log.selection import SelectedRange, message_ends
from lmchat.core.servers.events import TextDelta
from tests.support import hostile
from tests.support.chat_log_app import answer, document_with, plain_page, streaming
from tests.support.client_calls import streams
from tests.support.markdown_corpus import CORPUS, GIANTS, must_be_seen, solid

pytestmark = pytest.mark.timeout(120)
SHEET = Path(__file__).parents[3] / "support" / "markdown_sheet.md"
WIDTHS = (80, 30, 200)


def recorded():
    """The answers of the recordings."""
    for name, body in streams().items():
        rows = body.decode(errors="replace").splitlines()
        lines = [line[5:].strip() for line in rows if line.startswith("data:")]
        deltas = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        choices = [choice for delta in deltas for choice in delta.get("choices") or ()]
        text = "".join(choice.get("delta", {}).get("content") or "" for choice in choices)
        if text:
            yield f"recorded {name}", text


GIANT_CHARS = {"backticks": 800}  # where more of them is cut, other ticks make a pair

TEXTS = {
    **CORPUS,
    # with formulas that have no form in Unicode: others are shown with other characters
    "sheet": re.sub(
        r"a_1|x\^2|i=1", lambda formula: f"{formula[0]}_q", SHEET.read_text(encoding="utf-8")
    ),
    **{
        f"giant {name}": made(GIANT_CHARS.get(name, PIECE_CHARS + 500))
        for name, made in GIANTS.items()
    },
    "footnotes": "A note[^1] and[^two].\n\n[^1]: Short\n[^two]: <b>More</b>\n",
    "too few cells": "| a | b |\n|---|---|\n| 5 |\n| \\| | <i>y</i> |\n",
    "attacks": hostile.HOSTILE,
    "attacks line by line": "\n\n".join((*hostile.ATTACKS, hostile.MARKUP)),
    **dict(recorded()),
}


def on_screen(document):
    """Letters and digits of all rows as they are painted."""
    document.lay_out_from(0, 1, 1 << 40)
    seen = ""
    for _, line in document.rows(0, document.total):
        if line is not None:
            painted = "".join(segment.text for segment in line.segments)
            assert cell_len(painted) == document.layout.page.width - 1
            seen += painted
    return solid(seen)


def missing(source, seen):
    """What has to be seen and is not, in the order of the source.

    Wrapped cells of a table stand beside each other: of a text with a table, characters are
    counted.
    """
    words = must_be_seen(source)
    if re.search(r"\|\s*:?-", source):
        return Counter(words) - Counter(seen)
    position = 0
    for done, char in enumerate(words):
        position = seen.find(char, position) + 1
        if not position:
            return words[done:]
    return ""


STREAMED = [
    [name for name in TEXTS if not name.startswith("giant ")],
    pytest.param([name for name in TEXTS if name.startswith("giant ")], marks=pytest.mark.slow),
]


@pytest.mark.parametrize("names", STREAMED, ids=["short", "giant"])
def test_every_character_is_there_while_an_answer_streams_and_when_it_has_ended(names):
    for name in names:
        source, chance = TEXTS[name], random.Random(name)  # noqa: S311 - not a secret
        document = document_with(Entry(streaming(), is_streaming=True))
        entry = document.entries[0]
        start = 0
        looks = {chance.randrange(len(source) + 1) for _ in range(3)}
        while start < len(source):
            size = chance.choice((1, 3, 20, 200, 1_000))
            entry.feed(TextDelta(text=source[start : start + size]))
            document.grow(0)
            if any(position in looks for position in range(start, start + size)):
                document.set_page(plain_page(chance.choice(WIDTHS)))
                # in a last paragraph marks may lack their ends
                so_far = source[: start + size].rpartition("\n\n")[0]
                assert not missing(so_far, on_screen(document)), name
                assert entry.source == source[: start + size]
            start += size
        entry.set_message(answer(source))
        document.rebuild(0)
        for width in WIDTHS:
            document.set_page(plain_page(width))
            assert not missing(source, on_screen(document)), (name, width)
        whole = message_ends(0)
        if source.strip():  # of an answer without words its stats is copied
            assert copied(document, SelectedRange(whole, whole)) == source.strip("\n"), name
