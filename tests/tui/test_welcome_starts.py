from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lmchat.tui.screen import ChatScreen
from lmchat.tui.welcome.welcome_screen import WelcomeScreen
from tests.support.desktop import calm
from tests.support.programs import processes
from tests.support.start_desk import LISTEN, at, put, start_desk, unused_port

pytestmark = pytest.mark.timeout(60)  # programs of Python start one after another on a busy machine


def program(folder: Path, name: str, text: str, *, port: int = 0, before: str = "") -> str:
    return put(folder / "bin", name, text.replace("{before}", before).replace("{port}", str(port)))


async def test_only_after_a_yes_a_server_is_started_and_used_and_goes_on_after_lmchat(tmp_path):
    port, away = unused_port(), at(unused_port())
    path = program(tmp_path, "ollama", LISTEN, port=port, before="time.sleep(0.2)")
    settings = calm(endpoint=away.url)  # another server was named, which does not answer
    async with start_desk(tmp_path, {"Ollama": port}, own=[away], settings=settings) as seen:
        await seen.takes("ollama serve")
        await seen.presses("escape", leads_to=WelcomeScreen)
        assert seen.ran == []
        await seen.takes("ollama serve")
        await seen.confirms(leads_to=ChatScreen)
        assert [start.argv for start in seen.ran] == [(path, "serve")]
        assert seen.open_sessions.next_turn.target.endpoint == at(port)
    (pid,) = processes(path)
    os.kill(pid, signal.SIGKILL)
