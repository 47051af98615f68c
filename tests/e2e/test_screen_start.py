from __future__ import annotations

import json
import re
import socket

import pytest

from lmchat.servers.products import PRODUCTS
from tests.support.lmchat_screen import LMChatScreen
from tests.support.scripted_products import plain
from tests.support.scripted_server import ScriptedServer
from tests.support.start_desk import put, unused_port

PORTS = [port for server in PRODUCTS for port in server.ports]
DONE = "import pathlib; pathlib.Path({file!r}).write_text('done'); print('Success: server is now running')"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def page(tmp_path):
    """lmchat where no server answers; LM Studio's files say that its server has a port of the test's."""
    if taken := [port for port in PORTS if _listens(port)]:
        pytest.skip(f"something listens at {taken}")
    port = unused_port()
    folder = tmp_path / ".lmstudio" / ".internal"
    folder.mkdir(parents=True)
    (folder / "http-server-config.json").write_text(json.dumps({"port": port}))
    put(tmp_path / "bin", "lms", "import time; time.sleep(60)")
    with LMChatScreen(tmp_path, env={"PATH": str(tmp_path / "bin")}) as screen:
        screen.wait_for(re.compile(r"LM Studio +\d+ +not running +lms server start"))
        screen.port = port
        yield screen


def choose(screen) -> None:
    """Press the number of the row."""
    row = next(row for row in screen.screen() if "lms server start" in row)
    screen.type(row.split()[-1] if row.split()[-1].isdigit() else "\r", sees="run this command")
    screen.wait_for("It keeps running when lmchat ends.")
    screen.wait_time(0.6)  # it takes no key at once


@pytest.mark.timeout(90)
def test_a_server_is_started_after_a_yes_only_and_the_page_goes_on_by_itself(tmp_path, page):
    log = tmp_path / "lmchat" / "lm-studio.log"
    choose(page)
    page.type("\x1b", hides="run this command")
    assert not log.exists()
    choose(page)
    marker = tmp_path / "marker"
    put(tmp_path / "bin", "lms", DONE.format(file=str(marker)))
    page.type("\r")
    page.wait_until(marker.exists, "the command has run")
    with plain(ScriptedServer(port=page.port), "tiny"):
        page.wait_ready()
        page.type("\x11")
        assert page.wait_exit() == 0
    assert log.read_text() == "Success: server is now running\n"
