from __future__ import annotations

from textual import events

from lmchat.app.commands.table import BY_ID
from lmchat.app.tui.dialogs.model_picker import ModelPicker
from lmchat.core.sessions.prompts import PendingPrompt
from tests.support.desktop import Desktop, ready_desktop, sent, shown
from tests.support.scripted_backend import answer_steps


async def together(desk: Desktop, *keys: str) -> None:
    """Press keys before the app has done anything with the first of them."""
    for key in keys:
        event = events.Key(key, key if len(key) == 1 else None)
        event.set_sender(desk.app)
        desk.app._driver.send_message(event)
    await desk.pilot.pause()


async def test_a_turn_stopped_or_deleted_at_once_leaves_the_session_at_rest(tmp_path):
    scripts = [answer_steps(text) for text in ("First.", "Second.", "Third.", "Fourth.")]
    async with ready_desktop(tmp_path, *scripts) as desk:
        desk.dispatcher.controllers.turn_view.submit(PendingPrompt(draft="zero"))
        assert desk.dispatcher.controllers.turn_view.stop()
        await desk.at_rest()
        assert desk.texts == ["zero"]
        assert desk.backend.requests == []

        await desk.ask("one")
        await desk.dispatcher.commands.handlers["retry"]("")
        assert desk.dispatcher.controllers.turn_view.stop()
        await desk.at_rest()
        assert sent(desk.backend) == ["one"]
        await desk.ask("two", 2)
        await shown(desk, "Second.")

        desk.dispatcher.commands.run(BY_ID["message.delete"])
        desk.dispatcher.commands.run(BY_ID["retry"])
        await shown(desk, "Deleted")
        await desk.at_rest()
        await desk.say("three")
        await desk.until(lambda: sent(desk.backend)[-1:] == ["three"], "the next prompt")


async def test_letters_behind_a_key_that_moves_the_focus_are_typed_in_order(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("First."), asked=["one"]) as desk:
        for keys, text in (
            (["escape", *"needed"], "needed"),
            (["escape", "escape", *"delete"], "delete"),
            ([*"hello", "escape", *" edit"], "hello edit"),
            (["up", "escape", "up"], "one"),
            ([*"xy", "left", "z"], "xzy"),
            (["escape", *"abc", "backspace", "d"], "abd"),
            (["escape", *"abc", "ctrl+u", "d"], "d"),
            (["alt+down", *"needed"], "needed"),
        ):
            await desk.press("alt+up")
            await together(desk, *keys)
            await desk.prompt_is(text)
            assert desk.app.focused is desk.prompt_input
            desk.prompt_input.put("")
        await desk.press("alt+up")
        await desk.paste("dr\ndr")
        await desk.prompt_is("dr\ndr")
        assert desk.app.focused is desk.prompt_input

        desk.prompt_input.put("")
        await desk.press("ctrl+o", leads_to=ModelPicker)
        await together(desk, "escape", *"next ")
        await desk.prompt_is("next ")
        desk.prompt_input.put("")
        await desk.go_to_list()
        await desk.until(lambda: bool(desk.session_list.chosen_id), "a list")
        titles = "n", *"dune", "enter", "enter", *"/title", "enter", *"dune", "enter"
        await together(desk, *titles, "alt+up", "e", *"dune")
        await desk.prompt_is("onedune")
        await shown(desk, "onedunedune")
        await together(desk, "ctrl+c", "ctrl+c")  # in one read, with nothing to do
        await desk.until(lambda: not desk.app.is_running, "the end")
