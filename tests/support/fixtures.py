"""What tests of all houses start: a store, a scripted server, and the command line against it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lmchat.core.storage.store import Store
from tests.support.programs import Cli
from tests.support.scripted_products import plain
from tests.support.scripted_server import ScriptedServer


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "sessions.db")
    yield store
    await store.aclose()


@pytest.fixture
def server(request):
    """A server that plays what the test says; at first the module's `PRODUCT`, else a plain good one."""
    product = getattr(request.module, "PRODUCT", lambda scripted: plain(scripted, "tiny"))
    with ScriptedServer() as scripted:
        yield product(scripted)


@pytest.fixture
def kind(request):
    """How the module runs commands: each as a program, unless its `Cli` is `Inside`."""
    return getattr(request.module, "Cli", Cli)


@pytest.fixture
def cli(tmp_path, server, kind):
    """The command line against the scripted server."""
    return kind(home=tmp_path, url=server.url)


@pytest.fixture
def alone(tmp_path, kind):
    """The command line without any server; port 1 of this machine refuses."""
    return kind(home=tmp_path, url="http://127.0.0.1:1")
