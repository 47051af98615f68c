from __future__ import annotations

from lmchat.app.tui.dialogs.model_picker import ModelPicker
from tests.support import desktop
from tests.support.desktop import shown
from tests.support.scripted_products import CHAT, llama_cpp, lm_studio, ollama


def said(server) -> list[list[str]]:
    """What each chat request held."""
    return [[one["content"] for one in seen.json["messages"]] for seen in server.seen(CHAT)]


async def test_of_two_servers_the_first_ready_one_is_taken_and_the_picker_has_both(
    tmp_path, start, small_picture
):
    studio = start(lm_studio)
    llama = start(llama_cpp)
    async with desktop.run(tmp_path, {1234: studio, 8080: llama}) as seen:
        await seen.goes_on()
        await shown(seen, "● LM Studio ready", "● qwen3-8b · LM Studio")
        await seen.chats("One?")
        await seen.press("ctrl+o", leads_to=ModelPicker)
        await shown(seen, "4 models on 2 servers", "LM Studio", "● tiny.gguf")
        await small_picture(seen, "picker")
        await seen.at_size(desktop.WIDE)
        await seen.type("tiny")
        await shown(seen, "1 of 4")
        await seen.press("enter")
        await seen.goes_on()
        await shown(seen, "● tiny.gguf · llama.cpp")
        await seen.chats("Two?", count=2)
        await shown(seen, "● llama.cpp ready")
        await seen.rests()
    assert said(studio) == [["One?"]]
    assert said(llama) == [["One?", "Hello there.", "Two?"]], "the conversation went along"


async def test_another_model_behind_the_same_llama_cpp_is_named_under_its_answer(tmp_path, start):
    server = start(llama_cpp)
    async with desktop.run(tmp_path, {8080: server}) as seen:
        await seen.chats("One?")
        llama_cpp(server, model="other.gguf")
        answer = await seen.chats("Two?", count=2)
        assert (answer.model, answer.stats.asked) == ("other.gguf", "tiny.gguf")
        seen.time_passes()
        await shown(seen, "● other.gguf · llama.cpp", "other.gguf answers instead of tiny.gguf.")
        await seen.rests()


async def test_a_server_that_goes_away_in_mid_chat_is_told_and_the_question_can_be_asked_again(
    tmp_path, start
):
    async with desktop.run(tmp_path, {11434: start(ollama, loaded=["llama3.2:3b"])}) as seen:
        await seen.chats("One?")
        seen.places(11434, None)
        seen.time_passes()
        await shown(seen, "× Ollama down", "refused")
        await seen.say("Two?")
        await shown(seen, "Nothing answers at localhost:11434.", "Start the server: ollama serve.")
        await seen.rests()
        seen.places(11434, start(ollama, loaded=["llama3.2:3b"]))
        seen.time_passes()
        await shown(seen, "● Ollama ready")
        await seen.press("ctrl+r")
        assert (await seen.answered(2)).text == "Hello there."
