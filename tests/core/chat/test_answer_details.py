"""Details of an answer: what is known of it, and why it was slow."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from lmchat.base.errors import StreamInterrupted
from lmchat.base.units import GAP
from lmchat.core.servers.events import (
    ModelLoading,
    ModelNamed,
    PromptProgress,
    ReasoningDelta,
    RequestQueued,
    RequestSent,
    StreamEvent,
    StreamFinished,
    TextDelta,
    UsageReported,
)
from lmchat.core.servers.request import ChatRequest
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import ChatMessage
from tests.support.chat_turns import ChatTurns
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend, model

details = pytest.importorskip("lmchat.app.tui.dialogs.report_texts").details  # of the app

LLAMA = Target(endpoint=ENDPOINT, product="llama.cpp", model=model())
TimedScript = list[tuple[float, StreamEvent]]
"""Events, each with the seconds that the server takes before it."""


class TimedBackend(ScriptedBackend):
    """A server that takes its time, on a clock of its own; then it plays its last script again."""

    def __init__(self, *scripts: TimedScript) -> None:
        super().__init__()
        self.timed_scripts = list(scripts)
        self.now_s = 0.0

    def clock(self) -> float:
        return self.now_s

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        self.requests.append(request)
        script = self.timed_scripts[0]
        if len(self.timed_scripts) > 1:
            self.timed_scripts.pop(0)
        for seconds, event in script:
            self.now_s += seconds
            yield event


def script(*before: tuple[float, StreamEvent], wait_s: float = 0.3, **usage: float) -> TimedScript:
    """Return an answer; `before` comes before its first word, for which it takes `wait_s` more."""
    reported = UsageReported(
        **({"prompt_tokens": 20, "completion_tokens": 2, "tokens_per_second": 40.0} | usage)  # type: ignore[arg-type]
    )
    return [
        *(before or [(0, RequestSent())]),
        (wait_s, TextDelta(text="Pe")),
        (0, TextDelta(text="as.")),
        (0.1, reported),
        (0, StreamFinished(reason="stop")),
    ]


QUICK = script()
READING = PromptProgress(fraction=0.0, processed_tokens=0, total_tokens=20)


def start(store, server: TimedBackend) -> ChatTurns:
    return ChatTurns(store, server=server, clock=server.clock)


async def ask(chat: ChatTurns, target: Target = LLAMA) -> ChatMessage:
    """Ask, and return the answer."""
    chat.sessions.turn_options.target = target
    await chat.send("one")
    return chat.path[-1]


def shown(answer: ChatMessage) -> list[str]:
    """Return the lines of the details for a narrow screen, with ordinary blanks."""
    return details(answer, 40).plain.replace(GAP, " ").splitlines()


async def why_slow(store, script: TimedScript) -> str:
    """Play an answer; return the line that says why it was slow."""
    line = shown(await ask(start(store, TimedBackend(script))))[0]
    return line if "Slow" in line else ""


async def test_each_cause_of_a_long_wait_is_named(store):
    sent = RequestSent()
    hm = ReasoningDelta(text="Hm.")
    dot = ReasoningDelta(text=".")
    loading = ModelLoading()
    waking = ModelLoading(is_asleep=True)
    read_prompt = script(
        wait_s=6, prompt_tokens=6000, cached_tokens=0, prompt_tokens_per_second=1000.0
    )
    for slow, words in (
        (script((0, sent), (0, loading), (4.1, READING)), " the model was loaded first (4.1 s)."),
        (script((0, sent), (0, loading), wait_s=5), " the model was loaded first."),
        (script((0, sent), (0, waking), (4.1, READING)), " the server was asleep (4.1 s)."),
        (script((0, RequestQueued()), (3, sent)), " it waited for another answer (3.0 s)."),
        (script((0, sent), (0.3, hm), (31, dot)), " it was thinking (31 s)."),
        (read_prompt, " 6 000 prompt tokens were read (6.0 s)."),
    ):
        assert await why_slow(store, slow) == f"! Slow because{words}"
    for usual in (QUICK, script((0, RequestQueued()), (0.5, sent), wait_s=1.0)):
        assert await why_slow(store, usual) == ""


async def test_an_interrupted_answer_says_why(store):
    broken = StreamInterrupted("The \x1b[31mserver went away.")
    lines = shown(await ask(ChatTurns(store, [TextDelta(text="Pe"), broken])))
    assert "interrupted, The ␛[31mserver went away." in lines
    assert "\x1b" not in "".join(lines)


async def test_a_bar_shows_when_each_part_of_the_wait_was_and_the_parts_are_the_whole(store):
    sent = RequestSent()
    hm = ReasoningDelta(text="Hm.")
    for slow, parts in (
        (
            script((0, RequestQueued()), (2, sent), (0, ModelLoading()), (4, READING), wait_s=1.9),
            {
                "waiting its turn": "2.0 s",
                "loading the model": "4.0 s",
                "reading the prompt": "1.9 s",
            },
        ),
        (script((0, sent), (0, ModelLoading()), wait_s=5.9), {"waiting": "5.9 s"}),
        (
            script((0, sent), (0, ModelLoading(is_asleep=True)), (3, READING), (0, hm), wait_s=2.9),
            {"waking the model": "3.0 s", "thinking": "2.9 s"},
        ),
        (script((0, sent), wait_s=119.9), {"reading the prompt": "2 m 0 s"}),
        (script((0, sent), wait_s=7499.9), {"reading the prompt": "2 h 5 m"}),
    ):
        answer = await ask(start(store, TimedBackend(slow)))
        for width in (92, 95, 40):
            text = details(answer, width).plain.replace(GAP, " ")
            bars = [line for line in text.splitlines() if "━" in line]
            found = {bar[:18].strip(): bar[18:28].strip() for bar in bars}
            assert found.pop("answering") == "0.10 s"
            assert found == parts
            positions = [{at for at, sign in enumerate(bar) if sign == "━"} for bar in bars]
            assert max(map(max, positions)) == width - 1  # counted from 0: to the end
            assert [min(one) for one in positions] == sorted(min(one) for one in positions)


async def test_a_build_that_its_server_does_not_know_is_left_out(store):
    for build, is_shown in (("b0-unknown", False), ("unknown", False), ("b0-1 (abc)", True)):
        named = ModelNamed(model="", build=build)
        answer = await ask(start(store, TimedBackend(script((0, RequestSent()), (0, named)))))
        assert any(f"build {build}" in line for line in shown(answer)) is is_shown
