from __future__ import annotations

import asyncio

from msgspec.structs import replace
from textual.widgets import Input

from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.dialogs.model_picker import ModelPicker
from lmchat.app.tui.screen import ChatScreen
from lmchat.base.errors import LMChatError, ServerRejected
from lmchat.core.config.settings import EndpointSettings, Settings
from lmchat.core.config.state import State, UsedModel
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import LoadState
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import (
    ENDPOINT,
    ScriptedBackend,
    answer_steps,
    half,
    hold,
    model,
    probed,
)

QWEN = model()
GEMMA = model("gemma-3-4b")
COLD = model("phi4-14b", state=LoadState.NOT_LOADED, context_loaded=None)
EMBED = model("nomic-embed", kind="embedding")


def two(*scripts) -> ScriptedBackend:
    return ScriptedBackend(*scripts, results=[probed("", QWEN, GEMMA, COLD, EMBED)])


async def picker(desk) -> ModelPicker:
    await desk.press("ctrl+o", leads_to=ModelPicker)
    await desk.pilot.pause()
    return desk.app.screen


async def test_the_row_below_the_prompt_tells_servers_of_one_product_apart(tmp_path):
    other = probed("", GEMMA, endpoint=Endpoint.parse("localhost:1235"))
    for own, name in (
        ((), "LM Studio localhost:1234"),
        ((EndpointSettings(name="workstation", url="http://localhost:1234"),), "workstation"),
    ):
        backend = ScriptedBackend(results=[probed("", QWEN), other])
        settings = Settings(endpoints=own)
        async with ready_desktop(tmp_path, backend=backend, settings=settings) as desk:
            await shown(desk, f"qwen3-8b · {name}")


async def test_a_model_is_filtered_chosen_and_answers_the_next_turn_with_the_whole_talk(tmp_path):
    named = [
        step for step in answer_steps("Gemma too.") if getattr(step, "model", "") != "qwen3-8b"
    ]
    backend = two(answer_steps("From qwen."), named, answer_steps("From gemma."))
    async with ready_desktop(tmp_path, asked=["one"], backend=backend) as desk:
        gate = hold(backend, "detect")
        await desk.press("a", "b")
        await picker(desk)  # at once, from what is known
        await shown(desk, "gemma-3-4b", "updated 40 s ago")
        gate.set()
        await shown(desk, "updated 0 s ago")
        await desk.press("down", "down", "escape", leads_to=ChatScreen)
        assert desk.target.model_id == "qwen3-8b"
        assert desk.prompt_input.text == "ab"
        assert backend.loaded == []

        await desk.press("alt+up", "R", leads_to=ModelPicker)  # another one answers once more
        await desk.press(*"gem", sees="1 of 4")
        await desk.press("enter", leads_to=ChatScreen)
        await shown(desk, "Gemma too.", "2/2", "gemma-3-4b")
        await desk.answered()
        assert desk.target.model_id == "qwen3-8b"
        await desk.press("escape")
        await picker(desk)
        await desk.press(*"gem", sees="1 of 4")
        await desk.press("enter", leads_to=ChatScreen, sees="● gemma-3-4b")
        await desk.until(lambda: desk.target.model_id == "gemma-3-4b", "the model")
        await desk.press("enter")
        await desk.answered(2)
        assert [one.target.model_id for one in backend.requests] == [
            "qwen3-8b",
            "gemma-3-4b",
            "gemma-3-4b",
        ]
        assert [m.text for m in backend.requests[2].messages] == ["one", "Gemma too.", "ab"]
        await desk.until(lambda: desk.state[-1].recent[0].model == "gemma-3-4b", "the newest")


async def test_a_model_is_loaded_and_unloaded_with_the_options_that_its_server_takes(tmp_path):
    plain = replace(COLD, model_id="plain-1b", product="llama.cpp")
    backend = two(half("Half of it"))
    backend.results = (probed("", QWEN, GEMMA, COLD, plain),)
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await picker(desk)
        await desk.press(
            *"plain", "ctrl+g", sees="llama.cpp takes no context window when it loads a model."
        )
        await shown(desk, "llama-server -c TOKENS")
        await desk.press("escape")
        await picker(desk)
        await desk.press(*"phi", "ctrl+g", leads_to=AskDialog, sees="context window of")
        for typed in ("0", "many"):
            desk.app.screen.query_one(Input).value = typed
            await desk.press("enter", sees="must be a whole number of tokens")
        assert backend.loaded == []
        desk.app.screen.query_one(Input).value = "16384"
        await desk.press("enter", leads_to=ModelPicker)
        await desk.until(lambda: backend.loaded == ["phi4-14b"], "the load")
        assert backend.load_contexts == [16384]

        backend.results = (probed("", QWEN, GEMMA, model("phi4-14b")),)
        await desk.press("ctrl+r", sees="● phi4-14b")
        await desk.press("ctrl+l")
        await desk.until(lambda: backend.loaded == [], "the unload")
        assert isinstance(desk.app.screen, ModelPicker)
        backend.results = (probed("", QWEN, GEMMA, COLD),)
        await desk.press("ctrl+r", hides="● phi4-14b")
        await desk.press("enter", leads_to=ChatScreen)  # choosing it loads it, too
        await desk.until(lambda: backend.loaded == ["phi4-14b"], "the load")
        assert desk.target.model_id == "phi4-14b"
        await shown(desk, "● phi4-14b · LM Studio")
        backend.results = (probed("", model("phi4-14b")),)
        await desk.say("more", sees="Half of it")
        await picker(desk)
        await desk.press("ctrl+r", sees="● phi4-14b")
        await desk.press("ctrl+l", sees="The answer has not ended yet. Stop it, or wait.")
        assert backend.loaded == ["phi4-14b"]


