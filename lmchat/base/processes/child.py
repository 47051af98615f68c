"""Other programs: how they are started, limited and ended.

`environment` is the whole environment of a program; `environ` is that of lmchat, of which it gets a
part.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic

from lmchat.base.errors import LMChatError
from lmchat.base.processes.environment import (
    environment_for_others,
    needed_environment,
    with_absolute_program,
)
from lmchat.base.processes.frames import LENGTH

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has only the second
# on Windows, a program gets no Ctrl+C of the terminal, and outlives its window
_APART = sum(
    getattr(subprocess, f"CREATE_{name}", 0) for name in ("NEW_PROCESS_GROUP", "NO_WINDOW")
)
_SUSPENDED = 0 if hasattr(os, "killpg") else 0x4  # until it is in its job, on Windows
_GROUP_ENDS_S = 0.5  # for the processes that a program has left
_POLL_S = 0.02
_LINE_BYTES = 64 * 1024
_IMPORT_FOLDER = str(Path(__file__).parents[3])
# its first argument is `_IMPORT_FOLDER`
_CALL_PROGRAM = "import sys; sys.path.append(sys.argv.pop(1)); from {module} import main; main()"
_PIPE_BYTES = 256 * 1024  # more than a pipe holds
_MARK_BYTES = 16
_HELD_BYTES = range(_MARK_BYTES - 1, -1, -1)
_NO_SIGNAL = 0  # sent as a signal, it only tells whether the process or group is there


class ChildEndedError(Exception):
    """The child ended before its work was done."""


def own_program(module: str) -> list[str]:
    """Return the command that calls `main` of a module of lmchat.

    With `-P`, Python does not import modules of the current folder.
    """
    program = _CALL_PROGRAM.format(module=module)
    return [sys.executable, "-P", "-c", program, _IMPORT_FOLDER]


def start_in_background(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path | None = None,
    output: int = DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program without input that may outlive this process; raises `OSError`.

    `output` is a file descriptor for its output and errors.
    """
    return subprocess.Popen(  # noqa: S603 - a list and no shell
        argv,
        stdin=DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=folder,
        start_new_session=True,
        creationflags=_APART,
    )


async def run_program(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str],
    timeout_s: float,
    data: bytes = b"",
    has_output: bool = True,
) -> bytes | None:
    """Run a program of the user; None if it does not start, fails, or is killed after `timeout_s`.

    Programs that set the clipboard need `has_output=False`: they stay in the background with their
    output open, and waiting for its end would run into the timeout.
    """
    try:
        child = await ChildProcess.start(
            with_absolute_program(argv, environ),
            environment=environment_for_others(environ),
            output=PIPE if has_output else DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(timeout_s):
            output = await child.communicate(data)
    except TimeoutError:
        return None
    finally:
        # others that it has left in the background stay
        if child.exit_code is None:
            await child.end()
    return output if child.exit_code == 0 else None


async def run_in_terminal(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str],
    data: bytes | None,
) -> int:
    """Run a program in the terminal, or with `data` as its input; return its exit code.

    Cancelling kills the program. Raises `OSError`.
    """
    process = await asyncio.create_subprocess_exec(
        *with_absolute_program(argv, environ),
        stdin=None if data is None else PIPE,
        env=environment_for_others(environ),
    )
    try:
        await process.communicate(data)
    finally:
        exit_code = await _end_of(process)
    return exit_code


async def run_for_first_line(
    command: str, *, environ: Mapping[str, str], folder: Path
) -> tuple[int, str]:
    """Run a command of the system's shell; return its exit code and the first line it has printed.

    It may open the terminal for input; its errors are dropped. Cancelling kills it. Raises
    `OSError`.
    """
    printed = bytearray()

    def receive(data: bytes) -> None:
        if len(printed) < _LINE_BYTES:  # the rest is read, so that the program can continue
            printed.extend(data)

    with output_pipe(receive) as output:
        process = await asyncio.create_subprocess_shell(
            command,
            stdin=DEVNULL,
            stdout=output,
            stderr=DEVNULL,
            env=environment_for_others(environ),
            cwd=folder,
        )
        try:
            await process.wait()
        finally:
            exit_code = await _end_of(process)
    return exit_code, printed.decode("utf-8", "replace").partition("\n")[0].strip()


