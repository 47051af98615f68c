from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing

import pytest

from lmchat.core.sessions.message import AnswerState
from tests.support.faults import FileLimit, small_file_system
from tests.support.lmchat_screen import LMChatScreen, arriving, ready_screen, stored
from tests.support.programs import Cli
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, finish, sse

PRODUCT = llama_cpp

FULL = (
    "while-it-was-full " * 1200
)  # more than what is left of the last page of a file that is there already


@pytest.fixture
def disk(tmp_path):
    """Return a disk that fills up: a small file system where one may be mounted."""
    with small_file_system(tmp_path / "small") as found:
        yield found or FileLimit(tmp_path)


def wait_on_disk(screen, text: str) -> None:
    screen.wait_until(lambda: text in arriving(screen.home), "the text is on the disk")


@pytest.mark.timeout(60)
def test_what_came_on_a_full_disk_is_all_there_with_room_again(disk, server):
    full = Gate()
    room = Gate()
    server.on(CHAT, sse("begun ", full, FULL, room, "and with room", Gate()))
    with ready_screen(disk.folder, server.url) as screen:
        screen.ask("How much room?")
        wait_on_disk(screen, "begun")
        disk.fill(screen.process.pid)
        full.open()
        screen.wait_for("Nothing is saved")
        disk.make_room(screen.process.pid)
        room.open()
        wait_on_disk(screen, f"begun {FULL}and with room")
        screen.wait_gone("Nothing is saved")
        screen.kill(signal.SIGKILL)
        screen.wait_exit()
        assert "Traceback" not in screen.log_text
    prompt, answer = stored(disk.folder).messages
    assert prompt.text == "How much room?"
    assert answer.text == f"begun {FULL}and with room"
    assert answer.state is AnswerState.INTERRUPTED


@pytest.mark.timeout(60)
def test_who_leaves_while_the_disk_is_full_is_told_what_was_not_saved(tmp_path, server):
    disk = FileLimit(tmp_path)
    with LMChatScreen(tmp_path, server.url) as screen:
        screen.wait_ready()
        screen.ask("Before.", answers=1)
        disk.fill(screen.process.pid)
        server.on(CHAT, sse(FULL, "OVER", finish(), DONE))
        screen.ask("While it is full.", sees="Nothing is saved")
        screen.wait_for("OVER")
        screen.type("\x11", sees="Quit without saving?")
        screen.type("q")
        assert screen.wait_exit() == 0
        assert "the end of “Before.” could not be saved: " in " ".join(screen.text.split())
        assert screen.left_behind() == []


@pytest.mark.timeout(60)
def test_who_is_ended_while_another_program_holds_the_file_finds_all_at_the_next_start(
    tmp_path, server
):
    half = Gate()
    server.on(CHAT, sse("the answer ", half, Gate()))
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("The question.", sees="the answer")
        home = screen.home / "lmchat"
        file = home / "sessions.db"
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("begin immediate")
            screen.type("and a draft")
            screen.wait_for("and a draft")
            screen.kill(signal.SIGTERM)
            assert screen.wait_exit() == 143
            other.execute("rollback")
    (rescued,) = home.glob("unsaved-*.json")
    for words in ("The question.", "the answer", "and a draft"):
        assert words in rescued.read_text()
    with ready_screen(tmp_path, server.url) as screen:
        screen.wait_for("The end of a session could not")
        screen.type(f"/import {rescued}\r", sees="is imported, 3 messages")


@pytest.mark.timeout(60)
def test_a_screen_and_commands_on_a_full_disk_show_the_saved_sessions(disk, server):
    cli = Cli(disk.folder, server.url)
    assert cli("ask", "--save", "Plan the garden").returncode == 0
    disk.fill(os.getpid())  # also what it starts
    try:
        for words in (("sessions",), ("search", "garden"), ("export", "last", "--format", "txt")):
            done = cli(*words)
            assert (done.returncode, "Plan the garden" in done.stdout) == (0, True), done.stderr
        with LMChatScreen(disk.folder, server.url, size=(120, 30)) as screen:
            screen.wait_ready()
            screen.type("\x02", sees="Plan the garden")
            assert "No sessions" not in screen.text
            screen.type("\x11")
            assert screen.wait_exit() == 0
    finally:
        disk.make_room(os.getpid())
