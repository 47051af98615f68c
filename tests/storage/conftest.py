from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lmchat.storage.store import Store
from tests.support.chats import Clock, store_at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    opened = store_at(tmp_path, clock)
    yield opened
    await opened.aclose()
