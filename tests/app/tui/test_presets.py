from __future__ import annotations

from lmchat.app.tui.dialogs.ask_dialog import AskDialog, ConfirmDialog
from lmchat.app.tui.dialogs.commands_dialog import CommandsDialog
from lmchat.app.tui.dialogs.dialog import PickDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.core.config.settings import Preset, Profile
from tests.support.desktop import calm, ready_desktop, sent, shown

NAMED = calm(
    prompts={
        "french": Preset(text="In French: {{input}}"),
        "pasted": Preset(text="Explain {{clipboard}}"),
    },
    profiles={"short": Profile(max_tokens=50)},
)


async def test_a_preset_is_sent_and_a_profile_chosen_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.md").write_text("The words.\n", encoding="utf-8")
    async with ready_desktop(tmp_path, settings=NAMED) as desk:
        await desk.press(*"/p fr", sees="/p french")
        await desk.press("tab")
        assert desk.prompt_input.text == "/p french "
        await desk.press(*"two cats", hides="/p french  ")
        await desk.press("enter", sees="In French: two cats")
        await desk.answered()
        await desk.say("/p frensh dogs", sees="Configured: french, pasted.")
        await desk.say("/p pasted", sees="The clipboard is empty. Copy a text first.")
        assert (desk.prompt_input.text, len(desk.backend.requests)) == ("", 1)
        await desk.say("/p", leads_to=PickDialog, sees="In French: {{input}}")
        await desk.press("enter", leads_to=AskDialog, sees="The preset french needs a text.")
        await desk.press("escape", leads_to=ChatScreen)
        await desk.press("ctrl+p", leads_to=CommandsDialog)
        await desk.type("french")
        await desk.press("enter", leads_to=AskDialog, sees="The preset french needs a text.")
        await desk.type("a hen")
        await desk.press("enter", leads_to=ChatScreen, sees="In French: a hen")
        await desk.answered(2)
        await desk.say("/p french @a.md too", leads_to=ConfirmDialog, sees="Attach a.md?")
        await desk.confirm(leads_to=ChatScreen)
        await desk.answered(3)
        assert "The words." in sent(desk.backend)[-1]
        await desk.press("ctrl+p", leads_to=CommandsDialog)
        await desk.type("profile: none")
        await shown(desk, "No command matches")
        await desk.press("ctrl+u")
        await desk.type("profile: short")
        await desk.press("enter", leads_to=ChatScreen, sees="Profile: short.")
        await desk.say("/profile", leads_to=PickDialog, sees="short")
        await desk.press("enter", leads_to=ChatScreen, sees="Profile: short.")
        await desk.say("/effort", leads_to=PickDialog, sees="none")
        await desk.press("down", "enter", leads_to=ChatScreen, sees="Reasoning effort: minimal.")
        await desk.press(*"/prof", "tab", "tab", "enter", hides="/profile")
        await shown(desk, "short")
