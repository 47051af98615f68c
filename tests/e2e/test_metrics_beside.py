from __future__ import annotations

import pytest

from tests.support.programs import WAIT_S, wait_until
from tests.support.programs import Inside as Cli
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import Hold, sse

pytestmark = pytest.mark.timeout(60)


def test_programs_that_run_beside_each_other_are_counted_also_if_killed_and_after_a_reset(
    cli: Cli, server
):
    server.on(CHAT, sse("Let me see", Hold()))

    def wait_counted(count):
        wait_until(lambda: cli.json("metrics")["totalRequests"] == count, f"{count} are counted")

    with cli.start("ask", "first") as first, cli.start("ask", "second") as second:
        server.wait_for(CHAT, count=2, timeout_s=WAIT_S)
        wait_counted(2)
        first.kill()
        first.wait()
        wait_counted(2)
        cli.json("metrics", "reset")
        assert not any(cli.json("metrics").values())
        second.terminate()
        second.wait()
    metrics = cli.json("metrics")
    assert (metrics["totalRequests"], metrics["stoppedRequests"]) == (0, 1)
