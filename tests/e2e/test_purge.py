"""Permanent deletion by every command that offers it, with all files of the user searched."""

from __future__ import annotations

import pytest

from tests.support.lmchat_screen import ready_screen, stored_titles
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
