"""What the welcome page is handed of this machine."""

from __future__ import annotations

from lmchat.cli.starting import engine_command


def test_the_command_that_installs_the_engine_is_that_of_this_python(monkeypatch):
    monkeypatch.setattr("sys.executable", "/opt/my env/bin/python")
    monkeypatch.setattr("lmchat.cli.starting.find_spec", lambda name: None)
    assert engine_command() == "'/opt/my env/bin/python' -m pip install 'lmchat[local]'"
    monkeypatch.setattr("lmchat.cli.starting.find_spec", lambda name: object())
    assert engine_command() == ""
