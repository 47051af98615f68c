"""Models that do not run where their server runs: nothing is sent to one that was not chosen."""

from __future__ import annotations

from lmchat.app.tui.dialogs.model_picker import ModelPicker
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.core.config.settings import ChatSettings, Settings
from lmchat.core.servers.model import LoadState
from tests.support import desktop
from tests.support.desktop import shown
from tests.support.scripted_products import CHAT, jan_with_remote, ollama_with_remote
from tests.support.scripted_server import DONE, Gate, finish, json_reply, sse

REMOTE = "acme-large"
CLOUD = "garden:120b-cloud"
TITLES = Settings(chat=ChatSettings(auto_title=True))


def asked(server) -> list[str]:
    return [seen.json["model"] for seen in server.seen(CHAT)]


async def test_the_only_model_is_remote_and_answers_after_enter_on_its_row(tmp_path, start):
    server = start(jan_with_remote, REMOTE, remote=[REMOTE])
    server.on(CHAT, sse("Hello there.", finish(), DONE))  # without counts, which would be too small
    async with desktop.run(tmp_path, {1337: server}, settings=TITLES) as seen:
        await seen.on(WelcomeScreen)
        await shown(seen, "Jan answers, but no model is loaded.", "Press Enter to choose one.")
        await seen.say("Where are the seeds?")
        seen.time_passes()
        await shown(seen, "Your message waits until a model is ready. Jan answers, but no model is")
        await seen.press("escape", leads_to=ChatScreen)
        await seen.say("/model acme")
        await shown(seen, "did you mean acme-large?")
        await seen.press("ctrl+u")
        await seen.press("alt+1", sees="No recent model has this number.")
        seen.time_passes()
        assert asked(server) == []

        await seen.press("ctrl+o", leads_to=ModelPicker, sees="Jan, remote")
        await shown(seen, "→ acme-large", "→ runs elsewhere", "! your prompts leave this machine")
        told = []
        seen.app.watch(seen.app, "passing", lambda note: told.append(note.text if note else ""))
        await seen.press("ctrl+l", sees="acme-large is a remote model: it is not in memory here.")
        await seen.press("ctrl+g")
        await seen.rests()
        assert isinstance(seen.app.screen, ModelPicker)
        assert "takes no context window" not in seen.text
        await seen.press("enter", sees="acme-large does not run on this machine: the prompt leaves")
        await seen.answered()
        await shown(seen, "→ acme-large · Jan", "remote")
        await seen.until(lambda: len(asked(server)) == 2, "a title")
        await seen.chats("And the beans?", count=2)
        assert set(asked(server)) == {REMOTE}
        assert seen.state[-1].is_remote
        assert sum("does not run on this machine" in note for note in told) <= 1


async def test_a_model_that_turns_into_a_remote_one_gets_no_further_prompt(tmp_path, start):
    server = start(ollama_with_remote, "garden:8b", "hay:1b", remote=[], loaded=["garden:8b"])
    async with desktop.run(tmp_path, {11434: server}, settings=TITLES) as seen:
        await seen.chats()
        await seen.until(lambda: len(asked(server)) == 2, "a title")
        ollama_with_remote(server, "garden:8b", CLOUD, remote=["garden:8b", CLOUD])
        seen.time_passes()
        await shown(seen, "garden:8b does not run on this machine any more.")
        await seen.say("And the peas?")
        await shown(seen, "no model Ollama")
        seen.time_passes()
        await seen.rests()
        assert len(asked(server)) == 2
        assert isinstance(seen.app.screen, ChatScreen), "what is read is not covered"

        # another answer by a model of the picker
        ollama_with_remote(server, "hay:1b", CLOUD, remote=[CLOUD], loaded=["hay:1b"])
        seen.time_passes()
        await seen.until(lambda: len(asked(server)) == 3, "the prompt that waits")
        assert asked(server)[-1] == "hay:1b"
        await seen.answered(2)
        await seen.press("ctrl+o", leads_to=ModelPicker, sees="Ollama, at ollama.com")
        await seen.type("cloud")
        await shown(seen, "1 of 2")
        await seen.press("enter", leads_to=ChatScreen)
        await seen.chats("And the leeks?", count=3)
        assert asked(server)[-1] == CLOUD
        assert seen.workspace.monitor.health.model.state is LoadState.REMOTE


async def test_a_model_that_turns_into_a_remote_one_while_it_is_loaded_gets_no_prompt(
    tmp_path, start
):
    server = start(ollama_with_remote, "garden:8b", "hay:1b", remote=[], loaded=["hay:1b"])
    gate = Gate()
    server.on("POST /api/generate", json_reply({"done": True}, before=[gate]))
    async with desktop.run(tmp_path, {11434: server}) as seen:
        await seen.goes_on()
        await seen.press("ctrl+o", leads_to=ModelPicker)
        await seen.type("garden")
        await seen.press("enter", leads_to=ChatScreen, sees="garden:8b is loading")
        await seen.until(gate.reached.is_set, "a load")
        await seen.rests("load")
        ollama_with_remote(server, "garden:8b", "hay:1b", remote=["garden:8b"])
        gate.open()
        await shown(seen, "garden:8b does not run on this machine any more.")
        await seen.say("And the peas?")
        await shown(seen, "no model Ollama")
        assert asked(server) == []
