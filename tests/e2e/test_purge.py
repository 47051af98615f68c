"""Permanent deletion by every command that offers it, with all files of the user searched."""

from __future__ import annotations

import json
import signal

import pytest

from tests.support.lmchat_screen import LMChatScreen, leave, ready_screen, stored_titles
from tests.support.programs import Inside
from tests.support.rare_letters import left, secret
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import DONE, finish, sse


def ask(cli: Inside, seed: int) -> str:
    """Save a session with secrets in prompt, answer and file; return its id."""
    file = cli.home.parent / f"note-{seed}.txt"
    file.write_text(secret(seed))
    return cli.json("ask", "--save", "--json", "-f", str(file), secret(seed + 1))["session_id"]


@pytest.fixture
def user(tmp_path, server):
    """A user with two sessions full of secrets, and one that stays."""
    server.on(
        CHAT,
        sse(secret(50), finish(), DONE),
        sse(secret(51), finish(), DONE),
        sse("Hi.", finish(), DONE),
    )
    home = tmp_path / "home"
    home.mkdir()
    cli = Inside(home=home, url=server.url)
    cli.ids = [ask(cli, 1), ask(cli, 11)]
    cli("ask", "--save", "stays")
    assert left(home)
    return cli


def test_a_session_or_the_trash_is_purged_to_the_last_byte_while_another_lmchat_runs(user):
    first, second = user.ids
    user("sessions", "delete", first)
    with ready_screen(user.home, user.url):
        assert user("sessions", "purge", "--yes").returncode == 0
        (user.folder / "tools.log").unlink(missing_ok=True)
        (user.folder / "tools.log").mkdir()
        done = user("sessions", "purge", second, "--yes")
        assert (done.returncode, "tools.log could not be removed" in done.stderr) == (0, True)
        assert (left(user.home), stored_titles(user.home)) == ([], ["stays"])


def test_a_session_that_a_window_shows_is_purged_once_the_window_has_ended(user, server):
    first, second = user.ids
    server.on(CHAT, sse("Plain kale.", finish(), DONE))
    with LMChatScreen(user.home, user.url, "-r", first) as screen:
        screen.wait_ready()
        done = user("sessions", "purge", first, "--yes")
        assert (done.returncode, done.stdout) == (1, "")
        assert f"Open in another lmchat, and not deleted: {first[:8]}" in done.stderr
        user("sessions", "delete", first)
        user("sessions", "delete", second)
        done = user("sessions", "purge", "--yes", "--json")
        assert [row["id"] for row in json.loads(done.stdout)["data"]] == [second]
        assert "Open in another lmchat, and not deleted: 1 session. Open another" in done.stderr
        screen.ask("A plain question", sees="Plain kale.")
        screen.wait_answered(2)
        leave(screen)
    assert len(user.json("sessions", "show", first, "--json")["messages"]) == 4
    assert user("sessions", "purge", first, "--yes").returncode == 0
    assert (left(user.home), stored_titles(user.home)) == ([], ["stays"])


def killed(screen: LMChatScreen) -> None:
    screen.kill(signal.SIGKILL)
    screen.wait_exit()


def test_deleted_messages_go_once_their_window_has_ended_or_was_killed(user):
    for session_id, ends in zip(user.ids, (leave, killed), strict=True):
        with LMChatScreen(user.home, user.url, "-r", session_id) as screen:
            screen.wait_ready()
            screen.wait_answered(1)
            screen.type("\x1b[1;3A")  # Alt+Up
            screen.type("d")
            screen.wait_for("Deleted")
            done = user("sessions", "purge", "--yes")
            assert (done.returncode, done.stdout) == (1, "")
            assert "Open in another lmchat, and not deleted: 1 deleted message." in done.stderr
            ends(screen)
        assert user("sessions", "purge", "--yes").stdout == (
            "Deleted permanently: 1 deleted message.\n"
        )
