from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from lmchat.base.errors import LMChatError
from lmchat.core.servers.discovery.status import ServerStatus
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.local.installed import ServerStart, start_server
from tests.support.modes import is_private
from tests.support.programs import is_running, processes
from tests.support.programs import start as start_child
from tests.support.scripted_backend import probed
from tests.support.small_programs import HANG, put

pytestmark = pytest.mark.slow  # a program for each test

AT = Endpoint.parse("http://127.0.0.1:11434")


class Checks:
    """Finds a server once a text is in its log, or at once without a text."""

    def __init__(self, log_file: Path, text: str = "") -> None:
        self._log_file = log_file
        self._text = text

    async def __call__(self, endpoint: Endpoint) -> ServerStatus:
        is_ready = self._text in self._log_file.read_text(encoding="utf-8")
        return probed("" if is_ready else "offline", endpoint=endpoint)


async def started(
    folder: Path, text: str, *more: str, ready="", environ=os.environ, limit_s=30.0
) -> str:
    """Start a program of this text; return its log when it is ready."""
    argv = (put(folder / "bin", "server", text), *more)
    log_file = folder / "logs" / "ollama.log"
    await start_server(
        ServerStart(product="Ollama", argv=argv, endpoint=AT),
        log_folder=log_file.parent,
        environ=environ,
        check=Checks(log_file, ready),
        limit_s=limit_s,
    )
    return log_file.read_text(encoding="utf-8")


async def test_a_command_that_ends_well_is_waited_for_until_its_server_answers(tmp_path):
    text = "import subprocess, sys; print('ready', flush=True); sys.exit(0)"
    assert await started(tmp_path, text, ready="ready") == "ready\n"
    assert is_private(tmp_path / "logs" / "ollama.log")


async def test_a_program_gets_its_arguments_without_a_shell_and_no_key_or_terminal_of_lmchat(
    tmp_path,
):
    odd = ["$HOME", "a b", ";", "*", "`id`", "-m"]
    environ = {**os.environ, "LMCHAT_API_KEY": "sk-secret", "OLLAMA_HOST": "127.0.0.1:1"}
    text = (
        "import json, os, sys\n"
        "print(json.dumps([sys.argv[1:], dict(os.environ), os.getsid(0), sys.stdin.read()]))"
    )
    log = await started(tmp_path, text, *odd, environ=environ, ready="\n")
    argv, variables, session, typed = json.loads(log)
    assert (argv, typed) == (odd, "")
    assert session != os.getsid(0)
    assert ("sk-secret" in log, variables["OLLAMA_HOST"]) == (False, "127.0.0.1:1")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import sys; sys.exit(3)", "server ended with exit code 3."),
        (HANG, "server does not answer."),
    ],
    ids=["ended", "silent"],
)
async def test_a_failure_is_one_sentence_with_the_log(tmp_path, text, sentence):
    with pytest.raises(LMChatError) as caught:
        await started(tmp_path, text, ready="never", limit_s=1.0 if text is HANG else 30.0)
    assert sentence in caught.value.message
    assert caught.value.next_step == f"Its output: {tmp_path}/logs/ollama.log"
    for pid in processes(str(tmp_path / "bin" / "server")):
        os.kill(pid, signal.SIGKILL)


async def test_the_log_has_the_last_run_alone(tmp_path):
    for word in ("first", "second"):
        log = await started(tmp_path, f"print('{word}')", ready=word)
    assert log == "second\n"


STARTER = """
import asyncio, os, sys
from pathlib import Path
from lmchat.core.servers.local.installed import ServerStart
from lmchat.core.servers.discovery.status import ServerStatus, ServerState, STATUS
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.local.installed import start_server

at = Endpoint.parse("http://127.0.0.1:11434")
start = ServerStart(product="Ollama", argv=(sys.argv[1],), endpoint=at)

async def check(endpoint):
    while "hanging" not in (Path(sys.argv[2]) / "ollama.log").read_text():
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(start_server(start, log_folder=Path(sys.argv[2]), environ=os.environ, check=check))
"""


async def test_a_started_server_continues_when_lmchat_is_killed(tmp_path):
    program = put(tmp_path / "bin", "server", HANG)
    with start_child([sys.executable, "-c", STARTER, program, tmp_path]) as lmchat:
        assert lmchat.stdout.readline().strip() in ("ready", b"ready")
        lmchat.kill()
    (pid,) = processes(program)
    assert is_running(pid)
    os.kill(pid, signal.SIGKILL)
