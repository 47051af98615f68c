"""`lmchat batch`: many prompts from a file, each with its answer as one row of JSON.

A line of the input has a prompt; a row of the output has the answer to one line. The rows of an
output file say what is done: the same command again does what is missing or has failed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from msgspec import Struct
from msgspec.structs import replace

from lmchat.cli.context import Context
from lmchat.cli.extract import wanted_value
from lmchat.cli.jobs import (
    JobProgress,
    NumberedLine,
    SingleAnswer,
    answer_of,
    default_jobs,
    lines_of,
    side_by_side,
    single_request,
)
from lmchat.cli.models import model_named
from lmchat.cli.output import Output, failure_detail, to_json
from lmchat.cli.prompt import preset_prompt
from lmchat.cli.questions import from_stdin
from lmchat.cli.sampling import sampling_layers
from lmchat.cli.target import find_target
from lmchat.cli.wiring import Runtime, open_runtime
from lmchat.domain.message import ChatMessage, Role, text_message
from lmchat.domain.request import AnyObject, ChatRequest, FittingValue, WantedOutput
from lmchat.domain.sampling import checked_option
from lmchat.domain.server import ModelInfo, ModelList, Target
from lmchat.errors import FileRefused, LMChatError, RequestInvalid, WrongUse
from lmchat.files import expanded_path, write_atomically
from lmchat.services.sampling_layers import SamplingLayers
from lmchat.structured.json_schema import WantedValue
from lmchat.structured.json_text import UnfitError, strict_json
from lmchat.text import decoded_text, plural
from lmchat.threads import run_abandonable

_MAX_LINE_BYTES = 10 * 1024 * 1024
_CHAT_PATH = "/v1/chat/completions"
_KEY_DIGITS = 16  # of a hash: enough to tell runs apart
_IGNORED_FIELDS = frozenset(
    ("messages", "model", "n", "stream", "stream_options", "user", "metadata", "store")
)
"""Fields of a body that set nothing here: how an answer is sent, and what only a cloud keeps."""
_FILE_MODE = 0o666  # as the umask allows
_ROW_OF_OTHER_RUN = "Row {0} of {1} belongs to another run: its prompt, model or settings differ."
_REPLACE_HINT = "Name another file with -o, or replace this one with --force."


class _LineQuestion(Struct, frozen=True, kw_only=True):
    """What a line asks: messages, and what its body sets for this line only."""

    line_id: str | int | None = None  # its `custom_id` or `id`
    messages: tuple[ChatMessage, ...] = ()
    model: str = ""  # empty: the model of all lines
    options: Mapping[str, object] = {}
    output: WantedOutput | None = None


class _Sendable(Struct, frozen=True):
    """A request, and the model that it is for."""

    request: ChatRequest
    model: ModelInfo


class _Task(Struct, frozen=True, kw_only=True):
    """A line with what it leads to."""

    number: int
    line_id: str | int | None
    key: str  # hash of all that decides the answer
    outcome: _Sendable | LMChatError
    """What is sent for the line, or the error that says why nothing is."""

    @property
    def head(self) -> dict[str, Any]:
        """The fields that each row of this line begins with."""
        head: dict[str, Any] = {"index": self.number}
        if self.line_id is not None:
            head["id"] = self.line_id
        return head | {"key": self.key}


async def batch(context: Context) -> int:
    """Answer all lines and print or write a row for each; return 1 if a line failed, else 0.

    Raises an error before anything is sent if the input, the output file or an option cannot be
    used, or if there is no server.
    """
    options = context.options
    layers = sampling_layers(context)
    schema = await wanted_value(options)
    output_path = expanded_path(options.output) if options.output else None
    input_path = expanded_path(options.file) if options.file not in ("", "-") else None
    if output_path and input_path and _is_same_file(input_path, output_path):
        raise WrongUse("The output file is the input file.", hint="Name another file with -o.")
    lines = await _read_lines(input_path)

    async with open_runtime(context, is_saved=False) as runtime:
        target = await find_target(
            runtime.backend, runtime.settings, runtime.remembered, context.output.note
        )
        reader = await _TaskReader.create(context, runtime, layers, target, schema)
        tasks = [await reader.task_of(line) for line in lines]
        done: set[int] = set()
        rows: _RowFile | _RowPrinter = _RowPrinter(context.output)
        with ExitStack() as stack:
            if output_path:
                rows = _RowFile(output_path)
                stack.callback(rows.close)
                done = rows.keep_done(tasks, is_forced=options.force)
            tasks = [task for task in tasks if task.number not in done]
            failed = await _answer_all(runtime, tasks, rows, schema, options.jobs or reader.jobs)
    words = f"{plural(len(lines), 'line')}: {len(done)} done before, "
    context.output.note(f"lmchat: {words}{len(tasks) - failed} answered, {failed} failed.")
    return 1 if failed else 0


async def _answer_all(
    runtime: Runtime,
    tasks: Sequence[_Task],
    rows: _RowFile | _RowPrinter,
    schema: WantedValue | None,
    jobs: int,
) -> int:
    """Answer tasks, `jobs` at once, add a row for each, and return how many failed."""
    failed = 0
    with JobProgress(len(tasks), prints_rows=isinstance(rows, _RowPrinter)) as progress:

        async def work(task: _Task) -> None:
            nonlocal failed
            row, tokens = await _row_of(runtime, task, schema)
            await rows.add(row)
            is_failed = "error" in row
            failed += is_failed
            progress.count(is_failed=is_failed, tokens=tokens)

        await side_by_side(tasks, work, count=jobs)
    return failed


async def _row_of(
    runtime: Runtime, task: _Task, schema: WantedValue | None
) -> tuple[dict[str, Any], int]:
    """Send the request of a task; return its row and the number of tokens of the answer."""
    if isinstance(task.outcome, LMChatError):
        return task.head | {"error": failure_detail(task.outcome)}, 0

    answer = await answer_of(runtime.backend, task.outcome.request, task.outcome.model)
    tokens = answer.receipt.completion_tokens or 0
    try:
        if answer.error is not None:
            raise answer.error
        value = {} if schema is None else {"value": await _value_in(answer, schema)}
    except LMChatError as error:
        return task.head | {"error": failure_detail(error)}, tokens
    row = task.head | {
        "reply": answer.reply,
        "reasoning": answer.reasoning,
        "finish_reason": answer.receipt.finish_reason or None,
        "model": answer.model,
        **answer.figures,
    }
    return row | value, tokens


async def _value_in(answer: SingleAnswer, schema: WantedValue) -> Any:
    return await schema.value_in(
        answer.reply,
        thought=answer.reasoning,
        finish_reason=answer.receipt.finish_reason,
        is_refusal=answer.is_refusal,
    )


# Input


def _is_same_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:  # one of them does not exist
        return False


async def _read_lines(path: Path | None) -> list[NumberedLine]:
    """Return the lines of a file, or of stdin without a path; raises `WrongUse`."""
    if path is None:
        if sys.stdin is None or sys.stdin.isatty():
            hint = "Name a file: lmchat batch prompts.jsonl, or pipe lines in."
            raise WrongUse("There are no prompts.", hint=hint)
        return await run_abandonable(lambda: from_stdin(_all_lines))
    try:
        with path.open("rb") as file:
            return _all_lines(file)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}."
        raise WrongUse(message, hint="Check the path.") from error


def _all_lines(file: BinaryIO) -> list[NumberedLine]:
    return list(lines_of(file, max_bytes=_MAX_LINE_BYTES))


class _TaskReader:
    """Makes tasks of lines, with what the command line sets for all of them."""

    def __init__(
        self,
        context: Context,
        runtime: Runtime,
        layers: SamplingLayers,
        target: Target,
        models: ModelList,
        schema: WantedValue | None,
    ) -> None:
        self._context = context
        self._chat = runtime.settings.chat
        self._layers = layers
        self._models = models
        self._model = model_named(target.model_id, models)  # of lines that name none
        self._schema = schema

    @classmethod
    async def create(
        cls,
        context: Context,
        runtime: Runtime,
        layers: SamplingLayers,
        target: Target,
        schema: WantedValue | None,
    ) -> _TaskReader:
        """Ask the server of the target for its models, and return a reader."""
        models = await runtime.backend.models(target.endpoint, is_refresh=True)
        return cls(context, runtime, layers, target, models, schema)

    @property
    def jobs(self) -> int:
        """How many requests the model is sent at once, without `--jobs`."""
        return default_jobs(self._model)

    async def task_of(self, line: NumberedLine) -> _Task:
        """Return the task of a line; one that cannot be used has an error, and no request."""
        try:
            question = self._question_of(line)
        except LMChatError as error:
            key = hashlib.sha256(line.data or b"").hexdigest()[:_KEY_DIGITS]
            return _Task(number=line.number, line_id=None, key=key, outcome=error)
        try:
            return await self._task_with_request(line.number, question)
        except LMChatError as error:
            key = _key_of(question.messages, question.model, question.options, None)
            return _Task(number=line.number, line_id=question.line_id, key=key, outcome=error)

    def _question_of(self, line: NumberedLine) -> _LineQuestion:
        """Read a line; raises `LMChatError`, with the number of the line, for a wrong one."""
        if line.data is None:
            _refuse(line.number, f"is longer than {_MAX_LINE_BYTES >> 20} MB")
        if self._context.options.is_text:
            return _LineQuestion(messages=(text_message(Role.USER, decoded_text(line.data)),))
        try:
            fields = strict_json(line.data.decode("utf-8-sig"))
        except (UnicodeDecodeError, json.JSONDecodeError, UnfitError) as error:
            _refuse(line.number, f"is not valid JSON: {error}")
        if not isinstance(fields, dict):
            _refuse(line.number, "is not a JSON object")
        try:
            return _question_in(fields)
        except LMChatError as error:
            _refuse(line.number, f"cannot be used: {error.message.rstrip('.')}")

    async def _task_with_request(self, number: int, question: _LineQuestion) -> _Task:
        """Return the task of a question; raises `LMChatError` for one that cannot be sent."""
        model = self._model
        if question.model and not self._context.options.model:
            model = model_named(question.model, self._models)
        messages = await self._all_messages(question.messages)
        options = self._layers.values(question.options, model.model_id)
        output = question.output if self._schema is None else self._schema.output
        request = single_request(
            model, messages, options, keep_loaded_s=self._chat.keep_loaded_s, output=output
        )
        return _Task(
            number=number,
            line_id=question.line_id,
            key=_key_of(messages, model.model_id, options, output),
            outcome=_Sendable(replace(request, is_batch=True), model),
        )

    async def _all_messages(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Return messages with the preset filled in, and with the system prompt.

        `--system` takes the place of the line's own system messages; a configured system prompt is
        used for lines without one.
        """
        preset = self._context.options.preset
        last = messages[-1]
        if preset is not None and last.role is Role.USER:
            prompt = await preset_prompt(self._context, preset, last.text)
            messages = [*messages[:-1], text_message(Role.USER, prompt)]
        if self._context.options.system_prompt is not None:
            messages = [message for message in messages if message.role is not Role.SYSTEM]
        has_own = any(message.role is Role.SYSTEM for message in messages)
        if self._chat.system_prompt and not has_own:
            return [text_message(Role.SYSTEM, self._chat.system_prompt), *messages]
        return list(messages)


