from __future__ import annotations

from lmchat.config.settings import ChatSettings, Preset, Profile
from tests.support.desktop import calm, ready_desktop, shown
from tests.support.scripted_backend import answer_steps

NAMED = calm(
    prompts={
        "french": Preset(text="In French: {{input}}"),
        "pasted": Preset(text="Explain {{clipboard}}"),
    },
    profiles={"short": Profile(max_tokens=50)},
)
TITLED = calm(chat=ChatSettings(auto_title=True))


async def test_a_preset_is_sent_and_a_profile_chosen_by_its_name(tmp_path):
    async with ready_desktop(tmp_path, settings=NAMED) as desk:
        await desk.press(*"/p fr", sees="/p french")
        await desk.press("tab")
        assert desk.prompt_input.text == "/p french"
        await desk.press(*" two cats", hides="/p french  ")
        await desk.press("enter", sees="In French: two cats")
        await desk.answered()
        await desk.say("/p frensh dogs", sees="Configured: french, pasted.")
        assert desk.prompt_input.text == "/p frensh dogs"
        desk.prompt_input.put("")
        await desk.say("/p pasted", sees="The clipboard is empty. Copy a text first.")
        assert (desk.prompt_input.text, len(desk.backend.requests)) == ("/p pasted", 1)
        desk.prompt_input.put("")
        await desk.press(*"/profile ", "tab", "enter", hides="/profile")
        await shown(desk, "short")


async def test_the_model_names_a_session_once_after_its_first_answer(tmp_path):
    scripts = answer_steps("Lettuce."), answer_steps('"Salad in the shade"'), answer_steps("Mint.")
    async with ready_desktop(tmp_path, *scripts, settings=TITLED, asked=["What grows?"]) as desk:
        await desk.until(lambda: desk.shown.header.title == "Salad in the shade", "the title")
        assert "What grows?" in desk.backend.requests[1].messages[0].text
        await desk.ask("And then?", 2)
        saved = await desk.store.open_session(desk.session_id)
        assert (saved.header.title, len(desk.backend.requests)) == ("Salad in the shade", 3)
