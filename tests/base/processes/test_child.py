from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lmchat.base.errors import LMChatError
from lmchat.base.processes.child import (
    ChildEndedError,
    ChildProcess,
    output_pipe,
    own_program,
    run_program,
)
from tests.support.programs import children_of, is_running, until

ENVIRONMENT = dict(os.environ)
ECHO = """
import sys, time
from lmchat.base.processes.frames import answer_parent

def answer(frame, send):
    if frame == b"hang":
        time.sleep(600)
    print("noise of a library")
    send(frame * 2)
    send(b"end")

answer_parent(answer)
"""
WITH_CHILD = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("started", flush=True)
sys.stdin.read()
"""


async def start(code: str) -> ChildProcess:
    return await ChildProcess.start([sys.executable, "-c", code], environment=ENVIRONMENT)


async def test_frames_arrive_whole_and_nothing_that_is_printed_gets_between_them():
    child = await start(ECHO)
    if os.name == "posix":
        assert os.getsid(child.pid) == child.pid, "it has a session of its own"
    for frame in (b"", b"\n\0", b"a" * 1_000_000):
        await child.send_frame(frame)
        assert await child.receive_frame() == frame * 2
        assert await child.receive_frame() == b"end"
    await child.end()
    assert not is_running(child.pid)


async def test_a_child_that_has_ended_is_an_error_for_who_waits_for_a_frame():
    child = await start("import sys; sys.stdin.buffer.read(1)")
    await child.send_frame(b"x" * 200_000)
    with pytest.raises(ChildEndedError):
        await child.receive_frame()
    await child.end()


async def test_a_child_ends_with_the_pipe_of_its_parent_also_while_it_works():
    child = await start(ECHO)
    await child.send_frame(b"hang")
    child.close_input()
    await until(lambda: not is_running(child.pid), "its end")
    await child.end()


async def test_the_end_of_a_child_is_the_end_of_what_it_has_started():
    child = await start(WITH_CHILD)
    await until(lambda: children_of(child.pid), "a child of the child")
    (inner,) = children_of(child.pid)
    await child.end()
    await until(lambda: not is_running(inner), "its end")


async def test_what_a_child_has_left_ends_also_after_the_child():
    child = await start(WITH_CHILD)
    await until(lambda: children_of(child.pid), "a child of the child")
    (inner,) = children_of(child.pid)
    child.close_input()
    await until(lambda: child.exit_code is not None, "the end of the child")
    assert is_running(inner)
    await child.end()
    await until(lambda: not is_running(inner), "its end")


@pytest.mark.posix
async def test_a_child_that_has_ended_kills_no_stranger_that_got_its_process_id():
    stranger = await start(ECHO)
    ended = ChildProcess(SimpleNamespace(pid=stranger.pid, returncode=0, stdin=object()))
    ended.kill()
    await ended.end_group()
    await stranger.send_frame(b"alive")
    assert await stranger.receive_frame() == b"alivealive"
    await stranger.end()


async def test_a_program_of_lmchat_takes_nothing_of_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "msgspec.py").write_text(
        "raise SystemExit('code of the current folder')", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    command = own_program("lmchat.core.formats.exports.markdown_to_html_child")
    assert await run_program(command, environ=ENVIRONMENT, timeout_s=20) == b""


async def test_a_program_of_lmchat_does_not_run_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    child = await ChildProcess.start_own("lmchat.core.formats.exports.markdown_to_html_child")
    if sys.platform == "linux":
        process = Path("/proc", str(child.pid))
        assert (process / "cwd").readlink() != tmp_path
    await child.end()


@pytest.mark.parametrize(
    ("code", "timeout_s"),
    [("import sys; sys.exit(3)", 20), ("import time; time.sleep(600)", 0.2)],
    ids=["fails", "hangs"],
)
async def test_a_tool_that_fails_or_hangs_has_no_output(code, timeout_s):
    argv = [sys.executable, "-c", code]
    others = children_of(os.getpid())
    assert await run_program(argv, environ=ENVIRONMENT, timeout_s=timeout_s) is None
    assert children_of(os.getpid()) == others, "and does not go on"


async def test_a_child_that_cannot_start_is_told_with_the_reason(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(
        LMChatError, match=r"cannot start: (No such file|File not found|The system)"
    ):
        await ChildProcess.start_own("lmchat.core.formats.child")


async def test_a_cancelled_start_ends_as_cancelled_even_if_the_program_cannot_start():
    starting = asyncio.create_task(ChildProcess.start(["/nowhere/tool"], environment=ENVIRONMENT))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_a_start_that_is_cancelled_again_and_again_waits_for_the_end_of_the_program(
    monkeypatch,
):
    exit_codes = []
    end = ChildProcess.end

    async def noted_end(child: ChildProcess) -> None:
        await end(child)
        exit_codes.append(child.exit_code)

    monkeypatch.setattr(ChildProcess, "end", noted_end)
    starting = asyncio.create_task(start("import time; time.sleep(600)"))
    await asyncio.sleep(0)
    for _ in range(5):
        starting.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert exit_codes == [-9 if os.name == "posix" else 1]


@pytest.mark.posix
async def test_what_has_left_the_group_and_holds_the_pipe_does_not_hold_up_the_end():
    child = await ChildProcess.start(
        ["/bin/sh", "-c", "setsid sh -c 'echo $$; exec sleep 600' & exec sleep 600"],
        environment=ENVIRONMENT,
    )
    left = int(await child.read_line())
    try:
        await child.end()
        assert child.exit_code == -signal.SIGKILL
        assert is_running(left)
    finally:
        os.kill(left, signal.SIGKILL)


UNDER_CTRL_C = """
import asyncio, ctypes, os, signal, sys, time
from lmchat.base.processes.child import ChildProcess, start_in_background

async def main():
    argv, environment = [sys.executable, "-c", "import time; time.sleep(600)"], dict(os.environ)
    child = await ChildProcess.start(argv, environment=environment)
    server = start_in_background(argv, environment=environment)
    received = []
    signal.signal(signal.SIGINT, lambda *_: received.append(1))
    ctypes.WinDLL("kernel32").GenerateConsoleCtrlEvent(0, 0)
    await asyncio.sleep(1)
    alive = received and child.exit_code is None and server.poll() is None
    server.kill()
    await child.end()
    sys.exit(0 if alive else 3)

asyncio.run(main())
"""


@pytest.mark.windows
def test_ctrl_c_of_the_terminal_ends_no_program_of_lmchat():
    own_console = subprocess.CREATE_NO_WINDOW
    argv = [sys.executable, "-c", UNDER_CTRL_C]
    assert subprocess.run(argv, creationflags=own_console, timeout=50, check=False).returncode == 0  # noqa: S603


async def test_each_letter_of_an_output_arrives_at_once():
    for _ in range(8):  # the mark of the end is another one for each pipe
        received = bytearray()
        with output_pipe(received.extend) as output:
            for letter in range(128):
                os.write(output, bytes([letter]))
                await until(lambda size=letter + 1, got=received: len(got) == size, "the letter")
            os.write(output, b"\xff")  # with which the mark begins
        assert received == bytes(range(128)) + b"\xff"
