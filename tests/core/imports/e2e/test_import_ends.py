"""Signals while a long file is imported: lmchat ends at once, and what it has imported is whole."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing

import psutil
import pytest

from tests.support.programs import WAIT_S, Cli, wait_until

TURNS = [
    {"role": "user", "content": "Which vegetables?"},
    {"role": "assistant", "content": "Lettuce."},
]
CHATS = 10_000


@pytest.fixture
def cli(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    return Cli(home=home)


@pytest.fixture
def long_file(tmp_path):
    """A file of more chats than are imported before a signal comes."""
    path = tmp_path / "long.json"
    messages = [{"id": "0", **TURNS[0]}, {"id": "1", "parent": "0", **TURNS[1]}]
    chats = [{"conv": {"id": str(number)}, "messages": messages} for number in range(CHATS)]
    path.write_text(json.dumps(chats))
    return path


def saved_messages(cli):
    path = cli.folder / "sessions.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return connection.execute("select count(*) from messages").fetchone()[0]
        except sqlite3.OperationalError:  # its tables are being made
            return 0


def test_a_signal_ends_a_long_import_at_once_and_keeps_whole_sessions(cli, long_file):
    program = cli.start("import", str(long_file))
    wait_until(lambda: saved_messages(cli), "a chat is saved")
    program.send_signal(signal.SIGINT)
    assert program.wait(WAIT_S) == 128 + signal.SIGINT
    with program:
        assert program.stderr.read().endswith(b"lmchat: Interrupted.\n")
    messages = saved_messages(cli)
    headers = cli.json("sessions", "--json")["data"]
    assert 0 < len(headers) < CHATS
    assert {(header["title"], header["messages"]) for header in headers} == {
        ("Which vegetables?", 2)
    }
    assert messages == 2 * len(headers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_an_import_whose_file_keeps_the_reader_busy_forever(cli, long_file, number):
    program = cli.start("import", str(long_file))
    wait_until(lambda: saved_messages(cli), "a chat is saved")
    (reader,) = psutil.Process(program.pid).children()
    reader.suspend()
    os.kill(program.pid, number)
    assert program.wait(WAIT_S) == 128 + number
    with program:
        assert program.stderr.read().endswith(b"lmchat: Interrupted.\n")
    assert not reader.is_running()


def test_the_reader_of_an_import_ends_with_a_killed_lmchat(cli, long_file):
    program = cli.start("import", str(long_file))
    wait_until(lambda: saved_messages(cli), "a chat is saved")
    (reader,) = psutil.Process(program.pid).children()
    program.kill()
    with program:
        program.wait(WAIT_S)
    reader.wait(WAIT_S)
