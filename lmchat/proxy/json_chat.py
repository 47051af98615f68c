"""A chat that ends in a JSON value: asked for, checked, and asked for once more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from lmchat.domain.message import ChatMessage, Role, text_message
from lmchat.domain.request import Output
from lmchat.errors import AnswerUnfit
from lmchat.proxy.whole_answer import Answer, JsonAnswer
from lmchat.structured.wanted import WantedValue, second

Ask = Callable[[tuple[ChatMessage, ...], Output], Awaitable[Answer]]
"""Puts messages to a model, and what form its answer is to have."""


async def fitting_answer(
    ask: Ask, messages: tuple[ChatMessage, ...], schema: object, name: str
) -> JsonAnswer:
    """Return the value that a model answers with.

    Raises:
        RequestInvalid: the schema is none.
        AnswerUnfit: the second answer does not fit either.
    """
    # in a thread: the library is imported, and a large schema takes a second
    wanted = await asyncio.to_thread(lambda: WantedValue(schema, name=name))
    answer = await ask(messages, wanted.output)
    try:
        return JsonAnswer(value=await _value(wanted, answer), answer=answer)
    except AnswerUnfit as error:
        again = wanted.repair(error)
        if not again:
            raise
        misfit = error.message
    said = (answer.message,) if answer.text.strip() else ()
    repaired = await ask((*messages, *said, text_message(Role.USER, again)), wanted.output)
    try:
        return JsonAnswer(value=await _value(wanted, repaired), answer=repaired, first_misfit=misfit)
    except AnswerUnfit as error:
        raise second(error) from error


async def _value(wanted: WantedValue, answer: Answer) -> Any:
    return await wanted.value_in(
        answer.text,
        thought=answer.reasoning,
        finish_reason=answer.finish_reason,
        is_refusal=bool(answer.refusal),
    )
