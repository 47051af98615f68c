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


def lines_of(path: Path | None) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file, or of stdin without a path, that are not blank.

    Each has its number, from 1, which counts blank lines, too. Raises `WrongUse`.
    """
    try:
        # not `sys.stdin`: Python could not exit while an abandoned thread holds the lock of it
        with path.open("rb") if path else os.fdopen(os.dup(sys.stdin.fileno()), "rb") as file:
            for number, data in enumerate(file, 1):
                # editors of Windows begin files with a byte order mark
                if (line := data.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")).strip():
                    yield number, line
    except OSError as error:
        message = f"{path or 'stdin'} cannot be read: {error.strerror or error}."
        raise WrongUse(message, hint="Check the path.") from error


async def lines_as_they_come(path: Path | None) -> AsyncIterator[tuple[int, bytes]]:
    """Yield what `lines_of` yields, each line of a pipe as soon as it is complete."""
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

    def task(self, number: int, line: bytes) -> Task:
        """Return the task of a line; one that cannot be used has an error.

        The key of such a line is a hash of its bytes. The key of another one does not depend on
        what takes the place of the preset's placeholders, such as the day: a batch can be finished
        on the next one.
        """
        head: dict[str, Any] = {"index": number}
        try:
            fields = self._fields(number, line)
            line_id = fields.get("custom_id", fields.get("id"))
            if isinstance(line_id, str | int):
                head["id"] = line_id
            try:
                question = _question_of_fields(fields)
            except LMChatError as error:
                _refuse(number, f"cannot be used: {error.message.rstrip('.')}")
            model = self.model
            if question.model and not self.is_model_fixed:
                named = find_model(question.model, self.models)
                if named is None:
                    raise unknown_model(question.model, self.models)
                model = named
        except LMChatError as error:
            head["key"] = hashlib.sha256(line).hexdigest()[:_KEY_DIGITS]
            return Task(head=head, model=self.model, error=error)

        messages = question.messages
        if self.is_system_prompt_fixed:
            messages = tuple(one for one in messages if one.role is not Role.SYSTEM)
        if self.system_prompt and not any(one.role is Role.SYSTEM for one in messages):
            messages = (text_message(Role.SYSTEM, self.system_prompt), *messages)
        options = self.layers.values(question.options, model.model_id)
        output = self.output or question.output
        further = [self.preset_text] if self.preset_text else []
        head["key"] = task_key(messages, model, options, output, further)
        return Task(head=head, model=model, messages=messages, options=options, output=output)

    def _fields(self, number: int, line: bytes) -> dict[str, Any]:
        """Return the JSON of a line, or raise `LMChatError`. Lines of text are prompts."""
        if len(line) > _MAX_LINE_BYTES:
            _refuse(number, f"is longer than {_MAX_LINE_BYTES >> 20} MB")
        if self.is_text:
            return {"prompt": decoded_text(line)}
        try:
            fields = strict_json(line.decode())
        except (UnicodeDecodeError, json.JSONDecodeError, UnfitError) as error:
            _refuse(number, f"is not valid JSON: {error}")
        if not isinstance(fields, dict):
            _refuse(number, "is not a JSON object")
        return fields


class _LineQuestion(Struct, kw_only=True):
    """What a line asks, and what its body sets for this line only."""

    messages: tuple[ChatMessage, ...] = ()
    model: str = ""  # empty: the model of all lines
    options: dict[str, object] = {}
    output: WantedOutput | None = None


def _refuse(number: int, reason: str) -> NoReturn:
    message = f"Line {number} {reason}."
    raise LMChatError(message, kind="bad_line", hint="Correct the line, then run it again.")


def _question_of_fields(fields: Mapping[str, Any]) -> _LineQuestion:
    """Return the question in the fields of a line; raises `LMChatError` for wrong fields.

    A line has the `body` of OpenAI's batch format, or `messages`, or a `prompt`.
    """
    prompt = fields.get("prompt")
    if "messages" in fields and "body" not in fields:
        return _LineQuestion(messages=_messages_of(fields["messages"]))
    if "body" not in fields and isinstance(prompt, str) and prompt.strip():
        return _LineQuestion(messages=(text_message(Role.USER, prompt),))
    if "body" not in fields:
        raise RequestInvalid("it has no prompt, messages or body.")

    path, body = fields.get("url", _CHAT_PATH), fields["body"]
    if path != _CHAT_PATH:
        raise RequestInvalid(f"only {_CHAT_PATH} is supported, not {path}.")
    if not isinstance(body, dict):
        raise RequestInvalid("its body is not a JSON object.")
    question = _LineQuestion(messages=_messages_of(body.get("messages")))
    for name, value in body.items():
        if name == "model" and isinstance(value, str):
            question.model = value
        elif name == "response_format":
            question.output = _wanted_output(value)
        elif name not in _IGNORED_FIELDS and value is not None:
            option = "max_tokens" if name == "max_completion_tokens" else name  # the newer name
            question.options[option] = checked_option(option, value)
    return question


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
    the role `system`. Other fields of a message are dropped; `messages_of` checks the rest.
    """
    if not isinstance(entries, list):
        raise RequestInvalid("Invalid messages array: pass a list of messages.")
    plain: list[object] = []
    for entry in entries:
        if not isinstance(entry, dict):
            plain.append(entry)
            continue
        content = entry.get("content")
        if isinstance(content, list):
            texts = [part.get("text") for part in content if isinstance(part, dict)]
            strings = [text for text in texts if isinstance(text, str)]
            if len(strings) == len(content):
                content = "".join(strings)
        role = entry.get("role")
        plain.append({"role": "system" if role == "developer" else role, "content": content})
    return messages_of(plain)  # type: ignore[arg-type]  # it checks what it gets


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
