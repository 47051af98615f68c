"""Output of commands, as text or JSON, and the questions that they ask."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from io import BufferedReader, TextIOWrapper
from typing import Protocol, TextIO, TypeVar

from msgspec import Struct
from msgspec.structs import asdict

from lmchat.app.cells import split_at_cell, widen_cells
from lmchat.app.terminal.tty import (
    LONGEST_WAIT_S,
    PASTE_END,
    PASTE_START,
    echo,
    has_more_input,
    is_in_paste,
    take_typed,
)
from lmchat.base.errors import FileRefused, LMChatError, WrongUse
from lmchat.base.safe_text import (
    SELECTORS,
    UNSEEN,
    SafeText,
    bounded_rows,
    marked_line,
    on_one_line,
    os_text,
    safe_json,
    safe_line,
    safe_text,
)
from lmchat.base.units import timestamp

SHORT_ID = 8  # characters of a session's id
# Their safe form depends on the next character: CR, ZWNJ and ZWJ, and those that may be left out
# between.
_UNDECIDED = f"\r\u200c\u200d{SELECTORS}{UNSEEN}"
_USUAL_COLUMNS = 80  # of a terminal
_ASKED_LINES = 5  # for what a question says besides foreign text
_ASKED_INDENT = 4  # of foreign text
_MAX_CELL = 200  # characters, so that one name does not widen every row


class Output:
    """Output of one command."""

    def __init__(self, *, is_json: bool = False, is_json_lines: bool = False) -> None:
        """With `is_json`, stdout gets one JSON document; with `is_json_lines`, one JSON a line."""
        self.is_json = is_json or is_json_lines  # either form
        self.is_json_lines = is_json_lines
        self.has_printed_json = False  # then an error adds no document
        # False for screen readers, which repeat an overwritten line, and for commands whose rows
        # show the progress
        self.has_progress = True
        self.told: Sequence[str] = ()  # notes of the start; the error of the end may be one
        # if it is "", the line may have a part of an answer, and is not cleared
        self._progress = ""
        # with `--inline`, it prints what is complete of the answer
        self.before_notes: Callable[[], None] = lambda: None

    def print_text(self, text: str) -> None:
        """Print it safe on a terminal, else exactly."""
        self.print_safe(safe_text(text) if is_terminal(sys.stdout) else text)

    def print_lines(self, lines: Iterable[str]) -> None:
        """Print each on one line, so that a name in it cannot forge another line."""
        self.print_safe("\n".join(map(_one_line, lines)))

    def print_safe(self, text: str) -> None:
        """Print a safe text, and end its line; with `is_json`, it is JSON."""
        self.show_progress("")
        if self.is_json:
            self.has_printed_json = True
        _write(text if text.endswith("\n") else text + "\n")

    def print_exactly(self, text: str) -> None:
        """For a terminal, the caller makes it safe."""
        self.show_progress("")
        _write(text)

    def print_json(self, value: object) -> None:
        self.print_safe(to_json(value, indent=None if self.is_json_lines else 2))

    def print_result(self, value: object, *lines: str) -> int:
        """Return exit code 0."""
        if self.is_json:
            self.print_json(value)
        else:
            self.print_lines(lines)
        return 0

    def print_list(self, data: Sequence[object], lines: Iterable[str], empty_note: str) -> int:
        """Return exit code 0."""
        if self.is_json:
            self.print_json({"object": "list", "data": data})  # as in the API of OpenAI
        elif data:
            self.print_lines(lines)
        else:
            self.note(empty_note)
        return 0

    def note(self, *lines: str) -> None:
        """Print on stderr; ignore errors, as of a full disk."""
        if sys.stderr is not None:
            self.show_progress("")
            self.before_notes()
            with suppress(OSError):
                sys.stderr.write("\n".join(map(_one_line, lines)) + "\n")
                sys.stderr.flush()

    @property
    def can_show_progress(self) -> bool:
        """A dumb terminal cannot overwrite a line."""
        return self.has_progress and os.environ.get("TERM") != "dumb" and is_terminal(sys.stderr)

    def show_progress(self, text: str) -> None:
        """Replace the short text on the current line of the terminal; "" clears it."""
        if text != self._progress and self.can_show_progress:
            self._progress = text
            columns = (terminal_columns() or _USUAL_COLUMNS) - 1  # a full row would wrap
            shown = text[:columns]
            # blanks overwrite a longer text; then the cursor returns to the end of this one
            sys.stderr.write(f"\r{shown.ljust(columns)}\r{shown}")
            sys.stderr.flush()

    def print_error(self, error: LMChatError) -> int:
        """Return its exit code. A printed document stays alone; JSON lines end with the error."""
        next_step = [error.next_step] if error.next_step else []
        if error.kind == "auth" and "API key" in error.next_step:
            next_step.append(
                "The key can be in LMCHAT_API_KEY, with the address in LMCHAT_ENDPOINT, "
                "or in [[endpoints]] of the configuration."
            )
        if error.message_with_next_step not in self.told:
            self.note(f"lmchat: {error.message}", *next_step)
        if self.is_json_lines or (self.is_json and not self.has_printed_json):
            # which may be the error itself; without a reader, the exit code is told all the same
            with suppress(FileRefused, BrokenPipeError):
                self.print_json({"detail": failure_detail(error)})
        return error.exit_code


class TextStream(Protocol):
    """Printer of a text that arrives in pieces."""

    @property
    def is_at_line_start(self) -> bool: ...

    @property
    def is_waiting(self) -> bool:
        """Whether it prints later, and has printed nothing for a while."""

    def write(self, piece: str) -> None:
        """Print a piece now, or with the next ones."""

    def end(self) -> None:
        """Print the rest, and end the line."""


class SafeStream:
    """Printer of a text that arrives in pieces, as safe as if printed at once.

    Where stdout is no terminal, the text is printed exactly as it arrives.
    """

    is_waiting = False

    def __init__(self) -> None:
        self._pending = ""  # its safe form depends on what follows
        self._printed = ""  # the safe form of the next one depends on it
        self.is_at_line_start = True

    def write(self, piece: str) -> None:
        text = self._pending + piece
        if not is_terminal(sys.stdout):
            self._print_exactly(text)
            return
        decided_text = text.rstrip(_UNDECIDED)
        self._pending = text[len(decided_text) :]
        self._print(decided_text)

    def end(self) -> None:
        self._print(self._pending)
        self._pending = ""
        if not self.is_at_line_start:
            self._print_exactly("\n")
        self._printed = ""

    def _print(self, text: str) -> None:
        # the printed character, which stays as it is, is cut off
        safe = safe_text(self._printed + text)
        self._print_exactly(safe[len(self._printed) :])
        self._printed = safe[-1:]

    def _print_exactly(self, text: str) -> None:
        if text:
            self.is_at_line_start = text.endswith("\n")
            _write(text)


def failure_detail(error: LMChatError) -> dict[str, str]:
    return {"error": error.kind, "message": error.message, "timestamp": timestamp()}


def local_time(moment: datetime) -> str:
    """Such as `2026-11-01 09:30`."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def to_json(value: object, *, indent: int | None = None) -> str:
    """Return JSON that is safe on a terminal and decodes to the same value.

    Lone surrogates, as in names of files, become U+FFFD: many programs refuse them.
    """
    import json  # noqa: PLC0415 - 7 ms that the chat screen does not need

    text = json.dumps(value, ensure_ascii=False, indent=indent, default=_json_form)
    return safe_json(os_text(text), is_ascii=not is_utf8())