@contextmanager
def output_pipe(receive: Callable[[bytes], None]) -> Iterator[int]:
    """Yield the descriptor of a pipe, and call `receive` in a thread with what is written to it.

    The end of the block ends the reading, after all that was written before; the end of the pipe
    may never come, as the program may leave others in the background.
    """
    read_end, write_end = os.pipe()
    # written last; its first byte is in no text of UTF-8, so that no end of a text has to wait
    mark = b"\xff" + os.urandom(_MARK_BYTES - 1)

    def read() -> None:
        data = b""
        found = b""
        while not found:
            data, found, _ = (data + os.read(read_end, _PIPE_BYTES)).partition(mark)
            # an end that may start the mark waits for what follows
            held = next(size for size in _HELD_BYTES if data.endswith(mark[:size]))
            end = len(data) - (0 if found else held)
            receive(data[:end])
            data = data[end:]
        os.close(read_end)

    reader = threading.Thread(target=read, name="output", daemon=True)
    reader.start()
    try:
        yield write_end
    finally:
        os.write(write_end, mark)
        os.close(write_end)
        reader.join()


async def _end_of(process: Process) -> int:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    return await process.wait()


class ChildProcess:
    """Program in the background with a pipe for its input, and often one for its output.

    A frame is any bytes, with their number before them. `stop` and `kill` return at once.
    """

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None  # noqa: S101 - `start` asks for it
        self._process = process
        self._input = process.stdin
        self._job = None
        if _SUSPENDED:
            from lmchat.base.processes.windows_job import WindowsJob  # noqa: PLC0415 - only Windows has it

            self._job = WindowsJob(process.pid)

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path | None = None,
        output: int = PIPE,
        errors: int = DEVNULL,
        line_bytes: int = _LINE_BYTES,
        shell: str | None = None,
    ) -> ChildProcess:
        """Start a program; raises `OSError`. Cancelling also kills it, and waits for its end.

        With `shell`, which may be "" for that of the system, `argv` is one text, its command.
        """
        create = asyncio.create_subprocess_exec
        if shell is not None:
            create = partial(asyncio.create_subprocess_shell, executable=shell or None)
        starting = asyncio.create_task(
            create(
                *argv,
                stdin=PIPE,
                stdout=output,
                stderr=errors,
                env=environment,
                cwd=folder,
                start_new_session=True,
                creationflags=_APART | _SUSPENDED,
                limit=line_bytes,
            )
        )
        try:
            process = await asyncio.shield(starting)
        except OSError as error:
            if error.filename is None:  # on Windows
                place = folder if isinstance(error, NotADirectoryError) else argv[0]
                error.filename = str(place)
            raise
        except asyncio.CancelledError:
            # If `starting` were cancelled, asyncio would kill the program alone, and wait for what
            # the program has started, which holds its pipes. A further cancellation in this time is
            # dropped: it would leave a program running.
            while not starting.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([starting])
            if not starting.cancelled() and starting.exception() is None:
                child = cls(starting.result())
                while child.exit_code is None:
                    with suppress(asyncio.CancelledError):
                        await child.end()
            raise
        return cls(process)

    @classmethod
    async def start_own(cls, module: str) -> ChildProcess:
        """Raises `LMChatError`, whose words are for exports to HTML and attached web pages."""
        environment = needed_environment(os.environ)
        folder = Path(__file__).parent  # not the current one, which may hold foreign modules
        try:
            return await cls.start(own_program(module), environment=environment, folder=folder)
        except OSError as error:
            raise LMChatError(
                f"A process for files cannot start: {error.strerror or error}.",
                next_step="Close other programs.",
                kind="program",
            ) from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """-N if signal N has ended it; None while it runs."""
        return self._process.returncode

    async def communicate(self, data: bytes) -> bytes:
        output, _ = await self._process.communicate(data)
        return output or b""

    @classmethod
    async def answer(cls, module: str, frame: bytes, *, timeout_s: float) -> bytes:
        """Return what a module of lmchat answers to one frame, in a child that ends then.

        Raises `ChildEndedError` if it takes too long or too much memory; `LMChatError` as
        `start_own`.
        """
        child = await cls.start_own(module)
        try:
            async with asyncio.timeout(timeout_s):
                await child.send_frame(frame)
                return await child.receive_frame()
        except TimeoutError:
            raise ChildEndedError("the child took too long") from None
        finally:
            await child.end()

    async def send_frame(self, frame: bytes) -> None:
        """Send a frame; if the child has ended, `receive_frame` raises the error."""
        with suppress(ConnectionError):
            self._input.writelines((LENGTH.pack(len(frame)), frame))
            await self._input.drain()

    async def receive_frame(self) -> bytes:
        """Raises `ChildEndedError`."""
        try:
            (length,) = LENGTH.unpack(await self._output.readexactly(LENGTH.size))
            return await self._output.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ChildEndedError("the child ended") from error

    async def read_line(self) -> bytes:
        """Return b"" at the end; raise `ValueError` for a line that is too long."""
        return await self._output.readline()

    async def write_line(self, line: bytes) -> None:
        """Write a line and wait for room in the pipe; no effect if the child has ended."""
        with suppress(ConnectionError):
            self._input.write(line + b"\n")
            await self._input.drain()

    def close_input(self) -> None:
        self._input.close()

    def stop(self, kill_after_s: float) -> None:
        """Ask the program and its group to end. If it does, what it leaves is for `end_group`."""
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            asyncio.get_running_loop().call_later(kill_after_s, self._kill_if_running)

    def _kill_if_running(self) -> None:
        if self._process.returncode is None:
            self.kill()

    def kill(self) -> None:
        self._signal(_KILL)

    async def end_politely(self) -> None:
        """End the program and its group by the end of its input, SIGTERM, or a kill."""
        self._input.close()
        await self._end_group((_NO_SIGNAL, signal.SIGTERM, _KILL))
        await self._release_pipes()

    async def end_group(self) -> None:
        """Wait a moment for what an ended program has left in its group, then kill that."""
        await self._end_group((_NO_SIGNAL, _KILL))

    async def _end_group(self, signals: Sequence[int]) -> None:
        for number in signals:
            until_s = monotonic() + _GROUP_ENDS_S
            is_running = self._signal(number)
            while is_running and monotonic() < until_s:
                await asyncio.sleep(_POLL_S)
                is_running = self._signal(_NO_SIGNAL)
            if not is_running:
                return  # the system may give its id to another group, which must get no signal

    def _signal(self, number: int) -> bool:
        """Return whether there is a process group, which may outlive the program."""
        if self._job is not None:
            if number != _NO_SIGNAL:
                self._job.end()
            return self._job.is_running
        if self._is_pid_taken():
            return False
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # it has ended; macOS raises the latter then
            return False
        return True

    def _is_pid_taken(self) -> bool:
        """Whether another process has got the id of this program, which `killpg` would then hit.

        A system gives an id again only when no process group has it: then all of this one have
        ended. A group of a stranger that has ended, too, cannot be told from this program's.
        """
        if self._process.returncode is None:
            return False
        try:
            os.getpgid(self._process.pid)
        except ProcessLookupError:
            return False
        return True

    async def wait(self) -> None:
        """Call `drop_output` before, if the output was not read; else this may not return."""
        await self._process.wait()

    async def drop_output(self) -> None:
        """Let `wait` return.

        While more output waits than it buffers, asyncio (of Python 3.11) does not notice that the
        program has ended.
        """
        if self._process.stdout is not None:
            while await self._process.stdout.read(_LINE_BYTES):
                pass

    async def end(self) -> None:
        """Kill the program and its group, and wait for its end."""
        self.kill()
        self._input.close()
        await self._release_pipes()
        while self.exit_code is None:  # noqa: ASYNC110 - asyncio would wait for the pipes, too
            await asyncio.sleep(_POLL_S)

    async def _release_pipes(self) -> None:
        """Read the output to its end, for a moment: what has left the group may keep it open."""
        try:
            async with asyncio.timeout(_GROUP_ENDS_S):
                await self.drop_output()
                await self.wait()
        except TimeoutError:
            self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001

    @property
    def _output(self) -> asyncio.StreamReader:
        assert self._process.stdout is not None  # noqa: S101 - only programs with a pipe are read
        return self._process.stdout
