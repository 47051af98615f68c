"""Signals while a long file is imported: lmchat ends at once, and what it has imported is whole."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing

import pytest

from tests.support.programs import WAIT_S, Cli, children_of, is_running, wait_until

TURNS = [
    {"role": "user", "content": "Which vegetables?"},
    {"role": "assistant", "content": "Lettuce."},
]
CHATS = 25  # more than are read ahead


@pytest.fixture
def cli(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    return Cli(home=home)


@pytest.fixture
def long_file(tmp_path):
    """A file of some chats and a value that is read in one call of C, for many seconds."""
    path = tmp_path / "long.json"
    messages = [{"id": "0", **TURNS[0]}, {"id": "1", "parent": "0", **TURNS[1]}]
    with path.open("wb") as file:
        file.write(b"[")
        for number in range(CHATS):
            file.write(
                json.dumps({"conv": {"id": str(number)}, "messages": messages}).encode() + b",\n"
            )
        file.write(b'{"mapping": [')
        for _ in range(60):
            file.write(b"[1,2,3,4,5,6],\n" * 100_000)
        file.write(b"1]}]")
    yield path
    path.unlink()


def saved_messages(cli):
    path = cli.folder / "sessions.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return connection.execute("select count(*) from messages").fetchone()[0]
        except sqlite3.OperationalError:  # its tables are being made
            return 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_long_import_at_once_and_keeps_whole_sessions(cli, long_file, number):
    program = cli.start("import", str(long_file))
    wait_until(lambda: saved_messages(cli) == CHATS * len(TURNS), "the chats are saved")
    children = children_of(program.pid)
    os.kill(program.pid, number)
    assert program.wait(WAIT_S) == 130
    assert not any(map(is_running, children))
    with program:
        assert b"Which vegetables?" in program.stdout.read()
    headers = cli.json("sessions", "--json")["data"]
    assert len(headers) == CHATS
    assert {(header["title"], header["messages"]) for header in headers} == {
        ("Which vegetables?", 2)
    }
