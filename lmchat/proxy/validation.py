"""Checks of a chat request before anything else happens; scripts rely on the texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.request import ChatRequest, HowToLoad, Sampling
from lmchat.errors import BodyTooLarge, RequestInvalid
from lmchat.proxy.json_values import number

MAX_MODEL_CHARS = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LARGEST = 2**63 - 1
"""Of the whole numbers that servers read."""
_RANGES = {"temperature": (0.0, 2.0), "top_p": (0.0, 1.0)}


def check_request(request: ChatRequest) -> None:
    """Refuse a request that no server could answer.

    Raises:
        RequestInvalid: naming the part that is wrong.
    """
    _check_model(request.model)
    _check_messages(request.messages)
    _check_sampling(request.sampling)


def check_how_to_load(how: HowToLoad) -> None:
    """Refuse to load a model in a way that makes no sense.

    Raises:
        RequestInvalid: naming the part that is wrong.
    """
    for name in ("context", "keep_loaded_s"):
        value = getattr(how, name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise RequestInvalid(f"{name} has to be a whole number of at least 1")


def check_size(body: bytes, messages: Sequence[ChatMessage], limit_mb: float) -> None:
    """Refuse a body that is larger than the limit.

    Raises:
        BodyTooLarge: naming the size and the largest message.
    """
    if len(body) <= limit_mb * 1e6:
        return
    sizes = [len(message.text.encode("utf-8", "replace")) for message in messages]
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    raise BodyTooLarge(
        f"The request has {len(body) / 1e6:.1f} MB, {limit_mb:g} MB are allowed; message {largest + 1} "
        f"({messages[largest].role.value}) alone has {sizes[largest] / 1e6:.1f} MB.",
        hint="Shorten that message, or raise max_body_mb under [limits].",
    )


def _check_model(model: object) -> None:
    if model == "":
        raise RequestInvalid("No LM Studio model selected", hint="Choose a model.")
    if (
        not isinstance(model, str)
        or not model.strip()
        or len(model) > MAX_MODEL_CHARS
        or _CONTROL.search(model)
    ):
        raise RequestInvalid("Invalid model parameter: the name of a model is one line of text")


def _check_messages(messages: object) -> None:
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise RequestInvalid("Invalid messages array: there has to be at least one message")
    for place, message in enumerate(messages, 1):
        if not isinstance(message, ChatMessage):
            raise RequestInvalid(f"Invalid messages array: entry {place} is not a message")
        if message.role not in set(Role):
            raise RequestInvalid(f"Invalid message role: of message {place}")
        try:
            content: object = message.text
        except TypeError:
            content = None
        goes_on_thinking = place == len(messages) and message.role is Role.ASSISTANT and message.reasoning
        if not isinstance(content, str) or not (content or goes_on_thinking):
            raise RequestInvalid(f"Invalid message content: message {place} holds no text")


def _check_sampling(sampling: Sampling) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(sampling, name)
        if value is None:
            continue
        figure = number(value)
        if figure is None or not low <= figure <= high:
            raise RequestInvalid(f"{name} has to be between {low:g} and {high:g}")
    _check_whole("max_tokens", sampling.max_tokens, least=1)
    _check_whole("keep_loaded_s", sampling.keep_loaded_s, least=1)
    _check_whole("seed", sampling.seed)
    stop: object = sampling.stop
    if not isinstance(stop, tuple | list) or not all(isinstance(one, str) for one in stop):
        raise RequestInvalid("stop has to be a tuple of texts")
    effort: object = sampling.reasoning_effort
    if not isinstance(effort, str):
        raise RequestInvalid("reasoning_effort has to be a word, as none, low or high")


def _check_whole(name: str, value: object, *, least: int | None = None) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST:
        raise RequestInvalid(f"{name} has to be a whole number")
    if least is not None and value < least:
        raise RequestInvalid(f"{name} has to be at least {least}")
