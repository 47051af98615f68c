from __future__ import annotations

from contextlib import asynccontextmanager

from msgspec.structs import replace

from lmchat.answers.live_stats import LiveStats, Stage
from lmchat.metrics import Metrics, RateLimit
from lmchat.servers.discovery.status import ServerHealth, ServerState
from lmchat.servers.events import RetryScheduled
from lmchat.servers.model import LoadState
from lmchat.servers.target import Target
from lmchat.sessions.message import AnswerState
from lmchat.tui.widgets.telemetry_panel import TelemetryPanel
from lmchat.tui.widgets.telemetry_rows import (
    activity_rows,
    context_rows,
    health_in_turn,
    model_rows,
    request_rows,
    server_rows,
    stage_text,
    turn_rows,
)
from tests.support.look_data import ANSWERING, DOWN, HEALTH, QWEN, TURN, ended
from tests.support.tui_host import Host, text_of

WIDE = (120, 40)


@asynccontextmanager
async def showing(sections=ANSWERING, warning="", names=tuple(ANSWERING), size=WIDE):
    panel = TelemetryPanel(names)
    async with Host(right=panel).run_test(size=size) as pilot:
        panel.show(sections, warning)
        await pilot.pause()
        yield panel, pilot


async def shown(*given, **more) -> str:
    async with showing(*given, **more) as (panel, _):
        return text_of(panel)


def squeezed(text: str) -> list[str]:
    return [
        " ".join(line.replace("\u00a0", " ").split()) for line in text.split("\n") if line.strip()
    ]


async def test_a_server_that_went_away_is_told_by_sign_word_and_crosses():
    text = await shown(DOWN)
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
    nothing = {
        "server": server_rows(ServerHealth(), None),
        "model": model_rows(ServerHealth(), 0.0, loading="", profile=""),
        "context": context_rows(None, None, is_estimated=False, left_out=0, can_compact=False),
        "turn": turn_rows(None, 0.0, speeds=(), is_asking=False, read_ahead=None),
        "requests": request_rows(Metrics(), RateLimit(left=30, limit=30), None),
        "activity": activity_rows(None, has_tools=False, last_action="", next_check_in_s=None),
    }
    lines = squeezed(await shown(nothing))
    assert lines[0] == "· Server looking"
    assert "Model unknown" in lines
    assert "Context –" in lines
    assert "used –" in lines
    assert "Turn –" in lines
    assert "Requests 30 of 30/min" in lines


async def test_the_panel_has_the_chosen_sections_in_their_order():
    lines = squeezed(await shown(names=("turn", "server")))
    assert lines[0] == "Turn answering"
    assert lines[5] == "● LM Studio ready"
    assert not [line for line in lines if line.startswith(("Model", "Requests", "Activity"))]


async def test_a_standing_warning_keeps_the_bottom_of_the_panel():
    for size in (WIDE, (120, 14)):
        text = await shown(warning="nothing is saved: the disk is full", size=size)
        lines = text.split("\n")
        assert squeezed(text)[-2:] == ["! nothing is saved: the", "disk is full"]
        assert lines[-1].strip() or lines[-2].strip()


async def test_figures_are_whole_where_the_words_beside_them_have_no_room():
    model = replace(QWEN, model_id="a-model-with-a-very-long-name-7b")
    rows = {
        "model": model_rows(
            replace(HEALTH, target=Target.of(model)), 0.0, loading="", profile="x" * 40
        ),
        "context": context_rows(123_456, 131_072, is_estimated=True, left_out=0, can_compact=False),
        "turn": turn_rows(
            turn(stage=Stage.READING, fraction=0.62),
            101.0,
            speeds=(),
            is_asking=False,
            read_ahead=None,
        ),
    }
    lines = squeezed(await shown(rows))
    assert "a-model-with-a-… Q4_K_M" in lines
    assert "profile xxxxxxxxxxxxxx…" in lines
    assert "used ~123k of 128k" in lines
    assert "Turn reading 62 %" in lines


RETRY = RetryScheduled(attempt=2, attempts=3, wait_s=1.9, reason="refused")


def turn(**more) -> LiveStats:
    return replace(TURN, **more)


def test_the_stage_is_told_in_a_word():
    for value, word in [
        (turn(stage=Stage.LOADING, fraction=0.4), "loading 40\u00a0%"),
        (turn(stage=Stage.READING, fraction=0.0), "reading prompt"),
        (turn(stage=Stage.READING, fraction=0.62), "reading 62\u00a0%"),
        (turn(stage=Stage.STALLED, silent_s=12.0), "stalled 12\u00a0s"),
        (
            turn(stage=Stage.RETRYING, retry=RETRY, retry_from_s=100.5),
            "retry 2/3 in 1.4\u00a0s",
        ),
        (ended(AnswerState.STOPPED, 105.0), "stopped"),
    ]:
        text, _ = stage_text(value, now_s=101.0)
        assert text == word


async def test_a_model_that_a_turn_has_loaded_is_shown_as_loaded_and_its_server_as_ready():
    unloaded = replace(
        HEALTH,
        status=replace(HEALTH.status, reason="model_not_loaded"),
        target=Target.of(replace(QWEN, state=LoadState.NOT_LOADED)),
    )
    for stage, first_token_s, words in [
        (Stage.WAITING, None, ("no model", "not loaded")),
        (Stage.LOADING, None, ("no model", "loading")),
        (Stage.ANSWERING, 100.2, ("ready", "loaded")),
    ]:
        health = health_in_turn(unloaded, turn(stage=stage, first_token_s=first_token_s))
        rows = {
            "server": server_rows(health, ServerState.READY),
            "model": model_rows(health, 101.0, loading="", profile=""),
        }
        lines = squeezed(await shown(rows))
        assert lines[0].endswith(words[0])
        assert f"Model {words[1]}" in lines
