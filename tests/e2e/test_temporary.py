"""A temporary chat, walked through its commands: no file has a word of it, and no saved session changes."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from lmchat.core.chat.drafts import SAVE_AFTER_S
from tests.support.files_to_attach import image
from tests.support.lmchat_screen import LMChatScreen
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import DONE, Gate, finish, sse

MARK = "zebrafinch"
ANSWER = f"The {MARK}. [x](https://example.org)\n\n```py\n1\n```\n"
_CONFIG = """[chat]
auto_title = true
auto_compact = true
[prompts.french]
text = "French {{input}}"
[profiles.short]
system_prompt = "Be short."
"""
Wanted = str | re.Pattern[str]


def _answered(count: int) -> re.Pattern[str]:
    """Return what the telemetry panel shows after so many answers."""
    return re.compile(rf"\b{count} answered")


_STEPS: dict[str, tuple[str, Wanted]] = {
    "/system": (f"Speak of the {MARK}", ""),
    "/p": (f"french the {MARK}", _answered(4)),
    "/retry": ("", _answered(5)),
    "/continue": ("", "complete"),
    "/pager": ("", ""),
    "/title": (f"{MARK} title", "Renamed."),
    "/tag": (f"{MARK}tag", f"Tagged #{MARK}tag"),
    "/copy": ("", "Copied."),
    "/import": ("notes.json", "so it cannot import"),
    "/export": ("{export}", "Exported to"),
    "/find": (MARK, "Esc close"),
    "/search": (MARK, "Search all sessions"),
    "/file": ("{note}", "note.txt"),
    "/edit": ("", "Esc cancel edit"),
    "/profile": ("short", "profile"),
    "/set": ("temperature 0.5", "temperature is 0.5"),
    "/start": ("It is", "cannot continue a text"),
    "/rewrite": ("", "Rewriting an answer"),
    "/tree": ("", "Tree"),
    "/delete": ("", "Deleted, with everything"),
    "/undo": ("", "Restored."),
    "/fork": ("", "This is a new session"),
    "/compact": ("", "A summary"),
    "/new": ("", "New session"),
}
"""What is typed after each slash command that keeps, sends or changes words, and what its work shows."""
_LENDS_TERMINAL = "/pager"  # what is typed before it has the terminal back is lost
_TAKES_TERMINAL = b"\x1b[?1049h"
_STILL_S = 0.25


class Home:
    """Folders of one user, in which lmchat and the programs it starts can write."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.user = folder / "user"  # what the user wrote
        self.temporary = folder / "tmp"
        for place in (self.home, self.user, self.temporary, self.home / "lmchat"):
            place.mkdir()
        (self.home / "lmchat" / "config.toml").write_text(_CONFIG)
        (self.user / "note.txt").write_text(f"Soil for the {MARK}.")
        self.env = {"TMPDIR": str(self.temporary), "PAGER": "cat"}

    def marked(self) -> list[str]:
        """Return the files with a word of the chat."""
        found = []
        for path in (*self.home.rglob("*"), *self.temporary.rglob("*")):
            with suppress(FileNotFoundError, IsADirectoryError):  # lmchat has renamed or removed it
                if MARK.encode() in path.read_bytes():
                    found.append(str(path))
        return found


@pytest.fixture
def user(tmp_path):
    return Home(tmp_path)


def saved_session(user: Home, server) -> str:
    """Save a session that the temporary chats copy, and return its id."""
    cli = Inside(home=user.home, url=server.url)
    return cli.json("ask", "--save", "--json", "Which vegetables?")["session_id"]


def rows_of_sessions(user: Home) -> object:
    """Return all that is saved of sessions."""
    with closing(sqlite3.connect(user.home / "lmchat" / "sessions.db")) as raw:
        tables = ("sessions", "messages", "parts", "drafts")
        return [raw.execute(f"select * from {name}").fetchall() for name in tables]  # noqa: S608 - our own names


