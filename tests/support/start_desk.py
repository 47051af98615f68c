"""Small programs that stand for servers, and the welcome page alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmchat.servers.discovery.status import ServerStatus
from lmchat.tui.welcome.server_rows import LocalSetup
from lmchat.tui.welcome.welcome_screen import WelcomeFacts, WelcomeScreen

HANG = """
import signal, time
signal.alarm(120)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("hanging", flush=True)
time.sleep(600)
"""


def put(folder: Path, name: str, text: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!{sys.executable} -IS\n{text}", encoding="utf-8")
    file.chmod(0o755)
    if os.name == "nt":  # which runs a program by the ending of its name
        command = f'@"{sys.executable}" -IS "{file}" %*\n'
        file = folder / f"{name}.cmd"
        file.write_text(command, encoding="utf-8")
    return str(file)


def found(
    results: Sequence[ServerStatus] = (), here: LocalSetup | None = None, **more: Any
) -> WelcomeFacts:
    """Return what was found 2 s ago by a clock that stands at 0."""
    return WelcomeFacts(
        servers=results,
        searched_at_s=-2.0,
        search_pause_s=5.0,
        machine=here or LocalSetup(),
        **more,
    )


def bare_page(what: WelcomeFacts | None = None) -> WelcomeScreen:
    """Return the welcome page with what it is handed alone."""
    page = WelcomeScreen(lambda: 0.0)
    page.show(what or WelcomeFacts())
    return page
