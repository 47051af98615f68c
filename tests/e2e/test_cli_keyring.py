from __future__ import annotations

import pytest

from tests.support.lmchat_screen import ready_screen
from tests.support.scripted_products import plain

KEY = "sk-of-the-keyring-0123456789"
_OPEN = """
class Ring:
    priority = 5
    name = "test ring"
    def get_password(self, service, username):
        return {key!r} if (service, username) == ("lmchat", {origin!r}) else None
    def set_password(self, service, username, password):
        raise RuntimeError
def get_keyring():
    return Ring()
"""
_LOCKED = """
import threading
class Ring:
    priority = 5
    def get_password(self, service, username):
        threading.Event().wait()
def get_keyring():
    return Ring()
"""


@pytest.fixture
def install(tmp_path, cli):
    """Put a library of this name, with this code, where the program finds it."""

    def put(code):
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "keyring.py").write_text(code)
        cli.env["PYTHONPATH"] = str(tmp_path / "site")

    return put


def test_the_key_of_a_named_server_comes_out_of_the_keyring(cli, server, install):
    plain(server, "tiny", key=KEY)
    assert cli("health").returncode == 1
    install(_OPEN.format(key=KEY, origin=server.url))
    assert cli.json("ask", "--json", "Hello?")["reply"]
    report = cli("doctor", "--json").stdout
    assert "test ring" in report
    assert KEY not in report


def test_a_keyring_that_waits_for_its_user_keeps_nobody_waiting(cli, tmp_path, server, install):
    install(_LOCKED)
    assert cli.json("health")["healthy"]
    assert "does not answer" in cli("doctor").stdout
    with ready_screen(tmp_path, server.url, env=cli.env) as screen:
        screen.type("\x11")
        assert screen.wait_exit() == 0
