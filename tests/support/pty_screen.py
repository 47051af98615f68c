"""The terminal in memory behind the pty harness: pyte, with the alternate screen and the modes it lacks."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder

import pyte

ALTERNATE_SCREEN = 1049
_UNKNOWN_TO_PYTE = re.compile(r"\x1b\[[<=>][0-9;]*[@-~]|\x1b\](?![012];)[^\x07\x1b]*(?:\x07|\x1b\\)")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?)?\Z")
_KITTY_PUSH, _KITTY_POP = re.compile(r"\x1b\[>[0-9;]*u"), re.compile(r"\x1b\[<[0-9;]*u")


class MemoryScreen(pyte.Screen):
    """A screen that keeps what stood there before the alternate screen, and knows its private modes."""

    def __init__(self, columns: int, lines: int) -> None:
        self.private_modes: set[int] = {7, 25}
        self._main: list[str] = []
        super().__init__(columns, lines)

    def set_mode(self, *modes: int, **kwargs: object) -> None:
        if kwargs.get("private"):
            if ALTERNATE_SCREEN in modes and ALTERNATE_SCREEN not in self.private_modes:
                self._main = [line.rstrip() for line in self.display]
                self.erase_in_display(2)
            self.private_modes.update(modes)
        super().set_mode(*modes, **kwargs)

    def reset_mode(self, *modes: int, **kwargs: object) -> None:
        if kwargs.get("private"):
            if ALTERNATE_SCREEN in modes and ALTERNATE_SCREEN in self.private_modes:
                self._bring_back_main()
            self.private_modes.difference_update(modes)
        super().reset_mode(*modes, **kwargs)

    def _bring_back_main(self) -> None:
        self.erase_in_display(2)
        self.cursor_position(1, 1)
        for line in "\n".join(self._main).rstrip().split("\n"):
            self.draw(line)
            self.linefeed()
            self.carriage_return()


class Terminal:
    """Takes the bytes of a program and tells what a person would see."""

    def __init__(self, columns: int, lines: int) -> None:
        self.screen = MemoryScreen(columns, lines)
        self.kitty_depth = 0
        self._stream = pyte.Stream(self.screen)
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._held = ""

    def feed(self, data: bytes) -> None:
        text = self._held + self._decode(data)
        unfinished = _UNFINISHED.search(text)
        self._held = unfinished[0] if unfinished else ""
        text = text[: len(text) - len(self._held)]
        self.kitty_depth += len(_KITTY_PUSH.findall(text)) - len(_KITTY_POP.findall(text))
        self._stream.feed(_UNKNOWN_TO_PYTE.sub("", text))

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines=lines, columns=columns)

    @property
    def lines(self) -> list[str]:
        rows = (self.screen.buffer[y] for y in range(self.screen.lines))
        # the second cell of a wide sign holds nothing: in the middle of a frame it may stand alone
        return ["".join(row[x].data for x in range(self.screen.columns)).rstrip() for row in rows]
