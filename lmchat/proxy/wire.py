"""The body of a chat request: what every server knows, what this one knows, without what it refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.request import ChatRequest, Output
from lmchat.errors import ServerRejected
from lmchat.proxy.json_modes import (
    LADDER,
    JsonMode,
    is_refused,
    is_unknown,
    mode_for,
    response_format,
    with_words,
)
from lmchat.proxy.json_values import encode, without_surrogates

_WORDS_FOR = {"reasoning_effort": "reasoning|thinking", "reasoning": "thinking"}
"""What a refusal calls a field where it does not name it."""
_REFUSES_FIELDS = (400, 422)
_UNWANTED = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra|not (permitted|allowed)|forbidden"
    r"|additional prop|deprecated|instead|use \W?max_",
    re.IGNORECASE,
)
"""That a field itself is refused; others speak of its value, as where a prompt and its answer do not fit."""


class Dialect(Struct, frozen=True, kw_only=True):
    """Which of two ways one server wants; learnt from its refusals (R-13)."""

    has_completion_tokens: bool = False
    """Whether the limit is called `max_completion_tokens`."""
    has_stream_options: bool = True
    """Whether usage may be asked for."""
    dropped: frozenset[tuple[str, str]] = frozenset()
    """Fields of the product with the values that it refused; they are not sent any more."""
    json_modes: tuple[JsonMode, ...] = LADDER
    """How JSON may be asked for."""
    unfit_modes: frozenset[JsonMode] = frozenset()
    """Of these, what this server does not take for the schema of one request."""
    starts_in_thought: bool = False
    """Whether an answer begins in the middle of a thought, because the template opens it (R-17)."""

    def after(
        self, error: ServerRejected, *, has_limit: bool = True, fields: Mapping[str, Any] | None = None
    ) -> Dialect | None:
        """Return the way to try after a refusal; None where it is not about a field that can be changed.

        `fields` are those of the product that were sent.
        """
        if error.status not in _REFUSES_FIELDS or error.kind != "bad_request":
            return None
        words = f"{error.message} {error.details} {error.param}"
        if self.has_stream_options and ("stream_options" in words or "include_usage" in words):
            return replace(self, has_stream_options=False)
        if has_limit and _UNWANTED.search(words) and re.search(rf"\b{self.limit}\b", words):
            return replace(self, has_completion_tokens=not self.has_completion_tokens)
        named = {(name, str(value)) for name, value in (fields or {}).items() if _names(name, words)}
        return replace(self, dropped=self.dropped | named) if named - self.dropped else None

    def after_json(self, error: ServerRejected, output: Output) -> Dialect | None:
        """Return the way to try after a refusal of how JSON was asked for; None where it is not that."""
        mode = self.json_mode(output)
        if mode is JsonMode.WORDS or not is_refused(error):
            return None
        if is_unknown(error):
            return replace(self, json_modes=tuple(one for one in self.json_modes if one is not mode))
        return replace(self, unfit_modes=self.unfit_modes | {mode})

    def json_mode(self, output: Output) -> JsonMode:
        """Return how a form is asked for."""
        return mode_for(output, tuple(one for one in self.json_modes if one not in self.unfit_modes))

    def kept(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of the product that it has not refused."""
        return {name: value for name, value in fields.items() if (name, str(value)) not in self.dropped}

    @property
    def limit(self) -> str:
        """What the longest answer is called."""
        return "max_completion_tokens" if self.has_completion_tokens else "max_tokens"


def encode_request(request: ChatRequest, fields: Mapping[str, Any], dialect: Dialect) -> bytes:
    """Return the body as it is sent."""
    return encode(body_of(request, fields, dialect))


def body_of(request: ChatRequest, fields: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Return the body; `fields` are the product's own. What the user has not set is not sent."""
    sampling, output = request.sampling, request.output
    mode = dialect.json_mode(output)
    told = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        dialect.limit: sampling.max_tokens,
        "stop": [without_surrogates(stop) for stop in sampling.stop] or None,
    }
    return {
        "model": without_surrogates(request.model),
        "messages": _messages(with_words(request.messages, output, mode)),
        "stream": True,
        **({"stream_options": {"include_usage": True}} if dialect.has_stream_options else {}),
        **{name: value for name, value in told.items() if value is not None},
        **response_format(output, mode),
        **dialect.kept(fields),
    }


def _names(field: str, words: str) -> bool:
    """Whether a refusal is about a field."""
    names = "|".join(filter(None, (field, _WORDS_FOR.get(field))))
    return re.search(rf"\b({names})\b", words, re.IGNORECASE) is not None


def _messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Return all that was said; of thoughts only that of an answer which the server goes on with."""
    told: list[dict[str, Any]] = [_message(message) for message in messages]
    if messages and messages[-1].role is Role.ASSISTANT and (thought := messages[-1].reasoning):
        told[-1]["reasoning_content"] = without_surrogates(thought)
    return told


def _message(message: ChatMessage) -> dict[str, Any]:
    return {"role": message.role.value, "content": without_surrogates(message.text)}
