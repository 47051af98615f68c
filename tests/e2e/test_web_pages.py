"""Pages of the web on real terminals and on the command line; sockets count what is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.test_plain import begin, leave, prompts  # noqa: F401 - a fixture
from tests.support.lmchat_screen import leave as leave_screen
from tests.support.page_host import PageHost, reply_of
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT

Cli = Inside
SAVED = (Path(__file__).parents[1] / "support" / "saved_page.html").read_bytes()


@pytest.fixture
def host():
    with PageHost() as pages:
        yield pages


def test_the_screen_asks_and_sends_the_page_with_the_prompt(screen, server, host):
    address = host.put("/beans", reply_of(SAVED))
    screen.type(f"/file {address}\r", sees=f"Host: 127.0.0.1, port {host.port}")
    assert (host.connections, server.seen(CHAT)) == (0, [])
    screen.wait_time(0.6)  # the question takes no key at once
    screen.type("y", hides="Download this page?")
    screen.wait_until(lambda: f"[{address}" in screen.prompt_text, "the page in the prompt")
    screen.type("When?\r")
    screen.wait_answered()
    [text] = prompts(server)
    assert text.startswith(f"{address} (")
    assert text.endswith("When?")
    assert "Outdoors  mid May  August" in text
    assert "def distance(rows):\n    return rows * 60  # cm" in text
    assert "evil" not in text
    assert host.connections == 1
    leave_screen(screen)
    assert screen.left_behind() == []


@pytest.mark.parametrize(("typed", "is_sent"), [("y\r", True), ("\r", False)])
def test_the_plain_chat_asks_once_a_host(begin, server, host, typed, is_sent):  # noqa: F811
    address = host.put("/beans", reply_of(SAVED))
    talk = begin()
    talk.type(f"/file {address}\r", sees=f"from 127.0.0.1, port {host.port}? [y/N]")
    assert host.connections == 0
    talk.type(typed, sees="begins with" if is_sent else "Nothing was downloaded from")
    if is_sent:
        talk.type(f"/file {address}\r")
        talk.wait_until(lambda: talk.text.count("begins with") == 2, "the page again")
    talk.type("When?\r", sees="Hello there.\nYou:")
    assert prompts(server)[0].count("Outdoors  mid May  August") == host.connections
    assert host.connections == (2 if is_sent else 0)
    leave(talk)


def test_ask_downloads_only_from_hosts_that_are_named(cli, server, host):
    address = host.put("/beans", reply_of(SAVED))
    done = cli("ask", "-f", address, "When?")
    assert done.returncode == 2
    assert done.stderr == (
        f"lmchat: {host.url} is not allowed: lmchat asks only hosts that you name.\n"
        f"Add --allow-host 127.0.0.1:{host.port}.\n"
    )
    assert (host.connections, server.seen(CHAT)) == (0, [])
    done = cli("ask", "-f", address, "--allow-host", f"127.0.0.1:{host.port}", "When?")
    assert (done.returncode, done.stderr) == (0, "")
    [text] = prompts(server)
    assert text.startswith(f"File {address}:\n```\nThe Shade Garden")
    assert text.endswith("When?")


def test_ask_takes_hosts_of_the_configuration_and_no_redirect_to_others(cli, server, host):
    cli.configure(f'allowed_hosts = ["127.0.0.1:{host.port}"]\n')
    with PageHost() as other:
        host.redirect("/away", other.put("/beans", reply_of(SAVED)))
        host.redirect("/file", "file:///etc/passwd")
        done = cli("ask", "-f", f"{host.url}/away", "When?")
        assert (done.returncode, other.connections) == (2, 0)
        assert f"Add --allow-host 127.0.0.1:{other.port}." in done.stderr
    done = cli("ask", "-f", f"{host.url}/file", "When?")
    assert done.stderr.startswith("lmchat: Only pages with http:// or https:// can be attached.")
    assert server.seen(CHAT) == []
    host.put("/beans", reply_of(SAVED))
    assert cli("ask", "-f", f"{host.url}/beans", "When?").returncode == 0


def test_a_pipe_is_asked_nothing(cli, server, host):
    address = host.put("/beans", reply_of(SAVED))
    done = cli("--plain", stdin=f"/file {address}\nWhen?\n")
    assert "is not allowed: lmchat asks only hosts that you name." in done.stderr
    assert host.connections == 0
    assert len(prompts(server)) == 1
