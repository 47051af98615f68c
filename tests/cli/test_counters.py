from __future__ import annotations

import asyncio

import pytest

from lmchat.cli.counters import counters_saved
from lmchat.domain.telemetry import Metrics
from lmchat.errors import StoreUnavailable


class _Sums:
    """Stands in for the disk."""

    def __init__(self):
        self.added = []
        self.fails = 0
        self.changed = asyncio.Event()

    async def add(self, metrics):
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable("full")
        self.added.append(metrics)
        self.changed.set()


@pytest.fixture
def sums():
    return _Sums()


def _counted(count):
    return Metrics(total_requests=count, total_response_ms=count * 1.5)


async def test_where_nothing_was_counted_the_disk_is_left_alone(sums):
    async with counters_saved(Metrics, sums.add):
        pass
    assert sums.added == []


async def test_what_a_store_did_not_take_is_handed_on_with_the_next_time(sums):
    sums.fails = 1
    counts = iter([_counted(1), _counted(3)])
    async with counters_saved(lambda: next(counts, _counted(3)), sums.add, every_s=0.01):
        await sums.changed.wait()
    assert sums.added == [_counted(3)]


async def test_each_count_is_handed_on_once_while_the_program_runs_and_the_rest_at_its_end(sums):
    now = Metrics()
    async with counters_saved(lambda: now, sums.add, every_s=0.01):
        now = _counted(1)
        await sums.changed.wait()
        now = _counted(4)
    assert sum(metrics.total_requests for metrics in sums.added) == 4


async def test_an_end_in_the_middle_of_a_write_counts_nothing_twice(sums):
    writing, may_end = asyncio.Event(), asyncio.Event()

    async def slow(metrics):
        writing.set()
        await may_end.wait()
        await sums.add(metrics)

    async def ends():
        async with counters_saved(lambda: _counted(7), slow, every_s=0.01):
            await writing.wait()

    ending = asyncio.create_task(ends())
    await writing.wait()
    may_end.set()
    await ending
    assert sums.added == [_counted(7)]
