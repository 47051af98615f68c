"""What a program gives along with a prompt, and what it gets back."""

from __future__ import annotations

from typing import Any, TypedDict

from msgspec import Struct

from lmchat.domain.message import ChatMessage, Receipt, Role, ToolCallPart, text_message


class Options(TypedDict, total=False):
    """How to choose words; what is left out is not sent."""

    temperature: float | None
    """0 to 2."""
    top_p: float | None
    """0 to 1."""
    max_tokens: int | None
    """Longest answer."""
    stop: tuple[str, ...]
    """Texts that end the answer."""
    seed: int | None
    """For answers that repeat, where the server can."""
    reasoning_effort: str
    """How much to think: `none` to `max`, where server and model can."""
    keep_loaded_s: int | None
    """How long the model stays in memory unused, where a request can say so."""


class Answer(Struct, frozen=True, kw_only=True):
    """A whole answer."""

    text: str
    """What is said, without reasoning."""
    reasoning: str
    """What the model thought before it answered."""
    refusal: str = ""
    """What of `text` are the words in which the model refuses to answer."""
    tool_calls: tuple[ToolCallPart, ...]
    """The tools it asked for; lmchat runs none."""
    model: str
    """The model that answered, as the server named it."""
    endpoint: str
    """URL of the server that answered."""
    finish_reason: str
    """Why it ended, in the server's word; empty where it said nothing."""
    receipt: Receipt
    """Tokens, times and tries."""

    @property
    def message(self) -> ChatMessage:
        """The answer as a message, to go on with."""
        return text_message(Role.ASSISTANT, self.text)


class JsonAnswer(Struct, frozen=True, kw_only=True):
    """An answer that is a JSON value."""

    value: Any
    """It, as Python has it."""
    answer: Answer
    """The answer that held it."""
    first_misfit: str = ""
    """What was wrong with the first answer, where it had to be asked for twice."""
