from __future__ import annotations

from contextlib import asynccontextmanager

from msgspec.structs import replace

from lmchat.servers.answer import Stage, Turn
from lmchat.servers.discovery.probe_result import Health, Verdict
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.events import RetryScheduled
from lmchat.sessions.message import AnswerState
from lmchat.tui.widgets.telemetry_panel import TelemetryPanel
from lmchat.tui.widgets.telemetry_rows import (
    TelemetrySnapshot,
    stage_words,
)
from tests.support.look_data import ANSWERING, DOWN, QWEN, TURN, ended
from tests.support.tui_host import Host, text_of

WIDE = (120, 40)


@asynccontextmanager
async def showing(snapshot: TelemetrySnapshot = ANSWERING, now_s: float = 104.1, size=WIDE, **more):
    panel = TelemetryPanel(id="telemetry", **more)
    async with Host(right=panel).run_test(size=size) as pilot:
        panel.start()
        panel.show(snapshot, now_s)
        await pilot.pause()
        yield panel, pilot


async def shown(*given, **more) -> str:
    async with showing(*given, **more) as (panel, _):
        return text_of(panel)


def squeezed(text: str) -> list[str]:
    return [
        " ".join(line.replace("\u00a0", " ").split()) for line in text.split("\n") if line.strip()
    ]


async def test_a_running_turn_is_told_with_all_its_figures():
    lines = squeezed(await shown(ANSWERING))
    assert "● LM Studio ready" in lines
    assert "localhost:1234 3 ms" in lines
    assert "qwen3-8b Q4_K_M" in lines
    assert "context 8k of 32k" in lines
    assert "Context 41 %" in lines
    assert "used 3 362 of 8 192" in lines
    assert "Turn answering" in lines
    assert "elapsed 4.1 s" in lines
    assert "first token 0.21 s" in lines
    assert "speed 42.3 tok/s" in lines
    assert "Requests 57 of 60/min" in lines
    assert "last streaming" in lines


async def test_a_server_that_went_away_is_told_by_sign_word_and_crosses():
    text = await shown(DOWN, 103.0)
    lines = squeezed(text)
    assert "× LM Studio down" in lines
    assert "localhost:1234 refused" in lines
    assert "××××" in text
    assert "Model unknown" in lines
    assert "last seen 12 s ago" in lines
    assert "used ~6 720 of 8 192" in lines
    assert "! 2 messages left out" in lines
    assert "Turn interrupted" in lines
    assert "next check in 3 s" in lines


async def test_before_anything_was_found_nothing_is_guessed():
    lines = squeezed(await shown(TelemetrySnapshot(), 0.0))
    assert lines[0] == "· Server checking"
    assert "Model unknown" in lines
    assert "Context –" in lines
    assert "used –" in lines
    assert "Turn –" in lines
    assert "Requests –" in lines


async def test_a_standing_warning_keeps_the_bottom_of_the_panel():
    text = await shown(replace(ANSWERING, warning="nothing is saved: the disk is full"), 104.1)
    lines = text.split("\n")
    assert squeezed(text)[-2:] == ["! nothing is saved: the", "disk is full"]
    assert lines[-1].strip() or lines[-2].strip()


async def test_names_of_servers_cannot_write_to_the_terminal():
    evil = replace(QWEN, model_id="good\x1b]0;owned\x07", quantization="Q\x1b[2J")
    snapshot = replace(
        ANSWERING, health=replace(ANSWERING.health, model=evil), last_action="a\x9b1m"
    )
    text = await shown(snapshot, 104.1)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\x9b" not in text


VERDICTS = {
    Verdict.READY: "● Jan ready",
    Verdict.LOADING: "◆ Jan loading",
    Verdict.NO_MODEL: "◆ Jan no model",
    Verdict.NEEDS_KEY: "◆ Jan needs key",
    Verdict.TIMED_OUT: "× Jan down",
    Verdict.SERVER_OFF: "× Jan down",
}


async def test_every_verdict_has_a_sign_and_a_word():
    async with showing() as (panel, pilot):
        for verdict in Verdict:
            health = Health(
                endpoint=Endpoint.parse("localhost:1337"), product="Jan", verdict=verdict
            )
            panel.show(TelemetrySnapshot(health=health), 0.0)
            await pilot.pause()
            first = squeezed(text_of(panel))[0]
            assert first == VERDICTS.get(verdict, first)
            assert first.startswith(("●", "◆", "×")), verdict


RETRY = RetryScheduled(attempt=2, attempts=3, wait_s=1.9, reason="refused")


def turn(**more) -> Turn:
    return replace(TURN, **more)


def test_the_stage_is_told_in_a_word():
    for value, word in [
        (turn(stage=Stage.WAITING), "waiting"),
        (turn(stage=Stage.QUEUED), "queued"),
        (turn(stage=Stage.LOADING, fraction=0.4), "loading 40\u00a0%"),
        (turn(stage=Stage.LOADING), "loading"),
        (turn(stage=Stage.READING, fraction=0.0), "reading prompt"),
        (turn(stage=Stage.READING, fraction=0.62), "reading prompt 62\u00a0%"),
        (turn(stage=Stage.THINKING), "thinking"),
        (turn(stage=Stage.STALLED, silent_s=12.0), "stalled 12\u00a0s"),
        (turn(stage=Stage.RETRYING, retry=RETRY), "retry 2/3 in 1.9\u00a0s"),
        (ended(AnswerState.STOPPED, 105.0), "stopped"),
        (ended(AnswerState.FAILED, 105.0), "failed"),
    ]:
        assert stage_words(value).word == word
