"""Invisible letters of ordinary text: painted as nothing, and kept in what is sent and copied."""
# ruff: noqa: RUF001 - a word of Hebrew

from __future__ import annotations

from lmchat.app.tui.quirks.keys import Paste
from tests.support.desktop import ready_desktop, sent
from tests.support.hostile import OBEYED
from tests.support.scripted_backend import answer_steps

SAID = "soft\u00adware\ufeff, \u2067שלום\u2069\u200f zero\u200bwidth"
SEEN = "software, �שלום� zerowidth"
CODE = "pass\u200bword"


async def test_they_are_in_no_cell_and_in_requests_and_copies(tmp_path):
    answer = f"{SAID} end\n\n```\n{CODE}\n```\n"
    async with ready_desktop(tmp_path, answer_steps(answer)) as desk:
        desk.prompt_input.post_message(Paste(f"{SAID} \x1b[2J"))
        await desk.until(lambda: f"{SEEN} ␛[2J" in desk.text, "the paste")
        await desk.press("enter")
        await desk.answered()
        assert sent(desk.backend) == [f"{SAID} ␛[2J"]
        assert f"{SEEN} end" in desk.text
        assert "password" in desk.text
        assert not OBEYED & set(desk.text)
        await desk.press("alt+up", "y")
        await desk.press("c")
        await desk.until(lambda: len(desk.copied) == 2, "two copies")
        assert desk.copied == [answer.rstrip("\n"), CODE]
        await desk.press("ctrl+f")
        await desk.type("zerowidth")
        await desk.until(lambda: "1/2" in desk.text or "2/2" in desk.text, "both hits")
