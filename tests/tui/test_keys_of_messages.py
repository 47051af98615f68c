from __future__ import annotations

from lmchat.tui.chat_log.chat_log import ChatLog
from tests.support.desktop import ready_desktop
from tests.support.scripted_backend import answer_steps

CODE = "Like this:\n\n```python\nx = 1\n```\n"


def row_of_keys(desk) -> str:
    return desk.text.rstrip().split("\n")[-1]


async def click_on(desk, words: str) -> None:
    region = desk.app.screen.query_one(ChatLog).region
    rows = desk.text.split("\n")[region.y : region.bottom]
    y = next(y for y, row in enumerate(rows) if words in row[region.x : region.right])
    await desk.pilot.click(ChatLog, offset=(10, y))


async def test_it_follows_the_focus_from_message_to_message(tmp_path):
    async with ready_desktop(tmp_path, answer_steps(CODE)) as desk:
        assert "^B sessions" in row_of_keys(desk)
        assert "/ commands, @ files, ^K search" in desk.text
        await desk.ask("Show me")
        await desk.press("alt+up")
        await desk.until(lambda: "c copy code" in row_of_keys(desk), "keys of an answer")
        assert row_of_keys(desk).endswith("? more")
        for way, has_code in [("alt+up", False), ("alt+down", True)]:
            await desk.press(way)
            # no longer: with the next look at the server all is drawn anew
            await desk.pilot.pause()
            assert ("c copy code" in row_of_keys(desk)) is has_code
        for words, has_code in [("Show me", False), ("Like this", True)]:
            await click_on(desk, words)
            await desk.pilot.pause()
            assert ("c copy code" in row_of_keys(desk)) is has_code
