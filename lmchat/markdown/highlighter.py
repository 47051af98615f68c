"""Highlighter: colours of code from a child process, which ends itself if a lexer is too slow."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from lmchat.errors import LMChatError
from lmchat.processes.child import ChildEndedError, ChildProcess

_logger = logging.getLogger(__name__)
_CHILD = "lmchat.markdown.lexer_child"
_LIMIT_S = 5.0  # for any code, which usually takes a few milliseconds; a machine may be busy
_LIMIT_S_PER_CHAR = 1e-4  # more for long code
_MOST_SLOW_CODES = 2


class Highlighter:
    """Child process with the lexers; it starts with the first code and ends with this program.

    A language for which it was too slow `_MOST_SLOW_CODES` times stays plain.
    """

    def __init__(self, *, limit_s: float = _LIMIT_S) -> None:
        self._limit_s = limit_s
        self._request_lock = asyncio.Lock()
        self._child: ChildProcess | None = None
        self._is_off = False  # closed, or the child cannot start
        self._slow_codes: Counter[str] = Counter()  # by language

    async def colours(self, language: str, code: str) -> bytes | None:
        """Return a byte for each character of the code: its colour, an index in `COLOUR_NAMES`.

        None: its lexer is unknown, fails or is too slow, the child cannot start, or this was
        closed.
        """
        async with self._request_lock:
            if self._is_off or not language or self._slow_codes[language] >= _MOST_SLOW_CODES:
                return None
            limit_s = self._limit_s + len(code) * _LIMIT_S_PER_CHAR
            # the form that `lexer_child` reads; its answer is empty if there are no colours
            request = f"{limit_s} {language}\n{code}".encode(errors="replace")
            try:
                if self._child is None:
                    self._child = await ChildProcess.start_own(_CHILD)
                await self._child.send_frame(request)
                return await self._child.receive_frame() or None
            except LMChatError as error:
                _logger.warning("no colours: the highlighter cannot start: %s", error)
                self._is_off = True
            except ChildEndedError:
                if not self._is_off:  # `aclose` kills the child too
                    _logger.warning("no colours: the lexer for %s is too slow", language)
                    self._slow_codes[language] += 1
                await self._end_child()
            except asyncio.CancelledError:  # the pipe may hold a part of the answer
                await self._end_child()
                raise
        return None

    async def aclose(self) -> None:
        """Kill the child and wait for its end; a request that waits for the child returns None."""
        self._is_off = True
        if self._child is not None:
            self._child.kill()  # a request holds the lock until its child answers or ends
        async with self._request_lock:
            await self._end_child()

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    async def _end_child(self) -> None:
        if self._child is not None:
            await self._child.end()
            self._child = None  # last: if `end` is cancelled, the next call waits for it again
