"""What is typed while a message has the focus goes into the prompt, unless it is a message key."""

from __future__ import annotations

from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.widgets.session_list import SessionList
from tests.support.desktop import ready_desktop


async def test_pastes_and_letters_without_a_command_go_to_the_prompt_in_order(tmp_path):
    async with ready_desktop(tmp_path, asked=["one"], size=(80, 24)) as desk:
        for way in (("alt+up",), ("ctrl+b",), ("alt+up", "i"), ()):
            desk.chat_screen.set_focus(None)
            await desk.press(*way)
            letters = "" if way[1:] else "two words"  # to a dialog, letters belong
            await desk.paste("hush")
            await desk.type(letters)
            await desk.paste("!")
            if way[1:]:
                await desk.press("escape", leads_to=ChatScreen)
            await desk.prompt_is(f"hush{letters}!")
            await desk.until(lambda: not desk.chat_screen.has_class("-sessions-over"), "no list")
            assert desk.app.focused is desk.prompt_input
            desk.prompt_input.put("")
        await desk.press("ctrl+b")
        await desk.pilot.click(SessionList, offset=(2, 1))
        await desk.press("d")
        await desk.until(lambda: not desk.chat_screen.has_class("-sessions-over"), "no list")
        desk.prompt_input.put("")
        await desk.press("ctrl+b", "question_mark", "escape", leads_to=ChatScreen)
        assert not desk.chat_screen.has_class("-sessions-over"), "it has no focus, so it is gone"
        await desk.press("ctrl+b", "slash", *"on", sees="Enter open")  # its own field
        await desk.paste("e")
        assert desk.prompt_input.text == ""
