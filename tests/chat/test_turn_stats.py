from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from lmchat.sessions.statistics import Spread, figures_by_model, spread
from tests.support.chats import FIGURES

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROW = replace(FIGURES, ttft_ms=200.0, completion_tokens=100, ended_at=NOON)


def test_percentiles_are_the_median_and_the_nearest_rank():
    assert spread([float(n) for n in range(1, 101)]) == Spread(p50=50.5, p95=95.0)
    assert spread([3.0]) == Spread(p50=3.0, p95=3.0)
    assert spread([1.0, None, 9.0]) == Spread(p50=5.0, p95=9.0)
    assert spread([None, None]) is None
    assert spread([]) is None


def test_answers_are_summed_up_by_model_and_server_the_last_used_first():
    rows = [
        replace(
            ROW,
            endpoint="http://[::1]:8080",
            product="llama.cpp",
            ended_at=NOON - timedelta(days=1),
        ),
        ROW,
        replace(
            ROW,
            state="failed",
            ttft_ms=None,
            tokens_per_second=None,
            completion_tokens=None,
            retries=2,
        ),
        replace(
            ROW, ttft_ms=900.0, is_estimated=True, stalls=1, ended_at=NOON + timedelta(hours=1)
        ),
        replace(ROW, model="new", ended_at=NOON + timedelta(hours=2)),
    ]
    tiny, qwen, other = figures_by_model(rows)
    assert (tiny.model, tiny.turns, other.product, other.turns) == ("new", 1, "llama.cpp", 1)
    assert (qwen.turns, qwen.complete, qwen.retries, qwen.stalls) == (3, 2, 2, 1)
    assert (qwen.completion_tokens, qwen.is_estimated) == (200, True)
    assert qwen.ttft_ms == Spread(p50=550.0, p95=900.0)
    assert qwen.last == NOON + timedelta(hours=1)


def test_days_have_their_median_and_those_without_an_answer_are_left_out():
    later = NOON + timedelta(days=3)
    rows = [
        ROW,
        replace(ROW, tokens_per_second=60.0),
        replace(ROW, tokens_per_second=None, ended_at=later),
    ]
    [found] = figures_by_model(rows)
    assert [(day.day, day.turns, day.tokens_per_second) for day in found.days] == [
        (NOON.astimezone().date(), 2, 50.0),
        (later.astimezone().date(), 1, None),
    ]
