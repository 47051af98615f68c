from __future__ import annotations

from lmchat.config.settings import Settings
from lmchat.domain.message import AnswerState
from lmchat.tui.screens.model_picker import ModelPicker
from tests.support import desktop
from tests.support.scripted_products import CHAT, llama_cpp, lm_studio, ollama, vllm


def said(server) -> list[list[str]]:
    """What each chat request held."""
    return [[one["content"] for one in seen.json["messages"]] for seen in server.seen(CHAT)]


async def test_of_two_servers_the_first_ready_one_is_taken_and_the_picker_has_both(
    tmp_path, start, small_picture
):
    studio, llama = start(lm_studio), start(llama_cpp)
    async with desktop.run(tmp_path, {1234: studio, 8080: llama}) as seen:
        await seen.goes_on()
        await seen.shows("● LM Studio ready", "● qwen3-8b · LM Studio")
        await seen.chats("One?")
        await seen.presses("ctrl+o", leads_to=ModelPicker)
        await seen.shows("4 models on 2 servers", "LM Studio", "● tiny.gguf")
        await small_picture(seen, "picker")
        await seen.at_size(desktop.WIDE)
        await seen.types("tiny")
        await seen.shows("1 of 4")
        await seen.presses("enter")
        await seen.goes_on()
        await seen.shows("● tiny.gguf · llama.cpp")
        await seen.chats("Two?", count=2)
        await seen.shows("● llama.cpp ready")
        await seen.rests()
    assert said(studio) == [["One?"]]
    assert said(llama) == [["One?", "Hello there.", "Two?"]], "the conversation went along"


async def test_of_two_servers_the_last_used_one_is_taken_in_the_next_run(tmp_path, start):
    places = {1234: start(lm_studio), 8080: start(llama_cpp)}
    async with desktop.run(tmp_path, places) as seen:
        await seen.goes_on()
        await seen.presses("ctrl+o", leads_to=ModelPicker, sees="4 models on 2 servers")
        await seen.types("tiny")
        await seen.shows("1 of 4")
        await seen.presses("enter")
        await seen.goes_on()
        last = seen.desk.remembered[-1]
    async with desktop.run(tmp_path, places, remembered=last) as seen:
        await seen.goes_on()
        assert seen.app.open_sessions.next_turn.target.model_id == "tiny.gguf"


async def test_another_product_on_the_same_port_is_told_with_the_next_answer(tmp_path, start):
    async with desktop.run(tmp_path, {8000: start(llama_cpp)}) as seen:
        await seen.chats("One?")
        other = start(vllm)
        seen.places(8000, other)
        await seen.says("Two?")
        await seen.shows(
            "The model `tiny.gguf` does not", "Choose another model with Ctrl+O or -m;"
        )
        failed = seen.desk.conversation.messages[-1]
        assert (failed.state, failed.failure.kind) == (AnswerState.FAILED, "model_missing")
        await seen.shows("● vLLM ready", "Model unknown", "One?", "Two?")
        await seen.rests()
        await seen.presses("ctrl+o", leads_to=ModelPicker, sees="Qwen/Qwen3-8B")
        await seen.types("qwen")
        await seen.shows("1 of")
        await seen.presses("enter")
        await seen.goes_on()
        await seen.presses("ctrl+r")
        await seen.answered(2)
        assert [one.text for one in seen.desk.conversation.messages][-2:] == [
            "Two?",
            "Hello there.",
        ]
    assert said(other)[-1] == ["One?", "Hello there.", "Two?"], "nothing is lost"


async def test_another_model_behind_the_same_llama_cpp_is_named_under_its_answer(tmp_path, start):
    server = start(llama_cpp)
    async with desktop.run(tmp_path, {8080: server}) as seen:
        await seen.chats("One?")
        llama_cpp(server, model="other.gguf")
        answer = await seen.chats("Two?", count=2)
        assert (answer.model, answer.receipt.asked) == ("other.gguf", "tiny.gguf")
        seen.time_passes()
        await seen.shows("● other.gguf · llama.cpp")
        await seen.rests()


async def test_a_model_that_was_unloaded_is_loaded_by_the_next_question(tmp_path, start):
    memory = ["qwen3-8b"]
    async with desktop.run(tmp_path, {1234: start(lm_studio, loaded=memory)}) as seen:
        await seen.chats("One?")
        memory.clear()
        seen.time_passes()
        await seen.shows("◆ LM Studio no model", "not loaded")
        await seen.rests()
        await seen.chats("Two?", count=2)
        seen.time_passes()
        await seen.shows("● LM Studio ready")
        assert memory == ["qwen3-8b"]


async def test_a_server_that_goes_away_in_mid_chat_is_told_and_the_question_can_be_asked_again(
    tmp_path, start
):
    async with desktop.run(tmp_path, {11434: start(ollama, loaded=["llama3.2:3b"])}) as seen:
        await seen.chats("One?")
        seen.places(11434, None)
        seen.time_passes()
        await seen.shows("× Ollama down", "refused")
        await seen.says("Two?")
        await seen.shows("Nothing answers at 127.0.0.1:11434.", "Start the server: ollama serve.")
        await seen.rests()
        seen.places(11434, start(ollama, loaded=["llama3.2:3b"]))
        seen.time_passes()
        await seen.shows("● Ollama ready")
        await seen.presses("ctrl+r")
        assert (await seen.answered(2)).text == "Hello there."


async def test_a_configured_model_that_no_server_has_is_told_and_used_once_it_is_there(
    tmp_path, start
):
    settings = Settings(model="gemma3:4b")
    async with desktop.run(tmp_path, {11434: start(ollama)}, settings=settings) as seen:
        await seen.is_on(ModelPicker)
        await seen.shows("No server has a model gemma3:4b: choose one")
        ollama(seen.ports.places["127.0.0.1", 11434], "gemma3:4b")
        seen.time_passes()
        await seen.chats()
        assert seen.app.open_sessions.next_turn.target.model_id == "gemma3:4b"
