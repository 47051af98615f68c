from __future__ import annotations

from lmchat.domain.event import RequestSent, TextDelta
from lmchat.errors import StreamInterrupted
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.keys_row import KeysRow
from tests.support.desktop import half, ready_desktop, shown
from tests.support.scripted_backend import answer_steps


async def click(desk, words: str, *, nth: int = 0) -> None:
    """Click the n-th place of the log where some words stand."""
    log = desk.app.screen.query_one(ChatLog)
    rows = desk.text.split("\n")
    places = [(row.index(words), y) for y, row in enumerate(rows) if words in row]
    x, y = places[nth]
    await desk.pilot.click(ChatLog, offset=(x - log.region.x + 1, y - log.region.y))


async def test_continue_under_a_broken_answer(tmp_path):
    broken = [RequestSent(), TextDelta(text="Let"), StreamInterrupted("The connection broke.")]
    async with ready_desktop(tmp_path, broken, answer_steps("tuce."), asked=["one"]) as desk:
        await click(desk, "a continue")
        await shown(desk, "Lettuce.")


async def test_retry_and_the_details_in_the_card_of_a_failure(tmp_path):
    broken = [StreamInterrupted("The connection broke.")]
    async with ready_desktop(tmp_path, broken, answer_steps("There."), asked=["one"]) as desk:
        await click(desk, "y copy details")
        await desk.until(lambda: "The connection broke." in "".join(desk.copied), "a copy")
        await click(desk, "r regenerate")
        await shown(desk, "There.")


async def test_versions_in_the_receipt_and_the_key_that_stops(tmp_path):
    async with ready_desktop(
        tmp_path, answer_steps("Alpha."), answer_steps("Beta."), half("Gam"), asked=["one"]
    ) as desk:
        await desk.press("ctrl+r", sees="Beta.")
        await desk.at_rest()
        await click(desk, "2/2")
        await shown(desk, "Alpha.")
        await click(desk, "1/2")
        await shown(desk, "Beta.")
        await desk.press(
            "escape"
        )  # a click on a message has focused it, and there "t" is a command
        await desk.say("two", sees="Gam")
        await click(desk, "Esc stop")
        await shown(desk, "stopped")


async def test_each_block_of_code_has_a_copy_of_its_own(tmp_path):
    code = "```py\na = 1\n```\n\n- item\n\n  ```\n  b\n  ```\n\n```sh\nc\n```"
    async with ready_desktop(tmp_path, answer_steps(code), asked=["one"]) as desk:
        await desk.press("alt+up", sees="c copy")
        for nth, copied, note in (
            (2, "c", "Block 3 of 3"),
            (0, "a = 1", "Block 1 of 3"),
            (1, "b", "Block 2 of 3"),
        ):
            await click(desk, "c copy", nth=nth)
            await desk.until(lambda copied=copied: desk.copied[-1:] == [copied + "\n"], copied)
            await shown(desk, note)


async def test_the_row_of_keys_acts_on_the_focused_message(tmp_path):
    async with ready_desktop(
        tmp_path, answer_steps("Alpha."), answer_steps("Beta."), asked=["one"]
    ) as desk:
        await desk.press("ctrl+r", sees="Beta.")
        await desk.at_rest()
        await click(desk, "Beta.")
        await shown(desk, "[ ] versions")
        row = desk.text.split("\n")[-1]
        await desk.pilot.click(KeysRow, offset=(row.index("[ ]"), 0))
        await shown(desk, "Alpha.")
        row = desk.text.split("\n")[-1]
        await desk.pilot.click(KeysRow, offset=(row.index("e edit"), 0))
        await desk.prompt_is("one")
