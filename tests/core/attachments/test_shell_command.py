"""The shell of most of these commands is Python, which all systems of the tests have."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tracemalloc
from pathlib import Path

import pytest

from lmchat.base.errors import LMChatError, WrongUse
from lmchat.core.attachments.shell_command import MAX_OUTPUT_BYTES, ShellCommand
from tests.support.programs import PYTHON, SH, is_running, ran, until

_STUBBORN = "trap '' TERM; echo $$; while :; do sleep 600; done"
_SLEEP = "import time; time.sleep(600)"
_NUMBER_AND_SLEEP = f"import os; print(os.getpid(), flush=True); {_SLEEP}"
_NUMBER_OF_CHILD = (
    "import subprocess, sys; "
    f"print(subprocess.Popen([sys.executable, '-c', {_SLEEP!r}]).pid, flush=True)"
)


def printed(command: ShellCommand) -> str:
    return command.output.decode()


async def running(text: str, shell: str) -> tuple[ShellCommand, asyncio.Task[None], int]:
    """Start a command that prints the number of a process in its first line."""
    command = ShellCommand(text, SH, shell=shell)
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


async def test_a_shell_that_is_set_is_found_in_path_or_at_home_and_wins(monkeypatch):
    program = Path(PYTHON)
    monkeypatch.setenv("HOME", str(program.parent))
    monkeypatch.setenv("USERPROFILE", str(program.parent))
    environ = {**SH, "PATH": str(program.parent)}
    for shell in (program.name, f"~/{program.name}"):
        command = await ran("""print("a  b" '%OS%', 7 * 6)""", environ=environ, shell=shell)
        assert printed(command).rstrip() == "a  b%OS% 42"
    unknown = "no-shell"
    with pytest.raises(LMChatError, match=f"The shell {unknown} is not found") as caught:
        await ran("echo never", environ=environ, shell=unknown)
    assert caught.value.next_step == "Correct `shell` in the section [chat] of config.toml."


@pytest.mark.posix
async def test_nothing_in_it_can_ask_for_a_password():
    ask = "read -r secret; echo \"got '$secret'\"; (read -r secret < /dev/tty) 2>&1; tty"
    command = await ran(ask)
    assert "got ''" in printed(command)
    assert "/dev/tty" in printed(command)  # the error says that it cannot be opened
    assert "not a tty" in printed(command)


async def test_what_it_leaves_in_the_background_ends_with_it():
    command = await ran(_NUMBER_OF_CHILD, shell=PYTHON)
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


@pytest.mark.parametrize(
    ("text", "shell"),
    [
        (_NUMBER_AND_SLEEP, PYTHON),
        (f"{_NUMBER_OF_CHILD}; {_SLEEP}", PYTHON),
        pytest.param("echo $$; exec sleep 600", "", marks=pytest.mark.posix),
        pytest.param(_STUBBORN, "", marks=pytest.mark.posix),
        pytest.param("sleep 600 & echo $!; wait", "", marks=pytest.mark.posix),
    ],
)
async def test_stopping_it_ends_all_of_it_and_keeps_what_it_has_printed(text, shell):
    command, task, number = await running(text, shell)
    command.stop()
    await task
    assert command.ending == "stopped"
    assert not is_running(number)
    assert int(printed(command)) == number


async def test_stopping_it_while_it_starts_ends_it():
    command = ShellCommand(_SLEEP, SH, shell=PYTHON)
    task = asyncio.create_task(command.run())
    await asyncio.sleep(0)
    command.stop()
    await task
    assert command.ending == "stopped"


async def test_cancelling_it_at_each_step_of_its_start_ends_all_of_it():
    for steps in range(8):
        command = ShellCommand(f"{_SLEEP}; print('never')", SH, shell=PYTHON)
        running = asyncio.create_task(command.run())
        for _ in range(steps):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 10)


async def test_cancelling_ends_it():
    _, task, number = await running(_NUMBER_AND_SLEEP, PYTHON)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_running(number)


async def test_it_is_ended_after_the_time_limit():
    command = await ran(_NUMBER_AND_SLEEP, shell=PYTHON, time_limit_s=2)
    assert command.ending == "stopped after 2 s"
    assert not is_running(int(printed(command)))


async def test_of_a_hundred_megabytes_the_end_is_kept_in_constant_memory():
    code = "import os; [os.write(1, b'x' * 10_000) for _ in range(10_000)]; os.write(1, b'\\nlast')"
    tracemalloc.start()
    command = await ran(code, shell=PYTHON)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 5_000_000
    text = printed(command)
    assert (text[-5:], len(text)) == ("\nlast", MAX_OUTPUT_BYTES)
    assert command.left_out_bytes == 100_000_005 - MAX_OUTPUT_BYTES


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


@pytest.mark.posix  # a system of Windows may have no limit
async def test_a_command_that_is_too_long_to_start_says_so():
    with pytest.raises(LMChatError, match="cannot start: Argument list too long") as caught:
        await ran(f"true {'x' * 200_000}")
    assert caught.value.next_step == "Shorten the command, or close other programs."


@pytest.mark.windows
@pytest.mark.parametrize("shell", ["", "cmd", "cmd.exe"])
async def test_it_runs_in_the_shell_of_windows(shell):
    command = await ran('echo "a  b" & echo %OS% & exit 3', shell=shell)
    assert printed(command).split("\r\n") == ['"a  b" ', "Windows_NT ", ""]
    assert command.ending == "exit code 3"
