"""`python -m tests.benchmarks.counted`: instructions of 1,000 chunks at 100 a second.

Callgrind's count differs by 1 % between two runs where a time differs by 10 %, so it shows what a
change is worth. The program runs on a pty in virtual time: when nothing is ready, its clock goes to
the next timer. The server is an object of the same process. Only this process is counted, and no
time of the kernel. It takes a minute, and needs valgrind on x86-64. With `--calls`, Python's
profile is printed instead, in a few seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import ctypes
import mmap
import os
import pstats
import re
import selectors
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import server
from tests.benchmarks.terminal import Drawn
from tests.benchmarks.texts import mixed

CHUNKS = 1_000
RATE = 100
_ENTER_S = 5.0  # in virtual time; by then, all is imported
_CLOSE_S = 2.0  # behind the last chunk
_WAIT_S = 0.003  # in real time, for threads and the terminal, before the clock is moved
BUSY: list[Callable[[], bool]] = []
"""Say whether a thread works."""
_START, _STOP = 0x43540004, 0x43540005  # client requests of callgrind


# all shapes but code, which another process colours
TEXT = re.sub(r"```.*?```\n\n", "", mixed(2 * 4 * CHUNKS), flags=re.DOTALL)


def request_of_callgrind() -> Callable[[int], None]:
    """Return a function that sends a client request: valgrind acts on these instructions, else they do nothing."""
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(
        b"\x48\x89\xf8\x31\xd2"  # mov rax, rdi; xor edx, edx
        b"\x48\xc1\xc7\x03\x48\xc1\xc7\x0d\x48\xc1\xc7\x3d\x48\xc1\xc7\x33\x48\x87\xdb"  # the mark
        b"\x89\xd0\xc3"
    )
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(address)

    def send(request: int) -> None:
        arguments = ctypes.create_string_buffer(struct.pack("6Q", request, 0, 0, 0, 0, 0))
        call(ctypes.addressof(arguments))

    send.code = code  # type: ignore[attr-defined]  # it has to live as long as the function
    return send


class VirtualClock:
    """Seconds that pass only while the event loop has nothing to do."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        started_s = time.time()
        for name in ("monotonic", "perf_counter"):
            setattr(time, name, self.now_s)
        time.time = lambda: started_s + self.passed_s

    def now_s(self) -> float:
        return 1_000 + self.passed_s


class VirtualSelector(selectors.DefaultSelector):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self.calls = 0  # in threads, which take real time; so does writing to the terminal

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(_WAIT_S)
        if not (ready or self.calls or any(is_busy() for is_busy in BUSY)):
            self._clock.passed_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        self._own_selector = VirtualSelector(clock)
        super().__init__(self._own_selector)

    def run_in_executor(self, executor: Any, function: Any, *args: Any) -> Any:
        future = super().run_in_executor(executor, function, *args)
        self._own_selector.calls += 1
        future.add_done_callback(lambda _: self._ended())
        return future

    def _ended(self) -> None:
        self._own_selector.calls -= 1


class Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self, clock: VirtualClock, script: Script) -> None:
        super().__init__()
        self._clock = clock
        self._script = script

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        loop = VirtualLoop(self._clock)
        self._script.type_prompt(loop)
        return loop


