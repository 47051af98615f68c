"""A log in an app of its own."""

from __future__ import annotations

import pytest

from tests.support.chat_log_app import LogApp


@pytest.fixture
async def pilot(request):
    """The log at 80 x 30, or at the SIZE that a file of tests names."""
    async with LogApp().run_test(size=getattr(request.module, "SIZE", (80, 30))) as pilot:
        yield pilot


@pytest.fixture
def log(pilot):
    return pilot.app.log_view
