from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from lmchat.domain.product import Lifetime, Product
from lmchat.domain.program import ServerStart
from lmchat.domain.server import Endpoint
from lmchat.errors import LMChatError
from lmchat.machine import model_servers
from lmchat.machine.model_servers import free_port, start_program
from tests.support.programs import is_running, until
from tests.support.programs import start as start_child
from tests.support.start_desk import FAIL, HANG, put

pytestmark = pytest.mark.slow  # a program for each test

AT = Endpoint.parse("http://127.0.0.1:11434")
SAY = "import os, sys; print('pid', os.getpid(), flush=True); {}\n"
WAIT = "import time; time.sleep(600)"
TALK = """
import os, sys, time
print("x" * 4_000_001, flush=True)
while os.fstat(1).st_size:
    time.sleep(0.01)
print("anew")
"""
LIFETIMES = [Lifetime.FREE, Lifetime.TIED]


def order(*argv: str, lifetime: Lifetime = Lifetime.FREE) -> ServerStart:
    return ServerStart(product=Product.OLLAMA, argv=argv, endpoint=AT, lifetime=lifetime)


async def started(folder: Path, text: str, *more: str, lifetime=Lifetime.FREE, environ=os.environ):
    program = put(folder / "bin", "server", text)
    return start_program(
        order(program, *more, lifetime=lifetime),
        log_file=folder / "logs" / "server.log",
        environ=environ,
    )


async def exit_code(program) -> int:
    await until(lambda: program.exit_code is not None, "its end")
    return program.exit_code


async def told_pid(log: Path) -> int:
    def words() -> list[str]:
        return log.read_text().split() if log.exists() else []

    await until(lambda: len(words()) > 1, "its number")
    return int(words()[1])


@pytest.mark.parametrize("lifetime", LIFETIMES)
async def test_what_it_prints_is_in_the_log_and_its_exit_code_is_known(tmp_path, lifetime):
    text = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
    program = await started(tmp_path, text, lifetime=lifetime)
    assert await exit_code(program) == 7
    assert sorted(program.log_file.read_text().split()) == ["err", "out"]
    assert program.log_file.stat().st_mode & 0o777 == 0o600


async def test_arguments_arrive_as_they_are_without_a_shell(tmp_path):
    odd = ["$HOME", "a b", ";", "*", "`id`", "-m"]
    program = await started(tmp_path, "import sys; print(sys.argv[1:])", *odd)
    await exit_code(program)
    assert program.log_file.read_text().strip() == repr(odd)


@pytest.mark.parametrize("lifetime", LIFETIMES)
async def test_the_last_line_tells_why(tmp_path, lifetime):
    program = await started(tmp_path, FAIL.format(port=11434), lifetime=lifetime)
    assert await exit_code(program) == 1
    assert (await program.last_line()).startswith("Error: listen tcp")
    silent = await started(tmp_path, "", lifetime=lifetime)
    assert (await exit_code(silent), await silent.last_line()) == (0, "")


@pytest.mark.parametrize(
    ("name", "words"), [("server", "Permission denied"), ("gone", "No such file")]
)
async def test_a_program_that_cannot_be_run_is_told(tmp_path, name, words):
    put(tmp_path, "server", "", is_executable=False)
    with pytest.raises(LMChatError, match=f"cannot be run: {words}"):
        start_program(order(str(tmp_path / name)), log_file=tmp_path / "log", environ=os.environ)


async def test_a_tied_program_that_cannot_be_run_ends_with_a_line_that_says_so(tmp_path):
    start = order(str(tmp_path / "gone"), lifetime=Lifetime.TIED)
    program = start_program(start, log_file=tmp_path / "log", environ=os.environ)
    assert await exit_code(program) == 126
    assert "No such file" in await program.last_line()


async def test_a_log_that_cannot_be_written_is_told_with_the_command(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LMChatError, match="cannot be written") as caught:
        start_program(order("/bin/true"), log_file=tmp_path / "file" / "log", environ=os.environ)
    assert "/bin/true" in caught.value.hint


async def test_the_log_of_the_run_before_is_kept_beside(tmp_path):
    for word in ("first", "second", "third"):
        program = await started(tmp_path, f"print('{word}')")
        await exit_code(program)
    assert program.log_file.read_text() == "third\n"
    assert program.log_file.with_name("server.log.1").read_text() == "second\n"


