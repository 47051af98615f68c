"""A client that tries again soon, for turns over real and scripted servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lmchat.core.config.settings import LimitSettings, Settings
from lmchat.core.servers.client import HttpServerClient


@pytest.fixture
async def client() -> AsyncIterator[HttpServerClient]:
    limits = LimitSettings(retry_base_s=0.01, retry_max_s=0.02)
    client = HttpServerClient(Settings(limits=limits))
    yield client
    await client.aclose()
