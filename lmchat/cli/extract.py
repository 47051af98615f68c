"""Extracts, which `lmchat ask` prints in place of an answer: its code, or its JSON value.

An extract is made before the request; `read` takes its value from the answer, `print` prints it.
"""

from __future__ import annotations

import json
from typing import Any

from lmchat.cli.options import ParsedOptions
from lmchat.errors import LMChatError, WrongUse
from lmchat.files.disk import expanded_path, read_plain
from lmchat.markdown.commonmark import code_blocks
from lmchat.servers.request import AnyText
from lmchat.sessions.message import AnswerState, ChatMessage
from lmchat.terminal.output import Output
from lmchat.tools.json_schema import WantedValue
from lmchat.tools.json_text import UnfitError, strict_json

_MAX_SCHEMA_BYTES = 1024 * 1024


class CodeExtract:
    """The code blocks of an answer."""

    name = "code"  # in JSON
    retry_prompt = ""  # a second answer is not asked for

    def __init__(self) -> None:
        self.output = AnyText()  # what the request asks the server for
        self.value: str | None = None

    def read(self, answer: ChatMessage) -> LMChatError | None:
        """Keep the code blocks of an answer, also of an incomplete one, as `value`.

        Return an error if the answer is complete and has no code, else None.
        """
        self.read_stopped(answer)
        if self.value or answer.state is not AnswerState.COMPLETE:
            return None
        hint = "Ask for code in the prompt, or leave out --code to see the answer."
        return LMChatError("The answer has no code block.", kind="no_code", hint=hint)

    def read_stopped(self, answer: ChatMessage) -> None:
        """Keep the code blocks of an answer that may be incomplete as `value`; None without any."""
        fences = [block.content.rstrip("\n") for block in code_blocks(answer.text) if block.markup]
        self.value = "\n\n".join(filter(str.strip, fences)) or None

    def print(self, output: Output) -> None:
        """Print the code; print nothing if the answer had none."""
        if self.value:
            output.print_text(self.value)


class ValueExtract:
    """The JSON value of an answer."""

    name = "value"  # in JSON

    def __init__(self, schema: WantedValue) -> None:
        self.output = schema.output  # what the request asks the server for
        self.value: Any = None
        self._has_value = False  # tells a value that is None, JSON's `null`, from no value
        self._schema = schema

    @property
    def retry_prompt(self) -> str:
        """The prompt for a second answer; empty where asking again would not help."""
        return self._schema.retry_prompt()

    def read(self, answer: ChatMessage) -> LMChatError | None:
        """Keep the JSON value of a complete answer that matches the schema as `value`.

        Return an error if a complete answer has no such value. Return None if it has one, and for
        an incomplete answer, whose value is not read.
        """
        if answer.state is not AnswerState.COMPLETE:
            return None
        try:
            self.value = self._schema.value_in(
                answer.text,
                thought=answer.reasoning,
                finish_reason=answer.stats.finish_reason if answer.stats else "",
                is_refusal=bool(answer.refusal),
            )
        except LMChatError as error:
            return error
        self._has_value = True
        return None

    def read_stopped(self, answer: ChatMessage) -> None:
        """Do nothing: half a value cannot be used."""

    def print(self, output: Output) -> None:
        """Print the value as JSON; print nothing if the answer had none that matches."""
        if self._has_value:
            output.print_json(self.value)


Extract = CodeExtract | ValueExtract


def extract_of(options: ParsedOptions) -> Extract | None:
    """Return the extract that `--schema` or `--code` asks for, None without these options.

    Its value is not read yet. Raises `WrongUse` for a schema file that cannot be used.
    """
    schema = wanted_value(options)
    if schema is not None:
        return ValueExtract(schema)
    return CodeExtract() if options.code else None


def wanted_value(options: ParsedOptions) -> WantedValue | None:
    """Return the value that `--schema` asks for, None without this option.

    Raises `WrongUse` for a schema file that cannot be used.
    """
    if options.schema is None:
        return None
    schema_name = expanded_path(options.schema).stem
    return WantedValue(_read_schema(options.schema), name=schema_name)


def _read_schema(file_name: str) -> object:
    """Return the JSON in a schema file, which may be a pipe; raises `WrongUse`."""
    hint = "Correct the schema file."
    try:
        data = read_plain(expanded_path(file_name), max_bytes=_MAX_SCHEMA_BYTES, may_stream=True)
        return strict_json(data.decode("utf-8-sig"))  # a byte order mark is skipped
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        hint = "Check the path."
    except UnicodeDecodeError:
        reason = "is not UTF-8 text"
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        reason = f"is not valid JSON: {place}: {error.msg}"
    except UnfitError as error:
        reason = f"cannot be used: {error}"
    raise WrongUse(f"The schema {file_name} {reason}.", hint=hint)
