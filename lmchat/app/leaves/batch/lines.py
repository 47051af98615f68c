"""Lines of a batch: prompts as text or JSON, also in OpenAI's batch format."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, AnyStr

from msgspec import Struct

from lmchat.api import SchemaOutput, checked_options, stored_options, strict_json, text_of
from lmchat.app.terminal.output import open_stdin, stdin_unreadable
from lmchat.base.errors import FileRefused, LMChatError, RequestInvalid, WrongUse
from lmchat.base.files.disk import unreadable
from lmchat.core.sessions.given_messages import messages_of
from lmchat.core.sessions.message import ChatMessage, Role, text_message

_LONGEST_LINE = 100_000_000  # bytes, as of a file that is attached
_CHAT_PATH = "/v1/chat/completions"
_READ_BY_NAME = {"messages", "model", "response_format"}  # of a body; all others are options


class BatchLine(Struct, kw_only=True):
    """Prompt of a line with its options, or why the line cannot be used."""

    number: int  # from 1; blank lines count, too
    line_id: str | float | None = None  # `custom_id` or `id`, if it has one
    messages: tuple[ChatMessage, ...] = ()  # empty only with an error
    model: str = ""  # empty if it names none
    options: dict[str, object] = {}  # sampling options by name
    wanted: SchemaOutput | None = None
    error: LMChatError | None = None


def lines_of(path: Path | None, *, is_text: bool) -> Iterator[BatchLine]:
    """Yield the lines that are not blank, of a file, or of stdin if `path` is None.

    With `is_text`, a line is a prompt, and no JSON. Raises `FileRefused` and `WrongUse`.
    """
    name = str(path or "stdin")
    try:
        with path.open("rb") if path else open_stdin() as file:
            lines: Iterable[bytes] = read_lines(file, name)
            if file.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # as of PowerShell
                text_file = TextIOWrapper(file, "utf-16", errors="replace", newline="\n")
                lines = (line.encode() for line in read_lines(text_file, name))
            # editors of Windows start files with a mark
            texts = (data.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n") for data in lines)
            numbered = ((number, text) for number, text in enumerate(texts, 1) if text.strip())
            begin = [*islice(numbered, 1)]
            if begin and _line(*begin[0], is_text=is_text).error:
                begin += islice(numbered, 1)
                _refuse_other_file(name, [text for _, text in begin], is_text=is_text)
            for number, text in chain(begin, numbered):
                yield _line(number, text, is_text=is_text)
    except OSError as error:
        raise (unreadable(path, error) if path else stdin_unreadable(error)) from error


def _refuse_other_file(name: str, begin: Sequence[bytes], *, is_text: bool) -> None:
    """Say what a file is that has no lines of JSON, or none of text.

    `begin` are its first line, which is wrong, and the next one: a JSONL file may have a mistake
    in a line. Raises `FileRefused` for bytes that are no text, and `WrongUse`.
    """
    first, last = begin[0].lstrip(), begin[-1].lstrip()
    if is_text and b"\0" not in first:
        return
    if not is_text and last.startswith(b"{") and not first.startswith(b"["):
        return
    text_of(name, first)
    if first.startswith((b"[", b"{")):
        message = f"{name} has JSON, but not one object on each line."
        next_step = "Write each prompt as a line; for a list: jq -c '.[]' FILE | lmchat batch"
    else:
        message = f"{name} has lines of text, and no JSON objects."
        next_step = "To ask each line as a prompt: --text"
    raise WrongUse(message, next_step=next_step)


def read_lines(file: IO[AnyStr], name: str) -> Iterator[AnyStr]:
    """Raises `FileRefused` for a line that may have no end, as a device or a sparse file has."""
    while line := file.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise FileRefused(
                f"{name} has a line of more than {_LONGEST_LINE // 1_000_000} MB.",
                next_step="Check that it is the right file.",
            )
        yield line


def _line(number: int, data: bytes, *, is_text: bool) -> BatchLine:
    """Return a line; a wrong one has an error, so that the others are still answered."""
    line = BatchLine(number=number)
    try:
        fields = {"prompt": text_of("it", data)} if is_text else strict_json(data)
        if not isinstance(fields, dict):
            raise RequestInvalid("it is not a JSON object.")
        line_id = fields.get("custom_id", fields.get("id"))
        if isinstance(line_id, str | int | float):
            line.line_id = line_id
        _read_fields(line, fields)
    except LMChatError as error:
        reason = error.message
    except ValueError as error:
        reason = f"it is not valid JSON: {error}."
    else:
        return line
    line.error = LMChatError(
        f"Line {number} cannot be used: {reason}",
        kind="bad_line",
        next_step="Correct the line, then run it again.",
    )
    return line


def _read_fields(line: BatchLine, fields: Mapping[str, Any]) -> None:
    """Raises an `LMChatError`."""
    match fields:
        case {"body": dict(body)}:
            path = fields.get("url", _CHAT_PATH)
            if path != _CHAT_PATH:
                raise RequestInvalid(f"only {_CHAT_PATH} is supported, not {path}.")
            _read_body(line, body)
        case {"messages": messages}:
            line.messages = messages_of(messages)
        case {"prompt": str(prompt)} if prompt.strip():
            line.messages = (text_message(Role.USER, prompt),)
        case _:
            raise RequestInvalid("it has no prompt, messages or body.")


def _read_body(line: BatchLine, body: Mapping[str, Any]) -> None:
    """Raises an `LMChatError`."""
    line.messages = messages_of(body.get("messages", ()))
    if isinstance(body.get("model"), str):
        line.model = body["model"]
    match body.get("response_format"):
        case None | {"type": "text"}:
            pass
        case {"type": "json_object"}:
            line.wanted = SchemaOutput()
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            line.wanted = SchemaOutput(schema)
        case _:
            raise RequestInvalid("its response_format is unknown.")
    options = {
        "max_tokens" if name == "max_completion_tokens" else name: value  # OpenAI's newer name
        for name, value in body.items()
        if name not in _READ_BY_NAME and value is not None
    }
    line.options = checked_options({"more": stored_options(options)})
