"""The program is killed in the middle of an answer: what had come is on the disk, and goes on from there."""

from __future__ import annotations

import os
import random
import select
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lmchat.core.sessions.message import AnswerState
from tests.support.lmchat_screen import (
    LMChatScreen,
    arriving,
    ready_screen,
    stored,
    stored_draft,
    texts,
)
from tests.support.programs import WAIT_S, Cli
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, Pause, delta, finish, sse

PRODUCT = llama_cpp

_WORDS = 100
_THOUGHTS = 6
_KILLS = 8
_AT_ONCE = 4  # programs that are killed side by side: most of their time they wait
_LOST_S = 1.5
"""Far above what is promised, so that a busy machine fails no test; the benchmarks tell the figure."""


def streaming():
    """Return numbered words, about 25 a second, that come to no end; the first few are a thought."""
    words = [f"{number} " for number in range(_WORDS)]
    steps = [delta(None, reasoning_content=word) for word in words[:_THOUGHTS]] + words[_THOUGHTS:]
    return sse(*(part for step in steps for part in (step, Pause(0.04))), Gate())


def killed_after(process, seconds: float) -> list[tuple[float, str]]:
    """Kill a program so long after its first word, and return what it had printed how long before that."""
    seen: list[tuple[float, str]] = []
    text = b""
    kill_s = float("inf")
    while time.monotonic() < kill_s:
        wait_s = min(max(kill_s - time.monotonic(), 0), WAIT_S)
        if select.select([process.stdout], [], [], wait_s)[0]:
            text += os.read(process.stdout.fileno(), 4096)
            seen.append((time.monotonic(), text.decode()))
            kill_s = min(kill_s, seen[0][0] + seconds)
        else:
            assert seen, "the answer never began"
    process.kill()
    return [(kill_s - at_s, words) for at_s, words in seen]


def kill_one(home, url, seed: int) -> str:
    """Kill a program in mid-answer, look at what is left of it, and return its text."""
    with Cli(home, url).start("ask", "--save", "How far can you count?") as process:
        seen = killed_after(process, random.Random(seed).uniform(0, 2))  # noqa: S311 - repeats
    said = stored(home).messages[-1]
    assert said.state in (AnswerState.INTERRUPTED, AnswerState.FAILED)
    words = (said.reasoning + said.text).split()
    assert words == [str(number) for number in range(len(words))]
    old = [text for age_s, text in seen if age_s >= _LOST_S]
    assert not old or said.text.startswith(old[-1].rstrip())
    return said.text


@pytest.mark.timeout(300)
def test_no_kill_costs_what_was_seen_and_the_session_can_go_on(tmp_path, server):
    server.on(CHAT, streaming())
    homes = [tmp_path / str(seed) for seed in range(_KILLS)]
    for home in homes:
        home.mkdir()
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        texts_of_all = list(
            threads.map(lambda home: kill_one(home, server.url, int(home.name)), homes)
        )
    assert sum(bool(text) for text in texts_of_all) > _KILLS / 2
    server.on(CHAT, sse("and on", finish(), DONE))
    assert Cli(homes[3], server.url)("ask", "-r", "last", "Go on.").returncode == 0
    assert texts(homes[3])[-3:] == [texts_of_all[3], "Go on.", "and on"]


def test_a_killed_screen_shows_what_had_come_and_what_waited_when_it_is_opened_again(
    tmp_path, server
):
    gate = Gate()
    server.on(CHAT, sse("this came ", "before the end", gate))
    waiting = "And then?\n\nhalf a tho"
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("What came?", sees="before the end")
        screen.put("And then?")
        screen.type("\r", sees="Del remove")
        screen.put("half a tho")
        screen.wait_until(lambda: "before the end" in arriving(tmp_path), "the text is on the disk")
        screen.wait_until(lambda: stored_draft(tmp_path) == waiting, "the prompts are, too")
        screen.process.kill()
    with LMChatScreen(tmp_path, server.url, "-r", "last") as screen:
        screen.wait_for("this came before the end")
        screen.wait_for("lmchat ended while this answer was streaming")
        screen.wait_until(lambda: screen.prompt_text == waiting, "the prompts are typed")
        assert len(server.seen(CHAT)) == 1, "nothing is sent unasked"
    assert stored(tmp_path).messages[-1].state is AnswerState.INTERRUPTED
