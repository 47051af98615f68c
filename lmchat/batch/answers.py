"""Prompts and their answers: requests, rows of JSON, figures, and progress.

`batch`, `eval` and `compare` make a `Task` of each prompt. Answers to `batch` and `eval` become
rows of a file, which says to the next run what is done.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from lmchat import units
from lmchat.answers.growing_answer import WholeAnswer
from lmchat.errors import FileRefused, LMChatError, WrongUse
from lmchat.files.disk import write_atomically
from lmchat.processes.system import CAN_RENAME_OPEN_FILES, try_lock
from lmchat.servers.events import StreamEvent
from lmchat.servers.model import ModelInfo
from lmchat.servers.products import product_named
from lmchat.servers.protocols import ServerClient
from lmchat.servers.request import AnyText, ChatRequest, Sampling, WantedOutput
from lmchat.sessions.message import AnswerStats, ChatMessage
from lmchat.terminal.output import Output, failure_detail, rounded, to_json
from lmchat.tools.json_text import strict_json

FIGURES = ("FIRST TOKEN", "SPEED", "TOKENS", "TIME")  # heads of columns
_KEY_DIGITS = 16  # of a hash: enough to tell runs apart
_FILE_MODE = 0o666  # as the umask allows
_REPLACE_HINT = "Name another file with -o, or replace this one with --force."
_ROW_START = b'{"index": '  # beginning of every row


class Task(Struct, frozen=True, kw_only=True):
    """A prompt for a model, or the error that says why it cannot be sent."""

    head: Mapping[str, Any] = {}
    """The first fields of its row: its number as `index`, and its `id` if it has one."""
    model: ModelInfo
    messages: Sequence[ChatMessage] = ()
    options: Mapping[str, object] = {}  # for sampling
    output: WantedOutput = AnyText()
    files: Mapping[str, bytes] = {}  # by their digests
    # Text of the preset that is filled with the last message when the prompt is sent, or empty.
    preset_text: str = ""
    error: LMChatError | None = None

    @property
    def key(self) -> str:
        """A short hash of prompt, model and settings; rows of another run have other keys."""
        texts = [(message.role, message.text) for message in self.messages]
        # `*self.files` adds the digests only. The messages do not contain the preset yet, which is
        # applied when the prompt is sent.
        parts = [texts, self.model.model_id, self.options, repr(self.output), *self.files]
        text = json.dumps([*parts, self.preset_text], sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_DIGITS]


class TaskAnswer(Struct, frozen=True, kw_only=True):
    """An answer that belongs to no session; incomplete if it ended with an error."""

    model: str  # the model that has answered, as the server names it
    reply: str
    reasoning: str
    is_refusal: bool
    stats: AnswerStats
    error: LMChatError | None

    def row(self, task: Task) -> dict[str, Any]:
        """Return the answer or its error as a row of JSON; times are in milliseconds."""
        head = {**task.head, "key": task.key}
        if self.error is not None:
            return {**head, "error": failure_detail(self.error)}
        stats = self.stats
        completion_tokens = stats.completion_tokens or 0
        return {
            **head,
            "reply": self.reply,
            "reasoning": self.reasoning,
            "finish_reason": stats.finish_reason or None,
            "model": self.model,
            "usage": {
                "prompt_tokens": stats.prompt_tokens,  # None if the server does not report it
                "completion_tokens": completion_tokens,
                "total_tokens": (stats.prompt_tokens or 0) + completion_tokens,
                "estimated": stats.is_estimated or stats.prompt_tokens is None,
            },
            "ttft_ms": rounded(stats.ttft_ms),
            "elapsed_ms": rounded(stats.elapsed_ms),
        }


async def answer_to(
    task: Task, server: ServerClient, show: Callable[[StreamEvent], None] = lambda _: None
) -> TaskAnswer:
    """Send a prompt and return its answer; call `show` with each event while it arrives.

    If no seed is set and the server takes one, a seed is drawn, so that the answer can be repeated.
    A task with an error is not sent; its answer has this error.
    """
    model = task.model
    sampling = Sampling().with_options(task.options)
    seed = product_named(model.product).drawn_seed(sampling.options)
    if seed is not None:
        sampling = replace(sampling, seed=seed)
    request = ChatRequest(
        endpoint=model.endpoint,
        product=model.product,
        model=model.model_id,
        messages=tuple(task.messages),
        sampling=sampling,
        output=task.output,
        has_drawn_seed=seed is not None,
        files=task.files,
        is_batch=True,  # at a server of this machine, the limit of requests a minute does not apply
    )
    answer = WholeAnswer(model.model_id)
    failure = task.error
    if failure is None:
        try:
            await answer.read(server.stream(request), show)
        except LMChatError as error:
            failure = error
    return TaskAnswer(
        model=answer.figures.model,
        reply=answer.growing.text("text", "refusal"),  # a refusal is a reply, too
        reasoning=answer.growing.text("reasoning"),
        is_refusal=bool(answer.growing.text("refusal")),
        # with both limits, the figures say which one cut an answer short
        stats=answer.figures.stats(context=model.context, max_tokens=sampling.max_tokens),
        error=failure,
    )


class RowFile:
    """File of rows; each row is on the disk when `add` returns.

    The rows say what is done. If the same command runs again, it does what is missing or has
    failed.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; raises `WrongUse` if another batch writes it, or `FileRefused`."""
        self._path = path
        # rows of an earlier run, whose tasks are done, by the index of the task
        self._kept: dict[int, dict[str, Any]] = {}
        self._file = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # on a full disk; `add` has raised it
            self._file.close()

    def keep_done(self, *, is_forced: bool) -> None:
        """Keep the rows of an earlier run that have no error, for `kept_row`; remove the others.

        With `is_forced`, remove all. Raises `WrongUse` if the file has anything but rows, and
        `FileRefused` if it cannot be read or written.
        """
        if not self._path.is_file():  # a pipe, from which nothing can be read
            return
        try:
            kept = b"" if is_forced else b"".join(self._kept_lines())
            if len(kept) < self._path.stat().st_size:  # else all lines are kept
                self._file.close()  # Windows replaces no open file
                write_atomically(self._path, kept)
                self._file = self._open()
        except OSError as error:
            raise self._file_error(error) from error

    def _kept_lines(self) -> Iterator[bytes]:
        """Yield the lines of the rows without an error, and add their rows to `_kept`.

        If a task has several rows, the first is kept. Raises `OSError`, and `WrongUse` for a line
        that is no row. Only the last line may be half a row.
        """
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                # a line that was cut may have ended within the beginning of the row
                is_begun_row = line.startswith(_ROW_START) or _ROW_START.startswith(line)
                if is_begun_row and not line.endswith(b"\n"):
                    return  # cut by a kill or a full disk
                try:
                    row = strict_json(line.decode())
                    index, _ = row["index"], row["key"]  # both must be there
                    is_kept = "error" not in row and index not in self._kept
                except (ValueError, LookupError, TypeError) as error:
                    reason = f"line {number} is not a row."
                    message = f"{self._path} is no output of `lmchat batch` or `eval`: {reason}"
                    raise WrongUse(message, hint=_REPLACE_HINT) from error
                if is_kept:
                    self._kept[index] = row
                    yield line

    def kept_row(self, task: Task) -> dict[str, Any] | None:
        """Return the row of a task that is done, or None.

        A row belongs to this run if its key is that of the task. Raises `WrongUse` for a row of
        another run.
        """
        row = self._kept.get(task.head["index"])
        if row is not None and row["key"] != task.key:
            raise WrongUse(
                f"{self._path} belongs to another run: the prompt, model or settings "
                f"of its row with index {task.head['index']} differ.",
                hint=_REPLACE_HINT,
            )
        return row

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row and wait until it is on the disk; raises `FileRefused`."""
        try:
            self._file.write((to_json(row) + "\n").encode("utf-8", "replace"))
            self._file.flush()
            if self._path.is_file():  # a pipe cannot be waited for
                os.fsync(self._file.fileno())
        except OSError as error:
            raise self._file_error(error) from error

    def _open(self) -> BufferedWriter:
        """Open the file to append rows, and lock it, so that only one run writes it.

        There is no lock on Windows, and where the file system has none.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        try:
            file = os.fdopen(os.open(self._path, flags, _FILE_MODE), "ab")
        except OSError as error:
            raise self._file_error(error) from error
        is_locked = True  # counts as locked where there are no locks
        if CAN_RENAME_OPEN_FILES:  # not on Windows
            with suppress(OSError):  # a file system without locks
                is_locked = try_lock(file.fileno())
        if not is_locked:
            file.close()
            message = f"Another `lmchat batch` or `eval` writes {self._path}."
            raise WrongUse(message, hint="Wait for its end, or name another file with -o.")
        return file

    def _file_error(self, error: OSError) -> FileRefused:
        """Return the error to raise when the file cannot be opened, read or written.

        Its words fit all three: `strerror` does not say which of them failed.
        """
        return FileRefused(
            f"{self._path} cannot be used: {error.strerror or error}.",
            hint="When that is mended, the same command does what is missing.",
        )


class Progress:
    """Progress of answers on one line of the terminal: done, failed, speed, time left."""

    def __init__(self, output: Output, total: int | None) -> None:
        self._output = output
        self._total = total  # None: not known
        self._started_s = monotonic()
        self._done = self._failed = self._tokens = 0

    def count(self, *, is_failed: bool, tokens: int | None) -> None:
        """Count an answer and its tokens, and show the progress."""
        self._done += 1
        if is_failed:
            self._failed += 1
        self._tokens += tokens or 0
        elapsed_s = monotonic() - self._started_s
        words = f"{self._done} done, {self._failed} failed, {self._tokens / elapsed_s:.0f} tok/s"
        if self._total is not None:
            left_s = elapsed_s / self._done * (self._total - self._done)
            words += f", {units.elapsed(left_s)} left"
        self._output.show_progress(words)


def rounded_median(figures: Sequence[float | None]) -> float | None:
    """Return the median of the known figures, rounded; None if no figure is known."""
    known = [figure for figure in figures if figure is not None]
    return rounded(median(known)) if known else None


def figure_cells(
    ttft_ms: float | None,
    tokens_per_second: float | None,
    tokens: float | None,
    elapsed_ms: float | None,
) -> tuple[str, ...]:
    """Return the cells of a table below the heads `FIGURES`: times in seconds, "" for None."""
    return (
        "" if ttft_ms is None else f"{ttft_ms / 1e3:.2f} s",
        "" if tokens_per_second is None else f"{tokens_per_second:.1f} tok/s",
        "" if tokens is None else f"{tokens:.0f}",
        "" if elapsed_ms is None else f"{elapsed_ms / 1e3:.1f} s",
    )
