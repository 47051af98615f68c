"""Driver that restores the terminal on every exit, and never waits for it to read."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import re
import selectors
import signal
from codecs import getincrementaldecoder
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from io import StringIO
from select import select
from threading import Lock
from time import monotonic
from typing import Any, cast

from textual import constants, events
from textual.app import App
from textual.driver import Driver
from textual.geometry import Size
from textual.message import Message

from lmchat.app.terminal.signal_guard import SignalGuard
from lmchat.app.terminal.tty import TerminalOutput, TerminalWriter
from lmchat.app.tui.quirks.console_keys import mend_console_keys
from lmchat.app.tui.quirks.keys import ASK_KITTY, KeyParser, Paste
from lmchat.app.tui.quirks.widths import with_sure_widths
from lmchat.base.errors import LMChatError
from lmchat.base.processes.signals import ENDING_SIGNALS

try:
    import termios

    from textual.drivers import linux_driver
    from textual.drivers.linux_driver import LinuxDriver
except ImportError:  # Windows, which keeps Textual's driver, with other keys
    termios = None  # type: ignore[assignment]
    LinuxDriver = Driver  # type: ignore[misc,assignment]

_logger = logging.getLogger(__name__)
SAVE_S = 1.0  # for the app to save, before it is ended
END_S = 1.0  # for it to end in order, then
_READ_SIZE = 65536
_EARLY_KEYS_S = 0.01  # interval of the checks
_CACHED_ROWS = 512  # of several screens: most rows of a frame were in the one before
_CODE = re.compile(r"(\x1b\[[\d;]*m)")  # such as `ESC [1;38;5;208m`
_RESETS = ("\x1b[m", "\x1b[0m")
# moves of the cursor (`ESC [3;1H`) and modes (`ESC [?25l`)
_DRAWS_NOTHING = re.compile(r"(?:\x1b\[[\d;?]*[Hhl])*")
# after a reset, so the next row starts without colours
_NEXT_ROW = re.compile(r"\x1b\[0m(\n?\x1b\[\d+;\d+H)")
_ASK_KIND, _KIND = "\x1b[c", re.compile(rb"\x1b\[\?[\d;]*c")  # primary device attributes
_LAST_ANSWER_S = 0.3  # for the answer, at most
_KITTY_POP = "" if constants.DISABLE_KITTY_KEY else "\x1b[<u"
# What Textual does not set: modified keys in the form of xterm, which tmux needs for Shift+Enter,
# a wheel that types no arrow keys, as it does where the mouse is not reported, and reports when
# the terminal becomes light or dark.
_SET_OTHERS = "\x1b[>4;2m\x1b[?1007s\x1b[?1007l\x1b[?2031h"
# and does not reset: a frame in progress, mouse pixels, colours, the pointer's shape. A terminal
# that cannot restore a mode (`r`) has most likely had that of the wheel (`h`).
_RESET_OTHERS = (
    "\x1b[?2031l\x1b[?2026l\x1b[?1016l\x1b[0m\x1b]22;\x07\x1b[>4m\x1b[?1007h\x1b[?1007r"
    # GNU screen has no alternate screen, and tmux adds rows of one that has grown to the main
    # screen, unless it is blank
    "\x1b[H\x1b[2J"
)
_RESTORE_MODES = (
    f"{_RESET_OTHERS}\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2048l\x1b[?2004l\x1b[?1004l"
    f"\x1b[?7h{_KITTY_POP}\x1b[?1049l\x1b[?25h"
)


def guard_terminal(app: App[Any], on_terminate: Callable[[], Awaitable[object]]) -> None:
    """Let an app that does not run yet use `TerminalDriver`; on Windows, mend Textual's driver.

    On an ending signal, and when the terminal is gone without a SIGHUP, the terminal is restored at
    once; Textual leaves it raw. `on_terminate` has `SAVE_S`; the app exits with 128 + signal.
    """
    if termios is None:
        mend_console_keys()
        _end_on_break(app, on_terminate)
        return
    # the places of keys, too: Ctrl and ψ is Ctrl+C
    kitty_flags = linux_driver.KITTY_REPORT_ALL_KEYS | linux_driver.KITTY_REPORT_ALTERNATE_KEYS
    setattr(linux_driver, "KITTY_REPORT_ALL_KEYS", kitty_flags)  # noqa: B010 - for mypy
    # Textual only calls `driver_class`, so a function will do
    app.driver_class = cast("type[Driver]", partial(TerminalDriver, on_terminate=on_terminate))


async def _save_and_exit(
    app: App[Any], on_terminate: Callable[[], Awaitable[object]], reason: int | LMChatError
) -> None:
    """`reason` is the number of a signal, or an error, which ends the app."""
    with app._context():  # sets the active app, which another thread lacks
        try:
            async with asyncio.timeout(SAVE_S):
                await on_terminate()
        except Exception:
            _logger.exception("could not save everything before quitting")
        if isinstance(reason, LMChatError):
            app._handle_exception(reason)
        else:
            app.exit(return_code=128 + reason)


def _end_on_break(app: App[Any], on_terminate: Callable[[], Awaitable[object]]) -> None:
    """Save and end at Ctrl+Break, and at the end of the session of Windows."""
    loop = asyncio.get_running_loop()

    def end(number: int, _frame: object) -> None:
        asyncio.run_coroutine_threadsafe(_save_and_exit(app, on_terminate, number), loop)

    for number in ENDING_SIGNALS:
        signal.signal(number, end)


def write_to_terminal(app: App[Any], data: str) -> None:
    """Write behind the frames written so far."""
    driver = app._driver
    if driver is not None and not driver.is_headless:
        driver.write(data)
        driver.flush()


@contextmanager
def lend_terminal(app: App[Any]) -> Iterator[None]:
    """Lend the terminal while the block runs; then raise the block's exception.

    Within `App.suspend`, the exception would keep the app from taking the terminal back:
    https://github.com/Textualize/textual/issues/6692
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
    """Keep a copied text for Ctrl+V in the app.

    `App.copy_to_clipboard` also writes OSC 52, which lmchat does only if no tool of the desktop can
    copy.
    """
    app._clipboard = text