class Loading:
    """A load that stands still until it is let go, and says how far it is."""

    def __init__(self, backend: ScriptedBackend) -> None:
        self.gate = asyncio.Event()
        self.error: LMChatError | None = None
        self.started: list[str] = []
        self.ended: list[str] = []
        self.model = None
        self.lists = backend.model_lists
        backend.load_now = self.load

    def tell(self, fraction: float) -> None:
        self.lists.note_progress(self.lists.load_of(self.model), fraction)

    async def load(self, wanted, context):
        self.started.append(wanted.model_id)
        self.model = wanted
        try:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
        finally:
            self.ended.append(wanted.model_id)


async def test_loading_shows_how_far_it_is_stops_by_control_l_and_happens_once(tmp_path):
    backend = two(answer_steps("From phi."))
    loading = Loading(backend)
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await picker(desk)
        await desk.press(*"phi", "ctrl+l")
        await desk.until(lambda: loading.started == ["phi4-14b"], "the load")
        loading.tell(0.4)
        await shown(desk, "loading 40 %")
        await desk.press("ctrl+r", sees="updated 0 s ago")
        assert "loading 40 %" in desk.text, "a newer list of the server changes nothing"
        await desk.press("ctrl+g", leads_to=AskDialog)
        desk.app.screen.query_one(Input).value = "4096"
        await desk.press("enter", sees="The model is being loaded. Stop that first.")
        await desk.press("escape", leads_to=ModelPicker)
        await desk.press("ctrl+l")
        await desk.until(lambda: loading.ended == ["phi4-14b"], "the end of the load")
        await desk.until(lambda: "loading 40" not in desk.text, "the row")
        await desk.press("ctrl+l")
        await desk.until(lambda: len(loading.started) == 2, "a second load")
        assert isinstance(desk.app.screen, ModelPicker)
        await desk.press("enter", leads_to=ChatScreen)
        loading.tell(0.7)
        await shown(desk, "◆ loading 70 %  phi4-14b · LM Studio")
        await desk.say("/model phi4-14b")
        await desk.say("one")
        await desk.pilot.pause()
        assert backend.requests == [], "what is said waits"
        loading.gate.set()
        await desk.answered()
        assert loading.started == ["phi4-14b"] * 2, "it was not loaded twice"
        assert [one.target.model_id for one in backend.requests] == ["phi4-14b"]


async def test_what_is_said_returns_after_a_load_that_fails_or_is_stopped(tmp_path):
    backend = two(answer_steps("From phi."))
    loading = Loading(backend)
    async with ready_desktop(tmp_path, backend=backend) as desk:
        for times, words in ((1, "one"), (2, "two")):
            await picker(desk)
            await desk.press(*"phi", "enter", leads_to=ChatScreen)
            await desk.until(lambda times=times: len(loading.started) == times, "the load")
            await desk.say(words)
            await desk.until(lambda: desk.chat.active.is_waiting, "the prompt that waits")
            if times == 1:
                loading.error = ServerRejected(
                    "It is too large.", next_step="Free memory.", kind="model_not_loaded"
                )
                loading.gate.set()
                await shown(desk, "It is too large. Free memory.")
            else:
                await picker(desk)
                await desk.press("ctrl+l")
                await desk.until(lambda: len(loading.ended) == 2, "the end of the load")
                await desk.press("escape", leads_to=ChatScreen)
            await desk.until(lambda words=words: desk.prompt_input.text == words, "the prompt")
            await desk.until(lambda: "loading" not in desk.text, "the status line")
            desk.prompt_input.put("")
            loading.gate.clear()
        assert backend.requests == []
        loading.error = ServerRejected("It loads no model itself.", kind="unsupported")
        await picker(desk)
        await desk.press(*"phi", "enter", leads_to=ChatScreen)
        await desk.say("three", sees="next  three")
        loading.gate.set()
        await desk.answered()
        assert "It loads no model itself." not in desk.text


async def test_keys_and_commands_number_the_recent_models_as_the_picker_lists_them(tmp_path):
    judge = model("judge-1b", kind="embedding")
    away = UsedModel("http://localhost:9", "on-a-server-that-is-off")
    used = [UsedModel(ENDPOINT.url, name) for name in ("judge-1b", "qwen3-8b", "gemma-3-4b")]
    other = Endpoint.parse("localhost:1235")
    elsewhere = probed("", replace(GEMMA, endpoint=other), endpoint=other)
    backend = ScriptedBackend(results=[probed("", judge, QWEN, GEMMA)])
    last = State(recent=(away, *used))
    async with ready_desktop(tmp_path, backend=backend, state=last) as desk:
        assert desk.target.model_id == "qwen3-8b"
        for line in ("/model 0", "/model 3", "/model -4"):
            await desk.say(line, sees="No recent model has this number.")
        await desk.say("/model judge-1b", sees="judge-1b makes embeddings and cannot chat")
        desk.prompt_input.put("")
        assert desk.target.model_id == "qwen3-8b"

        await picker(desk)
        await desk.press("2", leads_to=ChatScreen)
        await desk.until(lambda: desk.target.model_id == "gemma-3-4b", "the switch by the picker")
        await desk.press("alt+2")
        await desk.until(lambda: desk.target.model_id == "qwen3-8b", "the switch by a key")
        await desk.say("/model gemma-3")
        await desk.until(lambda: desk.target.model_id == "gemma-3-4b", "the switch by a part")
        await desk.press("alt+2")
        backend.results = (elsewhere, *backend.results)
        await desk.say("/model gemma-3")
        await desk.until(lambda: desk.target.model_id == "gemma-3-4b", "the switch by a part")
        assert desk.target.endpoint == ENDPOINT, "of two servers that have it, the one in use"
