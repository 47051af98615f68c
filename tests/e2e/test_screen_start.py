from __future__ import annotations

import json
import re
import signal
import socket

import pytest

from lmchat.proxy.servers import SERVERS
from tests.support.lmchat_screen import LMChatScreen
from tests.support.scripted_products import plain
from tests.support.scripted_server import ScriptedServer
from tests.support.start_desk import put, unused_port

PORTS = [port for server in SERVERS for port in server.ports]
DONE = "import pathlib; pathlib.Path({file!r}).write_text('done'); print('Success: server is now running')"
REFUSE = "import sys; print('Error: LM Studio is not set up', file=sys.stderr); sys.exit(3)"


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
    screens = []

    def begin(lms: str):
        put(tmp_path / "bin", "lms", lms)
        screen = LMChatScreen(tmp_path, env={"PATH": str(tmp_path / "bin")})
        screens.append(screen)
        screen.wait_for(re.compile(r"LM Studio +\d+ +not running +lms server start"))
        screen.port = port
        return screen

    yield begin
    for screen in screens:
        screen.__exit__(None, None, None)


def choose(screen) -> None:
    """Press the number of the row."""
    row = next(row for row in screen.screen() if "lms server start" in row)
    screen.type(row.split()[-1] if row.split()[-1].isdigit() else "\r", sees="run this command")
    screen.wait_for("It keeps running when lmchat ends.")
    screen.wait_time(0.6)  # it takes no key at once


@pytest.mark.timeout(60)
def test_a_yes_runs_the_command_and_the_page_goes_on_by_itself(tmp_path, page):
    marker = tmp_path / "marker"
    screen = page(DONE.format(file=str(marker)))
    choose(screen)
    assert not marker.exists()
    screen.type("\r")
    screen.wait_until(marker.exists, "the command has run")
    with plain(ScriptedServer(port=screen.port), "tiny"):
        screen.wait_ready()
        screen.type("\x11")
        assert screen.wait_exit() == 0
    assert (tmp_path / "lmchat" / "lm-studio.log").read_text() == "Success: server is now running\n"


@pytest.mark.timeout(60)
def test_a_no_runs_nothing_and_a_failure_is_one_sentence(tmp_path, page):
    screen = page(REFUSE)
    choose(screen)
    screen.type("\x1b")
    screen.wait_until(lambda: "run this command" not in screen.text, "the question is gone")
    assert not (tmp_path / "lmchat" / "lm-studio.log").exists()
    choose(screen)
    screen.type(
        "\r", sees="! lms server start ended with exit code 3: Error: LM Studio is not set up."
    )
    screen.wait_for("lm-studio.log")
    assert "Traceback" not in screen.text


@pytest.mark.timeout(60)
def test_lmchat_can_be_ended_while_a_command_hangs(page):
    screen = page("import time; time.sleep(60)")
    choose(screen)
    screen.type("\r", sees="starting")
    screen.kill(signal.SIGTERM)
    assert screen.wait_exit() == 128 + signal.SIGTERM
