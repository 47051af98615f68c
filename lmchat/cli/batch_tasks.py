"""Input of `lmchat batch`: lines of a file as tasks, each with a request or with its error."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from msgspec import Struct
from msgspec.structs import replace

from lmchat.chat.once import single_request
from lmchat.chat.sampling_layers import SamplingLayers
from lmchat.cli.context import Context
from lmchat.cli.jobs import NumberedLine, default_jobs, lines_of
from lmchat.cli.models import model_named
from lmchat.cli.prompt import preset_prompt
from lmchat.cli.wiring import Runtime
from lmchat.errors import LMChatError, RequestInvalid, WrongUse
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import decoded_text
from lmchat.servers.model import ModelInfo, ModelList, Target
from lmchat.servers.options import checked_option
from lmchat.servers.request import AnyObject, ChatRequest, FittingValue, WantedOutput
from lmchat.sessions.message import ChatMessage, Role, messages_of, text_message
from lmchat.terminal.output import from_stdin
from lmchat.tools.json_schema import WantedValue
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


class _LineQuestion(Struct, frozen=True, kw_only=True):
    """What a line asks: messages, and what its body sets for this line only."""

    messages: tuple[ChatMessage, ...]
    model: str = ""  # empty: the model of all lines
    options: Mapping[str, object] = {}
    output: WantedOutput | None = None


class Sendable(Struct, frozen=True):
    """A request, and the model that it is for."""

    request: ChatRequest
    model: ModelInfo


class BatchTask(Struct, frozen=True, kw_only=True):
    """A line with what it leads to."""

    number: int
    line_id: str | int | None
    key: str  # hash of all that decides the answer
    outcome: Sendable | LMChatError
    """What is sent for the line, or the error that says why nothing is."""

    @property
    def head(self) -> dict[str, Any]:
        """The fields that each row of this line begins with."""
        head: dict[str, Any] = {"index": self.number}
        if self.line_id is not None:
            head["id"] = self.line_id
        return head | {"key": self.key}


async def read_lines(path: Path | None) -> list[NumberedLine]:
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


class TaskReader:
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
    ) -> TaskReader:
        """Ask the server of the target for its models, and return a reader."""
        models = await runtime.backend.models(target.endpoint, is_refresh=True)
        return cls(context, runtime, layers, target, models, schema)

    @property
    def jobs(self) -> int:
        """How many requests the model is sent at once, without `--jobs`."""
        return default_jobs(self._model)

    async def task_of(self, line: NumberedLine) -> BatchTask:
        """Return the task of a line; one that cannot be used has an error, and no request.

        The key of a task without a request is a hash of what is known of the line.
        """
        line_id: str | int | None = None
        key = hashlib.sha256(line.data or b"").hexdigest()[:_KEY_DIGITS]
        try:
            fields = self._fields_of(line)
            line_id = _id_in(fields)
            question = _question_in(fields, line.number)
            key = _key_of(question.messages, question.model, question.options, None)
            return await self._task_with_request(line.number, line_id, question)
        except LMChatError as error:
            return BatchTask(number=line.number, line_id=line_id, key=key, outcome=error)

    def _fields_of(self, line: NumberedLine) -> dict[str, Any]:
        """Return the JSON of a line, or raise `LMChatError`. Lines of text are prompts."""
        if line.data is None:
            _refuse(line.number, f"is longer than {_MAX_LINE_BYTES >> 20} MB")
        if self._context.options.is_text:
            return {"prompt": decoded_text(line.data)}
        try:
            fields = strict_json(line.data.decode("utf-8-sig"))
        except (UnicodeDecodeError, json.JSONDecodeError, UnfitError) as error:
            _refuse(line.number, f"is not valid JSON: {error}")
        if not isinstance(fields, dict):
            _refuse(line.number, "is not a JSON object")
        return fields

    async def _task_with_request(
        self, number: int, line_id: str | int | None, question: _LineQuestion
    ) -> BatchTask:
        """Return the task of a question; raises `LMChatError` for one that cannot be sent.

        A model, sampling options and a schema of the command line take the place of those of the
        line.
        """
        model = self._model
        if question.model and not self._context.options.model:
            model = model_named(question.model, self._models)
        messages = await self._all_messages(question.messages)
        options = self._layers.values(question.options, model.model_id)
        output = question.output if self._schema is None else self._schema.output
        request = single_request(
            model, messages, options, keep_loaded_s=self._chat.keep_loaded_s, output=output
        )
        return BatchTask(
            number=number,
            line_id=line_id,
            key=_key_of(messages, model.model_id, options, output),
            # `is_batch`: at a server of this machine, the limit of requests a minute does not apply
            outcome=Sendable(replace(request, is_batch=True), model),
        )

    async def _all_messages(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Return the messages of a line as they are sent: with preset and system prompt.

        The last message, if it is a prompt, becomes the input of the preset. `--system` takes the
        place of the line's own system messages; a configured system prompt is used for lines
        without one.
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


def _id_in(fields: Mapping[str, Any]) -> str | int | None:
    """Return the `custom_id` or `id` of a line; None without one."""
    line_id = fields.get("custom_id", fields.get("id"))
    return line_id if isinstance(line_id, str | int) else None


def _question_in(fields: Mapping[str, Any], number: int) -> _LineQuestion:
    """Return the question in the fields of a line.

    Raises `LMChatError`, with the number of the line, for wrong fields.
    """
    try:
        return _question_of_fields(fields)
    except LMChatError as error:
        _refuse(number, f"cannot be used: {error.message.rstrip('.')}")


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
