from __future__ import annotations

import asyncio

import pytest

from lmchat.cli.counters import counters_saved
from lmchat.errors import StoreUnavailable
from lmchat.sessions.stats import Metrics


class _MetricsStore:
    """Saved metrics in memory; the next `fails` writes fail."""

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
def store():
    return _MetricsStore()


def _metrics(count):
    return Metrics(total_requests=count, total_response_ms=count * 1.5)


async def test_where_nothing_was_counted_the_disk_is_left_alone(store):
    async with counters_saved(Metrics, store.add):
        pass
    assert store.added == []


async def test_what_a_store_did_not_take_is_handed_on_with_the_next_time(store):
    store.fails = 1
    counts = iter([_metrics(1), _metrics(3)])
    async with counters_saved(lambda: next(counts, _metrics(3)), store.add, every_s=0.01):
        await store.changed.wait()
    assert store.added == [_metrics(3)]


async def test_each_count_is_handed_on_once_while_the_program_runs_and_the_rest_at_its_end(store):
    now = Metrics()
    async with counters_saved(lambda: now, store.add, every_s=0.01):
        now = _metrics(1)
        await store.changed.wait()
        now = _metrics(4)
    assert sum(metrics.total_requests for metrics in store.added) == 4