def _json_form(value: object) -> object:
    if isinstance(value, Struct):
        fields = asdict(value).items()
        return {
            name: round(field, 3) if isinstance(field, float) else field for name, field in fields
        }
    return value.isoformat() if isinstance(value, date) else str(value)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, width: int | None = None
) -> list[str]:
    """Return lines that are safe for a terminal, cut at `width` cells."""
    from rich.cells import cell_len  # noqa: PLC0415 - commands start without rich

    widen_cells()
    safe_rows = [[safe_line(cell, limit=_MAX_CELL) for cell in row] for row in (head, *rows)]
    columns = zip(*safe_rows, strict=True)
    widths = [max(map(cell_len, column)) for column in columns]
    lines: list[str] = []
    for row in safe_rows:
        cells = zip(row, widths, strict=True)
        padded = [cell + " " * (cell_width - cell_len(cell)) for cell, cell_width in cells]
        line = "  ".join(padded).rstrip()
        if width is not None and cell_len(line) > width:
            line = f"{split_at_cell(line, width - 1)[0]}…"
        lines.append(line)
    return lines


def terminal_columns() -> int | None:
    """None if stdout is no terminal: a pipe gets whole lines."""
    from shutil import get_terminal_size  # noqa: PLC0415 - 5 ms that most commands do without

    return get_terminal_size().columns if is_terminal(sys.stdout) else None


def _one_line(text: str) -> str:
    return on_one_line(text).rstrip(" ")


