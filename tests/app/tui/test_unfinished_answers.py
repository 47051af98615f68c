"""What can be done about the last answer from the prompt, without giving it the focus."""

from __future__ import annotations

from lmchat.base.errors import StreamInterrupted
from lmchat.core.config.settings import ChatSettings
from lmchat.core.servers.events import RequestSent, StreamFinished, TextDelta, UsageReported
from tests.support.desktop import gone, ready_desktop, shown
from tests.support.scripted_backend import answer_steps

CUT = StreamInterrupted("The connection broke.")


def broken(*events) -> list:
    return [RequestSent(), *events, CUT]


async def test_an_unfinished_answer_says_how_to_continue_it(tmp_path):
    scripts = (
        broken(TextDelta(text="Let")),
        answer_steps("tuce."),
        broken(TextDelta(text="Spin")),
        answer_steps("ach."),
    )
    async with ready_desktop(tmp_path, *scripts, asked=["one"]) as desk:
        await shown(desk, "/continue   ^R retry")  # below the answer
        await desk.say("/continue", sees="Lettuce.")
        await desk.at_rest()
        await gone(desk, "/continue")
        assert desk.active.messages[-1].text == "Lettuce."
        await desk.say("two", sees="/continue   ^R retry")
        rows = desk.text.split("\n")
        y, row = next((y, row) for y, row in enumerate(rows) if "/continue" in row)
        await desk.pilot.click(offset=(row.index("/continue") + 1, y))
        await shown(desk, "Spinach.")


async def test_an_answer_that_its_limit_cut_short_is_continued(tmp_path):
    cut = [
        TextDelta(text="Let"),
        UsageReported(completion_tokens=5),
        StreamFinished(reason="length"),
    ]
    rest = answer_steps("tuce.")
    async with ready_desktop(tmp_path, cut, rest, cut, rest) as desk:
        turn_options = desk.chat.turn_options
        for max_tokens in (5, None):  # without one the server has a limit of its own
            turn_options.chat_settings = ChatSettings(max_tokens=max_tokens)
            await desk.ask("one")
            await shown(desk, "/continue   ^R retry")
            await desk.press("alt+up", "a", sees="Lettuce.")
            await desk.at_rest()
            await desk.press("ctrl+n", hides="Lettuce.")


async def test_the_key_and_the_slash_command_copy_a_failed_answer_alike(tmp_path):
    broken = [RequestSent(), TextDelta(text="Let"), CUT]
    async with ready_desktop(tmp_path, broken, asked=["one"]) as desk:
        await desk.say("/copy")
        await desk.until(lambda: len(desk.copied) == 1, "the copy by the command")
        await desk.press("alt+up", "y")
        await desk.until(lambda: len(desk.copied) == 2, "the copy by the key")
        assert desk.copied[0] == desk.copied[1]
        assert desk.copied[0].startswith("Let\n\nThe connection broke.\n")


async def test_in_an_empty_session_each_says_that_nothing_was_said(desk):
    lines = (
        "/copy",
        "/copy code",
        "/retry",
        "/continue",
        "/edit",
        "/fork",
        "/delete",
        "/links",
        "/pager",
    )
    for line in lines:
        desk.app.passing = None
        desk.prompt_input.put(line)
        await desk.press("enter", sees="This session is empty.")
    await desk.say("/undo", sees="Nothing to undo.")
    await desk.press("ctrl+r", sees="This session is empty.")
    assert desk.backend.requests == []
    assert desk.copied == []
