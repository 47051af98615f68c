"""Permanent deletion by every command that offers it, with all files of the user searched."""

from __future__ import annotations

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
        assert user("sessions", "purge", second, "--yes").returncode == 0
        assert (left(user.home), stored_titles(user.home)) == ([], ["stays"])


def test_a_window_that_shows_a_purged_session_goes_on_in_a_new_one_and_says_so(user, server):
    first, second = user.ids
    server.on(CHAT, sse("Plain kale.", finish(), DONE))
    with LMChatScreen(user.home, user.url, "-r", first) as screen:
        screen.wait_ready()
        user("sessions", "purge", first, "--yes")
        user("sessions", "purge", second, "--yes")
        screen.ask("A plain question", sees="was deleted permanently")
        screen.wait_for("Plain kale.")
        screen.wait_answered(1)
        assert not any("\u1200" <= letter < "\u1270" for letter in screen.chat_text())
        leave(screen)
        assert (left(user.home), stored_titles(user.home)) == ([], ["A plain question", "stays"])
