"""lmchat's own screen on a pty, in a home of its own, with what it wrote to the disk.

with ready_screen(tmp_path, server.url) as screen:
    screen.ask("Hello?", answers=1)
    assert stored(screen.home).messages[-1].text
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmchat.core.sessions.message import Role
from lmchat.core.storage.journal import read_answer
from lmchat.core.storage.store import Store
from tests.support.programs import ROOT
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import ScriptedServer

WIDE = (120, 40)
LONG_PROMPT = "Write the numbers from 1 to 500 separated by commas."
"""At temperature 0 the small model goes on for 20 s."""
STEADY = (
    "[chat]\ntemperature = 0\nseed = 1\n"  # configuration for answers that are the same every time
)
_READY = re.compile(r"▌ ● \S+ · \S+")
_STATS = "tok in "
_STOPPED = re.compile(r"stopped\s· ~?[\d\s]+\stok")


class LMChatScreen(PtyProgram):
    """`lmchat` without a command."""

    def __init__(
        self,
        home: Path,
        url: str = "",
        *words: str,
        size: tuple[int, int] = WIDE,
        env: Mapping[str, str] | None = None,
        argv: Sequence[str] = (sys.executable, "-m", "lmchat"),
        cwd: Path = ROOT,
    ) -> None:
        self.home = home
        endpoint = ["--endpoint", url] if url else []
        super().__init__([*argv, *endpoint, *words], home=home, size=size, env=env, cwd=cwd)

    @property
    def log_text(self) -> str:
        file = self.home / "lmchat" / "lmchat.log"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def wait_ready(self) -> None:
        self.wait_for(_READY)

    def put(self, text: str) -> None:
        self.type(text)
        self.wait_until(lambda: text[-12:] in self.prompt_text, f"{text[-12:]!r} in the prompt")

    def ask(self, text: str, *, answers: int = 0, sees: str | re.Pattern[str] = "") -> None:
        """Send a prompt; then wait for as many answers in all, and for a text."""
        self.put(text)
        self.type("\r")
        self.wait_until(lambda: text[-12:] not in self.prompt_text, "the prompt is sent")
        self.wait_answered(answers)
        self.wait_for(sees)

    def wait_answered(self, count: int = 1) -> None:
        self.wait_until(lambda: self.text.count(_STATS) >= count, f"{count} answers")

    def wait_stopped(self) -> None:
        self.wait_for(_STOPPED)

    def wait_time(self, seconds: float) -> None:
        """Let time pass, where time itself is what the program goes by."""
        until_s = time.monotonic() + seconds
        self.wait_until(lambda: time.monotonic() > until_s, f"{seconds} s have passed", seconds + 1)

    @property
    def prompt_text(self) -> str:
        """What stands in the prompt: the last rows with its bar, without the status below it."""
        rows: list[str] = []
        for row in reversed(self.screen()):
            position = row.rfind("▌")
            if position >= 0:
                rows.append(row[position + 1 :].strip())
            elif rows:
                break
        return "\n".join(reversed(rows[1:])).strip()


class PlainChat(PtyProgram):
    """`lmchat --plain` or `lmchat --inline`, at a terminal."""

    def wait_prompt(self) -> None:
        self.wait_until(lambda: self.text.rstrip().endswith("You:"), "the prompt")

    def leave(self) -> None:
        self.wait_prompt()
        self.type("\x04")
        assert self.wait_exit() == 0
        assert self.left_behind() == []


@contextmanager
def ready_screen(*given: Any, **more: Any) -> Iterator[LMChatScreen]:
    with LMChatScreen(*given, **more) as screen:
        screen.wait_ready()
        yield screen


def leave(*screens: LMChatScreen) -> None:
    for screen in screens:
        screen.type("\x11")
        assert screen.wait_exit() == 0
        assert "Traceback" not in screen.log_text


def configure(home: Path, text: str) -> None:
    folder = home / "lmchat"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(text, encoding="utf-8")


def _read(home: Path, work):
    async def read():
        store = Store(home / "lmchat" / "sessions.db")
        try:
            return await work(store)
        finally:
            await store.aclose()

    return asyncio.run(read())


def stored(home: Path, session_id: str = ""):
    """Return the newest session (or the given one) as the disk has it now."""

    async def work(store):
        return await store.open_session(session_id or (await store.list_sessions())[0].session_id)

    return _read(home, work)


def stored_draft(home: Path) -> str:
    """Return the draft of the newest session, which starts with what waits there."""

    async def work(store):
        return await store.draft(await store.find_id("last"))

    return _read(home, work)


def stored_titles(home: Path) -> list[str]:
    return [header.title for header in _read(home, Store.list_sessions)]


def texts(home: Path) -> list[str]:
    return [message.text for message in stored(home).messages]


def arriving(home: Path) -> str:
    """Return what is on the disk of answers that arrive."""
    files = (home / "lmchat").glob("sessions.db-answer-*")
    return "".join(text for file in files for _, text in read_answer(file)[1])


def prompts_sent(server: ScriptedServer) -> list[str]:
    return [request.json["messages"][-1]["content"] for request in server.seen(CHAT)]


def answers(home: Path) -> list:
    return [message for message in stored(home).messages if message.role is Role.ASSISTANT]
