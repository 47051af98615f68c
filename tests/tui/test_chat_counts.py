"""The `~` goes where the server has counted."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.domain.event import RequestAdapted, RequestSent, StreamFinished, TextDelta
from lmchat.tui.screens import chat_figures
from tests.support.desktop import desktop
from tests.support.scripted_backend import ScriptedBackend
from tests.support.tui_host import screen_text

UNCOUNTED = [RequestSent(), TextDelta(text="Yes."), StreamFinished(reason="stop")]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(chat_figures, "REST_S", 0.01)


async def shows(desk, words: str) -> None:
    await desk.until(lambda: words in screen_text(desk.app).replace("\u2009", " "), words)


async def test_what_is_typed_is_estimated_and_then_counted(tmp_path):
    backend = ScriptedBackend()
    async with desktop(tmp_path, backend) as desk:
        await desk.ready()
        await desk.type("How do tomatoes grow in the north")
        await shows(desk, "~8 tok")
        backend.tokens = 41
        await desk.type("?")
        await shows(desk, " 41 tok")
        assert "~41" not in screen_text(desk.app)
        assert backend.counts[-1].messages[-1].text == "How do tomatoes grow in the north?"


async def test_the_sidebar_counts_what_an_answer_without_figures_left_estimated(tmp_path):
    backend = ScriptedBackend(UNCOUNTED, UNCOUNTED)
    async with desktop(tmp_path, backend) as desk:
        await desk.ready()
        backend.tokens = 61
        await desk.say("Hello")
        await desk.answered()
        await shows(desk, "61 of 8")
        assert "~61" not in screen_text(desk.app)


async def test_a_command_is_not_counted(tmp_path):
    backend = ScriptedBackend()
    async with desktop(tmp_path, backend) as desk:
        await desk.ready()
        await desk.type("/profile calm")
        await desk.pilot.pause(0.1)
        assert backend.counts == []


@pytest.mark.rule("R-25")
async def test_while_an_answer_streams_what_is_typed_is_not_counted(tmp_path):
    gate = asyncio.Event()
    backend = ScriptedBackend([RequestSent(), TextDelta(text="Yes"), gate, StreamFinished(reason="stop")])
    async with desktop(tmp_path, backend) as desk:
        await desk.ready()
        await desk.say("Hello")
        await desk.until(lambda: desk.conversation.is_running, "the answer")
        backend.counts.clear()
        await desk.type("And then")
        await desk.pilot.pause(0.1)
        assert backend.counts == []
        gate.set()
        await desk.answered()
        await desk.until(lambda: bool(backend.counts), "a count once the answer has ended")


async def test_what_a_server_does_not_take_is_told(tmp_path):
    note = "LM Studio is not known to take \x1b[31m a seed. It is not sent."
    backend = ScriptedBackend([RequestSent(), RequestAdapted(note=note), *UNCOUNTED[1:]])
    async with desktop(tmp_path, backend) as desk:
        await desk.ready()
        await desk.say("Hello")
        await desk.answered()
        await desk.until(lambda: bool(desk.app._notifications), "the note")
        (told,) = [one.message for one in desk.app._notifications]
        assert "It is not sent" in told
        assert "\x1b" not in told
