"""Colours of code: those that are known, and the code that waits for them.

Colours are bytes, one for each character of a code, as the highlighter returns them.
"""

from __future__ import annotations

from lmchat.markdown.block import Block

_MOST_CHARS = 500_000  # of code whose colours are kept

CodeRequest = tuple[str, str]  # language, and code without terminal commands


class Colours:
    """Colours of code. Code is shown plain until its colours arrive.

    Code that grows keeps the colours of its beginning.
    """

    def __init__(self) -> None:
        self.block: Block | None = None  # the block that is being laid out
        self._cache: dict[CodeRequest, bytes] = {}  # the least recently used first
        self._cached_chars = 0  # characters of code in the cache
        # the last code of each language, with its colours
        self._newest: dict[str, tuple[str, bytes]] = {}
        # blocks to lay out again when the colours arrive, the newest request last
        self._waiting: dict[CodeRequest, list[Block]] = {}

    def of(self, language: str, code: str) -> bytes:
        """Return the colours of a code, as far as they are known; if they are not, request them.

        Until they arrive, code that continues the last code of its language has the colours of it;
        other code has none. Code without a language never has any.
        """
        if not (language and code):
            return b""
        colours = self._cache.pop((language, code), None)
        if colours is not None:
            self._cache[language, code] = colours
            return colours
        self._request((language, code))
        beginning, colours = self._newest.get(language, ("", b""))
        return colours if code.startswith(beginning) else b""

    @property
    def newest_request(self) -> CodeRequest | None:
        """The newest code that waits for its colours; None if no code waits."""
        return next(reversed(self._waiting), None)

    def put(self, request: CodeRequest, colours: bytes | None) -> list[Block]:
        """Take the colours of a code, or None if the highlighter has none for it.

        Return the blocks that waited for them. The least recently used colours are forgotten when
        there are too many.
        """
        language, code = request
        if colours:
            beginning, _ = self._newest.get(language, ("", b""))
            if code.startswith(beginning):  # likely the same code, which has grown
                self._forget((language, beginning))
            self._newest[language] = code, colours
        self._forget(request)  # so that it becomes the most recently used
        self._cache[request] = colours or b""
        self._cached_chars += len(code)
        while self._cached_chars > _MOST_CHARS and len(self._cache) > 1:
            least_recently_used = next(iter(self._cache))
            self._forget(least_recently_used)
        return self._waiting.pop(request, [])

    def drop_requests(self) -> None:
        self._waiting.clear()

    def _request(self, request: CodeRequest) -> None:
        """Request the colours of a code for `self.block`, the block that is being laid out.

        If the newest request is for the beginning of this code, it is dropped, since the code has
        likely grown. Its blocks wait for the new one. When the colours come, all of them are laid
        out again; a block that had other code, which only began alike, then requests its own.
        """
        language, code = request
        blocks = self._waiting.pop(request, [])
        last = self.newest_request
        if last is not None and last[0] == language and code.startswith(last[1]):
            blocks += self._waiting.pop(last)
        if self.block is not None:
            blocks.append(self.block)
        self._waiting[request] = blocks

    def _forget(self, code: CodeRequest) -> None:
        if self._cache.pop(code, None) is not None:
            self._cached_chars -= len(code[1])
