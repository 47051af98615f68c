"""Colours of code from a child process, which ends itself if a lexer is too slow.

Colours are bytes, one for each character of the code. Code is shown plain until they arrive.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from msgspec import Struct, field

from lmchat.app.markdown_lines.block import Block
from lmchat.base.errors import LMChatError
from lmchat.base.processes.child import ChildEndedError, ChildProcess

_logger = logging.getLogger(__name__)
_CHILD = "lmchat.app.markdown_lines.lexer_child"
_LIMIT_S = 5.0  # for any code, usually a few milliseconds; a machine may be busy
_LIMIT_S_PER_CHAR = 1e-4  # more for long code
_MOST_SLOW_CODES = 2
_MOST_CHARS = 500_000  # of code whose colours are kept
CodeRequest = tuple[str, str]  # language, and code without terminal commands


class Colours(Struct, eq=False):
    """Known colours of code, and the code that waits for its colours.

    The caller gives `newest_request` to the highlighter, and its answer to `put`.
    """

    # The block that is being laid out, set by `Layout`; it waits for what `of` requests. No
    # parameter, as functions in `Block.make` call `of` and must not hold their block: blocks
    # have no reference cycles.
    block: Block | None = None
    _cache: dict[CodeRequest, bytes] = {}  # empty for code that has none
    # code whose colours arrived last, by language
    _last_coloured: dict[str, tuple[str, bytes]] = {}
    # the newest last, with the blocks to lay out again
    _waiting: dict[CodeRequest, list[Block]] = {}

    def of(self, language: str, code: str) -> bytes:
        """Return the known colours, or request them.

        Until they arrive, code that has grown keeps the colours of its beginning.
        """
        if not (language and code):
            return b""
        request = (language, code)
        if request in self._cache:
            return self._cache[request]
        # put back below, as the newest
        blocks = self._waiting.pop(request, [])
        newest = self.newest_request
        if newest is not None and newest[0] == language and code.startswith(newest[1]):
            # Likely code that has grown, from `a` to `ab`: the request for `a` is not needed. A
            # block that still shows `a` is laid out again with the others, and then requests its
            # own.
            blocks += self._waiting.pop(newest)
        if self.block is not None:
            blocks.append(self.block)
        self._waiting[request] = blocks
        beginning, colours = self._last_coloured.get(language, ("", b""))
        return colours if code.startswith(beginning) else b""

    @property
    def newest_request(self) -> CodeRequest | None:
        return next(reversed(self._waiting), None)

    def put(self, request: CodeRequest, colours: bytes) -> list[Block]:
        """Return the blocks to lay out again."""
        language, code = request
        beginning, _ = self._last_coloured.get(language, ("", b""))
        # likely the same code, which has grown
        if code.startswith(beginning):
            self._cache.pop((language, beginning), None)
        self._last_coloured[language] = code, colours
        if sum(len(cached) for _, cached in self._cache) + len(code) > _MOST_CHARS:
            self._cache.clear()
        self._cache[request] = colours
        return self._waiting.pop(request, [])

    def drop_requests(self) -> None:
        self._waiting.clear()


class Highlighter:
    """Child process with the lexers, which starts with the first code."""

    def __init__(self, *, limit_s: float = _LIMIT_S) -> None:
        self._limit_s = limit_s
        self._request_lock = asyncio.Lock()
        self._child: ChildProcess | None = None
        self._is_off = False  # closed, or the child cannot start
        self._slow_codes: Counter[str] = Counter()

    async def colours(self, language: str, code: str) -> bytes:
        """Return an index of `COLOUR_NAMES` for each character, or none at all."""
        async with self._request_lock:
            if self._is_off or not language or self._slow_codes[language] >= _MOST_SLOW_CODES:
                return b""
            limit_s = self._limit_s + len(code) * _LIMIT_S_PER_CHAR
            # the form that `lexer_child` reads
            request = f"{limit_s} {language}\n{code}".encode(errors="replace")
            try:
                if self._child is None:
                    self._child = await ChildProcess.start_own(_CHILD)
                await self._child.send_frame(request)
                return await self._child.receive_frame()
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
        return b""

    async def aclose(self) -> None:
        """Kill the child and wait for its end; a waiting request gets no colours."""
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


class Highlighting(Struct, eq=False):
    """Colours of code in the log."""

    _highlighter: Highlighter
    _show_changed: Callable[[], object]  # called when there are colours for `drain`
    colours: Colours = field(default_factory=Colours)
    _changed: list[Block] = []

    @property
    def is_needed(self) -> bool:
        return self.colours.newest_request is not None

    async def run(self) -> None:
        while request := self.colours.newest_request:
            colours = await self._highlighter.colours(*request)
            self._changed += self.colours.put(request, colours)
            if self._changed:
                self._show_changed()

    def drain(self) -> list[Block]:
        blocks = self._changed
        self._changed = []
        return blocks

    def reset(self) -> None:
        """Forget the code of the earlier session; known colours stay cached."""
        self.drain()
        self.colours.drop_requests()
