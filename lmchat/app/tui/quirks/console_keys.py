"""Keys of the console of Windows.

Textual decodes each read alone. A character whose halves come in two reads ends its thread, and
with it all keys:
https://github.com/Textualize/textual/blob/v8.2.8/src/textual/drivers/win32.py#L290 It also takes
Shift alone for Ctrl+@, which is a blank: https://github.com/Textualize/textual/issues/872
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from typing import Any

from textual.message import Message

from lmchat.app.tui.quirks.keys import KeyParser

_RECORDS = 1024  # of one read
_WAIT_MS = 100  # as in Textual; then an ESC counts as a key
_KEY, _SIZE = 0x0001, 0x0004  # types of records
_CTRL_SPACE = (0, 0x20, 0x32)  # keys with NUL as their character; 0x32 is `2`


class ConsoleKeys(KeyParser):
    """Parser of UTF-16, which a read may cut within a character."""

    def __init__(self) -> None:
        super().__init__()
        self._decode = getincrementaldecoder("utf-16-le")("replace").decode

    def feed(self, data: str) -> Iterator[Message]:
        yield from super().feed(self._decode(data.encode("utf-16-le", "surrogatepass")))


def mend_console_keys() -> None:
    from ctypes import byref  # noqa: PLC0415
    from ctypes.wintypes import DWORD  # noqa: PLC0415

    from textual.drivers import win32  # noqa: PLC0415 - only Windows can import it

    class KeyThread(win32.EventMonitor):
        def run(self) -> None:
            keys = ConsoleKeys()
            count = DWORD()
            post: Callable[[Any], None] = self.process_event
            records = (win32.INPUT_RECORD * _RECORDS)()
            console = win32.GetStdHandle(win32.STD_INPUT_HANDLE)
            while not self.exit_event.is_set():
                for event in keys.tick():
                    post(event)
                if win32.wait_for_handles([console], _WAIT_MS) is None:
                    continue
                win32.KERNEL32.ReadConsoleInputW(console, byref(records), _RECORDS, byref(count))
                typed = ""
                for record in records[: count.value]:
                    key = record.Event.KeyEvent
                    size = record.Event.WindowBufferSizeEvent.dwSize
                    if record.EventType == _SIZE:
                        self.on_size_change(size.X, size.Y)
                    elif record.EventType == _KEY and key.bKeyDown:
                        char, code = key.uChar.UnicodeChar, key.wVirtualKeyCode
                        # a modifier has no character; while it is held, it has no code, either
                        is_modifier = char == "\0" and code not in _CTRL_SPACE
                        if not is_modifier and not (key.dwControlKeyState and code == 0):
                            typed += char
                for event in keys.feed(typed) if typed else ():
                    post(event)

    win32.EventMonitor = KeyThread  # type: ignore[misc]
