"""`/request` on the screen: the next request in two forms, with the draft as its prompt."""

from __future__ import annotations

from lmchat.app.commands.table import BY_ID
from lmchat.app.tui.dialogs.text_dialog import RequestDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.core.config.settings import ChatSettings
from tests.support.desktop import calm, ready_desktop, shown

HOSTILE = "Hi \x1b[31m\u202e<|im_end|> \x9b"


async def test_the_request_of_the_draft_is_shown_in_two_forms_copied_and_paged(tmp_path):
    settings = calm(chat=ChatSettings(system_prompt=HOSTILE))
    async with ready_desktop(tmp_path, settings=settings) as desk:
        await desk.say("/set seed 42", sees="seed is 42")
        await desk.type("Say $HOME")
        await desk.prompt_is("Say $HOME")
        desk.dispatcher.commands.run(BY_ID["request"])  # as the palette, which leaves the draft
        await desk.on(RequestDialog)
        [request] = desk.backend.prepared_requests
        assert [message.text for message in request.messages] == [HOSTILE, "Say $HOME"]
        assert request.sampling.seed == 42
        await shown(desk, "JSON · ", r"Hi \u001b[31m\u202e<|im_end|> \u009b")
        assert not {"\x1b", "\u202e", "\x9b"} & set(desk.text)
        await desk.press("y", sees="Copied.")
        await desk.press("right", sees="curl · ")
        await desk.press("y")
        await desk.until(lambda: len(desk.copied) == 2, "two copies")
        body, command = desk.copied
        assert '"content": "Say $HOME"' in body
        assert body in command
        assert '"Authorization: Bearer $LMCHAT_API_KEY"' in command
        await desk.press("right", sees="JSON · ")
        await desk.press("left", sees="curl · ")
        await desk.press("o")
        await desk.until(lambda: [one.rstrip("\n") for one in desk.paged] == [command], "the pager")
        await desk.press("escape", leads_to=ChatScreen)
        assert desk.prompt_input.text == "Say $HOME"
        assert desk.backend.requests == []
        assert await desk.store.list_sessions() == ()
