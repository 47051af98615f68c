from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial

import pytest
from msgspec.structs import replace

from lmchat.app.tui.widgets.telemetry_panel import TelemetryPanel
from lmchat.app.tui.widgets.telemetry_rows import (
    PanelFacts,
    health_in_turn,
    panel_sections,
    stage_text,
)
from lmchat.base.metrics import RateLimit
from lmchat.core.answers.live_stats import LiveStats, Stage
from lmchat.core.servers.discovery.status import ServerHealth
from lmchat.core.servers.events import RetryScheduled, UsageReported
from lmchat.core.servers.model import LoadState
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import AnswerState
from tests.support.look_data import ANSWERING, DOWN, HEALTH, QWEN, TURN, ended
from tests.support.look_pictures import SECTIONS
from tests.support.tui_host import Host, text_of

WIDE = (120, 40)


@asynccontextmanager
async def showing(
    facts=ANSWERING, warning="", *, names=SECTIONS, size=WIDE, shows_all=False, width_over=0
):
    panel = TelemetryPanel(names)
    panel.shows_all = shows_all
    if width_over:  # as the style sheet of the chat screen lays it over the chat
        panel.styles.display = "block"
        panel.styles.width = width_over
    async with Host(right=panel).run_test(size=size) as pilot:
        panel.show(partial(panel_sections, facts), warning)
        await pilot.pause()
        yield panel, pilot


async def shown(*given, **more) -> str:
    async with showing(*given, **more) as (panel, _):
        return text_of(panel)


def squeezed(text: str) -> list[str]:
    return [
        " ".join(line.replace("\u00a0", " ").split()) for line in text.split("\n") if line.strip()
    ]


def words(text: str) -> list[str]:
    """The rows with words: without bars, meters and the graph."""
    return [line for line in squeezed(text) if any(char.isalnum() for char in line)]


async def test_while_a_turn_runs_the_panel_says_what_is_new_and_no_more():
    text = await shown()
    assert words(text) == [
        "● LM Studio ready",
        "localhost:1234 3 ms",
        "qwen3-8b loaded",
        "Q4_K_M · 8k of 32k",
        "Context 41 %",
        "3 362 of 8 192 tok",
        "answering 42.3 tok/s",
        "first token 0.21 s",
        "elapsed 4.1 s",
        "Activity tools, step 3",
        "last weather",
    ]
    assert not any("–" in line for line in text.split("\n"))
    stalled = turn(stage=Stage.STALLED, silent_s=12.0)
    assert "stalled 12 s" in words(await shown(replace(ANSWERING, stats=stalled)))
    failed = replace(HEALTH.model, state=LoadState.UNKNOWN, load_failure="no memory")
    facts = replace(ANSWERING, health=replace(HEALTH, target=Target.of(failed)))
    assert "qwen3-8b failed" in words(await shown(facts))


ALL = [
    "● LM Studio ready",
    "localhost:1234 3 ms",
    "qwen3-8b loaded",
    "Q4_K_M · 8k of 32k",
    "Context 41 %",
    "3 362 of 8 192 tok",
    "answering 42.3 tok/s",
    "first token 0.21 s",
    "elapsed 4.1 s",
    "Requests 14 answered",
    "failed 1",
    "retries 0",
    "from the cache 6",
    "left per min 57 of 60",
    "Activity tools, step 3",
    "last weather",
]


async def test_all_figures_are_one_key_away():
    assert words(await shown(shows_all=True)) == ALL


REMOTE = replace(DOWN.health, target=Target.of(replace(QWEN, state=LoadState.REMOTE)))
WARNING = replace(DOWN, health=REMOTE, can_compact=True, profile="short", has_tools=True)
NOT_SAVED = "nothing is saved: the disk is full"
WARNINGS = ("→ qwen3-8b", "! 2 messages left out", "/compact makes room", "failed 1")


@pytest.mark.parametrize(("width", "chat"), [(28, 120), (36, 160), (44, 80)])
@pytest.mark.parametrize("shows_all", [False, True])
async def test_at_every_size_warnings_are_seen_and_no_row_is_cut(width, chat, shows_all):
    more = {"shows_all": shows_all, "width_over": 44 if width == 44 else 0}
    for facts, warnings in ((ANSWERING, ()), (WARNING, WARNINGS)):
        async with showing(facts, size=(chat, 90), **more) as (panel, pilot):
            roomy = text_of(panel)
            panel.show(partial(panel_sections, facts), NOT_SAVED)
            lows = []
            for height in (8, 20, 40):
                await pilot.resize_terminal(chat, height)
                await pilot.pause()
                lows.append(text_of(panel))
        for low in lows:
            assert " ".join(squeezed(low)).endswith(f"! {NOT_SAVED}")
            above, _, _ = low.partition("! nothing")
            assert "…" not in above
            rows = words(above)
            assert [row for row in words(roomy) if row in rows] == rows
            for warning in warnings:
                assert any(row.startswith(warning) for row in rows), (warning, low)