def _refuse(number: int, reason: str) -> NoReturn:
    message = f"Line {number} {reason}."
    raise LMChatError(message, kind="bad_line", hint="Correct the line, then run it again.")


def _question_in(fields: Mapping[str, Any]) -> _LineQuestion:
    """Return the question in the fields of a line; raises `LMChatError` for wrong fields."""
    line_id = fields.get("custom_id", fields.get("id"))
    if not isinstance(line_id, str | int):
        line_id = None
    if "body" in fields:
        path = fields.get("url", _CHAT_PATH)
        if path != _CHAT_PATH:
            raise RequestInvalid(f"only {_CHAT_PATH} is supported, not {path}.")
        return _question_of_body(fields["body"], line_id)
    if "messages" in fields:
        return _LineQuestion(line_id=line_id, messages=_messages_of(fields["messages"]))
    prompt = fields.get("prompt")
    if isinstance(prompt, str) and prompt.strip():
        return _LineQuestion(line_id=line_id, messages=(text_message(Role.USER, prompt),))
    raise RequestInvalid("it has no prompt, messages or body.")


def _question_of_body(body: object, line_id: str | int | None) -> _LineQuestion:
    """Return the question in the body of a line of OpenAI's batch format."""
    if not isinstance(body, dict):
        raise RequestInvalid("its body is not a JSON object.")
    options: dict[str, object] = {}
    output: WantedOutput | None = None
    for name, value in body.items():
        if name == "response_format":
            output = _wanted_output(value)
        elif name == "max_completion_tokens":  # the newer name
            options["max_tokens"] = checked_option("max_tokens", value)
        elif name not in _IGNORED_FIELDS and value is not None:
            options[name] = checked_option(name, value)
    model = body.get("model")
    return _LineQuestion(
        line_id=line_id,
        messages=_messages_of(body.get("messages")),
        model=model if isinstance(model, str) else "",
        options=options,
        output=output,
    )


