"""What is summed up of the answers of models, and what a damaged row of them costs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

from msgspec.structs import replace

from lmchat.core.sessions.message import AnswerState
from lmchat.core.sessions.model_stats import Spread
from tests.support.chats import LM_STUDIO, MEASURED, START, add_stats


async def test_percentiles_are_the_median_and_the_nearest_rank_of_what_is_known(stats_store):
    for model, values, spread in (
        ("hundred", [float(n) for n in range(1, 101)], Spread(p50=50.5, p95=95.0)),
        ("one", [3.0], Spread(p50=3.0, p95=3.0)),
        ("two", [9.0, None, 1.0], Spread(p50=5.0, p95=9.0)),
        ("none", [None, None], None),
    ):
        for value in values:
            await add_stats(stats_store, replace(MEASURED, ttft_ms=value), model=model)
        (found, *_) = await stats_store.model_stats()
        assert (found.model, found.turns, found.ttft_ms) == (model, len(values), spread)


async def test_answers_are_summed_up_by_model_and_server_the_last_used_first(stats_store, clock):
    local = replace(MEASURED, product="llama.cpp")
    await add_stats(stats_store, local, endpoint="http://[::1]:8080")
    await add_stats(stats_store, replace(MEASURED, completion_tokens=100))
    unknown = {"ttft_ms": None, "tokens_per_second": None, "completion_tokens": None}
    failed = replace(MEASURED, retries=2, **unknown)
    await add_stats(stats_store, failed, state=AnswerState.FAILED)
    stalled = replace(MEASURED, ttft_ms=900.0, completion_tokens=100, is_estimated=True)
    await add_stats(stats_store, replace(stalled, product="LM Studio"), stalls=1)
    last = clock.moment
    later = clock()
    await add_stats(stats_store, model="new")
    new, tiny, other = await stats_store.model_stats()
    assert (new.model, new.turns, other.product, other.turns) == ("new", 1, "llama.cpp", 1)
    assert (tiny.turns, tiny.complete, tiny.retries, tiny.stalls) == (3, 2, 2, 1)
    assert (tiny.completion_tokens, tiny.is_estimated, tiny.last) == (200, True, last)
    assert (tiny.product, tiny.ttft_ms) == ("LM Studio", Spread(p50=450.5, p95=900.0))
    assert await stats_store.model_stats(since=later) == (new,)


async def test_a_name_that_no_model_has_answered_to_is_no_model_of_the_stats(stats_store):
    await add_stats(stats_store, model="typo", state=AnswerState.FAILED)
    await add_stats(stats_store, model="tiny", state=AnswerState.FAILED)
    await add_stats(stats_store, model="tiny", state=AnswerState.STOPPED)
    assert [(one.model, one.turns) for one in await stats_store.model_stats()] == [("tiny", 2)]


async def test_days_have_their_median_and_those_without_an_answer_are_left_out(stats_store, clock):
    for speed in (40.0, 60.0):
        await add_stats(stats_store, replace(MEASURED, tokens_per_second=speed))
    clock.moment += timedelta(days=3)
    await add_stats(stats_store, replace(MEASURED, tokens_per_second=None))
    (found,) = await stats_store.model_stats()
    assert [(day.day, day.turns, day.tokens_per_second) for day in found.days] == [
        (START.astimezone().date(), 2, 50.0),
        (clock.moment.astimezone().date(), 1, None),
    ]


async def test_the_speed_of_a_model_is_the_median_of_the_known_ones(stats_store):
    for speed in (10.0, 40.0, 42.0, None):
        await add_stats(stats_store, replace(MEASURED, tokens_per_second=speed))
    await add_stats(stats_store, replace(MEASURED, tokens_per_second=None), model="other")
    assert await stats_store.speeds() == {(LM_STUDIO, "tiny"): 40.0}


async def test_an_answer_whose_stats_cannot_be_written_is_not_stopped_by_that(stats_store, caplog):
    await add_stats(stats_store)
    with closing(sqlite3.connect(stats_store.database.path)) as connection, connection:
        connection.execute(
            "create trigger full before insert on ledger begin select raise(abort, ''); end"
        )
    await add_stats(stats_store)
    assert "stats of an answer could not be written" in caplog.text
    assert [one.turns for one in await stats_store.model_stats()] == [1]


NUMBERS = (
    *("ttft_ms", "prompt_tokens_per_second", "tokens_per_second", "prompt_tokens"),
    *("completion_tokens", "is_estimated", "stalls", "retries", "elapsed_ms", "wait_ms"),
)
FOREIGN = ("soon", "", b"\x00\xff", b"", -1, -0.5, 1e300, float("inf"), float("-inf"), 2**62)
TIMES = (
    *("", "yesterday", "now", "2460000.5", "12:00", b"\xff", 0, 1e300, "9999-12-31"),
    *("2026-02-30T08:00:00.000000+00:00", "2026-01-01T24:00:00.000000+00:00"),
    *("2026-01-01T08:00:00.000000+14:00", "2026-01-01T08:00:00.00000x+00:00"),
    *("0000-01-01T00:00:00.000000+00:00", "9999-12-31T23:59:59.999999+00:00"),
    "2026-01-01 08:00:00",
)
FAULTS = [
    *((name, value) for name in NUMBERS for value in FOREIGN),
    *((name, 1.5) for name in ("prompt_tokens", "completion_tokens", "stalls", "retries")),
    *(("created_at", value) for value in TIMES),
]


async def test_a_foreign_value_costs_its_own_row_alone(tmp_path, stats_store):
    await add_stats(stats_store)
    await add_stats(stats_store, model="damaged")
    _, sound = both = await stats_store.model_stats()
    speeds = await stats_store.speeds()
    assert speeds.keys() == {(LM_STUDIO, "tiny"), (LM_STUDIO, "damaged")}
    with closing(sqlite3.connect(stats_store.database.path)) as connection:
        (row,) = connection.execute("select * from ledger where model = 'damaged'")
        names = [name for _, name, *_ in connection.execute("pragma table_info(ledger)")]
        for name, value in FAULTS:
            with connection:
                update = f"update ledger set {name} = ? where model = 'damaged'"  # noqa: S608
                connection.execute(update, (value,))
            assert await stats_store.model_stats() == (sound,), (name, value)
            assert (LM_STUDIO, "tiny") in await stats_store.speeds()
            with connection:
                update = f"update ledger set {name} = ? where model = 'damaged'"  # noqa: S608
                connection.execute(update, (row[names.index(name)],))
        assert await stats_store.model_stats() == both
        for name in ("model", "endpoint", "product", "state", "finish_reason", "message_id"):
            for value in (b"\xff\x00", 7, 1e300, "\x00", ""):
                with connection:
                    connection.execute(f"update ledger set {name} = ?", (value,))  # noqa: S608
                found = await stats_store.model_stats()
                assert sum(one.turns for one in found) == 2, (name, value)
