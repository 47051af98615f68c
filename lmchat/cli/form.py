"""What `ask` is to print of an answer where that is not all of it: a JSON value, or the code."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

from msgspec import Struct

from lmchat.cli.options import Options
from lmchat.cli.output import Output
from lmchat.domain.message import ChatMessage
from lmchat.domain.request import AnyText
from lmchat.domain.request import Output as Wish
from lmchat.errors import AnswerUnfit, LMChatError, WrongUse
from lmchat.files import path_of, read_plain
from lmchat.structured.fences import code_blocks

MAX_FILE_BYTES = 1 << 20


class Taken(Struct, frozen=True, kw_only=True):
    """What was taken out of an answer."""

    value: Any = None
    """It; also JSON's `null` is one."""
    has_value: bool = False
    """Whether there is one."""
    error: LMChatError | None = None
    """Why there is none, where the answer itself is whole."""


class Form(ABC):
    """One form of answers."""

    name: str
    """What it is called in JSON."""
    output: Wish
    """What a server is asked for."""

    @abstractmethod
    async def take(self, answer: ChatMessage) -> Any:
        """Take it out of a whole answer.

        Raises:
            LMChatError: it is not in there.
        """

    def rest(self, answer: ChatMessage) -> Taken:  # noqa: ARG002 - for those that override it
        """Take out of an answer that broke off what is of use."""
        return Taken()

    def repair(self, error: LMChatError) -> str:  # noqa: ARG002 - for those that override it
        """Return what to say to a model whose answer lacks it; empty where that would not help."""
        return ""

    @abstractmethod
    def show(self, value: Any, output: Output) -> None:
        """Print it alone."""


class CodeForm(Form):
    """The code that stands between fences."""

    name = "code"
    output = AnyText()

    async def take(self, answer: ChatMessage) -> str:
        """Join the blocks by an empty line."""
        code = "\n\n".join(code_blocks(answer.text))
        if not code:
            raise LMChatError(
                "The answer has no code between fences.",
                kind="no_code",
                hint="Ask for code, or leave out --code to see the answer.",
            )
        return code

    def rest(self, answer: ChatMessage) -> Taken:
        """What came of the code is as good as what came of an answer."""
        code = "\n\n".join(code_blocks(answer.text))
        return Taken(value=code, has_value=True) if code else Taken()

    def show(self, value: str, output: Output) -> None:
        """Print it as text."""
        output.text(value)


class ValueForm(Form):
    """The JSON value that fits a schema."""

    name = "value"

    def __init__(self, schema: object, name: str) -> None:
        from lmchat.structured.wanted import WantedValue

        self._wanted = WantedValue(schema, name=name)
        self.output = self._wanted.output

    async def take(self, answer: ChatMessage) -> Any:
        """Find it, and hold it against the schema."""
        return await self._wanted.value_in(
            answer.text,
            thought=answer.reasoning,
            finish_reason=answer.receipt.finish_reason if answer.receipt else "",
            is_refusal=bool(answer.refusal),
        )

    def repair(self, error: LMChatError) -> str:
        """Say what does not fit."""
        return self._wanted.repair(error) if isinstance(error, AnswerUnfit) else ""

    def show(self, value: Any, output: Output) -> None:
        """Print it as JSON."""
        output.document(value)


def form_of(options: Options) -> Form | None:
    """Return what of an answer is wanted; None: all of it.

    Raises:
        WrongUse, FileRefused, RequestInvalid: that cannot be had.
    """
    if options.schema is None:
        return CodeForm() if options.code else None
    if options.code:
        raise WrongUse(
            "--schema and --code each want something else of the answer.", hint="Give one of them."
        )
    path = path_of(options.schema)
    return ValueForm(_schema_in(options.schema), path.stem)


def _schema_in(name: str) -> object:
    from lmchat.structured.json_text import UnfitError, strict_json

    try:
        text = read_plain(path_of(name), limit=MAX_FILE_BYTES, may_stream=True).decode("utf-8-sig")
        return strict_json(text)
    except OSError as error:
        raise WrongUse(f"The schema {name} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError:
        raise WrongUse(f"The schema {name} is no text in UTF-8.") from None
    except json.JSONDecodeError as error:
        why = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise WrongUse(f"The schema {name} is no JSON: {why}.") from None
    except UnfitError as error:
        raise WrongUse(f"The schema {name} cannot be used: {error}.") from None
