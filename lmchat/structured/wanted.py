"""A JSON value that is wanted of a model: how to ask for it, whether an answer holds it, how to ask again."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

from lmchat.domain.request import AnyObject, FittingValue, Output
from lmchat.errors import AnswerUnfit
from lmchat.structured.json_text import UnfitError, find_value
from lmchat.structured.schema import CHECK_S, Schema

CUT = "length"
"""The server's word for an answer that was cut at its limit."""
_UNFIT = "The answer does not fit"
_HINT = "Ask more plainly, or another model; small ones often cannot."


class WantedValue:
    """What form an answer is to have: that of a schema, or any JSON object where there is none.

    Raises:
        RequestInvalid: the schema is none.
    """

    def __init__(self, schema: object = None, *, name: str = "answer") -> None:
        self._schema = None if schema is None else Schema(schema, limit_s=CHECK_S)
        self._name = name

    @property
    def output(self) -> Output:
        """What a request asks for."""
        if self._schema is None:
            return AnyObject()
        return FittingValue(schema=self._schema.value, name=self._name)

    async def value_in(
        self, text: str, *, thought: str = "", finish_reason: str = "", is_refusal: bool = False
    ) -> Any:
        """Return the value that an answer holds.

        Raises:
            AnswerUnfit: it holds none that fits.
        """
        try:
            # in a thread: it takes time, and may wait for another process
            return await asyncio.to_thread(self._value, text, thought)
        except asyncio.CancelledError:
            if self._schema is not None:
                self._schema.stop()
            raise
        except UnfitError as error:
            if is_refusal:
                raise AnswerUnfit("The model refused, so there is no JSON value.") from error
            if finish_reason == CUT:
                raise AnswerUnfit(
                    f"The answer is cut short, so it does not fit: {error}.",
                    hint="Raise max_tokens, or ask a model with a larger context.",
                ) from error
            raise AnswerUnfit(f"{_UNFIT}: {error}.", hint=_HINT) from error

    def repair(self, error: AnswerUnfit) -> str:
        """Return what to say to a model whose answer does not fit, with all that it has to know.

        Empty where asking again would end in the same way: after a refusal, and where the answer was cut.
        """
        if not error.message.startswith(_UNFIT):
            return ""
        why = error.message.removeprefix(f"{_UNFIT}: ")
        form = "one JSON object" if self._schema is None else "one JSON value that fits the schema below"
        schema = "" if self._schema is None else "\n\n" + json.dumps(self._schema.value, ensure_ascii=False)
        return (
            f"Your answer does not fit: {why} Answer again with {form}, and with nothing else: "
            f"no explanation, no code fence.{schema}"
        )

    def _value(self, text: str, thought: str) -> Any:
        if thought and not text.strip():
            # a model that is held to a schema cannot think: LM Studio and vLLM take its answer for thought
            with suppress(UnfitError):
                return self._fitting(thought)
        return self._fitting(text)

    def _fitting(self, text: str) -> Any:
        until_s = time.monotonic() + CHECK_S  # for all of them: an answer may hold several that take long
        value = find_value(text, lambda one: time.monotonic() < until_s and not self._misfit(one))
        if why := self._misfit(value):
            raise UnfitError(why)
        return value

    def _misfit(self, value: object) -> str:
        if self._schema is not None:
            return self._schema.misfit(value)
        return "" if isinstance(value, dict) else "it is no JSON object"


def second(error: AnswerUnfit) -> AnswerUnfit:
    """Return the error of an answer that was asked for twice."""
    message = error.message.replace(f"{_UNFIT}:", f"{_UNFIT}, also at the second try:", 1)
    return AnswerUnfit(message, hint=error.hint)
