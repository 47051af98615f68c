"""The real app where servers are real small programs at real ports, found on a PATH of the test's."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lmchat.servers.discovery.launcher import (
    Installed,
    ServerLauncher,
    ServerStart,
    installed_products,
    start_server,
)
from lmchat.servers.discovery.probe_result import ProbeResult, Verdict
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.engine.download import SMOLLM2
from lmchat.servers.engine.model_files import ModelFile
from lmchat.tui.welcome.server_rows import MachineState
from lmchat.tui.welcome.welcome_screen import WelcomeFacts, WelcomeScreen
from tests.support.desktop import Seen, make_desktop, running
from tests.support.scripted_backend import ScriptedBackend, model

OFFER = SMOLLM2
PROGRAMS = {"LM Studio": "lms", "Ollama": "ollama"}


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def at(port: int) -> Endpoint:
    return Endpoint.parse(f"http://127.0.0.1:{port}")


class PortBackend(ScriptedBackend):
    """Finds a ready server wherever something takes connections, and nothing elsewhere."""

    def __init__(self, ports: Mapping[str, int], *own: Endpoint) -> None:
        super().__init__(results=())
        self.ports, self.own = dict(ports), own
        self.verdicts: dict[int, Verdict] = {}
        """What is found where something listens, if it is not a ready server."""

    async def detect(self, *, expected: Sequence[Endpoint] = ()) -> tuple[ProbeResult, ...]:
        own = dict.fromkeys((*expected, *self.own))
        known = [await self._look(at(port), product) for product, port in self.ports.items()]
        return (
            *[replace(await self._look(one, "OpenAI-compatible"), is_own=True) for one in own],
            *known,
        )

    async def check(self, endpoint: Endpoint) -> ProbeResult:
        product = next((one for one, port in self.ports.items() if port == endpoint.port), None)
        return await self._look(endpoint, product or "OpenAI-compatible")

    async def _look(self, endpoint: Endpoint, product: str) -> ProbeResult:
        try:
            _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        except OSError:
            return ProbeResult(
                endpoint=endpoint,
                product=product,
                verdict=Verdict.REFUSED,
                next_step="Start the server",
            )
        writer.close()
        await writer.wait_closed()
        verdict = self.verdicts.get(endpoint.port, Verdict.READY)
        models = (
            (replace(model(), endpoint=endpoint, product=product),)
            if verdict is Verdict.READY
            else ()
        )
        return ProbeResult(
            endpoint=endpoint, product=product, verdict=verdict, latency_ms=3.0, models=models
        )


class FilesOnly:
    """The part of an engine that the page asks."""

    demo = SMOLLM2

    def __init__(self, *files: ModelFile) -> None:
        self._files = files

    async def files(self, *, is_refresh: bool = False) -> tuple[ModelFile, ...]:
        return self._files


@dataclass
class StartDesk(Seen):
    """The app, its page, and what was run."""

    backend: PortBackend
    folder: Path
    ran: list[ServerStart]

    async def takes(self, words: str) -> None:
        """Press the number of the row that says this."""
        await self.shows(words)
        line = next(line for line in self.text.split("\n") if words in line)
        key = line.split()[-1]
        await self.presses(key if key.isdigit() else "enter")


@asynccontextmanager
async def start_desk(
    folder: Path,
    ports: Mapping[str, int],
    *,
    files: Sequence[ModelFile] | None = None,
    engine_command: str = "pip install 'lmchat[local]'",
    own: Sequence[Endpoint] = (),
    size: tuple[int, int] = (120, 40),
    **more,
) -> AsyncIterator[StartDesk]:
    """Run the app; the PATH of servers is `folder/bin`."""
    backend, ran = PortBackend(ports, *own), []
    environ = {**os.environ, "PATH": str(folder / "bin")}

    def find() -> tuple[Installed, ...]:
        return installed_products(environ, folder / "home")

    async def start(order: ServerStart) -> ProbeResult:
        ran.append(order)
        log_file = folder / "logs" / f"{PROGRAMS[order.product]}.log"
        return await start_server(order, log_file=log_file, environ=environ, check=backend.check)

    starts = ServerLauncher(find=find, start=start, engine_command=engine_command)
    desk = make_desktop(folder, backend, **more)  # type: ignore[arg-type]
    desk.workspace.search_pause_s = 0.05
    desk.workspace.launcher = starts
    if files is not None:
        desk.workspace.engine = FilesOnly(*files)
    async with running(desk, size):
        yield StartDesk(desk, backend, folder, ran)


LISTEN = """
import os, signal, socket, sys, threading, time
signal.alarm(120)  # nothing outlives its test for long
{before}
listener = socket.create_server(("127.0.0.1", {port}))
print("listening", flush=True)
while True:
    taken, _ = listener.accept()
    taken.close()
"""
HANG = """
import signal, time
signal.alarm(120)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("hanging", flush=True)
time.sleep(600)
"""


def put(folder: Path, name: str, text: str, *, is_executable: bool = True) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!{sys.executable} -IS\n{text}")
    file.chmod(0o755 if is_executable else 0o644)
    return str(file)


def listener(host: str = "127.0.0.1") -> socket.socket:
    """Listen at a free port; only a machine whose kernel lacks IPv6 leaves a test of `::1` out."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, 0), family=family)
    except OSError:
        if family == socket.AF_INET:
            raise
        pytest.skip(f"this machine has no {host}")


def found(
    results: Sequence[ProbeResult] = (), here: MachineState | None = None, **more: Any
) -> WelcomeFacts:
    """Return what was found 2 s ago by a clock that stands at 0."""
    return WelcomeFacts(
        results=results,
        searched_at_s=-2.0,
        next_search_at_s=3.0,
        machine=here or MachineState(),
        **more,
    )


def bare_page(what: WelcomeFacts | None = None) -> WelcomeScreen:
    """Return the welcome page with what it is handed alone."""
    page = WelcomeScreen(lambda: 0.0)
    page.show(what or WelcomeFacts())
    return page