async def test_a_server_that_went_away_is_told_by_sign_word_and_crosses():
    text = await shown(DOWN)
    assert "××××" in text
    assert words(text) == [
        "× LM Studio down",
        "localhost:1234 refused",
        "qwen3-8b unknown",
        "Q4_K_M · seen 12 s ago",
        "Context 84 %",
        "~6 880 of 8 192 tok",
        "! 2 messages left out",
        "Requests 14 answered",
        "failed 1",
        "next check in 3 s",
    ]


async def test_before_anything_was_found_nothing_is_guessed():
    nothing = PanelFacts(health=ServerHealth(), rate_limit=RateLimit(left=30, limit=30))
    assert words(await shown(nothing)) == ["· Server looking"]
    lines = squeezed(await shown(nothing, shows_all=True))
    assert lines[0] == "· Server looking"
    for line in ("Model unknown", "Context –", "– tok", "Turn –", "left per min 30 of 30"):
        assert line in lines


async def test_few_requests_that_are_left_are_told():
    for left, line in ((10, ""), (3, "left per min 3 of 60"), (0, "left per min 0 of 60")):
        facts = replace(ANSWERING, rate_limit=RateLimit(left=left, limit=60))
        told = [row for row in words(await shown(facts)) if row.startswith(("Requests", "left"))]
        assert told == (["Requests 14 answered", line] if line else [])
    unlimited = replace(ANSWERING, rate_limit=RateLimit(left=0, limit=0))
    assert not [row for row in words(await shown(unlimited)) if row.startswith("Requests")]
    assert "left per min no limit" in words(await shown(unlimited, shows_all=True))


async def test_a_long_name_has_two_rows_and_a_remote_one_an_arrow():
    model = replace(QWEN, model_id="Qwen2.5-Coder-14B-Instruct-GGUF", state=LoadState.REMOTE)
    facts = replace(ANSWERING, health=replace(HEALTH, target=Target.of(model)))
    lines = words(await shown(facts, names=("model",)))
    assert lines[:2] == ["→ Qwen2.5-Coder-14B-", "Instruct-GGUF remote"]
    endless = replace(model, model_id="a" * 70 + "-Q8_0")  # they often differ only at their end
    facts = replace(ANSWERING, health=replace(HEALTH, target=Target.of(endless)))
    lines = words(await shown(facts, names=("model",)))
    assert "…" in lines[1]
    assert lines[1].endswith("-Q8_0 remote")


async def test_before_the_first_token_the_clock_runs_and_nothing_moves_later():
    waiting = replace(TURN, stage=Stage.READING, first_token_s=None, fraction=0.62, chunks=0)
    waiting.usage = UsageReported()
    facts = replace(ANSWERING, stats=waiting, speeds=())
    before, after = (await shown(facts)).split("\n"), (await shown()).split("\n")
    assert words("\n".join(before))[-5:-2] == ["reading 62 %", "first token", "elapsed 4.1 s"]
    assert "━" in before[13]
    assert before.index(next(line for line in before if "Activity" in line)) == after.index(
        next(line for line in after if "Activity" in line)
    )


async def test_the_panel_has_the_chosen_sections_in_their_order():
    lines = words(await shown(names=("turn", "server")))
    assert lines[0] == "answering 42.3 tok/s"
    assert lines[3] == "● LM Studio ready"
    assert len(lines) == 5


async def test_a_server_of_no_known_product_has_its_address_once_and_bars_from_the_second_check_on():
    model = replace(QWEN, product="OpenAI-compatible")
    for latencies_ms, bars in (((612.0,), []), ((612.0, 306.0), ["█▄"])):
        health = replace(HEALTH, target=Target.of(model), latencies_ms=latencies_ms)
        lines = squeezed(
            await shown(
                replace(ANSWERING, health=health, server_name="localhost:1234"), names=("server",)
            )
        )
        latency = f"last check {latencies_ms[-1]:.0f} ms"
        assert lines == ["● localhost:1234 ready", latency, *bars]


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
            turn(stage=Stage.RETRYING, retry=RETRY, asks_again_s=102.4),
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
    for stage, first_token_s, told in [
        (Stage.WAITING, None, ("no model", "not loaded")),
        (Stage.LOADING, None, ("no model", "loading")),
        (Stage.ANSWERING, 100.2, ("ready", "loaded")),
    ]:
        health = health_in_turn(unloaded, turn(stage=stage, first_token_s=first_token_s))
        lines = words(await shown(replace(ANSWERING, health=health)))
        assert lines[0].endswith(told[0])
        assert f"qwen3-8b {told[1]}" in lines
