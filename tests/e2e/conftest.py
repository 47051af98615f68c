from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.lmchat_screen import STEADY, LMChatScreen, configure
from tests.support.programs import Cli
from tests.support.scripted_products import plain
from tests.support.scripted_server import ScriptedServer

_QUICK = {"test_documents.py", "test_examples.py"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what starts lmchat as a program for each test: together that takes minutes."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and item.path.name not in _QUICK:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def kind(request):
    """How the module runs commands: each as a program, unless its `Cli` is `Inside`."""
    return getattr(request.module, "Cli", Cli)


@pytest.fixture
def real(tmp_path, real_server, kind):
    """The command line against the real server; its answers are the same every time, and short."""
    configure(tmp_path, STEADY)
    return kind(home=tmp_path, url=real_server.url)


@pytest.fixture
def server(request):
    """A server that plays what the test says; at first the module's `PRODUCT`, else a plain good one."""
    product = getattr(request.module, "PRODUCT", lambda scripted: plain(scripted, "tiny"))
    with ScriptedServer() as scripted:
        yield product(scripted)


@pytest.fixture
def cli(tmp_path, server, kind):
    """The command line against the scripted server."""
    return kind(home=tmp_path, url=server.url)


@pytest.fixture
def screen(tmp_path, server):
    """The chat, with the scripted server."""
    with LMChatScreen(tmp_path, server.url) as program:
        program.wait_ready()
        yield program


@pytest.fixture
def alone(tmp_path, kind):
    """The command line without any server; port 1 of this machine refuses."""
    return kind(home=tmp_path, url="http://127.0.0.1:1")
