"""Drafts of earlier runs that are read while the user already types."""

from __future__ import annotations

from tests.support.desktop import kept_as, make_desktop, running, sent
from tests.support.scripted_backend import hold


async def test_typing_before_the_drafts_are_read_costs_none_of_them(tmp_path):
    first = make_desktop(tmp_path)
    async with running(first):
        await first.ready()
        await first.type("of the first run")
        await first.until(lambda: first.prompt_input.text == "of the first run", "the prompt")

    desk = make_desktop(tmp_path)
    may_read = hold(desk.store, "take_drafts")
    async with running(desk):
        await desk.ready()
        await desk.type("x")
        await desk.prompt_is("x")
        may_read.set()
        await kept_as(desk, desk.session_id, "of the first run\n\nx")
        await desk.type("y")
        await kept_as(desk, desk.session_id, "of the first run\n\nxy")
        await desk.press("enter")
        await desk.answered()
        assert sent(desk.backend) == ["xy"]
        await kept_as(desk, desk.session_id, "of the first run")
        await desk.press("up", "up")
        assert desk.prompt_input.text == "of the first run"
        await kept_as(desk, desk.session_id, "of the first run")
        await desk.press("down", "down")
        session_id = desk.session_id
        await desk.press("ctrl+n")  # back in its session, it is shown
        await desk.until(lambda: desk.session_id != session_id, "a new session")
        desk.dispatcher.controllers.session_view.switch_to(session_id)
        await desk.prompt_is("of the first run")
        await desk.type("!")
        await kept_as(desk, session_id, "of the first run!")
        await desk.press("enter")
        await desk.answered(2)
        await kept_as(desk, session_id, "")
