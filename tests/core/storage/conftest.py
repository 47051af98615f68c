from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lmchat.core.storage.stats_store import StatsStore
from lmchat.core.storage.store import Store
from tests.support.chats import Clock, stats_store_at, store_at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    opened = store_at(tmp_path, clock)
    yield opened
    await opened.aclose()


@pytest.fixture
async def stats_store(tmp_path: Path, clock: Clock) -> AsyncIterator[StatsStore]:
    opened = stats_store_at(tmp_path, clock)
    yield opened
    await opened.database.aclose()
