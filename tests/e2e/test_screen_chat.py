from __future__ import annotations

import json
import re
import urllib.request

import pytest

from lmchat.core.sessions.message import AnswerState, Role
from tests.support.lmchat_screen import (
    LONG_PROMPT,
    STEADY,
    LMChatScreen,
    configure,
    leave,
    prompts_sent,
    ready_screen,
    stored,
)
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, Hold, delta, finish, raw_reply, sse, usage

PRODUCT = llama_cpp

_STATS = re.compile(r"([\d.]+)\stok/s\s· (\d+)\stok in [\d.]+\ss\s· first token ([\d.]+)\ss")


def is_slot_idle(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/slots", timeout=5) as reply:  # noqa: S310 - loopback
        return not any(slot["is_processing"] for slot in json.load(reply))


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


def test_a_real_answer_grows_is_stopped_and_has_its_stats(tmp_path, real_server):
    configure(tmp_path, STEADY)
    seen: set[int] = set()
    with ready_screen(tmp_path, real_server.url) as screen:
        screen.wait_until(lambda: is_slot_idle(real_server.url), "earlier tests are forgotten")

        def has_grown() -> bool:
            rows = screen.chat_text().rpartition("smollm2")[0]  # without the last row of the prompt
            seen.add(max([int(word) for word in re.findall(r"\b\d+(?=,)", rows)], default=0))
            return max(seen) > 30

        screen.ask(LONG_PROMPT)
        screen.wait_until(has_grown, "an answer of some lines", timeout_s=40)
        assert len(seen) > 5
        assert "answering" in screen.text
        screen.type("\x1b")
        screen.wait_stopped()
        screen.wait_until(lambda: is_slot_idle(real_server.url), "the server has stopped, too")

        screen.ask("Say hello.", answers=1)
        stats = _STATS.search(screen.chat_text())
        assert stats
    _, stopped, prompt, answer = stored(tmp_path).messages
    assert stopped.state is AnswerState.STOPPED
    assert stopped.text.startswith("1, 2, 3, 4")
    assert ", 20," in stopped.text
    assert (prompt.role, prompt.text) == (Role.USER, "Say hello.")
    assert answer.state is AnswerState.COMPLETE
    assert (answer.model, answer.endpoint) == (real_server.models[0], real_server.url)
    assert int(stats[2]) == answer.stats.completion_tokens > 1


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


@pytest.mark.parametrize("key", ["\x03", "\x1b"])
def test_a_paste_without_its_end_mark_leaves_no_key_dead_and_sends_nothing(tmp_path, server, key):
    server.on(CHAT, sse("Beans", Hold()), sse("Peas", Hold()))
    with ready_screen(tmp_path, server.url, size=(80, 24)) as screen:
        screen.ask("Which grow?", sees="Beans")
        screen.type("\x1b[200~one\ttwo\rthree")
        screen.wait_until(lambda: screen.prompt_text.endswith("three"), "the paste")
        screen.put(" more")
        screen.type("\x1b[200~and")
        screen.wait_time(0.3)
        screen.type(key)  # the paste still waits for its end
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