def _as_written(text: str) -> str:
    return with_sure_widths(with_changed_colours(text))


_as_written_cached = lru_cache(_CACHED_ROWS)(_as_written)


class TerminalDriver(LinuxDriver):
    """Textual's driver with a writer and a reader of its own.

    The thread `_writer` writes queued texts to `_output`, the terminal. That of `_guard` acts on
    signals, even if the app hangs.
    """

    def __init__(
        self, app: App[Any], *, on_terminate: Callable[[], Awaitable[object]], **options: Any
    ) -> None:
        super().__init__(app, **options)
        # its thread calls these functions, and ends the program in any case
        self._guard = SignalGuard(
            restore_terminal=self.give_back, ask_to_end=self._ask_to_end, timeout_s=SAVE_S + END_S
        )
        self._output = TerminalOutput(self._file.fileno(), self._guard.hang_up)  # the real file
        self._file: Any = StringIO()  # for Textual's own writer, which has nothing to do
        self._writer: TerminalWriter | None = None
        self._on_terminate = on_terminate
        self._input = self._open_input()
        self._stop_reading = os.pipe()  # a byte in it ends `run_input_thread`
        self._parser = KeyParser()  # of all such threads: a paste may go on after a stop
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._owns_terminal = False
        self._release_lock = Lock()  # only one thread may restore the terminal
        self._early_keys: list[Message] = []  # typed before widgets are mounted
        atexit.register(self.give_back)

    def _open_input(self) -> int:
        """Open the terminal once more: only reads of this file never block.

        Behind `select`, a stop lets the shell read first. The flag of the given file belongs to
        the shell, too. Where the terminal has no name, as in some containers, reads may block.
        """
        try:
            return os.open(os.ttyname(self.fileno), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return os.dup(self.fileno)

    def write(self, data: str) -> None:
        """Queue nothing while the app does not have the terminal."""
        if self._owns_terminal and self._writer is not None:
            rows = rows_of(data)
            # only a frame has several rows, most of which come again in the next
            as_written = _as_written_cached if len(rows) > 1 else _as_written
            self._writer.write("".join(map(as_written, rows)))

    @property
    def is_behind(self) -> bool:
        return self._writer is not None and self._writer.is_behind

    def start_application_mode(self) -> None:
        """Take the terminal, unless the app has it or a signal has ended the app.

        If that fails, the app ends: it would paint over what the shell shows.
        """
        # a second start would save the modes that the app has set
        if self._guard.ended_by is not None or self._owns_terminal:
            return
        self._output.start()
        self._owns_terminal = True
        try:
            self._writer = TerminalWriter(self._output)
            self._writer.start()
            self._guard.lend(is_lent=False)  # signals of keys are for lmchat again
            super().start_application_mode()  # type: ignore[no-untyped-call]
            self.write(_SET_OTHERS + ASK_KITTY)
            signal.signal(signal.SIGWINCH, self._resized)  # replaces that of `super`
            self._guard.watch()
        except Exception as error:  # noqa: BLE001 - as when no thread can start
            self.suspend_application_mode()
            self._ask_to_end(
                LMChatError(
                    f"The terminal cannot be used: {error}.", next_step="Start lmchat again."
                )
            )

    def _resized(self, _number: int, _frame: object) -> None:
        """Let the event loop read the new size.

        If this handler read it and was interrupted by the next signal, it would post the old size
        last.
        """
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._post_size)

    def _post_size(self) -> None:
        size = Size(*self._get_terminal_size())
        self._app.post_message(events.Resize(size, size))

    def _sigcont_application(self, *_: object) -> None:
        """Let the event loop take the terminal: the next stop may interrupt a handler.

        In the background, stop until the shell gives lmchat the terminal.
        """
        if self._owns_terminal:
            with suppress(OSError):  # the terminal hung up
                if os.tcgetpgrp(self.fileno) != os.getpgrp():
                    os.kill(os.getpid(), signal.SIGSTOP)
                    return
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._take_again)

    def _take_again(self) -> None:
        """Take the terminal also after a stop that came unasked, as of `kill -STOP`."""
        if self._owns_terminal:
            if self._key_thread is not None and self._key_thread.is_alive():
                self.stop_application_mode()
            self._owns_terminal = False  # also after a start in the background, which fails
            self.close()
            self._must_signal_resume = True
        super()._sigcont_application()

    def stop_application_mode(self) -> None:
        if not self._owns_terminal:  # a signal has restored it, but keys are still read
            self.disable_input()
            return
        self.write(_RESET_OTHERS)
        super().stop_application_mode()
        self._stop_owning_terminal()  # then `write` drops everything
        self._guard.lend(is_lent=True)  # signals of keys are for the other program

    def give_back(self) -> None:
        """Restore the terminal at once, from any thread, if the app has it."""
        if self._stop_owning_terminal():  # only for the first thread
            self._output.end(_RESTORE_MODES)
            with suppress(termios.error):  # the terminal hung up
                if self.attrs_before is not None:  # before Textual changed them
                    termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)

    def disable_input(self) -> None:
        """End the thread that reads keys; Textual's method would wait for it without ending it."""
        is_reading = self._key_thread is not None and self._key_thread.is_alive()
        if is_reading:
            os.write(self._stop_reading[1], b"x")
        super().disable_input()
        if is_reading and self._owns_terminal and self.input_tty:
            self._read_answers()

    def _read_answers(self) -> None:
        """Ask for the terminal's kind, which each one tells, and drop all up to its answer.

        The shell or an editor would get earlier answers, and moves of the mouse, as typed text.
        """
        self.write(_ASK_KIND)
        end_s = monotonic() + _LAST_ANSWER_S
        read = b""
        while not _KIND.search(read) and (wait_s := end_s - monotonic()) > 0:
            if select([self._input], [], [], wait_s)[0]:
                data = self._read()
                if data == b"":  # the terminal hung up
                    return
                read = read[-_READ_SIZE:] + (data or b"")

    def close(self) -> None:
        """Write what is queued, for a limited time."""
        super().close()
        if self._writer is not None:
            self._writer.stop()
            if self._writer.is_alive():  # the terminal reads nothing
                self._output.end(_RESTORE_MODES)

    def run_input_thread(self) -> None:
        """Post keys until a byte in `_stop_reading` or a hang-up ends the thread."""
        with selectors.SelectSelector() as selector:
            selector.register(self._input, selectors.EVENT_READ)
            selector.register(self._stop_reading[0], selectors.EVENT_READ)
            while True:
                # Early keys are posted as soon as possible. Else wait for input, or until an ESC
                # counts as a key.
                wait_s = _EARLY_KEYS_S if self._early_keys else self._parser.wait_s
                ready = {key.fd for key, _ in selector.select(wait_s)}
                if self._stop_reading[0] in ready:
                    os.read(self._stop_reading[0], 1)  # or the next thread would end at once
                    self._post_messages(self._parser.end_wait())
                    return
                data = self._read() if ready else None
                if data is None:
                    self._post_messages(self._parser.tick())
                elif data:
                    self._post_messages(self._parser.feed(self._decode(data)))
                else:
                    self._guard.hang_up()
                    return

    def _post_messages(self, messages: Iterable[Message]) -> None:
        """Keys wait until widgets are mounted."""
        for message in messages:
            if isinstance(message, events.Key | Paste):
                self._early_keys.append(message)
            else:
                self.process_message(message)
        if self._app._dom_ready:
            for key in self._early_keys:
                self.process_message(key)
            self._early_keys.clear()

    def _read(self) -> bytes | None:
        """Return None if another program has read it, and b"" after a hang-up."""
        try:
            return os.read(self._input, _READ_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _stop_owning_terminal(self) -> bool:
        """Return whether the app had it until now."""
        with self._release_lock:
            owned_terminal = self._owns_terminal
            self._owns_terminal = False
            return owned_terminal

    def _ask_to_end(self, reason: int | LMChatError) -> None:
        ending = _save_and_exit(self._app, self._on_terminate, reason)
        asyncio.run_coroutine_threadsafe(ending, self._loop)


def rows_of(text: str) -> list[str]:
    """Split a frame into rows and the moves of the cursor between them.

    No colours are set at the beginning of an item. `with_changed_colours` adds the resets at the
    end of a row again.
    """
    return _NEXT_ROW.split(text)


def with_changed_colours(text: str) -> str:
    """Draw the same as `text` with fewer colour codes.

    Textual resets all colours after each piece of text and sets them again before the next. An
    answer of 100 tokens a second writes 57 kB/s, and without this 85 kB/s, in the benchmark
    `stream`. The output starts and ends with the terminal's own colours.
    """
    written: list[str] = []
    terminal_style = text_style = ""  # codes since the last reset: written, and in `text`
    for index, piece in enumerate(_CODE.split(text)):  # output, code, output, …, code, output
        if index % 2:
            text_style = "" if piece in _RESETS else text_style + piece
        elif piece:
            if terminal_style != text_style and not _DRAWS_NOTHING.fullmatch(piece):
                # reset, unless codes need only be added
                if not text_style.startswith(terminal_style):
                    written.append(_RESETS[0])
                    terminal_style = ""
                written.append(text_style.removeprefix(terminal_style))
                terminal_style = text_style
            written.append(piece)
    if terminal_style:
        written.append(_RESETS[0])
    return "".join(written)