def run_command(screen: LMChatScreen, line: str, sees: Wanted) -> None:
    """Type a slash command, wait for what it shows, and leave its dialog and what is left in the prompt."""
    shown = line[-20:]
    screen.type(line, sees=shown)
    times = screen.raw.count(_TAKES_TERMINAL)
    screen.type("\r")
    if line == _LENDS_TERMINAL:
        screen.wait_until(
            lambda: screen.raw.count(_TAKES_TERMINAL) > times, "it has the terminal again"
        )
    screen.wait_for(sees)
    screen.wait_until(lambda: bool(sees) or shown not in screen.prompt_text, "it is taken")
    screen.type("\x1b")
    screen.wait_quiet(_STILL_S)  # Esc with the next key is Alt
    screen.wait_for("F1 help")  # the keys of the prompt, which has the focus again

    def is_empty() -> bool:
        screen.type("\x15")
        return shown not in screen.prompt_text

    screen.wait_until(is_empty, "the prompt is empty")


def attach(screen: LMChatScreen, line: str, sees: str) -> None:
    """Attach a file, which is outside of the folder that lmchat was started in."""
    question = "Attach from outside this folder?"
    screen.type(f"{line}\r", sees=question)
    screen.wait_time(0.6)  # it takes no key at once
    screen.type("\r", hides=question)
    screen.wait_until(lambda: sees in screen.prompt_text, f"{sees} in the prompt")


@pytest.mark.timeout(180)
def test_no_command_leaves_a_word_in_a_file_or_changes_what_is_saved(user, server):
    saved_session(user, server)
    before = rows_of_sessions(user)
    server.on(CHAT, sse(ANSWER, finish(), DONE))
    export = user.user / "export.md"
    note = user.user / "note.txt"
    words = ("--temporary", "--log-level", "debug")
    with LMChatScreen(user.home, server.url, *words, env=user.env) as screen:
        screen.wait_ready()
        screen.wait_for("temporary")
        screen.type("\x14", sees="0 answered")  # all figures
        for number in range(3):
            screen.ask(f"{number} for the {MARK}", answers=number + 1)
        prompts = [one.json["messages"][-1]["content"] for one in server.seen(CHAT)[1:]]
        assert prompts == [f"{number} for the {MARK}" for number in range(3)]  # none for a title
        run_command(screen, "/search vegetables", "No hits for “vegetables”")
        assert "Which vegetables?" not in screen.text
        for name, (argument, sees) in _STEPS.items():
            line = f"{name} {argument}".rstrip().format(export=export, note=note)
            if name == "/file":  # it stays in the prompt, and is sent with the next one
                attach(screen, line, sees)
                screen.ask(f"It is for the {MARK}", sees=_answered(6))
                continue
            run_command(screen, line, sees)
            assert (user.marked(), rows_of_sessions(user)) == ([], before), line
            assert "saved" not in screen.text, line
        assert MARK in export.read_text()
        screen.type("/quit\r")
        assert screen.wait_exit() == 0
        assert "Traceback" not in screen.log_text
    assert (user.marked(), rows_of_sessions(user)) == ([], before)


@pytest.mark.timeout(120)
def test_a_killed_temporary_chat_leaves_no_word(user, server):
    Inside(home=user.home, url=server.url)("ask", "--save", "Another session")
    saved_session(user, server)
    before = rows_of_sessions(user)
    gate = Gate()
    server.on(CHAT, sse(f"The {MARK} ", "sings", gate))
    picture = user.user / f"{MARK}.png"
    picture.write_bytes(image())
    with LMChatScreen(user.home, server.url, "--temporary", "-r", "last", env=user.env) as screen:
        screen.wait_for("Which vegetables?")
        screen.wait_ready()
        assert "Another session" not in screen.text
        attach(screen, f"/file {picture}", "64×48")
        screen.ask(f"A {MARK}?", sees="sings")
        screen.type(f"Queued {MARK}")
        screen.type("\r", sees="next")
        screen.type(f"Draft of a {MARK}", sees="Draft of a")
        screen.wait_time(2 * SAVE_AFTER_S)
        assert (user.marked(), rows_of_sessions(user)) == ([], before)
        screen.process.kill()
        screen.wait_exit()
    assert (user.marked(), rows_of_sessions(user)) == ([], before)
    assert not list((user.home / "lmchat").glob("*answer*"))
    assert not list((user.home / "lmchat").glob("attachments/*"))
