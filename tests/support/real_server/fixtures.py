"""A pytest plugin: real servers, one of each kind for the whole run.

Where a server cannot be prepared, its tests fail and say why; they are never left out in silence.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.support.real_server.prepare import (
    XLLAMACPP,
    CannotPrepareError,
    prepare,
    require_gomp,
    wheel,
)
from tests.support.real_server.server import RealServer

_FIXTURES = {"real_server", "real_router", "start_real_server", "engine_parts"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the tests of real servers as slow: starting one and reading a prompt takes seconds."""
    for item in items:
        if _FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish(session):
    """Fetch what is needed before the first test, whose time limit must not pay for it."""
    wanted = {
        name for item in session.items for name in getattr(item, "fixturenames", ())
    } & _FIXTURES
    if not wanted or session.config.option.collectonly:
        return
    try:
        prepare(is_router="real_router" in wanted)
    except CannotPrepareError as error:
        session.config.get_terminal_writer().line(f"no real server: {error}")


@pytest.fixture(scope="session")
def real_server():
    """A real server with a real, very small model."""
    with RealServer() as server:
        yield server


@pytest.fixture
def engine_parts(monkeypatch):
    """Let this process find the library of the engine, as where it is installed."""
    require_gomp()
    monkeypatch.syspath_prepend(str(wheel(XLLAMACPP)))


@pytest.fixture(scope="session")
def real_router():
    """A real router with two models, of which one is in memory; for tests marked `router`."""
    with RealServer(is_router=True) as server:
        yield server


@pytest.fixture
def start_real_server():
    """Start a server of the test's own: `start_real_server(reasoning=400)`."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(RealServer(**options))