def is_utf8() -> bool:
    """True also without an encoding."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return encoding.lower().replace("-", "") == "utf8"


def _write(text: str) -> None:
    """Raises `BrokenPipeError` if the reader of a pipe is gone, else `FileRefused`."""
    if sys.stdout is None:
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    text = text.encode(encoding, "replace").decode(encoding)  # UTF-8 has no lone surrogates
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FileRefused(f"The output cannot be written: {error.strerror or error}.") from error


def pipe_utf8(
    streams: Iterable[TextIO | None], environ: Mapping[str, str], platform: str = sys.platform
) -> None:
    """Let pipes and files of Windows get UTF-8, as elsewhere, and from Python 3.15 on."""
    if platform == "win32" and not environ.get("PYTHONIOENCODING"):
        for stream in streams:
            if isinstance(stream, TextIOWrapper) and not is_terminal(stream):
                stream.reconfigure(encoding="utf-8", errors=stream.errors)


Result = TypeVar("Result")


def can_ask() -> bool:
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def has_piped_input() -> bool:
    return sys.stdin is not None and not sys.stdin.isatty()


def is_terminal(stream: TextIO | None) -> bool:
    """`stream` is None if it is closed."""
    return stream is not None and stream.isatty()


async def typed_line(question: str) -> bytes:
    """Ask for a line at the terminal; it is empty at the end of input.

    The terminal shows what is typed, even if `--inline` has hidden it. After a cancellation, what
    is typed later is not taken, except on Windows.
    """
    sys.stderr.write(f"{marked_line(question)} ")
    sys.stderr.flush()
    with echo(sys.stdin.fileno(), is_on=True):
        return await _whole_line(b"")


async def drop_typed(note: Callable[[str], None]) -> None:
    """Drop unread text, so that it does not answer the next question, and all of a paste in it."""
    typed = take_typed(sys.stdin.fileno())
    if is_in_paste(typed):
        typed = await _whole_line(typed)
    text = typed.decode("utf-8", "replace").replace(PASTE_START, "").replace(PASTE_END, "").strip()
    if text:
        text = safe_line(text, limit=_MAX_CELL)
        note(f"lmchat: Not taken, as it was typed before the question: {text}")


async def _whole_line(line: bytes) -> bytes:
    """Read a line, which has all lines of a paste: to its end, or to an Enter alone."""
    import asyncio  # noqa: PLC0415 - commands without questions start without it

    from lmchat.base.processes.background import run_abandonable  # noqa: PLC0415 - imports asyncio

    loop = asyncio.get_running_loop()
    fileno = sys.stdin.fileno()
    while True:
        is_alone = not has_more_input(fileno, wait_s=0)
        is_typed = asyncio.Event()
        try:
            loop.add_reader(fileno, is_typed.set)
        except (NotImplementedError, OSError):  # Windows; /dev/tty on macOS
            return await run_abandonable(lambda: call_with_stdin(BufferedReader.readline))
        try:
            await is_typed.wait()
        finally:
            loop.remove_reader(fileno)
        read = call_with_stdin(BufferedReader.readline)
        line += read
        if not (read and is_in_paste(line)):
            return line
        if is_alone and read == b"\n" and not has_more_input(fileno, wait_s=LONGEST_WAIT_S):
            return line


def question_rows(*texts: str) -> list[SafeText]:
    """Put all of foreign texts on rows of a question; none if they would scroll off the terminal.

    It holds at least as many characters as `bounded_rows` allows, unless it is very small.
    """
    from rich.cells import cell_len  # noqa: PLC0415 - commands start without rich

    if rows := bounded_rows(*texts):
        return rows
    widen_cells()
    columns, lines = os.get_terminal_size(sys.stderr.fileno())
    rows = [marked_line(text) for text in texts]
    needed = sum(1 + (cell_len(row) + _ASKED_INDENT) // max(columns, 1) for row in rows)
    return rows if needed + _ASKED_LINES <= lines else []


async def ask_yes_no(question: str, *above: str) -> bool:
    """Print texts and ask; raises `WrongUse` if the terminal cannot show all of it."""
    rows = question_rows(*above, question)
    if not rows:
        raise WrongUse(
            "The question does not fit on the screen.",
            next_step="Use a larger terminal, or the chat screen.",
        )
    sys.stderr.write("".join(f"    {row}\n" for row in rows[:-1]))
    line = await typed_line(f"{rows[-1]} [y/N]")
    return line.strip().lower() in (b"y", b"yes")


def call_with_stdin(read: Callable[[BufferedReader], Result]) -> Result:
    with open_stdin() as file:
        return read(file)


def stdin_unreadable(error: OSError) -> WrongUse:
    """`error` is of a folder, of the terminal of another process, or of a wrong redirection."""
    return WrongUse(
        f"stdin cannot be read: {error.strerror or error}.",
        next_step="Add </dev/null if nothing is piped in.",
    )


def open_stdin() -> BufferedReader:
    """Open stdin again; closing that file leaves stdin open.

    The caller may be an abandoned thread. If it held the lock of `sys.stdin`, Python could not
    exit.
    """
    return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
