from __future__ import annotations

import asyncio
import re
from unittest.mock import AsyncMock

import pytest
from msgspec.structs import replace

from lmchat.domain.product import Product
from lmchat.domain.remembered import Remembered
from lmchat.domain.request import SERVER_DECIDES, LoadOptions
from lmchat.domain.server import LoadState, Verdict
from lmchat.errors import ServerRejected, ServerUnavailable
from lmchat.tui.screens.ask_dialog import AskDialog
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.model_picker import ModelPicker
from tests.support.desktop import half, hold, ready_desktop, shown
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend, answer_steps, candidate, model

QWEN, GEMMA = model(), model("gemma-3-4b")
COLD = model("phi4-14b", state=LoadState.NOT_LOADED, context_loaded=None)
EMBED = model("nomic-embed", is_embedding=True)


def two(*scripts) -> ScriptedBackend:
    return ScriptedBackend(
        *scripts, candidates=[candidate(Verdict.READY, QWEN, GEMMA, COLD, EMBED)]
    )


async def picker(desk) -> ModelPicker:
    await desk.press("ctrl+o", leads_to=ModelPicker)
    await desk.pilot.pause()
    return desk.app.screen


async def test_a_model_is_filtered_chosen_and_answers_the_next_turn_with_the_whole_talk(tmp_path):
    backend = two(answer_steps("From qwen."), answer_steps("From gemma."))
    async with ready_desktop(tmp_path, asked=["one"], backend=backend) as desk:
        await picker(desk)
        await desk.press(*"gem", sees="1 of 4")
        await desk.press("enter", leads_to=ChatScreen, sees="● gemma-3-4b")
        await desk.until(lambda: desk.target.model_id == "gemma-3-4b", "the model")
        await desk.ask("two", 2)
        assert [request.model for request in backend.requests] == ["qwen3-8b", "gemma-3-4b"]
        assert [m.text for m in backend.requests[1].messages] == ["one", "From qwen.", "two"]
        await desk.until(
            lambda: desk.remembered[-1].recent[0] == (ENDPOINT.url, "gemma-3-4b"), "the newest"
        )


async def test_another_model_answers_once_more_and_the_model_in_use_stays(tmp_path):
    named = [
        step for step in answer_steps("From gemma.") if getattr(step, "model", "") != "qwen3-8b"
    ]
    backend = two(answer_steps("From qwen."), named)
    async with ready_desktop(tmp_path, asked=["one"], backend=backend) as desk:
        await desk.press("alt+up", "R", leads_to=ModelPicker)
        await desk.press(*"gem", sees="1 of 4")
        await desk.press("enter", leads_to=ChatScreen)
        await shown(desk, "From gemma.", "2/2", "gemma-3-4b · TTFT")
        assert [request.model for request in backend.requests] == ["qwen3-8b", "gemma-3-4b"]
        assert desk.target.model_id == "qwen3-8b"


async def test_esc_leaves_all_as_it_was(tmp_path):
    async with ready_desktop(tmp_path, backend=two()) as desk:
        await desk.press("a", "b")
        await picker(desk)
        await desk.press("down", "down", "escape")
        assert desk.target.model_id == "qwen3-8b"
        assert desk.prompt_input.text == "ab"
        assert desk.backend.loaded == []


async def test_choosing_a_model_that_is_not_loaded_loads_it(tmp_path):
    async with ready_desktop(tmp_path, backend=two()) as desk:
        await desk.press("ctrl+o", *"phi", "enter")
        await desk.until(lambda: desk.backend.loaded == ["phi4-14b"], "the load")
        assert desk.target.model_id == "phi4-14b"
        await shown(desk, "loaded phi4-14b")


async def test_ctrl_l_loads_and_unloads_in_the_picker_which_stays(tmp_path):
    backend = two()
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await picker(desk)
        await desk.press(*"phi", "ctrl+l")
        await desk.until(lambda: backend.loaded == ["phi4-14b"], "the load")
        backend.candidates = (candidate(Verdict.READY, QWEN, GEMMA, model("phi4-14b"), EMBED),)
        await desk.press("ctrl+r", sees="● phi4-14b")
        await desk.press("ctrl+l")
        await desk.until(lambda: backend.loaded == [], "the unload")
        assert isinstance(desk.app.screen, ModelPicker)