async def test_the_log_of_a_tied_program_that_grows_too_long_begins_anew(tmp_path):
    program = await started(tmp_path, TALK, lifetime=Lifetime.TIED)
    await exit_code(program)
    assert program.log_file.read_text() == "anew\n"


async def test_settings_of_lmchat_are_not_handed_on(tmp_path):
    environ = {**os.environ, "LMCHAT_API_KEY": "sk-secret", "OLLAMA_HOST": "127.0.0.1:1"}
    program = await started(tmp_path, "import os; print(dict(os.environ))", environ=environ)
    await exit_code(program)
    assert "sk-secret" not in program.log_file.read_text()
    assert "OLLAMA_HOST" in program.log_file.read_text()


@pytest.mark.parametrize("lifetime", LIFETIMES)
async def test_neither_the_terminal_nor_its_keys_reach_it(tmp_path, lifetime):
    text = "import os, sys; print('pid', os.getpid(), os.getsid(0), repr(sys.stdin.read()))"
    program = await started(tmp_path, text, lifetime=lifetime)
    await exit_code(program)
    session, typed = program.log_file.read_text().split()[2:]
    assert int(session) != os.getsid(0)
    assert typed == "''"


@pytest.mark.parametrize("lifetime", LIFETIMES)
async def test_ending_it_ends_it(tmp_path, lifetime):
    program = await started(tmp_path, SAY.format(WAIT), lifetime=lifetime)
    pid = await told_pid(program.log_file)
    await program.end()
    assert program.exit_code == 128 + signal.SIGTERM
    assert not is_running(pid)


@pytest.mark.parametrize("lifetime", LIFETIMES)
async def test_one_that_will_not_end_is_killed(tmp_path, monkeypatch, lifetime):
    # what is tied is killed by its watchdog, whoever waits for it
    monkeypatch.setattr(model_servers, "END_S", 0.2)
    program = await started(tmp_path, HANG, lifetime=lifetime)
    await until(lambda: "hanging" in program.log_file.read_text(), "the program hangs")
    await program.end()
    assert await exit_code(program) == 128 + signal.SIGKILL


@pytest.mark.parametrize("text", [WAIT, HANG], ids=["ends", "hangs"])
async def test_a_server_that_a_script_has_started_ends_with_the_script(tmp_path, text):
    server = put(tmp_path / "bin", "the-server-itself", SAY.format(text))
    script = put(tmp_path / "bin", "script", f"import subprocess; subprocess.run([{server!r}])")
    program = start_program(
        order(script, lifetime=Lifetime.TIED), log_file=tmp_path / "log", environ=os.environ
    )
    pid = await told_pid(program.log_file)
    await program.end()
    assert await exit_code(program) == 128 + signal.SIGTERM
    await until(lambda: not is_running(pid), "its end")


STARTER = """
import os, sys, time
from pathlib import Path
from lmchat.domain.product import Lifetime, Product
from lmchat.domain.program import ServerStart
from lmchat.domain.server import Endpoint
from lmchat.machine.model_servers import start_program

def main():
    start = ServerStart(product=Product.OLLAMA, argv=(sys.argv[1],), lifetime=Lifetime[sys.argv[3]],
                        endpoint=Endpoint.parse("http://127.0.0.1:11434"))
    start_program(start, log_file=Path(sys.argv[2]), environ=os.environ)
    time.sleep(600)

main()
"""


@pytest.mark.parametrize("is_script", [False, True], ids=["server", "script"])
@pytest.mark.parametrize("lifetime", LIFETIMES)
async def test_when_lmchat_is_killed_what_is_tied_ends_and_what_is_free_goes_on(
    tmp_path, lifetime, is_script
):
    program = put(tmp_path / "bin", "server", SAY.format(WAIT))
    if is_script:
        program = put(
            tmp_path / "bin", "script", f"import subprocess; subprocess.run([{program!r}])"
        )
    log = tmp_path / "log"
    with start_child([sys.executable, "-c", STARTER, program, log, lifetime.name]) as lmchat:
        pid = await told_pid(log)
        lmchat.kill()
    try:
        if lifetime is Lifetime.TIED:
            await until(lambda: not is_running(pid), "its end")
        assert is_running(pid) == (lifetime is Lifetime.FREE)
    finally:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


async def test_a_port_where_somebody_listens_is_passed_over():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = taken.getsockname()[1]
        found = free_port(first)
        assert first < found < first + 32
    assert free_port(first) == first
