"""Output: answers on stdout, everything else on stderr, as text or as one JSON document.

All text of servers, files and errors passes here, and is made safe for a terminal here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime

from msgspec import Struct
from msgspec.structs import asdict

from lmchat.errors import FileRefused, LMChatError
from lmchat.text import safe_line, safe_text

SHORT_ID = 8  # characters of a session's id that are printed
_UNDECIDED = "\r\u200c\u200d"  # characters whose safe form depends on what follows
_LIVE_COLUMNS = 24  # that a line of progress may have filled
_MAX_CELL = 200  # characters of one cell, so that one name does not widen every row


class Output:
    """Output of one command."""

    def __init__(self, *, is_json: bool = False, is_lines: bool = False) -> None:
        self.is_json = is_json or is_lines  # whether stdout gets JSON only
        self.is_lines = is_lines  # whether that is one object a line rather than one document
        self.has_document = False  # whether the one JSON document was printed

    def text(self, text: str) -> None:
        """Print a text that may have several lines."""
        self.raw(safe_text(text))

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines; a name in one of them cannot begin another."""
        self.raw("\n".join(map(_one_line, lines)))

    def raw(self, text: str) -> None:
        """Print text that is already safe: a JSON document, or one with our colours."""
        if self.is_json:
            self.has_document = True
        _write(text if text.endswith("\n") else text + "\n")

    def document(self, value: object) -> None:
        """Print a value as the JSON document, or as one more line."""
        self.has_document = True
        self.raw(to_json(value, indent=None if self.is_lines else 2))

    def result(self, value: object, *lines: str) -> int:
        """Print a value as JSON if that is wanted, else the lines; return exit code 0."""
        if self.is_json:
            self.document(value)
        else:
            self.lines(lines)
        return 0

    def listing(
        self, data: Sequence[object], lay_out: Callable[[], Iterable[str]], nothing: str
    ) -> int:
        """Print a list as JSON or lines, or the note for an empty one; return exit code 0."""
        if self.is_json:
            self.document({"object": "list", "data": data})
        elif data:
            self.lines(lay_out())
        else:
            self.note(nothing)
        return 0

    def note(self, *lines: str) -> None:
        """Print lines on stderr; a name in one of them cannot begin another."""
        if sys.stderr is not None:
            sys.stderr.write("\n".join(map(_one_line, lines)) + "\n")
            sys.stderr.flush()

    def live(self, words: str) -> None:
        """Overwrite the line of progress on a terminal; no terminal and TERM=dumb get none."""
        if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            sys.stderr.write(f"\r{words.ljust(_LIVE_COLUMNS)}\r{words}")
            sys.stderr.flush()

    def failure(self, error: LMChatError) -> int:
        """Print an error, as JSON too if that is wanted; return its exit code."""
        hint = [error.hint] if error.hint else []
        self.note(f"lmchat: {error.message}", *hint)
        if self.is_lines or (self.is_json and not self.has_document):
            with suppress(FileRefused):  # a full disk, which may be the error itself
                self.document({"detail": failure_detail(error)})
        return error.exit_code


class SafeStream:
    """Streaming output; the pieces' boundaries do not change what is safe."""

    def __init__(self) -> None:
        self._pending = ""
        self._last = ""
        self.is_at_line_start = True  # whether the next character would begin a line

    def write(self, piece: str) -> None:
        text = self._pending + piece
        whole = text.rstrip(_UNDECIDED)
        self._pending = text[len(whole) :]
        self._print(whole)

    def end(self) -> None:
        """Print what is pending, and end the line."""
        self._print(self._pending)
        self._pending = ""
        if not self.is_at_line_start:
            _write("\n")
            self.is_at_line_start = True

    def _print(self, text: str) -> None:
        if not text:
            return
        safe = safe_text(self._last + text)[len(self._last) :]
        self._last = text[-1]
        self.is_at_line_start = safe.endswith("\n")
        _write(safe)


def failure_detail(error: LMChatError) -> dict[str, str]:
    """Return the JSON form of a failure."""
    return {"error": error.kind, "message": error.message, "timestamp": timestamp()}


def timestamp() -> str:
    """Return the current time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def minute(moment: datetime) -> str:
    """Return a time in the local zone, to the minute."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def rounded(value: float | None) -> float | None:
    """Return a figure with one digit after the point, None for None."""
    return None if value is None else round(value, 1)


def to_json(value: object, *, indent: int | None = None) -> str:
    """Return lossless JSON that is safe on a terminal."""
    import json  # 7 ms that the chat screen does not need

    text = json.dumps(value, ensure_ascii=not _is_utf8(), indent=indent, default=_plain)
    if safe_text(text) != text:
        text = json.dumps(value, indent=indent, default=_plain).replace("\x7f", "\\u007f")
    return text


def _plain(value: object) -> object:
    """Return what JSON has no form for: fields of a value, times and paths."""
    if isinstance(value, Struct):
        fields = asdict(value).items()
        return {name: round(item, 3) if isinstance(item, float) else item for name, item in fields}
    return value.isoformat() if isinstance(value, date) else str(value)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, whose columns are aligned by their width on a terminal."""
    from rich.cells import cell_len

    safe_rows = [[safe_line(cell, limit=_MAX_CELL) for cell in row] for row in (head, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*safe_rows, strict=True)]
    lines: list[str] = []
    for row in safe_rows:
        cells = zip(row, widths, strict=True)
        padded = [cell + " " * (width - cell_len(cell)) for cell, width in cells]
        lines.append("  ".join(padded).rstrip())
    return lines


def _one_line(text: str) -> str:
    """Return safe text without line breaks and tabs; blanks at its start stay."""
    return safe_text(text).replace("\t", " ").replace("\n", " ").rstrip(" ")


def _is_utf8() -> bool:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return encoding.lower().replace("-", "") == "utf8"


def _write(text: str) -> None:
    """Write to stdout and flush; raises `BrokenPipeError`, or `FileRefused` as on a full disk."""
    if sys.stdout is None:
        return
    if not _is_utf8():
        text = text.encode(sys.stdout.encoding, "replace").decode(sys.stdout.encoding)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FileRefused(f"The output cannot be written: {error.strerror or error}.") from error
