from __future__ import annotations

import asyncio

from lmchat.cli.plain.inline import InlineText


async def test_words_after_a_note_in_the_middle_of_a_line_continue_below_it():
    printed = ""
    has_printed = asyncio.Event()

    def write(words: str) -> None:
        nonlocal printed
        printed += words
        has_printed.set()

    text = InlineText(write, {"NO_COLOR": "1"})
    text.write("one two three")
    await has_printed.wait()
    text.end_line()
    printed += "a note\n"
    text.write(" four\nfive")
    await text.print_all()
    text.end()
    await text.aclose()
    assert printed == "one two\na note\nthree four\nfive\n"