async def test_a_model_is_loaded_with_the_options_that_its_server_takes(tmp_path):
    backend = two()
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await picker(desk)
        await desk.press(*"phi", "ctrl+g", leads_to=AskDialog, sees="flash_attention=on")
        await desk.press(*"16384 flash_attn=on", "enter", sees="takes no flash_attn here")
        assert backend.loaded == []
        await desk.press(*["backspace"] * len("n=on"), *"ention=on", "enter", leads_to=ModelPicker)
        await desk.until(lambda: backend.loaded == ["phi4-14b"], "the load")
        wanted = LoadOptions(context=16384, others={"flash_attention": True})
        assert backend.load_options == [wanted]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("0", "context must be a whole number of at least 1."),
        ("8192 num_experts=x", "num_experts must be a whole number of at least 1."),
        ("8192 flash_attention=1", "flash_attention must be on or off."),
    ],
)
async def test_a_wrong_value_of_a_load_option_is_told_and_loads_nothing(tmp_path, typed, words):
    backend = two()
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await picker(desk)
        await desk.press(*"phi", "ctrl+g", leads_to=AskDialog)
        await desk.press(*typed, "enter", sees=words)
        assert backend.loaded == []


async def test_a_server_that_takes_no_options_says_where_the_window_is_set(tmp_path):
    cold = replace(COLD, product=Product.LLAMA_CPP)
    backend = ScriptedBackend(candidates=[candidate(Verdict.READY, QWEN, cold)])
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await picker(desk)
        await desk.press(*"phi", "ctrl+g", sees="llama.cpp takes no options when it loads a model.")
        assert "llama-server -c TOKENS" in desk.text
        assert backend.loaded == []


class Loading:
    """A load that stands still until it is let go, and says how far it is."""

    def __init__(self, backend: ScriptedBackend) -> None:
        self.gate = asyncio.Event()
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.tell = None
        backend.load = self.load

    async def load(self, wanted, *, options=SERVER_DECIDES, on_progress=None):
        self.begun.append(wanted.model_id)
        self.tell = on_progress
        try:
            await self.gate.wait()
        finally:
            self.ended.append(wanted.model_id)


async def test_the_picker_shows_how_far_loading_is_and_control_l_stops_it(tmp_path):
    backend = two()
    loading = Loading(backend)
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await picker(desk)
        await desk.press(*"phi", "ctrl+l")
        await desk.until(lambda: loading.begun == ["phi4-14b"], "the load")
        loading.tell(0.4)
        await shown(desk, "loading 40 %")
        await desk.press("ctrl+r", sees="updated 0 s ago")
        assert "loading 40 %" in desk.text, "a newer list of the server changes nothing"
        await desk.press("ctrl+l")
        await desk.until(lambda: loading.ended == ["phi4-14b"], "the end of the load")
        await desk.until(lambda: "loading 40" not in desk.text, "the row")
        await desk.press("ctrl+l")
        await desk.until(lambda: len(loading.begun) == 2, "a second load")
        assert isinstance(desk.app.screen, ModelPicker)
        loading.gate.set()


async def test_a_model_that_is_being_loaded_is_not_loaded_twice_when_it_is_chosen(tmp_path):
    backend = two(answer_steps("From phi."))
    loading = Loading(backend)
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await picker(desk)
        await desk.press(*"phi", "ctrl+l")
        await desk.until(lambda: loading.begun == ["phi4-14b"], "the load")
        await desk.press("enter", leads_to=ChatScreen)
        loading.tell(0.7)
        await shown(desk, "loading phi4-14b 70 %")
        await desk.say("one")
        await desk.pilot.pause()
        assert backend.requests == [], "what is said waits"
        loading.gate.set()
        await desk.answered()
        assert (loading.begun, [one.model for one in backend.requests]) == (
            ["phi4-14b"],
            ["phi4-14b"],
        )


NO_LOADS = ServerRejected(
    "LM Studio cannot load models on request.", kind="unsupported", hint="Load it."
)


async def test_who_cannot_load_on_request_is_asked_all_the_same(tmp_path):
    backend = two(answer_steps("From phi."))
    backend.load = AsyncMock(side_effect=NO_LOADS)
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.press("ctrl+o", *"phi", "enter")
        await desk.until(lambda: desk.target.model_id == "phi4-14b", "the switch")
        await desk.ask("one")
        assert [one.model for one in backend.requests] == ["phi4-14b"]
        assert "cannot load" not in desk.text


