from __future__ import annotations

from tests.support.lmchat_screen import (
    LMChatScreen,
    leave,
    prompts_sent,
    ready_screen,
)
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, Hold, delta, finish, raw_reply, sse, usage

PRODUCT = llama_cpp


def test_what_is_typed_before_the_first_paint_stands_in_the_prompt_and_is_not_sent(
    tmp_path, server
):
    server.on("GET /props", raw_reply(Hold()))
    server.on("GET /v1/models", raw_reply(Hold()))
    server.unknown = raw_reply(Hold())
    with LMChatScreen(tmp_path, server.url) as screen:
        screen.type("typed at once\r")
        screen.wait_for("looking for a server")
        screen.wait_until(lambda: screen.prompt_text == "typed at once", "it stands there")
        assert "looking for a server" in screen.text
        assert server.seen(CHAT) == []


def test_a_paste_of_many_lines_is_one_prompt_and_sends_nothing(tmp_path, server):
    lines = [f"pasted line {number}" for number in range(1, 201)]
    server.on(CHAT, sse(delta("Hello there."), finish(), usage(prompt=800), DONE))
    with ready_screen(tmp_path, server.url) as screen:
        screen.paste("\r".join(lines))
        screen.wait_for("pasted line 200")
        screen.put(" and more")
        screen.wait_time(0.2)
        assert server.seen(CHAT) == []
        screen.type("\r")
        screen.wait_answered()
        assert prompts_sent(server) == ["\n".join(lines) + " and more"]


def test_a_paste_without_its_end_mark_leaves_no_key_dead_and_sends_nothing(tmp_path, server):
    server.on(CHAT, sse("Beans", Hold()), sse("Peas", Hold()))
    with ready_screen(tmp_path, server.url, size=(80, 24)) as screen:
        screen.ask("Which grow?", sees="Beans")
        screen.type("\x1b[200~one\ttwo\rthree")
        screen.wait_until(lambda: screen.prompt_text.endswith("three"), "the paste")
        screen.put(" more")
        screen.type("\x1b[200~and")
        screen.wait_time(0.3)
        screen.type("\x1b")  # the paste still waits for its end
        screen.wait_stopped()
        screen.wait_until(lambda: screen.prompt_text.endswith("moreand"), "the next paste")
        assert prompts_sent(server) == ["Which grow?"]
        screen.type("\x10", sees="Commands")
        screen.type("\x1b[200~expo", sees="▌ expo")  # a dialog
        screen.type("\x1b", hides="▌ expo")
        leave(screen)


def test_lines_that_come_in_one_read_are_one_prompt_which_a_further_enter_sends(tmp_path, server):
    with ready_screen(tmp_path, server.url) as screen:
        screen.type("sow\rwater\r")  # a paste without marks, as of tmux
        screen.wait_for("water")
        assert prompts_sent(server) == []
        screen.type("\r")
        screen.wait_until(lambda: prompts_sent(server) == ["sow\nwater"], "the prompt")


def test_ctrl_s_and_ctrl_q_reach_lmchat_on_a_terminal(tmp_path, server):
    gate = Gate()
    first = delta(reasoning_content="Beds, beds")
    server.on(CHAT, sse(first, gate, delta("Four."), finish(), DONE))
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("How many beds fit?", sees="Ctrl+S answer now")
        screen.type("\x13", hides="Ctrl+S answer now")
        gate.open()
        screen.wait_answered()
        screen.type("\x13", sees="The model is not thinking now.")
        leave(screen)
