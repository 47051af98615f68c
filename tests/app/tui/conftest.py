from __future__ import annotations

import pytest

import lmchat.app.tui.app
from lmchat.base.errors import log_bug
from tests.support.desktop import ready_desktop
from tests.support.tui_host import pass_over_others, shortened


@pytest.fixture(scope="session", autouse=True)
def _shortened_waits():
    with shortened():
        yield


@pytest.fixture(autouse=True)
def _no_threads_of_others():
    pass_over_others()


@pytest.fixture(autouse=True)
def internal_errors(monkeypatch):
    """Fail after an error that lmchat would only show; a test that provokes some clears the list."""
    errors = []

    def note(error):
        errors.append(error)
        return log_bug(error)

    monkeypatch.setattr(lmchat.app.tui.app, "log_bug", note)
    yield errors
    assert errors == []


@pytest.fixture
def app(pilot):
    return pilot.app


@pytest.fixture
async def desk(tmp_path):
    """The app with a server that is ready, and nothing said yet."""
    async with ready_desktop(tmp_path) as desk:
        yield desk
