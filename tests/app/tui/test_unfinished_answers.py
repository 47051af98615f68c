"""What can be done about the last answer from the prompt, without giving it the focus."""

from __future__ import annotations

from lmchat.base.errors import StreamInterrupted
from lmchat.core.servers.events import RequestSent, TextDelta
from tests.support.desktop import ready_desktop

CUT = StreamInterrupted("The connection broke.")


def broken(*events) -> list:
    return [RequestSent(), *events, CUT]


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