class Script:
    """What the user types, the server sends, and is counted."""

    def __init__(self, *, counts_calls: bool) -> None:
        pieces = [TEXT[at : at + 4] for at in range(0, 4 * CHUNKS, 4)]
        self.chunks = [*self._bytes_of(pieces)]
        self.written = 0  # bytes to the terminal while counted
        self._profile = cProfile.Profile() if counts_calls else None
        self._send = None if counts_calls else request_of_callgrind()
        self._keys = int(os.environ["BENCH_KEYS"])

    def _bytes_of(self, pieces: Sequence[str]) -> Iterator[bytes]:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        role = server._event({"delta": {"role": "assistant", "content": None}})
        for number, piece in enumerate(pieces, 1):
            token = server._event({"delta": {"content": piece}}, timings=server._timings(number))
            yield (head if number == 1 else b"") + server._http_chunk(
                role + token if number == 1 else token
            )
        end = server._http_chunk(server._end(len(pieces)))
        yield end + server._http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"

    def type_prompt(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(_ENTER_S, os.write, self._keys, b"go\r")

    def start(self) -> None:
        from lmchat.app.terminal.tty import TerminalOutput, TerminalWriter

        write = TerminalOutput._write_some

        def counted(output: TerminalOutput, data: bytes) -> int:
            count = write(output, data)
            self.written += count
            return count

        TerminalOutput._write_some = counted  # type: ignore[method-assign]
        writers = [one for one in threading.enumerate() if isinstance(one, TerminalWriter)]
        BUSY.extend(lambda writer=writer: writer._unwritten > 0 for writer in writers)
        if self._profile is not None:
            self._profile.enable()
        elif self._send is not None:
            self._send(_START)

    def stop(self) -> None:
        if self._send is not None:
            self._send(_STOP)
        if self._profile is not None:
            self._profile.disable()
            self._profile.dump_stats(os.environ["BENCH_RESULT"])
        Path(os.environ["BENCH_RESULT"] + ".bytes").write_text(str(self.written), encoding="utf-8")
        os._exit(0)  # a clock that stands still would have lmchat wait for the terminal forever


def _socket_of(script: Script) -> type:
    import httpcore

    class Socket(httpcore.AsyncNetworkStream):
        """Connection to a server that sends the chunks of the script when they are due."""

        def __init__(self) -> None:
            self._request = b""
            self._ready = b""
            self._started_s: float | None = None
            self._sent = 0

        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            self._request += buffer
            head, _, body = self._request.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if b"\r\n\r\n" not in self._request or len(body) < int(length[1] if length else 0):
                return
            self._request = b""
            if b"chat/completions" in head.split(b"\r\n")[0]:
                self._started_s = time.monotonic()
                self._sent = 0
                script.start()
                return
            status = b"404 Not Found"
            reply = b'{"error":"no such path"}'
            if b"/models" in head.split(b"\r\n")[0]:
                status = b"200 OK"
                reply = server.MODELS.encode()
            self._ready = (
                b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (status, len(reply), reply)
            )

        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            if self._started_s is not None and self._sent < len(script.chunks):
                due_s = self._started_s + (self._sent + 1) / RATE
                if due_s > time.monotonic():
                    await asyncio.sleep(due_s - time.monotonic())
                while self._sent < len(script.chunks) and (
                    self._started_s + (self._sent + 1) / RATE <= time.monotonic() + 1e-6
                ):
                    self._ready += script.chunks[self._sent]
                    self._sent += 1
                if self._sent == len(script.chunks):
                    asyncio.get_running_loop().call_later(_CLOSE_S, script.stop)
            data = self._ready[:max_bytes]
            self._ready = self._ready[max_bytes:]
            return data

        async def aclose(self) -> None:
            pass

        def get_extra_info(self, info: str) -> Any:
            return None

    return Socket


def run_child(*, counts_calls: bool) -> None:
    """Run lmchat in virtual time."""
    clock = VirtualClock()  # before anything imports the functions of `time`
    script = Script(counts_calls=counts_calls)
    asyncio.set_event_loop_policy(Policy(clock, script))
    import httpcore

    sock = _socket_of(script)

    async def connect_tcp(*_args: Any, **_options: Any) -> Any:
        return sock()

    httpcore.AnyIOBackend.connect_tcp = connect_tcp  # type: ignore[method-assign]
    from lmchat.__main__ import main as run

    sys.argv = ["lmchat"]
    run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(counts_calls=options.calls)
        return
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result"
        valgrind = [
            *("/usr/bin/valgrind", "--tool=callgrind", "--instr-atstart=no"),
            *(f"--callgrind-out-file={result}", "--log-file=/dev/null"),
        ]
        argv = [sys.executable, "-m", "tests.benchmarks.counted", "--child"]
        argv = [*argv, "--calls"] if options.calls else [*valgrind, *argv]
        keys, typed = os.pipe()  # from the script in the child to its terminal
        os.set_inheritable(typed, True)
        env = {
            **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            "HOME": folder,
            "LMCHAT_HOME": folder,
            "LMCHAT_ENDPOINT": "http://127.0.0.1:1",
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            "BENCH_RESULT": str(result),
            "BENCH_KEYS": str(typed),
        }
        drawn = Drawn(argv, env)
        os.close(typed)
        while data := os.read(keys, 100):  # until the program has ended
            drawn.type(data.decode())
        drawn.end()
        bytes_written = int(Path(f"{result}.bytes").read_text(encoding="utf-8"))
        if options.calls:
            stats = pstats.Stats(str(result))
            stats.sort_stats("tottime").print_stats(45)
            print(f"{stats.total_calls} calls, {bytes_written} bytes")
        else:
            totals = re.search(r"totals: (\d+)", result.read_text(encoding="utf-8"))
            assert totals is not None
            print(f"{int(totals[1]) / 1e6:.0f} Mi, {bytes_written} bytes")


if __name__ == "__main__":
    main()
