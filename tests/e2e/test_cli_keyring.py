from __future__ import annotations

import json

import pytest

from tests.support.lmchat_screen import ready_screen
from tests.support.pty_program import ROOT
from tests.support.scripted_products import plain

KEY = "sk-of-the-keyring-0123456789"


@pytest.fixture
def with_ring(cli):
    """The command line with the real library, whose keyring is locked."""
    cli.env |= {"PYTHON_KEYRING_BACKEND": "tests.support.faults.Ring", "PYTHONPATH": str(ROOT)}
    return cli


def test_the_key_of_a_named_server_comes_out_of_the_keyring(with_ring, server):
    plain(server, "tiny", key=KEY)
    with_ring.env["KEYRING_OF_TESTS"] = json.dumps({server.url: KEY})
    assert with_ring.json("ask", "--json", "Hello?")["reply"]
    report = with_ring("doctor", "--json").stdout
    assert "test ring" in report
    assert KEY not in report


def test_a_keyring_that_waits_for_its_user_keeps_nobody_waiting(with_ring, tmp_path, server):
    assert with_ring.json("health")["healthy"]
    assert "does not answer" in with_ring("doctor").stdout
    with ready_screen(tmp_path, server.url, env=with_ring.env) as screen:
        screen.type("\x11")
        assert screen.wait_exit() == 0
