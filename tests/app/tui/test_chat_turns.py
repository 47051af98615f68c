from __future__ import annotations

import asyncio
from operator import le

from lmchat.app.tui.quirks.frames import paint_at_once
from lmchat.app.tui.widgets.prompt_input import PromptInput
from lmchat.base.errors import LMChatError, StreamInterrupted
from lmchat.core.config.settings import Settings
from lmchat.core.servers.events import (
    ReasoningDelta,
    RequestSent,
    Rethought,
    StreamEvent,
    TextDelta,
)
from lmchat.core.servers.http.sse import SseReader
from lmchat.core.servers.stream.chunk_parser import ChunkParser
from tests.support.counting import calls_of
from tests.support.desktop import gone, kept_as, ready_desktop, sent
from tests.support.scripted_backend import answer_steps, half


async def test_the_cursor_of_the_prompt_blinks_except_while_an_answer_comes(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("Let", gate, "tuce."), settings=Settings()) as desk:
        assert desk.prompt_input.cursor_blink
        await desk.say("one", sees="Let")
        await desk.until(lambda: not desk.prompt_input.cursor_blink, "a cursor that stands still")
        gate.set()
        await desk.answered()
        await desk.until(lambda: desk.prompt_input.cursor_blink, "a cursor that blinks")


async def test_a_chunk_a_frame_and_an_update_of_the_stats_call_few_functions(tmp_path):
    """Small costs add up unseen: a limit is exceeded by a third more calls."""
    events: list[StreamEvent] = []
    chunks = ChunkParser(lambda _: LMChatError("no error"), events.append)
    sse = SseReader()
    data = (
        b'data: {"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}],"id":"x",'
        b'"model":"bench","object":"chat.completion.chunk","timings":{"predicted_n":7}}\n\n'
    )

    def read() -> None:
        for event in sse.feed(data):
            chunks.read(event.data, event.name)
        chunks.post_held()

    async with ready_desktop(tmp_path, half("Let")) as desk:
        await desk.say("one", sees="Let")
        log = desk.log_view
        status = desk.dispatcher.controllers.status
        found = []
        for _ in range(3):
            chunk = calls_of(read)
            log.apply(events[-1])
            frame = calls_of(paint_at_once, log, log.flush)
            stats = calls_of(status.refresh)
            found.append((chunk, frame, stats))
        assert "Let word word word" in desk.text
    fewest = [min(counts) for counts in zip(*found, strict=True)]
    assert all(map(le, fewest, (125, 1_080, 1_640))), fewest


async def test_after_a_failure_the_queue_and_after_the_way_out_the_prompt_stays_and_is_saved(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    gate = asyncio.Event()
    broken = [TextDelta(text="Let"), gate, StreamInterrupted("The connection broke.")]
    (tmp_path / "beds.md").write_text("Two beds.", encoding="utf-8")
    async with ready_desktop(tmp_path, broken, answer_steps("All."), answer_steps("More.")) as desk:
        await desk.say("one", sees="Let")
        await desk.say("/file beds.md", sees="[beds.md (9 B)]")
        await desk.say("two")
        await desk.say("three", sees="next  three")
        await desk.type("and")
        gate.set()
        typed = "[beds.md (9 B)]\ntwo\n\nthree\n\nand"
        await desk.prompt_is(typed)
        assert sent(desk.backend) == ["one"]
        await gone(desk, "next  ")
        await kept_as(desk, desk.session_id, desk.prompt_input.full_text)

        await desk.press("ctrl+r", sees="retries only with an empty prompt; r in the message")
        assert sent(desk.backend) == ["one"]
        await desk.press("alt+up", "r")
        await desk.answered()
        assert sent(desk.backend) == ["one", "one"]
        await desk.press("escape", "enter")
        await desk.answered(2)
        assert sent(desk.backend)[-1].endswith("Two beds.\n```\ntwo\n\nthree\n\nand")

        desk.chat.is_closing = True
        await desk.say("four")
        await desk.press("ctrl+q")
        await desk.until(lambda: desk.app._exit, "the end")
        assert len(desk.backend.requests) == 3
        assert await desk.store.draft(desk.session_id) == "four"


async def test_keys_while_an_answer_streams_take_prompts_back_and_stop_it(tmp_path):
    gate = asyncio.Event()
    scripts = (
        half("Let", gate, "tuce."),
        [
            RequestSent(),
            TextDelta(text="Let me see"),
            Rethought(),
            *half("Spinach", asyncio.Event()),
        ],
        answer_steps("Chives."),
        [RequestSent(), ReasoningDelta(text="Hm"), asyncio.Event()],
    )
    async with ready_desktop(tmp_path, *scripts) as desk:
        for text in ("one", "two", "three"):
            await desk.say(text)
        await desk.press("up")
        await desk.prompt_is("three")
        assert desk.chat.active.queue.drafts == ("two",)
        await desk.press("ctrl+u", "delete")
        await desk.until(lambda: not desk.chat.active.queue.drafts, "an empty queue")
        await desk.press("ctrl+r")  # harms nothing
        gate.set()
        await desk.answered()
        assert await desk.texts_on_disk() == ["one", "Lettuce."]

        await desk.say("four", sees="Spinach")
        assert "Let me see" not in "\n".join(desk.log_rows), "it has turned out to be a thought"
        await desk.say("five", sees="next")
        await desk.press("escape", sees="stopped")
        await desk.answered(3)
        assert desk.backend.stopped == 1
        assert isinstance(desk.app.focused, PromptInput)
        assert sent(desk.backend) == ["one", "four", "five"]

        await desk.say("seven")
        await desk.until(lambda: len(desk.backend.requests) == 4, "its request")
        await desk.until(lambda: desk.active.turn.stats.chars > 0, "its thoughts")
        await desk.press("ctrl+c")
        await desk.answered(4)
        assert desk.backend.stopped == 2
        await desk.press("a", "b", "c", "shift+left", "shift+left", "ctrl+c")
        await desk.until(lambda: desk.copied == ["bc"], "the copy of what is selected")
        desk.prompt_input.put("")
        await desk.press("alt+up", "shift+up", "ctrl+c")
        await desk.until(lambda: "seven" in desk.copied[-1], "the copy of selected messages")
        await desk.press("escape", "ctrl+c")
        assert desk.app.is_running
        await desk.press("ctrl+c")
        await desk.until(lambda: not desk.app.is_running or desk.app._exit, "the end")
