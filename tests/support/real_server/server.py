"""Starts a real llama.cpp server on a free loopback port: the child of the built-in engine, or a router.

with RealServer() as server:     # SmolLM2 135M
    ...  # talk to server.url
RealServer(reasoning=400)        # it thinks
RealServer(is_router=True)       # two models, loaded on demand
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

from lmchat.core.servers.local import engine_child
from tests.support.engine_home import with_library
from tests.support.real_server.prepare import (
    CACHE,
    MODEL,
    CannotPrepareError,
    llama_server,
    making,
    model_file,
    require_gomp,
)

HERE = Path(__file__).resolve().parent
_TEMPLATE = HERE / "templates" / "chatml-think-tools.jinja"
_THINKING_CHILD = HERE / "thinking_child.py"
BATCH = 128  # tokens of a prompt that are read at once: half of what the built-in engine reads
_CONTEXT = 4096  # tokens
_READY_S = 120
_POLL_S = 0.02


@dataclass
class RealServer:
    """One server process; it ends with the test process, however that ends."""

    reasoning: int | None = None  # thinking template; a thought is cut after so many tokens
    is_router: bool = False
    """Debian's llama-server with `MODEL` and `MODEL`-thinking, of which one is in memory."""
    url: str = ""  # its address without /v1, once it is ready
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def models(self) -> tuple[str, ...]:
        return (MODEL, f"{MODEL}-thinking") if self.is_router else (MODEL,)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        require_gomp()
        program = [engine_child.__file__]
        if self.reasoning is not None:
            program = [str(_THINKING_CHILD), str(_TEMPLATE), str(self.reasoning)]
        argv = _router_argv() if self.is_router else [sys.executable, "-P", *program]
        handle, name = tempfile.mkstemp(prefix="real-server-", suffix=".log")
        log = Path(name)
        with os.fdopen(handle, "wb") as out:
            self._process = subprocess.Popen(  # noqa: S603 - our own words
                argv,
                stdin=subprocess.PIPE,  # the engine's child ends at its end of file
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - a single call
                start_new_session=True,
                env=dict(os.environ) if self.is_router else _environment(),
            )
        try:
            self._wait_until_ready(log)
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        finally:
            log.unlink()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None

    def _wait_until_ready(self, log: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _READY_S
        address = ""
        while not address or not _is_ready(f"{address}/health"):
            text = log.read_text(encoding="utf-8", errors="replace")
            if self._process.poll() is not None:
                raise CannotPrepareError(
                    f"the server ended with {self._process.returncode}:\n{text[-1500:]}"
                )
            if time.monotonic() > deadline:
                raise CannotPrepareError(
                    f"the server was not ready after {_READY_S} s:\n{text[-1500:]}"
                )
            found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", text)
            address = found[1] if found else ""
            time.sleep(_POLL_S)
        self.url = address.replace("127.0.0.1", "localhost")


def _environment() -> dict[str, str]:
    """Return the environment of the built-in engine's child, which says what it serves."""
    return with_library(dict(os.environ)) | {
        "LLAMA_ARG_MODEL": str(model_file()),
        "LLAMA_ARG_ALIAS": MODEL,
        "LLAMA_ARG_HOST": "127.0.0.1",
        "LLAMA_ARG_PORT": "0",
        "LLAMA_ARG_CTX_SIZE": str(_CONTEXT),
        "LLAMA_ARG_N_PARALLEL": "1",
        "LLAMA_ARG_BATCH": str(BATCH),
        "LLAMA_ARG_CACHE_RAM": "512",
        "LLAMA_ARG_THREADS": "1",
        "LLAMA_ARG_UI": "0",
    }


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False, verify=False).is_success
    except httpx.TransportError:
        return False


def _router_argv() -> list[str]:
    shared = f"model = {model_file()}\nctx-size = {_CONTEXT}\nparallel = 1\nthreads = 1\n"
    thinking = f"chat-template-file = {_TEMPLATE}\nreasoning-budget = 48\n"
    text = f"[{MODEL}]\n{shared}[{MODEL}-thinking]\n{shared}{thinking}"
    preset = f"router-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    with making(preset) as folder:
        if folder:
            (folder / "models.ini").write_text(text, encoding="utf-8")
    models = str(CACHE / preset / "models.ini")
    argv = [str(llama_server()), "--host", "127.0.0.1", "--port", "0", "--offline", "--no-ui"]
    return [*argv, "--models-preset", models, "--models-max", "1"]


def _die_with_parent() -> None:
    """In the child: be killed when the parent dies (on Linux)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
