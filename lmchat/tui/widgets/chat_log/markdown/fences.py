"""Fenced code while it arrives: pieces of so many lines, and the end of the fence."""

from __future__ import annotations

import re

from msgspec import Struct, field

from lmchat.tui.widgets.chat_log.blocks import GLUE, PIECE_CHARS, SEGMENT_LINES, Block, Code, Kind

_OPENING = re.compile(r"( {0,3})(`{3,}(?=[^`]*$)|~{3,})(.*)$")


class OpenFence(Struct):
    """A fence at the top level of a text; lines are fed, blocks are taken out."""

    indent: str
    """Blanks before its opening, which its lines may have too."""
    mark: str
    """The marks that opened it."""
    info: str
    """The words after them."""
    code: Code = field(default_factory=Code)
    """What its blocks share."""
    is_first: bool = True
    """Whether nothing of it is closed yet."""
    is_inner: bool = False
    """Whether the next piece begins in the middle of a line."""
    _lines: list[str] = field(default_factory=list)
    _done: list[Block] = field(default_factory=list)

    def take(self, lines: list[str]) -> tuple[int, bool]:
        """Take complete lines; return how many were taken, and whether the fence ended with the last."""
        closing = re.compile(rf" {{0,3}}{re.escape(self.mark[0])}{{{len(self.mark)},}}[ \t]*$")
        for number, line in enumerate(lines):
            if not self._is_in_line and len(line) <= PIECE_CHARS and closing.match(line):
                self.end()
                return number + 1, True
            self._take_line(line)
        return len(lines), False

    def end(self) -> None:
        """Nothing more comes."""
        if self._lines or self.is_first:
            self._close()
        self.code.is_whole = True

    def cut(self, start: str) -> None:
        """Take the beginning of a line that is too long to wait for its end."""
        self._lines.append(start if self._is_in_line else self._dedented(start))
        self._close(goes_on=True)

    def done(self) -> list[Block]:
        """Return the blocks that were closed since this was asked last."""
        done, self._done = self._done, []
        return done

    def open(self, tail: str) -> list[Block]:
        """Return what may still change, given the line that is not complete."""
        is_ending = not self._is_in_line and not tail.strip(" ").strip(self.mark[0])
        shown = tail if self._is_in_line else self._dedented(tail)
        lines = self._lines if is_ending else [*self._lines, shown]
        return [self._block(lines)] if lines or self.is_first else []

    @property
    def _is_in_line(self) -> bool:
        """Whether what comes next stands in the middle of a line."""
        return self.is_inner and not self._lines

    def _take_line(self, line: str) -> None:
        while len(line) > PIECE_CHARS:
            self.cut(line[:PIECE_CHARS])
            line = line[PIECE_CHARS:]
        self._lines.append(line if self._is_in_line else self._dedented(line))
        if len(self._lines) >= SEGMENT_LINES or sum(map(len, self._lines)) > PIECE_CHARS:
            self._close()

    def _close(self, *, goes_on: bool = False) -> None:
        block = self._block(self._lines)
        block.goes_on = goes_on
        self.code.add(block)
        self._done.append(block)
        self._lines, self.is_first, self.is_inner = [], False, goes_on

    def _block(self, lines: list[str]) -> Block:
        head = GLUE if self.is_inner else ""
        return Block(Kind.FENCE, "\n".join(lines), self.info, self.is_first, head=head)

    def _dedented(self, line: str) -> str:
        """Take away as many blanks as stand before the opening of the fence."""
        depth = len(self.indent)
        if depth and "\t" in line[:depth]:
            line = line[:depth].expandtabs(4) + line[depth:]
        while depth and line.startswith(" "):
            line, depth = line[1:], depth - 1
        return line


def opening_of(line: str) -> OpenFence | None:
    """Return the fence that a line opens."""
    match = _OPENING.match(line.rstrip("\n"))
    return OpenFence(match[1], match[2], match[3].strip()) if match else None
