"""Colours of code: those that are known, and the code that waits for its colours.

Colours are bytes, one for each character of the code, as the highlighter returns them.
"""

from __future__ import annotations

from lmchat.markdown.block import Block

_MOST_CHARS = 500_000  # of code whose colours are kept

CodeRequest = tuple[str, str]  # language, and code without terminal commands


class Colours:
    """Colours of code. Code is shown plain until its colours arrive.

    Code without known colours becomes a request: the caller gives `newest_request` to the
    highlighter, and its answer to `put`. Code that grows keeps the colours of its beginning.
    """

    def __init__(self) -> None:
        # The block that is being laid out, set by `Layout`, which waits for the colours that `of`
        # requests. No parameter: functions in `Block.make` call `of`, and must not hold their
        # block. That would be a reference cycle, and blocks have none.
        self.block: Block | None = None
        self._cache: dict[CodeRequest, bytes] = {}  # empty for code that has none
        # by language: the code whose colours arrived last, with these colours
        self._last_coloured: dict[str, tuple[str, bytes]] = {}
        # the newest last, with the blocks to lay out again
        self._waiting: dict[CodeRequest, list[Block]] = {}

    def of(self, language: str, code: str) -> bytes:
        """Return the colours of code, as far as they are known; if they are not, request them.

        Until they arrive, code that continues the last coloured code of its language gets the
        colours of that beginning.
        """
        if not (language and code):
            return b""
        request = (language, code)
        if request in self._cache:
            return self._cache[request]
        # Taken out here and put back below, it becomes the newest request.
        blocks = self._waiting.pop(request, [])
        newest = self.newest_request
        if newest is not None and newest[0] == language and code.startswith(newest[1]):
            # Likely code that has grown, from `a` to `ab`: the request for `a` is not needed any
            # more. A block that still shows `a` is laid out again with the others, and then
            # requests its colours.
            blocks += self._waiting.pop(newest)
        if self.block is not None:
            blocks.append(self.block)
        self._waiting[request] = blocks
        beginning, colours = self._last_coloured.get(language, ("", b""))
        return colours if code.startswith(beginning) else b""

    @property
    def newest_request(self) -> CodeRequest | None:
        """The newest code that waits for its colours; None if no code waits."""
        return next(reversed(self._waiting), None)

    def put(self, request: CodeRequest, colours: bytes | None) -> list[Block]:
        """Take the colours of requested code, or None if the highlighter has none for it.

        Return the blocks that waited, which the caller lays out again. When there are too many
        colours, all older ones are forgotten.
        """
        language, code = request
        if colours:
            beginning, _ = self._last_coloured.get(language, ("", b""))
            # likely the same code, which has grown
            if code.startswith(beginning):
                self._cache.pop((language, beginning), None)
            self._last_coloured[language] = code, colours
        if sum(len(cached) for _, cached in self._cache) + len(code) > _MOST_CHARS:
            self._cache.clear()
        self._cache[request] = colours or b""
        return self._waiting.pop(request, [])

    def drop_requests(self) -> None:
        self._waiting.clear()
