"""Highlighter: colours of code from a child process, which is ended where a lexer takes too long."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import defaultdict
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from lmchat.machine.lexer import FAILED

_log = logging.getLogger(__name__)
_PROGRAM = Path(__file__).with_name("lexer.py")
_START_S = 30.0  # time to start on a busy machine
_LIMIT_S = 2.0  # CPU time for a piece of code, which usually takes a few milliseconds
_LIMIT_S_PER_CHAR = 1e-5
_WALL_FACTOR = 10.0  # more time by the clock: other programs, as a model server, may need all cores
_CHILD_MORE_S = 1.0  # later than the parent, the child ends itself: the parent may be gone
_MOST_STRIKES = 3  # a language whose lexer takes too long so often stays plain
_NEEDED = ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables without which Python may not start."""


class Highlighter:
    """Child process with the lexers; it starts with the first code and ends with this program.

    Code that has ended it is never sent again, nor is what begins with such code.
    """

    def __init__(self, *, limit_s: float = _LIMIT_S) -> None:
        self._limit_s = limit_s
        self._turn = asyncio.Lock()  # one request at a time
        self._process: Process | None = None
        self._killed: list[Process] = []  # whose end was not waited for
        self._is_available = True  # whether the child can be started
        self._is_closed = False
        self._too_slow: defaultdict[str, list[str]] = defaultdict(list)  # code by language

    async def colours(self, language: str, code: str) -> bytes | None:
        """Return a place in `lexer.NAMES` for each character of a code; None where it stays plain."""
        async with self._turn:
            is_hopeless = not language or self._is_hopeless(language, code)
            if self._is_closed or is_hopeless or not await self._start():
                return None
            try:
                state, colours = await self._exchange(language, code)
            except BaseException:  # cancelled, too: half an answer may wait in the pipe
                self._kill()
                raise
        if state == FAILED:
            _log.warning("no colours: the lexer for %s failed", language)
        return colours if len(colours) == len(code) else None

    async def aclose(self) -> None:
        """End the child."""
        self._is_closed = True
        self._kill()  # whoever waits for an answer gets none
        async with self._turn:
            self._kill()
            await self._wait_for_killed()

    @property
    def pid(self) -> int | None:
        """Process id of the child while it runs."""
        return self._process.pid if self._process is not None else None

    def _is_hopeless(self, language: str, code: str) -> bool:
        slow = self._too_slow.get(language, ())
        return len(slow) >= _MOST_STRIKES or any(code.startswith(start) for start in slow)

    async def _start(self) -> bool:
        """Start the child unless it runs; return whether it does."""
        if self._process is not None or not self._is_available:
            return self._is_available
        pygments = find_spec("pygments")
        if pygments is None or pygments.origin is None:
            self._is_available = False
            return False
        await self._wait_for_killed()
        packages = Path(pygments.origin).parents[1]
        try:
            self._process = await asyncio.create_subprocess_exec(
                # neither the current folder nor PYTHON… variables nor start-up hooks
                *(sys.executable, "-I", "-S", str(_PROGRAM), str(packages)),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                cwd=_PROGRAM.parent,
                env={name: os.environ[name] for name in _NEEDED if name in os.environ},
                start_new_session=True,  # neither Ctrl+C nor the closed terminal is meant for it
            )
            async with asyncio.timeout(_START_S):
                state, _ = await _answer(self._process)
        except (OSError, TimeoutError) as error:
            _log.warning("no colours: the highlighter cannot start: %s", error)
            self._is_available = False
        except BaseException:
            self._kill()
            raise
        else:
            self._is_available = bool(state)
        if not self._is_available:
            self._kill()
        return self._is_available

    async def _exchange(self, language: str, code: str) -> tuple[str, bytes]:
        """Send a request and return the answer; an empty state where the child has ended."""
        process = self._process
        assert process is not None  # noqa: S101 - it was started above
        assert process.stdin is not None  # noqa: S101
        data = code.encode(errors="replace")
        cpu_s = self._limit_s + len(code) * _LIMIT_S_PER_CHAR
        wall_s = cpu_s * _WALL_FACTOR
        state, colours = "", b""
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(wall_s):
                header = f"{language} {len(data)} {cpu_s} {wall_s + _CHILD_MORE_S}\n"
                process.stdin.write(header.encode(errors="replace") + data)
                await process.stdin.drain()
                state, colours = await _answer(process)
        if not state and not self._is_closed:
            _log.warning("no colours: the lexer for %s is too slow", language)
            self._too_slow[language].append(code)
        if not state:
            self._kill()
        return state, colours

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        self._killed.append(process)

    async def _wait_for_killed(self) -> None:
        while self._killed:
            process = self._killed[-1]
            assert process.stdin is not None  # noqa: S101 - it was asked for above
            assert process.stdout is not None  # noqa: S101
            process.stdin.close()
            await process.stdout.read()
            await process.wait()
            self._killed.remove(process)


async def _answer(process: Process) -> tuple[str, bytes]:
    """Read an answer; an empty state where the child has ended."""
    assert process.stdout is not None  # noqa: S101 - it was asked for above
    header = await process.stdout.readline()
    if not header.endswith(b"\n"):
        return "", b""
    state, size = header.decode().split()
    try:
        return state, await process.stdout.readexactly(int(size))
    except asyncio.IncompleteReadError:
        return "", b""
