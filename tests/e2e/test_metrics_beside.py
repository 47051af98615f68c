from __future__ import annotations

import pytest

from tests.support.lmchat_screen import ready_screen
from tests.support.programs import WAIT_S, wait_until
from tests.support.programs import Inside as Cli
from tests.support.scripted_products import CHAT, plain
from tests.support.scripted_server import Hold, ScriptedServer, sse

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def held(server):
    """A server that begins an answer and never ends it."""
    server.on(CHAT, sse("Let me see", Hold()))
    return server


def _wait_counted(cli, count):
    wait_until(lambda: cli.json("metrics")["totalRequests"] == count, f"{count} requests counted")


def test_the_counters_move_while_the_screen_runs(tmp_path):
    with ScriptedServer() as server:
        plain(server, "tiny")
        cli = Cli(home=tmp_path)
        with ready_screen(tmp_path, server.url) as screen:
            screen.ask("Hello?", answers=1)
            _wait_counted(cli, 1)
            wait_until(
                lambda: cli.json("metrics")["successfulRequests"] == 1, "the end is counted too"
            )


def test_a_process_that_is_killed_has_been_counted(cli, held):
    with cli.start("ask", "Hello?") as asking:
        held.wait_for(CHAT, timeout_s=WAIT_S)
        _wait_counted(cli, 1)
        asking.kill()
    _wait_counted(cli, 1)


def test_after_a_reset_only_what_comes_then_is_counted_whoever_else_runs(cli, held):
    with cli.start("ask", "first") as first, cli.start("ask", "second") as second:
        held.wait_for(CHAT, count=2, timeout_s=WAIT_S)
        _wait_counted(cli, 2)
        cli.json("metrics", "reset")
        assert not any(cli.json("metrics").values())
        first.terminate()
        first.wait()
        second.terminate()
        second.wait()
    metrics = cli.json("metrics")
    assert (metrics["totalRequests"], metrics["stoppedRequests"]) == (0, 2)
