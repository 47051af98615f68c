from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tracemalloc
from pathlib import Path

import pytest

from lmchat.attachments.shell_command import MAX_OUTPUT_BYTES, ShellCommand
from lmchat.errors import LMChatError, WrongUse
from tests.support.programs import SH, is_running, ran, until

_STUBBORN = "trap '' TERM; echo $$; while :; do sleep 600; done"


def printed(command: ShellCommand) -> str:
    return command.output.decode()


async def running(text: str) -> tuple[ShellCommand, asyncio.Task[None], int]:
    """Start a command that prints the number of a process in its first line."""
    command = ShellCommand(text, SH)
    task = asyncio.create_task(command.run())
    await until(lambda: b"\n" in command.output, "the number")
    return command, task, int(printed(command).split()[0])


@pytest.mark.posix
async def test_a_signal_that_ends_it_is_told_as_shells_do():
    assert (await ran("kill -9 $$")).ending == f"exit code {128 + signal.SIGKILL}"


@pytest.mark.posix
@pytest.mark.parametrize(
    ("shell", "name"), [("/bin/bash", "/bin/bash"), ("bash", "/bin/sh"), ("/no/shell", "/bin/sh")]
)
async def test_it_runs_in_the_shell_of_the_user_if_that_is_a_program(shell, name):
    command = await ran("echo $0", environ={**SH, "SHELL": shell})
    assert printed(command) == f"{name}\n"


@pytest.mark.posix
async def test_nothing_in_it_can_ask_for_a_password():
    ask = "read -r secret; echo \"got '$secret'\"; (read -r secret < /dev/tty) 2>&1; tty"
    command = await ran(ask)
    assert "got ''" in printed(command)
    assert "/dev/tty" in printed(command)  # the error says that it cannot be opened
    assert "not a tty" in printed(command)


@pytest.mark.posix
async def test_what_it_leaves_in_the_background_ends_with_it():
    command = await ran("sleep 600 & echo $!")
    assert command.ending == "exit code 0"
    assert not is_running(int(printed(command)))


@pytest.mark.posix
@pytest.mark.skipif(shutil.which("setsid") is None, reason="macOS has no setsid")
async def test_what_leaves_its_group_is_left_alone_and_holds_nothing_up():
    command = await ran("setsid sleep 600 & echo $!")
    number = int(printed(command))
    try:
        assert command.ending == "exit code 0"
        assert is_running(number)
    finally:
        os.kill(number, signal.SIGKILL)


@pytest.mark.posix
@pytest.mark.parametrize(
    "text", ["echo $$; exec sleep 600", _STUBBORN, "sleep 600 & echo $!; wait"]
)
async def test_stopping_it_ends_all_of_it_and_keeps_what_it_has_printed(text):
    command, task, number = await running(text)
    command.stop()
    await task
    assert command.ending == "stopped"
    assert not is_running(number)
    assert int(printed(command)) == number


@pytest.mark.posix
async def test_stopping_it_while_it_starts_ends_it():
    command = ShellCommand("sleep 600", SH)
    task = asyncio.create_task(command.run())
    await asyncio.sleep(0)
    command.stop()
    await task
    assert command.ending == "stopped"


@pytest.mark.posix
async def test_cancelling_it_at_each_step_of_its_start_ends_all_of_it():
    for steps in range(8):
        command = ShellCommand("sleep 300; echo never", SH)
        running = asyncio.create_task(command.run())
        for _ in range(steps):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 10)


@pytest.mark.posix
async def test_cancelling_ends_it():
    _, task, number = await running("echo $$; exec sleep 600")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_running(number)


@pytest.mark.posix
async def test_it_is_ended_after_the_time_limit():
    command = await ran("echo $$; exec sleep 600", time_limit_s=0.5)
    assert command.ending == "stopped after 0 s"
    assert not is_running(int(printed(command)))


@pytest.mark.posix
async def test_of_a_hundred_megabytes_the_end_is_kept_in_constant_memory():
    tracemalloc.start()
    command = await ran("head -c 100000000 /dev/zero | tr '\\0' x; echo; echo last")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 5_000_000
    text = printed(command)
    assert (text[-6:], len(text)) == ("\nlast\n", MAX_OUTPUT_BYTES)
    assert command.left_out_bytes == 100_000_006 - MAX_OUTPUT_BYTES


@pytest.mark.posix
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_pipe_stays_open():
    folder = Path("/proc/self/fd")
    before = len(list(folder.iterdir()))
    asyncio.run(ran("setsid sleep 1 & echo done"))
    assert len(list(folder.iterdir())) <= before


def test_a_command_with_invisible_characters_is_refused():
    with pytest.raises(WrongUse, match="invisible"):
        ShellCommand("ls \u202ehidden", SH)


@pytest.mark.posix
async def test_a_command_that_is_too_long_to_start_says_so():
    with pytest.raises(LMChatError, match="cannot start: Argument list too long"):
        await ran(f"true {'x' * 200_000}")


@pytest.mark.windows
async def test_a_command_runs_in_the_shell_of_windows_and_all_of_it_can_be_stopped():
    command = await ran('echo "a  b" & echo %OS% & exit 3', environ=os.environ)
    assert printed(command).split("\r\n") == ['"a  b" ', "Windows_NT ", ""]
    assert command.ending == "exit code 3"
    python = f'"{sys.executable}" -u -c "import os, time; print(os.getpid()); time.sleep(600)"'
    command = ShellCommand(python, os.environ)
    task = asyncio.create_task(command.run())
    await until(lambda: b"\n" in command.output, "the number")
    command.stop()
    await task
    assert command.ending == "stopped"
    assert not is_running(int(printed(command)))