def _wanted_output(form: object) -> WantedOutput | None:
    """Return the form of the answer that a `response_format` asks for; None for any text."""
    match form:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return AnyObject()
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return FittingValue(schema=schema)
        case _:
            raise RequestInvalid("its response_format is unknown.")


def _messages_of(entries: object) -> tuple[ChatMessage, ...]:
    """Return the messages of a line; raises `RequestInvalid` with the texts of the validation.

    The content may be a list of texts, as OpenAI's API takes it. `developer` is its newer name of
    the role `system`.
    """
    from lmchat.proxy.api import messages_of

    if isinstance(entries, list):
        entries = [_plain_message(entry) for entry in entries]
    if isinstance(entries, str):
        raise RequestInvalid("Invalid messages array: pass a list of messages.")
    return messages_of(entries)  # type: ignore[arg-type]  # it checks what it gets


def _plain_message(entry: object) -> object:
    """Return a message with its content as one text; anything else as it is."""
    if not isinstance(entry, dict):
        return entry
    content = entry.get("content")
    if isinstance(content, list) and all(_is_text_part(part) for part in content):
        content = "".join(part["text"] for part in content)
    role = entry.get("role")
    return {"role": "system" if role == "developer" else role, "content": content}


def _is_text_part(part: object) -> bool:
    if not isinstance(part, dict):
        return False
    return part.get("type") == "text" and isinstance(part.get("text"), str)


