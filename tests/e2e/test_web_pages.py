"""Pages of the web in the plain chat and on the command line; sockets count what is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.lmchat_screen import prompts_sent
from tests.support.page_host import PageHost, reply_of
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT

Cli = Inside

SAVED = (Path(__file__).parents[1] / "support" / "saved_page.html").read_bytes()


@pytest.fixture
def host():
    with PageHost() as pages:
        yield pages


def test_the_plain_chat_asks_before_a_page_is_downloaded(start, server, host):
    address = host.put("/beans", reply_of(SAVED))
    talk = start()
    talk.type(
        f"/file {address}\r", sees=f"Host: 127.0.0.1, port {host.port}\nDownload this page? [y/N]"
    )
    talk.type("\r", sees="Nothing was downloaded from")
    talk.wait_prompt()
    assert host.connections == 0
    talk.type(f"/file {address}\r")
    talk.wait_until(lambda: talk.text.count("? [y/N]") == 2, "the question again")
    talk.type("y\r", sees="begins with")
    talk.type("When?\r", sees="Hello there.\nYou:")
    assert prompts_sent(server)[0].count("Outdoors  mid May  August") == host.connections == 1
    talk.leave()


def test_ask_downloads_only_from_hosts_that_are_named(cli, server, host):
    address = host.put("/beans", reply_of(SAVED))
    done = cli("ask", "-f", address, "When?")
    assert done.returncode == 2
    assert done.stderr == (
        f"lmchat: {host.url} is not allowed: lmchat asks only hosts that you name.\n"
        f"Add --allow-host 127.0.0.1:{host.port}.\n"
    )
    assert (host.connections, server.seen(CHAT)) == (0, [])
    done = cli("--plain", stdin=f"/file {address}\n")  # a pipe is asked nothing
    assert "is not allowed: lmchat asks only hosts that you name." in done.stderr
    assert host.connections == 0
    done = cli("ask", "-f", address, "--allow-host", f"127.0.0.1:{host.port}", "When?")
    assert (done.returncode, done.stderr) == (0, "")
    [text] = prompts_sent(server)
    assert text.startswith(f"File {address}:\n```\nThe Shade Garden")
    assert text.endswith("When?")
