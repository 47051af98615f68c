"""What `--inline` prints of a text that arrives in pieces."""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmchat.app.leaves.plain import inline
from lmchat.app.leaves.plain.inline import InlineText
from tests.support.markdown_corpus import (
    CORPUS,
    DEAR,
    ENDLESS,
    GIANTS,
    must_be_seen,
    solid,
)

pytestmark = pytest.mark.timeout(120)
SHEET = Path(__file__).parents[3] / "support" / "markdown_sheet.md"
DOCUMENTS = Path(__file__).parents[4] / "docs"
WHOLE = {
    **{name: text[:2_500] for name, text in CORPUS.items()},
    "sheet": re.sub(  # its formulas are shown with other letters
        r"a_1|x\^2|i=1", "q", SHEET.read_text(encoding="utf-8")[:4_000]
    ),
    **{
        name: (DOCUMENTS / f"{name}.md").read_text(encoding="utf-8")[:2_500]
        for name in ("guide", "architecture", "errors", "rules", "security")
    },
}
STRANGE = {
    **{f"giant {name}": made(4_300)[-1_500:] for name, made in GIANTS.items()},
    **{name: made(400) for name, made in DEAR.items()},
    **{name: made(400) for name, made in ENDLESS.items()},
    "more than a piece": GIANTS["paragraph"](4_500),
}
PIECES = (
    "word ", "a", "ö漢字。", "\n", "\n\n", "  ", " ", "- ", "1. ", "> ", "    ", "# ", "---", "===",
    "*", "**", "_", "__", "~~", "`", "``", "```", "~~~", "$", "$$", "\\", "\\(", "\\)", "[", "]", "](", "[2]",
    "(fast)", ")", "![", "[a]: /x", "[a]", "<b>", "<", ">", "<br>", "&amp;", "&", "|", "|---|---|", "| a | b |",
    "http://a.b/c", "!", ":", "word word word word word word word word ", "\r\n", "- - -", "[x] ", "\t",
    "```py\n", "~~~\n", "|---|---|\n", "| a | b |\n", "- [x] ", "<!-- c -->", "\\[", "मीठी ", "สวัสดีครับ", "🇩🇪🇫🇷",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch):
    monkeypatch.setattr(inline, "_FRAME_S", 0)
    monkeypatch.setattr(inline, "get_terminal_size", lambda: os.terminal_size((30, 24)))


def plain(shown):
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


class Terminal:
    """What is on the terminal while a text arrives."""

    def __init__(self):
        self.shown = ""
        self.text = InlineText(self._write, {"NO_COLOR": "1"})

    def _write(self, shown):
        self.shown += shown

    async def receive(self, piece):
        """Let a piece come with a frame of its own; return the text on the terminal."""
        self.text.write(piece)
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        return plain(self.shown)


async def printed(pieces):
    """Return what is printed; each piece comes with a frame of its own."""
    terminal = Terminal()
    for piece in pieces:
        await terminal.receive(piece)
    await terminal.text.print_all()
    terminal.text.end()
    return terminal.shown


async def printed_at_the_end(text):
    """Return what is printed if no frame comes before the end, as after Ctrl+C."""
    terminal = Terminal()
    terminal.text.write(text)
    terminal.text.end()
    await asyncio.sleep(0)  # the frame has been cancelled
    return terminal.shown


def cut(text, seed, most):
    chance = random.Random(seed)  # noqa: S311 - the same pieces in each run
    while text:
        size = chance.randint(1, most)
        yield text[:size]
        text = text[size:]


@pytest.mark.slow  # each text, cut at each size
async def test_what_is_printed_does_not_depend_on_how_the_text_is_cut():
    for number, text in enumerate((WHOLE | STRANGE).values()):
        shown = await printed(cut(text, number, 100))
        assert shown == await printed([text]) == await printed_at_the_end(text), text[:300]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.integers(1, 6), st.integers(0, 99))
def test_any_text_is_printed_as_if_it_had_come_at_once(pieces, most, seed):
    async def compare():
        text = "".join(pieces)
        at_once = await printed_at_the_end(text)
        assert await printed(pieces) == at_once
        assert await printed(cut(text, seed, most)) == at_once

    asyncio.run(compare())


async def test_no_letter_of_an_answer_is_lost_wherever_it_stops():
    for number, text in enumerate(WHOLE.values()):
        stopped = text[: random.Random(number).randint(0, len(text))]  # noqa: S311 - see `cut`
        for part in (text, stopped):
            seen = solid(plain(await printed(cut(part, number, 30))))
            assert not Counter(must_be_seen(part)) - Counter(seen), part[:300]


async def test_a_definition_of_another_block_changes_no_words_and_is_printed_itself():
    terminal = Terminal()
    await terminal.receive("See [it][1].\n\n[1]: /x\n\nMore [it][1].\n\n")
    terminal.text.end()
    lines = [line.strip() for line in plain(terminal.shown).split("\n") if line.strip()]
    assert lines == ["See [it][1].", "[1]: /x", "More [it][1]."]


