"""A log in an app of its own."""

from __future__ import annotations

import pytest

from tests.support.chat_log_app import LogApp


@pytest.fixture
async def pilot():
    async with LogApp().run_test(size=(80, 30)) as pilot:
        yield pilot


@pytest.fixture
def log(pilot):
    return pilot.app.log_view
