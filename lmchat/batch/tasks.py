"""Tasks: prompts with the model that each is for, made of lines of JSON or text."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from msgspec import Struct

from lmchat.chat.sampling_layers import SamplingLayers
from lmchat.errors import LMChatError, RequestInvalid, WrongUse
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import decoded_text
from lmchat.servers.model import ModelInfo, find_model, unknown_model
from lmchat.servers.options import checked_option
from lmchat.servers.request import AnyObject, FittingValue, WantedOutput
from lmchat.sessions.message import ChatMessage, Role, messages_of, text_message
from lmchat.tools.json_text import UnfitError, strict_json

_MAX_LINE_BYTES = 10 * 1024 * 1024
_CHAT_PATH = "/v1/chat/completions"
_KEY_DIGITS = 16  # of a hash: enough to tell runs apart
_IGNORED_FIELDS = frozenset(
    ("messages", "model", "n", "stream", "stream_options", "user", "metadata", "store")
)
"""Fields of a body that are no sampling options.

`messages` and `model` are read by name. The others have no effect: they say how an answer is sent,
or what a cloud stores.
"""


class Task(Struct, frozen=True, kw_only=True):
    """A prompt for a model, or the error that says why it cannot be sent."""

    head: Mapping[str, Any]
    """The first fields of its row: `index`, `id` if it has one, and `key`, a hash of the rest."""
    model: ModelInfo
    messages: Sequence[ChatMessage] = ()
    options: Mapping[str, object] = {}
    output: WantedOutput | None = None
    files: Mapping[str, bytes] = {}  # by their digests
    error: LMChatError | None = None

    @property
    def index(self) -> int:
        """Its number, from 1."""
        return int(self.head["index"])


class NumberedLine(Struct, frozen=True):
    """A line of a file."""

    number: int  # from 1; blank lines count, too
    data: bytes | None  # without its line end; None if it is too long


def has_known_lines(path: Path | None) -> bool:
    """Return whether all lines can be read before the first is answered, as those of a file.

    They cannot if they come through a pipe, or from stdin, which is read without a path. Raises
    `WrongUse` if there is nothing to read.
    """
    if path is None:
        if sys.stdin is None or sys.stdin.isatty():
            hint = "Name a file: lmchat batch prompts.jsonl, or pipe lines in."
            raise WrongUse("There are no prompts.", hint=hint)
        return False
    try:
        if path.is_fifo():
            return False
        path.open("rb").close()
        return path.is_file()
    except OSError as error:
        raise _unreadable(path, error) from error


def lines_of(path: Path | None) -> Iterator[NumberedLine]:
    """Yield the lines of a file, or of stdin without a path, that are not blank.

    A line of more than 10 MB is yielded without its data, and never held in memory whole. Raises
    `WrongUse`.
    """
    number = 0
    try:
        # not `sys.stdin`: Python could not exit while an abandoned thread holds the lock of it
        with path.open("rb") if path else os.fdopen(os.dup(sys.stdin.fileno()), "rb") as file:
            while data := file.readline(_MAX_LINE_BYTES + 1):
                number += 1
                is_too_long = len(data) > _MAX_LINE_BYTES and not data.endswith(b"\n")
                while is_too_long and data and not data.endswith(b"\n"):
                    data = file.readline(_MAX_LINE_BYTES)
                data = data.removeprefix(codecs.BOM_UTF8)  # editors of Windows begin files with it
                if is_too_long:
                    yield NumberedLine(number, None)
                elif data.strip():
                    yield NumberedLine(number, data.rstrip(b"\r\n"))
    except OSError as error:
        raise _unreadable(path or Path("stdin"), error) from error


def _unreadable(path: Path, error: OSError) -> WrongUse:
    message = f"{path} cannot be read: {error.strerror or error}."
    return WrongUse(message, hint="Check the path.")


async def lines_as_they_come(path: Path | None) -> AsyncIterator[NumberedLine]:
    """Yield the lines of a file, a pipe or stdin, each as soon as it is complete."""
    lines = lines_of(path)
    while (line := await run_abandonable(lambda: next(lines, None))) is not None:
        yield line


class TaskReader(Struct, frozen=True, kw_only=True):
    """Makes tasks of lines, with what holds for all of them."""

    layers: SamplingLayers
    models: Sequence[ModelInfo]  # that a line may name
    model: ModelInfo  # of lines that name none
    is_model_fixed: bool  # what a line names does not count
    system_prompt: str
    is_system_prompt_fixed: bool  # those of a line do not count
    preset_text: str  # with its placeholders; empty without a preset
    output: WantedOutput | None  # None: what a line asks for
    is_text: bool  # a line is a prompt, and no JSON

    def task(self, line: NumberedLine) -> Task:
        """Return the task of a line; one that cannot be used has an error.

        The key of such a line is a hash of its bytes. The key of another one does not depend on
        what takes the place of the preset's placeholders, such as the day: a batch can be finished
        on the next one.
        """
        head: dict[str, Any] = {"index": line.number}
        key = hashlib.sha256(line.data or b"").hexdigest()[:_KEY_DIGITS]
        try:
            fields = self._fields(line)
            line_id = fields.get("custom_id", fields.get("id"))
            if isinstance(line_id, str | int):
                head["id"] = line_id
            try:
                question = _question_of_fields(fields)
            except LMChatError as error:
                _refuse(line.number, f"cannot be used: {error.message.rstrip('.')}")
            model = self.model
            if question.model and not self.is_model_fixed:
                named = find_model(question.model, self.models)
                if named is None:
                    raise unknown_model(question.model, self.models)
                model = named
        except LMChatError as error:
            return Task(head=head | {"key": key}, model=self.model, error=error)
        messages = self._all_messages(question.messages)
        options = self.layers.values(question.options, model.model_id)
        output = self.output or question.output
        key = task_key(
            messages, model, options, output, (self.preset_text,) if self.preset_text else ()
        )
        return Task(
            head=head | {"key": key},
            model=model,
            messages=messages,
            options=options,
            output=output,
        )

    def _all_messages(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Return the messages of a line with the system prompt of all lines, if it has none."""
        if self.is_system_prompt_fixed:
            messages = [message for message in messages if message.role is not Role.SYSTEM]
        has_own = any(message.role is Role.SYSTEM for message in messages)
        if self.system_prompt and not has_own:
            return [text_message(Role.SYSTEM, self.system_prompt), *messages]
        return list(messages)

    def _fields(self, line: NumberedLine) -> dict[str, Any]:
        """Return the JSON of a line, or raise `LMChatError`. Lines of text are prompts."""
        if line.data is None:
            _refuse(line.number, f"is longer than {_MAX_LINE_BYTES >> 20} MB")
        if self.is_text:
            return {"prompt": decoded_text(line.data)}
        try:
            fields = strict_json(line.data.decode())
        except (UnicodeDecodeError, json.JSONDecodeError, UnfitError) as error:
            _refuse(line.number, f"is not valid JSON: {error}")
        if not isinstance(fields, dict):
            _refuse(line.number, "is not a JSON object")
        return fields