@pytest.mark.parametrize(
    "marked",  # something is printed at each mark, and nowhere else
    [
        "One *two\nthree* four.\n\n¦",
        "One [two](/three) and\n- four\n¦\nf¦ive\n\n¦",
        "# Beans\n¦Peas\n\n¦",
        "Beans\n=====\n¦Peas\n- \n¦- - -\n¦",
        "> Beans\n> and\npeas\n\n¦",
        "| a | b |\n|---|---|\n| c | d |\n\n¦",
        "- one\n\n  still\n- two\n¦- three\n¦\nf¦our\n\n¦",
        "1. Run:\n\n   ```sh\n   ls\n   ```\n\nS¦o.\n\n¦",
        "- one\n\n漢¦字\n\n¦- two\n\n**So**\n¦\n¦",
        "> ```sh\n> ls\n\n¦So.\n\n¦",
        "$$\nx^2\n$$\n\nSo.\n¦\n¦",
        "<div>\n\nSo.\n¦\n¦",
        "[a]: /x\n\nSee [a].\n\n¦",
        "See [b].\n\n¦[b]: /x\n\n",
        "One\r\nline.\r\n\r\n¦Two.\r\n\r\n¦",
        "```sh\n¦ls\n¦\n¦# *x\n¦```\nSo.\n\n¦",
    ],
)
async def test_a_block_is_printed_when_it_is_closed_and_not_before(marked):
    terminal = Terminal()
    shown = ""
    seen = ""
    for char in marked.replace("¦", ""):
        before = shown
        shown = await terminal.receive(char)
        seen += char + "¦" * (shown != before)
    assert seen == marked
    terminal.text.end()
    assert plain(terminal.shown) == shown


async def test_each_line_of_a_fence_is_printed_when_it_is_complete():
    terminal = Terminal()
    shown = await terminal.receive("So:\n\n~~~~python\n")
    assert shown == "So:\n\npython\n"
    for number in range(50):
        line = f'x{number} = ["""{number}"""]' if number % 7 else "``"
        assert await terminal.receive(line) == shown
        shown += f"{line}\n"
        assert await terminal.receive("\n") == shown
    shown += f"{'word ' * 700}end\n"
    await terminal.receive(f"{'word ' * 700}end")
    assert await terminal.receive("\n") == shown
    terminal.text.end()  # the answer breaks off
    assert plain(terminal.shown) == shown


async def test_a_long_paragraph_is_printed_at_its_end_or_in_pieces_that_cannot_change():
    terminal = Terminal()
    text = "word and *another* " * 1_000
    for piece in cut(text, 1, 40):
        await terminal.receive(piece)
    await terminal.receive("\n\n")
    assert terminal.shown == await printed([text])
    assert plain(terminal.shown).split() == text.replace("*", "").split()


async def test_words_in_brackets_marks_and_a_note_are_printed_as_of_the_text_at_once():
    pieces = ["Open list", "[", "2", "]", " and run", "(", "fast", ")", " today."]
    assert plain(await printed(pieces)) == "Open list[2] and run(fast) today.\n"
    assert plain(
        await printed("![ripe pea](p.png)\n\n-  -   -\n\n| a | b |\n|---|---|\n| c | d |\n")
    ) == (f"image: ripe pea (p.png)\n\n{'─' * 39}\n\na    b\n──────\nc    d\n")


async def test_a_note_in_an_open_paragraph_stands_above_it_and_below_what_came_before():
    terminal = Terminal()
    terminal.text.write("One.\n\nTwo")
    terminal.text.print_closed()
    terminal.shown += "a note\n"
    assert await terminal.receive(" three.") == "One.\na note\n"
    terminal.text.end()
    assert plain(terminal.shown) == "One.\na note\n\nTwo three.\n"


COMMAND = (
    "curl --fail --location --output beans.tar.gz https://example.org/beans/2026/11/beans.tar.gz"
)
CODE = """def rows(first, second, third):
    return [first + second + third + number for number in range(first * second * third)]

print(rows(1, 2, 3))"""


async def test_code_and_a_long_line_of_prose_are_copied_as_they_are_written():
    listed = CODE.replace("\n", "\n   ")
    text = (
        f"Run `{COMMAND}` in the folder of the beans, and wait until it has ended.\n\n"
        f"```python\n{CODE}\n```\n\n"
        f"1. So:\n\n   ```python\n   {listed}\n   ```\n\n> ```\n> {COMMAND}\n> ```\n"
    )
    for pieces in ([text], [*text], cut(text, 1, 30)):
        shown = plain(await printed(pieces))
        assert (
            f"Run `{COMMAND}` in the folder of the beans, and wait until it has ended.\n" in shown
        )
        assert shown.count(f"\n{CODE}\n") == 2
        assert f"\n{COMMAND}\n" in shown


async def test_the_address_of_a_link_is_printed_as_nothing_else_shows_it():
    text = "See [the guide](http://a.example/beans), http://b.example/peas and ![a pea](http://c.example/p.png)."
    shown = "See the guide (http://a.example/beans), http://b.example/peas and image: a pea (http://c.example/p.png).\n"
    assert plain(await printed([text])) == plain(await printed(text)) == shown
