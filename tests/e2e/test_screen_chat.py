from __future__ import annotations

import json
import re
import time
import urllib.request

import pytest

from lmchat.domain.message import AnswerState, Role
from tests.support.lmchat_screen import (
    LONG_PROMPT,
    STEADY,
    LMChatScreen,
    answers,
    configure,
    ready_screen,
    stored,
)
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import Hold, ScriptedServer, raw_reply

_RECEIPT = re.compile(r"TTFT ([\d.]+)\ss · ([\d.]+)\stok/s · (\d+)\stok")


@pytest.fixture
def screen(tmp_path, real_server):
    configure(tmp_path, STEADY)
    with ready_screen(tmp_path, real_server.url) as program:
        program.wait_until(
            lambda: is_slot_idle(real_server.url), "the server has forgotten earlier tests"
        )
        yield program


def is_slot_idle(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/slots", timeout=5) as reply:  # noqa: S310 - loopback
        return not any(slot["is_processing"] for slot in json.load(reply))


def test_it_paints_and_takes_keys_before_anything_is_known_of_the_server(tmp_path):
    with ScriptedServer() as server:
        server.unknown = raw_reply(Hold())
        with LMChatScreen(tmp_path, server.url) as screen:
            screen.wait_for("looking for a server")
            screen.put("typed before the server is known")
            assert "looking for a server" in screen.text


def test_what_is_typed_before_the_first_paint_stands_in_the_prompt_and_is_not_sent(tmp_path):
    with llama_cpp(ScriptedServer()) as server, LMChatScreen(tmp_path, server.url) as screen:
        screen.type("typed at once\r")
        screen.wait_ready()
        screen.wait_until(lambda: screen.prompt_text == "typed at once", "it stands there")
        assert server.seen(CHAT) == []


def test_the_answer_grows_on_the_screen_token_by_token(screen):
    screen.put(LONG_PROMPT)
    screen.type("\r")
    seen: set[int] = set()

    def has_grown() -> bool:
        seen.add(_last_number(screen))
        return max(seen) > 30

    screen.wait_until(has_grown, "an answer of some lines")
    assert len(seen) > 5
    assert "streaming" in screen.text
    screen.type("\x1b")
    screen.wait_stopped()


def test_the_receipt_has_real_figures_and_the_disk_has_the_text(screen, real_server):
    screen.ask("Say hello.", answers=1)
    receipt = _RECEIPT.search(screen.text)
    assert receipt
    assert 0 < float(receipt[1]) < 10
    assert 1 < float(receipt[2]) < 2000
    prompt, answer = stored(screen.home).messages
    assert (prompt.role, prompt.text) == (Role.USER, "Say hello.")
    assert answer.state is AnswerState.COMPLETE
    assert (answer.model, answer.endpoint) == (real_server.models[0], real_server.url)
    assert answer.text.split()[0] in screen.text
    assert int(receipt[3]) == answer.receipt.completion_tokens > 1


def test_esc_stops_within_a_second_and_what_came_is_kept(screen, real_server):
    screen.ask(LONG_PROMPT, sees=", 20,")
    screen.type("\x1b")
    pressed_s = time.monotonic()
    screen.wait_for("stopped", timeout_s=1)
    screen.wait_until(lambda: is_slot_idle(real_server.url), "the server is idle", 1)
    assert time.monotonic() - pressed_s < 1
    screen.wait_stopped()
    (answer,) = answers(screen.home)
    assert answer.state is AnswerState.STOPPED
    assert answer.text.startswith("1, 2, 3, 4")
    assert ", 20," in answer.text


@pytest.mark.parametrize("is_bracketed", [True, False])
def test_a_paste_of_many_lines_sends_nothing(tmp_path, is_bracketed):
    lines = [f"pasted line {number}" for number in range(1, 201)]
    with llama_cpp(ScriptedServer()) as server, LMChatScreen(tmp_path, server.url) as screen:
        screen.wait_ready()
        screen.paste("\r".join(lines)) if is_bracketed else screen.type("\r".join(lines))
        screen.wait_for("pasted line 200")
        screen.wait_time(0.2)  # longer than lines of one paste lie run_abandonable
        screen.put(" and more")
        screen.wait_time(0.2)
        assert server.seen(CHAT) == []
        screen.type("\r")
        sent = server.wait_for(CHAT)
        screen.wait_answered()
        assert sent.json["messages"][-1]["content"] == "\n".join(lines) + " and more"
        assert len(server.seen(CHAT)) == 1


def _last_number(screen: LMChatScreen) -> int:
    rows = screen.chat_text().split("smollm2")[0]
    return max([int(word) for word in re.findall(r"\b\d+(?=,)", rows)], default=0)


@pytest.mark.timeout(120)
def test_ctrl_s_reaches_lmchat_on_a_terminal_and_ends_the_thought(tmp_path, start_real_server):
    configure(tmp_path, STEADY + "max_tokens = 120\n")
    server = start_real_server(reasoning=3_000)  # more than an answer may have
    with LMChatScreen(tmp_path, server.url) as screen:
        screen.wait_ready()
        screen.ask("How many beds fit?")
        screen.wait_for("Ctrl+S answer now", timeout_s=30)
        screen.type("\x13")
        screen.wait_for("answer saved", timeout_s=60)
        (answer,) = answers(tmp_path)
        assert answer.reasoning
        assert answer.text
