"""LM Studio: with a model, with its server off, without a model, with JIT loading off, with a token."""

from __future__ import annotations

from lmchat.tui.screens.model_picker import ModelPicker
from tests.support import situation
from tests.support.scripted_products import CHAT, lm_studio
from tests.support.scripted_server import Gate


async def test_with_a_model_the_first_question_can_be_typed_at_once(tmp_path, start, picture):
    server = start(lm_studio)
    async with situation.run(tmp_path, {1234: server}) as seen:
        await seen.goes_on()
        await seen.shows("● LM Studio ready", "127.0.0.1:1234", "● qwen3-8b · LM Studio")
        await picture(seen, "ready")
        await seen.chats()
        await picture(seen, "answered")
        await seen.at_size(situation.SMALL)
        await picture(seen, "answered-80x24")
    assert server.seen(CHAT)[0].json["model"] == "qwen3-8b"


async def test_without_a_model_the_picker_comes_and_enter_loads_one(tmp_path, start, picture):
    gate = Gate()
    server = start(lm_studio, loaded=(), loading=gate)
    async with situation.run(tmp_path, {1234: server}) as seen:
        await seen.is_on(ModelPicker)
        await seen.shows("· qwen3-8b", "· not loaded")
        await picture(seen, "picker")
        await seen.at_size(situation.SMALL)
        await picture(seen, "picker-80x24")
        await seen.at_size(situation.WIDE)
        await seen.presses("enter")
        await seen.goes_on()
        await seen.shows("loading qwen3-8b")
        gate.open()
        await seen.shows("loaded qwen3-8b", "● LM Studio ready")
        await seen.chats()
