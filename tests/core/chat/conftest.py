"""What most tests of turns need: a real store in a folder of the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lmchat.core.config.settings import LimitSettings, Settings
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.storage.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "sessions.db")
    yield store
    await store.aclose()


@pytest.fixture
async def client() -> AsyncIterator[HttpServerClient]:
    limits = LimitSettings(retry_base_s=0.01, retry_max_s=0.02)
    client = HttpServerClient(Settings(limits=limits))
    yield client
    await client.aclose()
