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
    output = AnyText()  # what the request asks the server for

    def __init__(self) -> None:
        self.value: str | None = None

    def read(self, answer: ChatMessage) -> LMChatError | None:
        """Keep the code blocks of an answer, also of an incomplete one, as `value`.

        Return an error if the answer is complete and has no code, else None.
        """
        fences = [block.content.rstrip("\n") for block in code_blocks(answer.text) if block.markup]
        self.value = "\n\n".join(filter(str.strip, fences)) or None
        if self.value or answer.state is not AnswerState.COMPLETE:
            return None
        hint = "Ask for code in the prompt, or leave out --code to see the answer."
        return LMChatError("The answer has no code block.", kind="no_code", hint=hint)

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
        """Keep the JSON value of an answer as `value`; nothing of an incomplete answer.

        Return an error if a complete answer has no value that matches the schema, else None.
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

    Raises `WrongUse` for a schema file, which may be a pipe, that cannot be used.
    """
    if options.schema is None:
        return None
    path = expanded_path(options.schema)
    try:
        data = read_plain(path, max_bytes=_MAX_SCHEMA_BYTES, may_stream=True)
        schema = strict_json(data.decode("utf-8-sig"))  # a byte order mark is skipped
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    except UnicodeDecodeError:
        reason = "is not UTF-8 text"
    except json.JSONDecodeError as error:
        reason = f"is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}"
    except UnfitError as error:
        reason = f"cannot be used: {error}"
    else:
        return WantedValue(schema, name=path.stem)
    raise WrongUse(f"The schema {options.schema} {reason}.", hint="Correct the schema file.")
