"""Checks before a request is sent: model, messages, hosts, size, requests per minute."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter

from lmchat.errors import BodyTooLarge, LMChatError, RequestInvalid, TooManyRequests
from lmchat.metrics import RateLimit
from lmchat.safe_text import safe_line
from lmchat.servers.access import Access
from lmchat.servers.http.json_values import encode
from lmchat.servers.products import no_model_selected, too_many_requests
from lmchat.servers.request import ChatRequest, ForwardedRequest, tool_in_request
from lmchat.servers.sending.prepared_request import PreparedRequest
from lmchat.sessions.message import ChatMessage, Role
from lmchat.token_estimate import raw_tokens
from lmchat.units import counted

_WINDOW_S = 60.0
_BASE64_GROWTH = 4 / 3  # of an image in a request
_logger = logging.getLogger(__name__)


class Limiter:
    """Limit of requests in the last 60 seconds; 0: no limit."""

    def __init__(self, limit: int, *, section: str = "limits") -> None:
        """`section` of the configuration has the limit, for a next step."""
        self._limit = limit
        self._section = section
        self._times: deque[float] = deque()  # oldest first

    def count_request(self, product: str) -> None:
        """Raise `TooManyRequests`."""
        if self._limit == 0:
            return
        if self.rate_limit().left > 0:
            self._times.append(time.monotonic())
            return
        # until the oldest request leaves the window; at least 1 s, not "in 0 s"
        wait_s = max(math.ceil(self._times[0] + _WINDOW_S - time.monotonic()), 1)
        raise TooManyRequests(
            f"{too_many_requests(product)}: the limit is {self._limit} a minute; "
            f"try again in {wait_s} s.",
            wait_s=wait_s,
            next_step=f"Wait, or raise requests_per_minute under [{self._section}].",
        )

    def rate_limit(self) -> RateLimit:
        while self._times and self._times[0] <= time.monotonic() - _WINDOW_S:
            self._times.popleft()
        return RateLimit(left=self._limit - len(self._times), limit=self._limit)


def check_request(request: ChatRequest) -> None:
    """Raise `RequestInvalid` for the first wrong part.

    Each message needs a text or a file. The last one may have reasoning alone, which the model
    continues.
    """
    if not request.target.model_id:
        sentence = no_model_selected(request.target.product)
        raise RequestInvalid(sentence, next_step="Choose a model.")
    if not request.target.model_id.strip():
        raise RequestInvalid("Invalid model parameter: a model name must be a text.")

    if not request.messages:
        raise RequestInvalid("Invalid messages array: at least one message is needed.")
    last = request.messages[-1]
    for position, message in enumerate(request.messages, 1):
        is_continued = message is last and last.role is Role.ASSISTANT and bool(last.reasoning)
        has_content = message.sent_text or message.files or is_continued
        if not has_content:
            raise RequestInvalid(f"Invalid message content: message {position} has no text.")


def check_size(prepared: PreparedRequest, limit_mb: float) -> None:
    """Raise `BodyTooLarge`, which names the largest message or tool.

    Images have limits of their own.
    """
    request = prepared.request
    image_bytes = 0
    # of each message with its text files, which the user can shorten
    sizes: list[tuple[int, str, str]] = []
    for number, message in enumerate(request.messages, 1):
        message_bytes = len(message.sent_text.encode(errors="replace"))
        for part in message.files:
            file_bytes = len(request.files.get(part.digest, b""))
            if part.is_image:
                image_bytes += file_bytes
            else:
                message_bytes += file_bytes
        place = f"message is number {number} of {len(request.messages)}"
        sizes.append((message_bytes, place, "Shorten that message"))
    for tool in request.tools:
        place = f"part is the tool {safe_line(tool.full_name, limit=80)}"
        sizes.append((len(encode(tool_in_request(tool))), place, "Chat without that tool"))
    size_bytes = len(prepared.body) - image_bytes * _BASE64_GROWTH
    if size_bytes <= limit_mb * 1e6:
        return
    _, place, step = max(sizes, key=itemgetter(0))
    raise BodyTooLarge(
        f"The request is {size_bytes / 1e6:.4g} MB; the limit is {limit_mb:g} MB. "
        f"Its largest {place}.",
        next_step=f"{step}, or raise max_body_mb under [limits].",
    )


def largest_part(request: ChatRequest, *, otherwise: str = "") -> str:
    """Say which part of a request is the largest, and how to make it smaller.

    `otherwise` is another way, but not for the limit of the answer.
    """
    messages = request.messages
    prompts = [index for index, one in enumerate(messages) if one.role is Role.USER]
    start = max(prompts, default=0)
    earlier = [one for one in messages[:start] if one.role is not Role.SYSTEM]
    results = [one for one in messages[start:] if one.role is Role.TOOL]
    parts: dict[str, tuple[str, Sequence[ChatMessage]]] = {
        "the system prompt": (
            "Shorten the system prompt",
            [one for one in messages if one.role is Role.SYSTEM],
        ),
        counted(len(earlier), "earlier message"): ("Start a new session", earlier),
        "the prompt with its files" if messages[start].files else "the prompt": (
            "Shorten the prompt",
            messages[start : start + 1],
        ),
        f"{counted(len(results), 'result')} of tools": ("Ask for less at once", results),
        "the answer so far": (
            "Start a new session",
            [one for one in messages[start:] if one.role is Role.ASSISTANT],
        ),
    }
    sizes = [(sum(map(_tokens, of_part)), name, step) for name, (step, of_part) in parts.items()]
    tools = encode([tool_in_request(tool) for tool in request.tools]).decode()
    tools_step = "Use fewer tools: /tools switches them off"
    sizes.append((raw_tokens(tools), counted(len(request.tools), "tool"), tools_step))
    tokens, name, step = max(sizes)
    step += otherwise
    if (max_tokens := request.sampling.max_tokens or 0) > tokens:
        tokens, name, step = max_tokens, "max_tokens", "Lower max_tokens"
    return f"The largest part is {name}, about {round(tokens)} tokens. {step}."


def _tokens(message: ChatMessage) -> float:
    return raw_tokens(message.sent_text) + sum(part.tokens for part in message.files)


class RequestChecks:
    """All checks before a request is sent; refused requests are counted."""

    def __init__(self, access: Access) -> None:
        self._access = access
        settings = access.settings
        self.limiter = Limiter(settings.limits.requests_per_minute)
        self._forward_limiter = Limiter(settings.serve.requests_per_minute, section="serve")

    def admit(self, prepared: PreparedRequest) -> None:
        """Raise `LMChatError`."""
        request = prepared.request
        with self._refusals_counted(logged_name="chat"):
            check_request(request)
            self._access.allowed.check(request.target.endpoint)
            check_size(prepared, self._access.settings.limits.max_body_mb)
            # a command that sends many requests to this machine would soon reach the limit
            if not (request.is_batch and request.target.endpoint.is_loopback):
                self.limiter.count_request(request.target.product)

    def admit_forwarded(self, request: ForwardedRequest) -> None:
        """Raise `LMChatError`; the size was checked when it was read."""
        with self._refusals_counted(logged_name="forwarded"):
            self._access.allowed.check(request.model.endpoint)
            self._forward_limiter.count_request(request.model.product)

    @contextmanager
    def _refusals_counted(self, logged_name: str) -> Iterator[None]:
        """Log no content of the request."""
        try:
            yield
        except LMChatError as error:
            self._access.counters.add(refused_requests=1)
            _logger.info("%s request refused: %s", logged_name, error.kind)
            raise
