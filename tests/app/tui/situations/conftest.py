from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count

import pytest
from pytest_textual_snapshot import SVGImageExtension

from tests.support import desktop
from tests.support.desktop import Situation
from tests.support.look_data import NOW
from tests.support.scripted_server import ScriptedServer


@pytest.fixture(autouse=True)
def still(monkeypatch, tmp_path):
    """Every message is of one minute, no id is random, and nothing of this machine's home is looked at."""
    seconds = count()
    ids = count(1)

    def moment():
        return NOW + timedelta(milliseconds=next(seconds))

    for module in (
        "sessions.message",
        "chat.session",
        "chat.turn",
        "chat.turn_starts",
    ):
        monkeypatch.setattr(f"lmchat.core.{module}.now", moment, raising=False)
    monkeypatch.setattr("lmchat.core.chat.turn.new_error_id", lambda: f"{next(ids):04x}")
    for variable in ("HOME", "USERPROFILE"):  # the second on Windows
        monkeypatch.setenv(variable, str(tmp_path))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def start() -> Iterator[Callable[..., ScriptedServer]]:
    """Start servers that are stopped at the end."""
    servers: list[ScriptedServer] = []

    def start(script=None, *words, host="127.0.0.1", **options) -> ScriptedServer:
        server = ScriptedServer(host=host).start()
        servers.append(server)
        if script is not None:
            script(server, *words, **options)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def picture(snapshot):
    """Compare the screen with the picture of this name."""
    pictures = snapshot.use_extension(SVGImageExtension)

    async def compare(seen: Situation, name: str) -> None:
        await seen.rests()
        shown = seen.text  # also draws what lies under a dialog
        svg = seen.app.export_screenshot()
        assert svg == pictures(name=name), f"The picture {name} is another one:\n{shown}"

    return compare


@pytest.fixture
def small_picture(picture):
    """Give the screen a small size, which it keeps, and compare it with a picture."""

    async def compare(seen: Situation, name: str) -> None:
        await seen.at_size(desktop.SMALL)
        await picture(seen, f"{name}-80x24")

    return compare
