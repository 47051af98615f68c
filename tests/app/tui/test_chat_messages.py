from __future__ import annotations

import asyncio

from msgspec.structs import replace

from lmchat.app.commands.conditions import NO_CODE
from lmchat.app.tui.widgets.prompt_input import PromptInput
from lmchat.core.sessions.message import AnswerState, Failure, Role, text_message
from lmchat.core.sessions.prompts import PendingPrompt
from lmchat.core.sessions.session import MessagePath, Session
from tests.support.chats import header
from tests.support.desktop import gone, is_shown, ready_desktop, sent, shown
from tests.support.scripted_backend import answer_steps, half


async def test_regenerating_shows_the_new_version_and_keeps_the_old_one_unless_another_window_deletes_it(
    tmp_path,
):
    gate = asyncio.Event()
    scripts = answer_steps("First one."), answer_steps("Second one."), half("Th", gate, "ird.")
    async with ready_desktop(tmp_path, *scripts, asked=["hello"]) as desk:
        await desk.press("ctrl+r", sees="Second one.")
        await desk.until(lambda: not desk.active.is_running)
        await shown(desk, "2/2")
        assert "First one." not in desk.text
        await desk.press("alt+up", "left_square_bracket", sees="First one.")
        await shown(desk, "1/2")
        await desk.press("right_square_bracket", sees="Second one.")
        await desk.press("right_square_bracket", sees="First one.")  # comes after the last
        await desk.press("left_square_bracket", sees="Second one.")
        assert sent(desk.backend) == ["hello", "hello"]
        assert await desk.texts_on_disk() == ["hello", "Second one."]

        await desk.press("escape", "ctrl+r", sees="Th")
        await desk.press("alt+up", "left_square_bracket", sees="Second one.")
        gate.set()  # while another version is shown
        await desk.at_rest()
        await desk.active.wait_until_saved()
        assert "Second one." in desk.text
        tree = await desk.store.tree(desk.session_id)
        assert [m.text for m in tree] == ["hello", "First one.", "Second one.", "Third."]
        await desk.press("right_square_bracket", sees="Third.")
        for old in tree[1:3]:
            await desk.store.delete_message(desk.session_id, old.message_id)
        await desk.press("left_square_bracket", sees="Only one version is left.")


async def test_an_answer_without_a_prompt_is_not_edited_and_its_failure_is_copied(tmp_path):
    failure = Failure(kind="server_error", message="It was overloaded.")
    failed = text_message(Role.ASSISTANT, "")
    failed = replace(failed, state=AnswerState.FAILED, failure=failure)
    imported = Session(header=header("Imported"), messages=MessagePath((failed,)))
    async with ready_desktop(tmp_path) as desk:
        await desk.store.import_session(imported)
        desk.dispatcher.controllers.session_view.switch_to(imported.header.session_id)
        await shown(desk, "It was overloaded.")
        await desk.press("alt+up", "e", sees="There is no prompt before this answer.")
        await desk.press("y")
        await desk.until(lambda: desk.copied == ["It was overloaded."], "the failure")


async def test_a_prompt_is_answered_once_more_edited_and_sent_again(tmp_path):
    scripts = [answer_steps(text) for text in ("A.", "B.", "C.", "D.")]
    async with ready_desktop(tmp_path, *scripts, asked=["one", "two"]) as desk:
        await desk.press("alt+up", "alt+up", "alt+up", "alt+up", "r")
        await desk.at_rest(requests=3)
        assert sent(desk.backend) == ["one", "two", "one"]
        assert desk.texts == ["one", "C."]
        await gone(desk, "two")
        assert isinstance(desk.app.focused, PromptInput)  # the next letters are a prompt
        await desk.press("alt+up", "left_square_bracket", sees="two")
        assert desk.log_view.focused_message.text == "A."
        await desk.press("right_square_bracket", hides="two")

        await desk.press("escape", "x", "alt+up", "alt+up", "e")
        await shown(desk, "Esc cancel edit  Enter send again")
        assert desk.prompt_input.text == "one"
        assert isinstance(desk.app.focused, PromptInput)
        await desk.press("alt+up", "escape")
        await desk.press("escape", hides="cancel edit")
        await desk.press("alt+up", "alt+up", "e", "!", "enter", sees="D.")
        await desk.at_rest(requests=4)
        assert sent(desk.backend)[3:] == ["one!"]
        await shown(desk, "one!")
        assert await desk.texts_on_disk() == ["one!", "D."]
        assert desk.prompt_input.text == "x"  # what had been typed before
        await desk.press("alt+up", "alt+up", "e")
        await desk.prompt_is("one!")
        desk.prompt_input.submit()
        desk.prompt_input.insert("y")  # at once
        await desk.at_rest(requests=5)
        await desk.prompt_is("x\n\ny")