def _key_of(
    messages: Iterable[ChatMessage],
    model: str,
    options: Mapping[str, object],
    output: WantedOutput | None,
) -> str:
    """Return a short hash of all that decides an answer."""
    texts = [(message.role, message.text) for message in messages]
    form = [type(output).__name__, getattr(output, "schema", None)]
    decisive = json.dumps([texts, model, options, form], sort_keys=True, default=str)
    digest = hashlib.sha256(decisive.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:_KEY_DIGITS]


# Output


class _RowPrinter:
    """Prints rows on stdout; what an earlier run has printed is not known."""

    def __init__(self, output: Output) -> None:
        self._output = output

    async def add(self, row: Mapping[str, Any]) -> None:
        self._output.print_safe(to_json(row))


class _RowFile:
    """File of rows: each is on the disk before `add` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._lock = asyncio.Lock()  # one row is written at a time

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def keep_done(self, tasks: Sequence[_Task], *, is_forced: bool) -> set[int]:
        """Open the file, take failed rows out of it, and return the numbers of the lines done.

        With `is_forced`, the file is emptied. Raises `WrongUse` if it has anything but rows of
        these tasks, and `FileRefused` if it cannot be read or written.
        """
        try:
            kept: dict[int, bytes] = {}
            if self._path.is_file():
                data = b"" if is_forced else self._path.read_bytes()
                kept = self._kept_rows(data, tasks)
                content = b"".join(kept.values())
                if content != data or is_forced:
                    write_atomically(self._path, content, keeps_mode=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._descriptor = os.open(self._path, flags, _FILE_MODE)
        except OSError as error:
            raise self._write_error(error, "Name another file with -o.") from error
        return set(kept)

    def _kept_rows(self, data: bytes, tasks: Sequence[_Task]) -> dict[int, bytes]:
        """Return the rows without errors by the number of their line; see `keep_done`.

        The last row is dropped if a kill has cut it.
        """
        keys = {task.number: task.key for task in tasks}
        kept: dict[int, bytes] = {}
        rows = data.splitlines(keepends=True)
        for position, encoded in enumerate(rows, 1):
            if not encoded.endswith(b"\n"):
                continue
            try:
                row = strict_json(encoded.decode())
                number = row["index"]
                has_failed = "error" in row  # it is done again, whatever it was
                is_of_this_run = has_failed or keys.get(number) == row["key"]
            except (ValueError, UnfitError, LookupError, TypeError):
                message = (
                    f"{self._path} is no output of `lmchat batch`: line {position} is not a row."
                )
                raise WrongUse(message, hint=_REPLACE_HINT) from None
            if not is_of_this_run:
                message = _ROW_OF_OTHER_RUN.format(position, self._path)
                raise WrongUse(message, hint=_REPLACE_HINT)
            if not has_failed:
                kept.setdefault(number, encoded)
        return kept

    async def add(self, row: Mapping[str, Any]) -> None:
        """Append a row and wait until it is on the disk; raises `FileRefused`."""
        encoded = (to_json(row) + "\n").encode("utf-8", "replace")
        async with self._lock:
            await asyncio.to_thread(self._append, encoded)

    def _append(self, encoded: bytes) -> None:
        """Write a row whole, or not at all."""
        size = os.fstat(self._descriptor).st_size
        try:
            written = 0
            while written < len(encoded):
                written += os.write(self._descriptor, encoded[written:])
            if self._path.is_file():
                os.fsync(self._descriptor)
        except OSError as error:
            if self._path.is_file():
                os.ftruncate(self._descriptor, size)
            hint = "When that is mended, the same command does what is missing."
            raise self._write_error(error, hint) from error

    def _write_error(self, error: OSError, hint: str) -> FileRefused:
        return FileRefused(f"{self._path} cannot be written: {error.strerror or error}.", hint=hint)
