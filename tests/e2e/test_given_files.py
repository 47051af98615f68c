"""Who is asked about a page of another host, a path outside the folder, and many files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.lmchat_screen import LMChatScreen, leave, prompts_sent
from tests.support.page_host import PageHost, reply_of
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT

Cli = Inside
SAVED = (Path(__file__).parents[1] / "support" / "saved_page.html").read_bytes()
QUESTIONS = ("Download this page?", "Attach from outside this folder?", "Attach 51 files")
CONTENTS = ("Outdoors  mid May  August", "PRIVATE KEY", "Note 50.")


@pytest.fixture
def host():
    with PageHost() as pages:
        yield pages


@pytest.fixture
def given(cli, tmp_path, host):
    """A page, a path outside and a pattern, as they are named in the folder of the commands."""
    cli.cwd = tmp_path / "work"
    (cli.cwd / "notes").mkdir(parents=True)
    for number in range(51):
        (cli.cwd / f"notes/{number:02}.md").write_text(f"Note {number}.")
    (tmp_path / "id_rsa").write_text("PRIVATE KEY\n")
    return host.put("/beans", reply_of(SAVED)), "../id_rsa", "notes/*.md"


@pytest.mark.parametrize(
    ("words", "outcomes"),
    [
        ("--plain", "Add --allow-host|attached|need --yes"),
        ("ask", "Add --allow-host|attached|need --yes"),
        ("ask --yes", "Add --allow-host|attached|attached"),
        ("ask --allow-host 127.0.0.1", "attached|attached|need --yes"),
    ],
)
def test_without_a_terminal_only_a_path_is_meant(cli, server, host, given, words, outcomes):
    for name, content, outcome in zip(given, CONTENTS, outcomes.split("|"), strict=True):
        before = len(server.seen(CHAT))
        if words == "--plain":
            done = cli(words, stdin=f"/file {name}\nWhat?\n")
        else:
            done = cli(*words.split(), "-f", name, "What?")
        sent = prompts_sent(server)[before:]
        if outcome == "attached":
            assert (done.returncode, content in sent[0]) == (0, True), done
        else:
            assert (done.returncode, sent, outcome in done.stderr) == (2, [], True), done
    assert host.connections == outcomes.startswith("attached")


def test_ask_at_a_terminal_asks_about_many_files_alone(cli, server, host, given, start):
    def ended(name: str, answer: str, sees: str) -> int:
        talk = start(argv=("ask", "-f", name, "What?"), sees=sees, cwd=cli.cwd)
        talk.type(answer)
        return talk.wait_exit()

    page, path, many = given
    assert ended(page, "", "Add --allow-host") == ended(many, "\r", f"{QUESTIONS[2]}, ") == 2
    assert (host.connections, server.seen(CHAT)) == (0, [])
    assert ended(path, "", "Hello there.") == ended(many, "y\r", f"{QUESTIONS[2]}, ") == 0
    assert [text in sent for text, sent in zip(CONTENTS[1:], prompts_sent(server), strict=True)]


def test_the_screen_asks_about_each(cli, server, host, given):
    with LMChatScreen(cli.home, server.url, cwd=cli.cwd) as screen:
        screen.wait_ready()
        for name, question in zip(given, QUESTIONS, strict=True):
            screen.ask(f"/file {name}", sees=question)
            assert host.connections == (question != QUESTIONS[0])
            screen.type("\x1b", hides=question)
            screen.ask(f"/file {name}", sees=question)
            screen.wait_time(1)  # Enter right behind the last key is none
            screen.type("\r", hides=question)
            screen.wait_until(lambda: screen.prompt_text.startswith("["), "the files")
        screen.ask("What?", answers=1)
        leave(screen)
    assert [prompts_sent(server)[0].count(text) for text in CONTENTS] == [1, 1, 1]
