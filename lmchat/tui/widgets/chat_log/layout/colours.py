"""Colours of code: those that are known, and the code that waits for them."""

from __future__ import annotations

from lmchat.tui.widgets.chat_log.blocks import Block

_MOST_CHARS = 500_000  # of code whose colours are kept

CodeRequest = tuple[str, str]  # language, and code without terminal commands


class Colours:
    """Colours of code, a byte for each character. Code is shown plain until its colours arrive.

    Code that grows keeps the colours of its beginning.
    """

    def __init__(self) -> None:
        self.block: Block | None = None  # the block that is being laid out
        self._known: dict[CodeRequest, bytes] = {}  # the least recently used first
        self._known_chars = 0
        self._newest: dict[
            str, tuple[str, bytes]
        ] = {}  # the last code of each language, with its colours
        self._waiting: dict[CodeRequest, list[Block]] = {}  # blocks to be laid out again

    def of(self, language: str, code: str) -> bytes:
        """Return the colours of a code as far as they are known, and request those that are not."""
        if not (language and code):
            return b""
        colours = self._known.pop((language, code), None)
        if colours is not None:
            self._known[language, code] = colours
            return colours
        self._request((language, code))
        start, colours = self._newest.get(language, ("", b""))
        return colours if code.startswith(start) else b""

    @property
    def wanted(self) -> CodeRequest | None:
        """Code that waits for its colours, the newest first."""
        return next(reversed(self._waiting), None)

    def put(self, wanted: CodeRequest, colours: bytes | None) -> list[Block]:
        """Take the colours of a code, or that it has none; return the blocks that wait for them."""
        language, code = wanted
        if colours:
            start, _ = self._newest.get(language, ("", b""))
            if code.startswith(start):  # it has grown
                self._forget((language, start))
            self._newest[language] = code, colours
        self._forget(wanted)
        self._known[wanted] = colours or b""
        self._known_chars += len(code)
        while self._known_chars > _MOST_CHARS and len(self._known) > 1:
            self._forget(next(iter(self._known)))
        return self._waiting.pop(wanted, [])

    def drop_requests(self) -> None:
        self._waiting.clear()

    def _request(self, wanted: CodeRequest) -> None:
        language, code = wanted
        blocks = self._waiting.pop(wanted, [])
        last = self.wanted
        if last is not None and last[0] == language and code.startswith(last[1]):
            # likely the same code, which has grown; a block that needs the shorter one asks again
            blocks += self._waiting.pop(last)
        if self.block is not None:
            blocks.append(self.block)
        self._waiting[wanted] = blocks

    def _forget(self, code: CodeRequest) -> None:
        if self._known.pop(code, None) is not None:
            self._known_chars -= len(code[1])