class _LineQuestion(Struct, frozen=True, kw_only=True):
    """What a line asks, and what its body sets for this line only."""

    messages: tuple[ChatMessage, ...]
    model: str = ""  # empty: the model of all lines
    options: Mapping[str, object] = {}
    output: WantedOutput | None = None


def _refuse(number: int, reason: str) -> NoReturn:
    message = f"Line {number} {reason}."
    raise LMChatError(message, kind="bad_line", hint="Correct the line, then run it again.")


def _question_of_fields(fields: Mapping[str, Any]) -> _LineQuestion:
    """Return the question in the fields of a line; raises `LMChatError` for wrong fields.

    A line has the `body` of OpenAI's batch format, or `messages`, or a `prompt`.
    """
    if "body" in fields:
        path = fields.get("url", _CHAT_PATH)
        if path != _CHAT_PATH:
            raise RequestInvalid(f"only {_CHAT_PATH} is supported, not {path}.")
        return _question_of_body(fields["body"])
    if "messages" in fields:
        return _LineQuestion(messages=_messages_of(fields["messages"]))
    prompt = fields.get("prompt")
    if isinstance(prompt, str) and prompt.strip():
        return _LineQuestion(messages=(text_message(Role.USER, prompt),))
    raise RequestInvalid("it has no prompt, messages or body.")


def _question_of_body(body: object) -> _LineQuestion:
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
    """Return the messages of a line; raises `RequestInvalid` if they cannot be sent.

    The content may be a list of texts, as OpenAI's API takes it. `developer` is its newer name of
    the role `system`.
    """
    if isinstance(entries, list):
        entries = [_plain_message(entry) for entry in entries]
    if isinstance(entries, str):  # `messages_of` would take it for a prompt
        raise RequestInvalid("Invalid messages array: pass a list of messages.")
    return messages_of(entries)  # type: ignore[arg-type]  # it checks what it gets


def _plain_message(entry: object) -> object:
    """Return a message with its content as one text and a role that lmchat knows.

    Its other fields are dropped. What is no JSON object stays as it is, and so does content that is
    not text: `messages_of` checks both.
    """
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


def task_key(
    messages: Sequence[ChatMessage],
    model: ModelInfo,
    options: Mapping[str, object],
    output: WantedOutput | None,
    further: Sequence[str] = (),
) -> str:
    """Return a short hash of all that decides an answer; `further` is what else does."""
    texts = [(message.role, message.text) for message in messages]
    form = [type(output).__name__, getattr(output, "schema", None)]
    decisive = json.dumps(
        [texts, model.model_id, options, form, *further], sort_keys=True, default=str
    )
    digest = hashlib.sha256(decisive.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:_KEY_DIGITS]