async def test_an_edit_is_text_and_no_command_and_an_indented_list_is_no_code(tmp_path):
    scripts = [answer_steps(text) for text in ("- one\n    - two\n    - three", "B.")]
    async with ready_desktop(tmp_path, *scripts, asked=["one"]) as desk:
        await desk.press("alt+up", sees="y copy  r retry  e edit prompt")
        assert "copy code" not in desk.text
        await desk.press("c", sees=NO_CODE)
        await desk.press("alt+up", "escape")
        await desk.app.run_action("app.run('message.source')")
        await shown(desk, "    - three")
        await desk.press("escape")
        for text in ("/stats", "/file ", "!ls"):
            await desk.press("alt+up", "alt+up", "e")
            await desk.prompt_is("one")
            await desk.press("ctrl+u")
            await desk.type(text)
            assert not desk.prompt_input.completion.rows
            assert "! shell command" not in desk.text
            await desk.press("escape", hides="cancel edit")
        await desk.press("alt+up", "alt+up", "e", "ctrl+u")
        await desk.type("/stats")
        await desk.press("enter", sees="B.")
        assert sent(desk.backend) == ["one", "/stats"]
        await desk.press("alt+up", "E", "ctrl+u")
        await desk.type("/stats")
        await desk.press("enter", hides="Rewriting an answer")
        await desk.until(lambda: desk.texts == ["/stats", "/stats"], "the rewritten answer")


async def test_an_edit_waits_for_the_running_answer_and_loses_nothing(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(
        tmp_path, answer_steps("A."), half("Let", gate), answer_steps("C."), asked=["one"]
    ) as desk:
        await desk.say("two", sees="Let")
        await desk.press(
            "alt+up", "alt+up", "alt+up", "alt+up", "e", "!", "enter", sees="has not ended"
        )
        assert desk.prompt_input.text == "one!"
        gate.set()
        await desk.answered(2)
        assert not is_shown(desk, "has not ended")
        desk.dispatcher.controllers.prompt_text.put_back(desk.active, PendingPrompt(draft="back"))
        assert desk.prompt_input.text == "one!", "Enter sends no other prompt with the edit"
        await desk.press("alt+up", "e")
        await desk.prompt_is("two")
        await desk.press("escape")
        await desk.prompt_is("back\n\none!")
        assert desk.prompt_input.prompt.edited_id == "", "both edits have ended"
        await desk.press("ctrl+u", "ctrl+u", "ctrl+u")
        desk.prompt_input.put("typed")
        await desk.press("alt+up", "alt+up", "alt+up", "alt+up", "e")
        await desk.type("!")
        await desk.press("enter")
        await desk.at_rest(requests=3)
        assert await desk.texts_on_disk() == ["one!", "C."]


async def test_a_fork_shows_what_was_read_when_it_began(tmp_path):
    tall = "\n\n".join(f"Paragraph {number}." for number in range(60))
    scripts = answer_steps(tall), answer_steps("B.")
    async with ready_desktop(tmp_path, *scripts, asked=["one", "two"]) as desk:
        old = desk.session_id
        await desk.press("alt+up", "alt+up", "alt+up", sees="Paragraph 0.")
        before = [row.strip(" ▌") for row in desk.log_rows]
        await desk.press("f")
        await desk.until(lambda: desk.session_id != old, "the fork")
        assert [row.strip(" ▌") for row in desk.log_rows] == before


async def test_a_deletion_stops_a_running_answer_and_shows_the_end_of_what_is_left(tmp_path):
    tall = "\n\n".join(f"Paragraph {number}." for number in range(60))
    async with ready_desktop(tmp_path, answer_steps(tall), half("Beta"), asked=["one"]) as desk:
        await desk.say("two", sees="Beta")
        await desk.say("three")
        await desk.press("alt+up", "alt+up", "d", hides="Beta")
        await shown(desk, "Paragraph 59.")
        assert desk.log_view.viewport.is_following
        assert desk.log_view.focused_message.text == tall
        assert desk.backend.stopped == 1
        assert await desk.texts_on_disk() == desk.texts == ["one", tall]
        assert desk.prompt_input.text == "three"
        assert len(desk.backend.requests) == 2
