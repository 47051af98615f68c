"""Colours of code: those that are known, and the code that waits for its colours.

Colours are bytes, one for each character of the code, as the highlighter returns them.
"""

from __future__ import annotations

from lmchat.markdown.block import Block

_MOST_CHARS = 500_000  # characters of code whose colours are kept

CodeRequest = tuple[str, str]  # language, and code without terminal commands


class Colours:
    """Colours of code. Code is shown plain until its colours arrive.

    Code whose colours are not known becomes a request. The caller gives `newest_request` to the
    highlighter, and its answer to `put`. The blocks with this code wait: when it has its colours,
    they are laid out again. Code that grows keeps the colours of its beginning.
    """

    def __init__(self) -> None:
        # The block that is being laid out, set by `Layout`. It waits for the colours that `of`
        # requests. It is no parameter of `of`: the function in `Block.make`, which makes the lines
        # of some blocks, calls `of` too, and does not know its block. If the function held the
        # block, and the block the function, that would be a reference cycle. Blocks have none.
        self.block: Block | None = None
        self._cache: dict[CodeRequest, bytes] = {}  # known colours; empty for code that has none
        # the code of each language whose colours arrived last, with these colours
        self._last_coloured: dict[str, tuple[str, bytes]] = {}
        # The requests, the newest last, each with the blocks to lay out again when it is answered.
        self._waiting: dict[CodeRequest, list[Block]] = {}

    def of(self, language: str, code: str) -> bytes:
        """Return the colours of code, as far as they are known; if they are not, request them.

        Until they arrive, code that continues the last coloured code of its language gets the
        colours of that beginning. Other code gets none. Code without a language never has any.
        """
        if not (language and code):
            return b""
        request = (language, code)
        if request in self._cache:
            return self._cache[request]
        # Taken out here and put back below, it is the last of `_waiting`: the newest request.
        blocks = self._waiting.pop(request, [])
        newest = self.newest_request
        if newest is not None and newest[0] == language and code.startswith(newest[1]):
            # Likely code that has grown, from `a` to `ab`. The request for `a` is not needed any
            # more, and its blocks wait for the colours of `ab`. One of them may still show `a`.
            # It is laid out again with the others, and then requests the colours of `a`.
            blocks += self._waiting.pop(newest)
        if self.block is not None:  # it shows this code
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

        Return the blocks that waited for these colours; the caller lays them out again. When there
        are too many colours, all older ones are forgotten.
        """
        language, code = request
        if colours:
            beginning, _ = self._last_coloured.get(language, ("", b""))
            # likely the same code, which has grown: it needs the earlier colours no more
            if code.startswith(beginning):
                self._cache.pop((language, beginning), None)
            self._last_coloured[language] = code, colours
        if sum(len(cached) for _, cached in self._cache) + len(code) > _MOST_CHARS:
            self._cache.clear()
        self._cache[request] = colours or b""
        return self._waiting.pop(request, [])

    def drop_requests(self) -> None:
        self._waiting.clear()
