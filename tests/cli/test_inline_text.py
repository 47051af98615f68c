"""What `--inline` prints of a text that arrives in pieces."""

from __future__ import annotations

import asyncio
import os
import random
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lmchat.cli.plain import inline
from lmchat.cli.plain.inline import InlineText
from tests.support.markdown_corpus import CORPUS, DEAR, ENDLESS, GIANTS

pytestmark = pytest.mark.timeout(120)
SHEET = Path(__file__).parents[1] / "support" / "markdown_sheet.md"
DOCUMENTS = Path(__file__).parents[2] / "docs"
WHOLE = {
    **{name: text[:2_500] for name, text in CORPUS.items()},
    "sheet": SHEET.read_text(encoding="utf-8")[:4_000],
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


async def printed(pieces):
    """Return what is printed; each piece comes with a frame of its own."""
    parts = []
    text = InlineText(parts.append, {"NO_COLOR": "1"})
    for piece in pieces:
        text.write(piece)
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    await text.print_all()
    text.end()
    return plain("".join(parts))


async def printed_at_the_end(text):
    """Return what is printed if no frame comes before the end."""
    parts = []
    whole = InlineText(parts.append, {"NO_COLOR": "1"})
    whole.write(text)
    whole.end()
    await asyncio.sleep(0)  # the frame has been cancelled
    return plain("".join(parts))


def letters_of(shown):
    """Return all but blanks and the marks of emphasis, which may be printed before they end."""
    return re.sub(r"[\s*_~]+", "", shown)


def cut(text, seed, most):
    chance = random.Random(seed)  # noqa: S311 - the same pieces in each run
    while text:
        size = chance.randint(1, most)
        yield text[:size]
        text = text[size:]


async def test_what_is_printed_does_not_depend_on_how_the_text_is_cut():
    for number, text in enumerate(WHOLE.values()):
        assert await printed(cut(text, number, 30)) == await printed([text]), text[:300]


async def test_each_letter_of_a_strange_text_is_printed_once_and_in_order():
    for number, text in enumerate(STRANGE.values()):
        shown = await printed(cut(text, number, 60))
        assert letters_of(shown) == letters_of(await printed([text])), text[:300]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.integers(1, 6), st.integers(0, 99))
@example([*["word "] * 4, "``", "word ", "word ", "``", "*", "word "], 1, 0)
@example([*["word "] * 4, "[", "``", "\\", "[x] ", "word ", "``"], 1, 0)
@example(["``", "\n", "word ", "``", "~~~", "|"], 1, 0)
def test_each_letter_of_any_text_is_printed_once_and_in_order(pieces, most, seed):
    async def compare():
        text = "".join(pieces)
        at_once = letters_of(await printed_at_the_end(text))
        assert letters_of(await printed(text)) == at_once
        assert letters_of(await printed(cut(text, seed, most))) == at_once

    asyncio.run(compare())


async def test_begun_fences_one_behind_the_other_are_printed_once_and_in_order():
    text = "- a\n" + "**> ```py\n```py" * 1_500
    assert letters_of(await printed([text])) == letters_of(await printed_at_the_end(text))


async def test_rows_and_code_that_may_still_become_something_else_wait():
    for pieces in (
        ["word\n", "|---|---|\n", "- [x] "],
        ["word\n", "| a | b |\n", "# ", "x"],
        ["word ", "```py\n", "x\n", "|", "```", "<s>x", "\n\n"],
        ["word ", "```py\n", "```", "x", "\n", "`"],
        ["word ", "```py\n", "```", "**", "`"],
        ["word ", "```py\n", "```", "word", "`", "`x"],
        ["[", "`&amp; word", "](", "/x", ")", " word"],
        ["x\n", "](/a)", "[word", "]", "[^1]"],
        ["word ", "```py\n", "word\n", "```", "_", "```", "\n"],
    ):
        text = "".join(pieces)
        at_once = letters_of(await printed_at_the_end(text))
        assert letters_of(await printed([text])) == at_once, text
        assert letters_of(await printed(pieces)) == at_once, text


async def test_words_in_brackets_marks_and_a_note_are_printed_as_of_the_text_at_once():
    pieces = ["Open list", "[", "2", "]", " and run", "(", "fast", ")", " today."]
    assert await printed(pieces) == "Open list[2] and run(fast) today.\n"
    assert await printed("![ripe pea](p.png)\n\n-  -   -\n\n| a | b |\n|---|---|\n| c | d |\n") == (
        f"image: ripe pea (p.png)\n\n{'─' * 39}\n\na  b\n────\nc  d\n"
    )


async def test_the_rows_of_an_open_paragraph_are_printed_but_for_the_last_as_one_line():
    parts = []
    text = InlineText(parts.append, {"NO_COLOR": "1"})
    text.write("- One two three four five six seven eight nine ten eleven twelve")
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert plain("".join(parts)) == "• One two three four five six seven"
    text.write(" thirteen fourteen fifteen")
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert plain("".join(parts)).endswith(" six seven eight nine ten eleven twelve thirteen")
    text.end_line()
    parts.append("a note\n")
    text.write(" sixteen.")
    await text.print_all()
    text.end()
    assert plain("".join(parts)).endswith("thirteen\na note\nfourteen fifteen sixteen.\n")


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
        shown = await printed(pieces)
        assert (
            f"Run `{COMMAND}` in the folder of the beans, and wait until it has ended.\n" in shown
        )
        assert shown.count(f"\n{CODE}\n") == 2
        assert f"\n{COMMAND}\n" in shown


async def test_the_address_of_a_link_is_printed_as_nothing_else_shows_it():
    text = "See [the guide](http://a.example/beans), http://b.example/peas and ![a pea](http://c.example/p.png)."
    shown = "See the guide (http://a.example/beans), http://b.example/peas and image: a pea (http://c.example/p.png).\n"
    assert await printed([text]) == await printed(text) == shown


async def test_a_mark_without_its_end_is_printed_as_of_the_text_at_once():
    for text in (
        "Call f(payload, headers, *, secret=None) or pass *args, and it does all that is needed.",
        "> **Bold words that go on for more than\n> one line and end behind a stop.**\n> So.",
        "**Bold words that go on for more than one row of it\nand end in the next line.** So.",
    ):
        assert await printed(text) == await printed([text]), text
