"""What the welcome page is handed of this machine."""

from __future__ import annotations

import pytest

from lmchat.cli.starting import engine_command, ollama_endpoint


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("", None),
        ("0.0.0.0", None),  # noqa: S104 - read, not bound to
        ("localhost", None),
        ("127.0.0.1:11500", "http://127.0.0.1:11500"),
        (":11500", "http://127.0.0.1:11500"),
        ("0.0.0.0:11500", "http://127.0.0.1:11500"),
        ("[::]:11500", "http://127.0.0.1:11500"),
        ("[::1]:11500", "http://[::1]:11500"),
        ("http://localhost:11500/", "http://localhost:11500"),
        ("gpu-box:11500", None),
        ("127.0.0.1:99999", None),
        ("no host:1", None),
        ("a:b", None),
    ],
)
def test_ollama_is_expected_where_its_variable_says(host, origin):
    endpoint = ollama_endpoint(host)
    assert (endpoint and endpoint.origin) == origin


def test_the_command_that_installs_the_engine_is_that_of_this_python(monkeypatch):
    monkeypatch.setattr("sys.executable", "/opt/my env/bin/python")
    monkeypatch.setattr("lmchat.cli.starting.find_spec", lambda name: None)
    assert engine_command() == "'/opt/my env/bin/python' -m pip install 'lmchat[local]'"
    monkeypatch.setattr("lmchat.cli.starting.find_spec", lambda name: object())
    assert engine_command() == ""
