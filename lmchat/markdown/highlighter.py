"""Highlighter: colours of code from a child process, which is killed if a lexer is too slow.

The child runs `lexer_program.py`. It gets one request at a time, and ends with this program.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from lmchat.processes.child import ChildEndedError, ChildProcess
from lmchat.processes.environment import needed_environment

_log = logging.getLogger(__name__)
_PROGRAM = Path(__file__).with_name("lexer_program.py")
_START_S = 30.0  # time to start on a busy machine
_LIMIT_S = 2.0  # CPU time for any code, which usually takes a few milliseconds
_LIMIT_S_PER_CHAR = 1e-5  # further CPU time for long code
# The limit by the clock is longer: other programs, such as a model server, may need all cores.
_WALL_FACTOR = 10.0
# The child has this time more before it ends itself, in case the parent has ended.
_CHILD_MORE_S = 1.0
_MOST_SLOW_CODES = 2


class Highlighter:
    """Child process with the lexers; it starts with the first code and ends with this program.

    A language for which it was too slow `_MOST_SLOW_CODES` times stays plain.
    """

    def __init__(self, *, limit_s: float = _LIMIT_S) -> None:
        self._limit_s = limit_s
        self._request_lock = asyncio.Lock()  # the child works on one request at a time
        self._child: ChildProcess | None = None
        self._killed: list[ChildProcess] = []  # children whose end was not waited for
        self._can_start = True
        self._is_closed = False
        self._slow_codes: Counter[str] = Counter()  # by language

    async def colours(self, language: str, code: str) -> bytes | None:
        """Return one byte for each character of a code: its colour, as an index of `COLOUR_NAMES`.

        Return None if the code stays plain: its lexer is unknown, fails or is too slow, the child
        cannot start, or this object was closed.
        """
        async with self._request_lock:
            if self._is_closed or not language or self._slow_codes[language] >= _MOST_SLOW_CODES:
                return None
            child = await self._ensure_child()
            if child is None:
                return None
            try:
                colours = await self._exchange(child, language, code)
            except (TimeoutError, ChildEndedError):  # the next code starts another child
                if not self._is_closed:  # `aclose` kills the child too
                    _log.warning("no colours: the lexer for %s is too slow", language)
                    self._slow_codes[language] += 1
                self._kill()
                return None
            except BaseException:  # also if cancelled: the pipe may hold a part of the answer
                self._kill()
                raise
        return colours or None

    async def aclose(self) -> None:
        """Kill the child and wait for its end; a request that waits for the child returns None."""
        self._is_closed = True
        self._kill()
        async with self._request_lock:
            self._kill()  # another one, which that request has started
            await self._wait_for_killed()

    @property
    def pid(self) -> int | None:
        """Process id of the child while it runs."""
        return self._child.pid if self._child is not None else None

    async def _ensure_child(self) -> ChildProcess | None:
        """Return the child, which is started if none runs.

        Return None if the child cannot start. After such a failure, no other start is tried.
        """
        if self._child is not None or not self._can_start:
            return self._child
        await self._wait_for_killed()  # releases their pipes, which `_kill` does not
        try:
            self._child = await _start()
            async with asyncio.timeout(_START_S):
                await self._child.receive_frame()  # the child sends one when it is ready
        except (OSError, TimeoutError, ChildEndedError) as error:
            _log.warning("no colours: the highlighter cannot start: %s", error)
            self._can_start = False
            self._kill()
        except BaseException:  # cancelled
            self._kill()
            raise
        return self._child

    async def _exchange(self, child: ChildProcess, language: str, code: str) -> bytes:
        """Send a request to the child and return its answer.

        Raises `TimeoutError` after the limit by the clock. Raises `ChildEndedError` if the child
        has ended, as it does after its limit of CPU time.
        """
        cpu_s = self._limit_s + len(code) * _LIMIT_S_PER_CHAR
        wall_s = cpu_s * _WALL_FACTOR
        request = f"{cpu_s} {wall_s + _CHILD_MORE_S} {language}\n{code}"
        async with asyncio.timeout(wall_s):
            await child.send_frame(request.encode(errors="replace"))
            return await child.receive_frame()

    def _kill(self) -> None:
        """Kill the child without waiting for its end, if one runs."""
        if self._child is not None:
            self._child.kill()
            self._killed.append(self._child)
            self._child = None

    async def _wait_for_killed(self) -> None:
        """Wait for the end of all killed children.

        If this is cancelled, the next call waits for the children that are left.
        """
        while self._killed:
            child = self._killed[-1]
            await child.end()
            self._killed.remove(child)


async def _start() -> ChildProcess:
    """Start the child with the folder of Pygments as its argument; raises `OSError`."""
    pygments = find_spec("pygments")
    if pygments is None or pygments.origin is None:
        raise FileNotFoundError("Pygments is not installed")
    packages = Path(pygments.origin).parents[1]
    # `-I -S`: ignore the current folder, PYTHON… variables and start-up hooks
    command = [sys.executable, "-I", "-S", str(_PROGRAM), str(packages)]
    environment = needed_environment(os.environ)
    return await ChildProcess.start(command, environment=environment, folder=_PROGRAM.parent)
