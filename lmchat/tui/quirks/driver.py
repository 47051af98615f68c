"""Textual's driver, mended: the terminal is given back on every way out, and keys are what was meant."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import selectors
import signal
import termios
from codecs import getincrementaldecoder
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Lock
from typing import Any, cast

from textual import constants, events
from textual.app import App
from textual.driver import Driver
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size
from textual.message import Message

from lmchat.terminal.output import SignalGuard, TerminalOutput
from lmchat.tui.quirks.key_stream import KeyStream
from lmchat.tui.quirks.keys import mend_keys
from lmchat.tui.quirks.places import place_everywhere
from lmchat.tui.quirks.writer import Writer

logger = logging.getLogger(__name__)

SAVE_S = 1.0
"""How long the app may save before it is ended."""
END_S = 1.0
"""How long it may then take to end in order."""
_READ_SIZE = 65536
_EARLY_KEYS_S = 0.01
"""How often is looked whether the app can take the keys that were typed before it was there."""
_KITTY_POP = "" if constants.DISABLE_KITTY_KEY else "\x1b[<u"
_FORGOTTEN = "\x1b[?2026l\x1b[?1016l\x1b[0m"
"""What Textual does not take back by itself: a frame begun, mouse pixels, colours."""
_POINTER = "\x1b]22;\x07"
"""Gives the mouse pointer its usual shape; sent only where Textual has changed it."""
_LAST_WORDS = (
    f"{_FORGOTTEN}\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2048l\x1b[?2004l\x1b[?1004l\x1b[?7h"
    f"{_KITTY_POP}\x1b[?1049l\x1b[?25h"
)


def guard_terminal(app: App[Any], on_terminate: Callable[[], Awaitable[object]]) -> None:
    """Let an app draw through the mended driver; to be called before it runs.

    On SIGTERM, SIGHUP, SIGINT and SIGQUIT, and when the terminal is gone, the terminal is given back at once;
    then `on_terminate` has a second to save, and the app exits with `return_code` 128 + the signal's number.
    Where the event loop hangs, the process ends with the same status all the same.
    """
    mend_keys()
    place_everywhere()
    setattr(linux_driver, "WriterThread", Writer)  # noqa: B010 - a name that it does not export
    app.driver_class = cast("type[Driver]", partial(TerminalDriver, on_terminate=on_terminate))


def write_to_terminal(app: App[Any], data: str) -> bool:
    """Send a control sequence to the terminal, in order with what is drawn; False where there is none."""
    driver = app._driver
    if driver is None or driver.is_headless:
        return False
    driver.write(data)
    driver.flush()
    return True


@contextmanager
def lend_terminal(app: App[Any]) -> Iterator[None]:
    """Give the terminal to another program for a while; the event loop may go on, and nothing is drawn.

    Textual's own `App.suspend` does not take the terminal back when its body raises or is cancelled.
    """
    if app._driver is None or not app._driver.can_suspend:
        yield
        return
    fault: BaseException | None = None
    with app.suspend():
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - raised again below
            fault = error
    if fault is not None:
        raise fault


def remember_copied(app: App[Any], text: str) -> None:
    """Keep a text for pasting inside the app, without the OSC 52 that `App.copy_to_clipboard` would send."""
    app._clipboard = text


class TerminalDriver(LinuxDriver):
    """Draws and reads as Textual does, but answers for the terminal until it is given back."""

    def __init__(
        self,
        app: App[Any],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
        on_terminate: Callable[[], Awaitable[object]],
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._guard = SignalGuard(give_back=self.give_back, ask=self._ask_to_end, patience_s=SAVE_S + END_S)
        self._output = TerminalOutput(self._file.fileno(), self._guard.hang_up)
        self._file: Any = self._output
        self._on_terminate = on_terminate
        self._stop_reading: tuple[int, int] | None = None
        self._has_terminal = False
        self._has_pointer = False
        self._claiming = Lock()
        self._early: list[Message] = []
        atexit.register(self.give_back)

    def write(self, data: str) -> None:
        """Draw, as long as the terminal is ours; a frame that comes later is dropped."""
        if self._has_terminal:
            self._has_pointer |= data.startswith("\x1b]22;")
            super().write(data)

    @property
    def is_behind(self) -> bool:
        """Whether the terminal does not keep up."""
        return isinstance(self._writer_thread, Writer) and self._writer_thread.is_behind

    def when_read(self, call: Callable[[], object]) -> None:
        """Call something on the event loop as soon as the terminal has read all."""

        def soon() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(call)

        if isinstance(self._writer_thread, Writer):
            self._writer_thread.when_read(soon)

    def start_application_mode(self) -> None:
        """Take the terminal."""
        if self._guard.ended_by is not None or self._has_terminal:
            return  # taken twice, the modes to give back would be those of the app
        self._output.begin()
        self._has_terminal = True
        self._guard.lend(is_lent=False)
        if self._stop_reading is None:
            self._stop_reading = os.pipe()
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual gives it no types
        signal.signal(signal.SIGWINCH, self._resized)
        self._guard.watch()

    def _resized(self, _number: int, _frame: object) -> None:
        """Have the size read by the event loop.

        Handlers of signals interrupt each other: of two that read it here, the older may tell it last.
        """
        if not self._in_band_window_resize:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._tell_size)

    def _tell_size(self) -> None:
        size = Size(*self._get_terminal_size())
        self._app.post_message(events.Resize(size, size))

    def stop_application_mode(self) -> None:
        """Give the terminal back in order."""
        if not self._has_terminal:
            self.disable_input()
            return
        self.write(_FORGOTTEN + self._pointer())
        super().stop_application_mode()
        self._claim()
        self._guard.lend(is_lent=True)

    def give_back(self) -> None:
        """Give the terminal back at once, from any thread, whatever others do; only the first call acts."""
        if self._claim():
            self._output.end(self._pointer() + _LAST_WORDS)
            with suppress(termios.error):
                if self.attrs_before is not None:
                    termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)

    def disable_input(self) -> None:
        """End the reading thread without waiting for the next turn of its loop."""
        if self._stop_reading is not None and self._key_thread is not None and self._key_thread.is_alive():
            os.write(self._stop_reading[1], b"x")
        super().disable_input()

    def close(self) -> None:
        """Let go of the threads and files."""
        super().close()
        if self._writer_thread is not None and self._writer_thread.is_alive():
            self._output.end(self._pointer() + _LAST_WORDS)  # it takes nothing: what waits for it is dropped
        if self._stop_reading is not None:
            for number in self._stop_reading:
                os.close(number)
            self._stop_reading = None

    def run_input_thread(self) -> None:
        """Read until told to stop; a terminal that is gone ends the app."""
        if self._stop_reading is None:
            return
        stream, decode = KeyStream(self._debug), getincrementaldecoder("utf-8")("replace").decode
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            selector.register(self._stop_reading[0], selectors.EVENT_READ)
            while True:
                wait_s = _EARLY_KEYS_S if self._early else stream.wait_s()
                ready = {key.fd for key, _ in selector.select(wait_s)}
                if self._stop_reading[0] in ready:
                    os.read(self._stop_reading[0], 1)
                    return
                if ready and not (data := self._read()):
                    self._guard.hang_up()
                    return
                self._pass_on(stream.feed(decode(data)) if ready else stream.tick())

    def _pass_on(self, messages: Iterator[Message]) -> None:
        """Give the app what came; keys wait until it has something that can take them."""
        for message in messages:
            if isinstance(message, events.Key | events.Paste):
                self._early.append(message)
            else:
                self.process_message(message)
        if self._app._dom_ready:
            early, self._early = self._early, []
            for key in early:
                self.process_message(key)

    def _read(self) -> bytes:
        """Return what was typed; nothing where the terminal is gone: raw mode knows no other end."""
        try:
            return os.read(self.fileno, _READ_SIZE)
        except OSError:
            return b""

    def _pointer(self) -> str:
        return _POINTER if self._has_pointer else ""

    def _claim(self) -> bool:
        with self._claiming:
            had_terminal, self._has_terminal = self._has_terminal, False
            return had_terminal

    def _ask_to_end(self, number: int) -> None:
        asyncio.run_coroutine_threadsafe(self._end(128 + number), self._loop)

    async def _end(self, status: int) -> None:
        with self._app._context():
            try:
                async with asyncio.timeout(SAVE_S):
                    await self._on_terminate()
            except Exception:
                logger.exception("could not save everything before the end")
            self._app.exit(return_code=status)