async def test_who_cannot_load_on_request_says_so_when_it_is_asked_to(tmp_path):
    backend = two()
    backend.load = AsyncMock(side_effect=NO_LOADS)
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await picker(desk)
        await desk.press(*"phi", "ctrl+l", sees="cannot load")


async def test_the_picker_opens_at_once_from_what_is_known(tmp_path):
    backend = two()
    async with ready_desktop(tmp_path, backend=backend) as desk:
        gate = hold(backend, "detect")
        await picker(desk)
        await shown(desk, "gemma-3-4b")
        assert "updated 40 s ago" in desk.text
        gate.set()
        await shown(desk, "updated 0 s ago")


async def test_a_refresh_that_fails_keeps_the_old_list_and_says_so(tmp_path):
    backend = two()
    async with ready_desktop(tmp_path, backend=backend) as desk:
        backend.detect = AsyncMock(side_effect=ServerUnavailable("Nothing answers."))
        await picker(desk)
        await shown(desk, "Nothing answers.")
        assert "gemma-3-4b" in desk.text


@pytest.mark.parametrize("how", ["alt+2", "/model 2", "/model judge-1b"])
async def test_a_decision_model_that_was_used_before_is_refused_with_the_reason(tmp_path, how):
    judge = model("judge-1b", is_decision=True)
    last = Remembered(recent=((ENDPOINT.url, "judge-1b"), (ENDPOINT.url, "qwen3-8b")))
    backend = ScriptedBackend(candidates=[candidate(Verdict.READY, judge, QWEN)])
    async with ready_desktop(tmp_path, backend=backend, remembered=last) as desk:
        words = "judge-1b makes decisions and cannot chat"
        await (desk.press(how, sees=words) if how == "alt+2" else desk.say(how, sees=words))
        assert desk.target.model_id == "qwen3-8b"


async def test_a_sleeping_model_is_woken_by_the_key_that_loads(tmp_path):
    backend = ScriptedBackend(
        candidates=[candidate(Verdict.READY, replace(QWEN, state=LoadState.ASLEEP))]
    )
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await picker(desk)
        await desk.press("ctrl+l")
        await desk.until(lambda: backend.loaded == ["qwen3-8b"], "the load")


async def test_after_the_answer_of_a_sleeping_model_its_state_is_looked_at(tmp_path):
    backend = ScriptedBackend(
        candidates=[candidate(Verdict.READY, replace(QWEN, state=LoadState.ASLEEP))]
    )
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.until(lambda: re.search("Model +asleep", desk.text), "the state")
        backend.candidates = (candidate(Verdict.READY, QWEN),)
        await desk.say("Hello")
        await desk.until(lambda: re.search("Model +loaded", desk.text), "the next look")


async def test_a_model_is_chosen_by_its_number_or_name(tmp_path):
    last = Remembered(recent=((ENDPOINT.url, "qwen3-8b"), (ENDPOINT.url, "gemma-3-4b")))
    async with ready_desktop(tmp_path, backend=two(), remembered=last) as desk:
        await desk.press("alt+7", sees="no recent model 7")
        assert desk.target.model_id == "qwen3-8b"
        await desk.press("alt+2")
        await desk.until(lambda: desk.target.model_id == "gemma-3-4b", "the switch by a key")
        await desk.say("/model qwen3-8b")
        await desk.until(lambda: desk.target.model_id == "qwen3-8b", "the switch by a name")
        await desk.say("/model 2")
        await desk.until(lambda: desk.target.model_id == "gemma-3-4b", "the switch by a number")


async def test_a_switch_while_an_answer_streams_holds_from_the_next_turn(tmp_path):
    gate = asyncio.Event()
    backend = two(half("Let", gate, "tuce."), answer_steps("B"))
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.say("one", sees="Let")
        await desk.say("two")
        await desk.press("ctrl+o", *"gem", "enter")
        gate.set()
        await desk.answered(2)
        assert [request.model for request in backend.requests] == ["qwen3-8b", "gemma-3-4b"]
        assert (await desk.on_disk())[1].text == "Lettuce."
