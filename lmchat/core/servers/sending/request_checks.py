"""Checks before a request is sent: model, messages, hosts, size, requests per minute."""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.base.errors import BodyTooLarge, LMChatError, RequestInvalid, TooManyRequests
from lmchat.base.json_values import encode
from lmchat.base.metrics import RateLimit
from lmchat.base.safe_text import safe_line
from lmchat.base.token_estimate import raw_tokens
from lmchat.base.units import counted
from lmchat.core.servers.access import Access
from lmchat.core.servers.products import no_model_selected, too_many_requests
from lmchat.core.servers.request import ChatRequest, ForwardedRequest, Sampling, tool_in_request
from lmchat.core.servers.sending.prepared_request import PreparedRequest
from lmchat.core.sessions.message import Role

_WINDOW_S = 60.0
_BASE64_GROWTH = 4 / 3  # of an image in a request
_EARLIER = ("the earlier messages", "Start a new session")
_PARTS = {
    Role.SYSTEM: ("the system prompt", "Shorten the system prompt"),
    Role.USER: ("the prompt", "Shorten the prompt or attach less"),
    Role.TOOL: ("the results of tools", "Ask for less at once"),
    Role.ASSISTANT: ("the answer so far", "Start a new session"),
}
"""Parts of a request by the roles of their messages, and how to make each smaller."""
_logger = logging.getLogger(__name__)


class Limiter(Struct, eq=False):
    """Limit of requests in the last 60 seconds; 0: no limit."""

    limit: int
    section: str = "limits"  # of the configuration, which has the limit
    _times: deque[float] = field(default_factory=deque)  # oldest first

    def count_request(self, product: str) -> None:
        """Raise `TooManyRequests`."""
        if self.limit == 0:
            return
        if self.rate_limit().left > 0:
            self._times.append(time.monotonic())
            return
        # until the oldest request leaves the window; at least 1 s, not "in 0 s"
        wait_s = max(math.ceil(self._times[0] + _WINDOW_S - time.monotonic()), 1)
        raise TooManyRequests(
            f"{too_many_requests(product)}: the limit is {self.limit} a minute; "
            f"try again in {wait_s} s.",
            wait_s=wait_s,
            next_step=f"Wait, or raise requests_per_minute under [{self.section}].",
        )

    def rate_limit(self) -> RateLimit:
        while self._times and self._times[0] <= time.monotonic() - _WINDOW_S:
            self._times.popleft()
        return RateLimit(left=self.limit - len(self._times), limit=self.limit)


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
    """Raise `BodyTooLarge`, which names the largest part. Images have limits of their own."""
    request = prepared.request
    files = (part for message in request.messages for part in message.files if part.is_image)
    image_bytes = sum(len(request.files.get(part.digest, b"")) for part in files)
    size_bytes = len(prepared.body) - image_bytes * _BASE64_GROWTH
    if size_bytes > limit_mb * 1e6:
        raise BodyTooLarge(
            f"The request is {size_bytes / 1e6:.4g} MB; the limit is {limit_mb:g} MB.",
            next_step=largest_part(
                replace(request, sampling=Sampling()),
                otherwise=", or raise max_body_mb under [limits]",
            ),
        )


def largest_part(request: ChatRequest, *, otherwise: str) -> str:
    """Say which part of a request is the largest, and how to make it smaller.

    `otherwise` is another way, but not for the limit of the answer.
    """
    names = [safe_line(tool.full_name, limit=80) for tool in request.tools]
    tools = f"the tool {names[0]}" if len(names) == 1 else counted(len(names), "tool")
    schemas = [encode(tool_in_request(tool)).decode() for tool in request.tools]
    sizes: defaultdict[tuple[str, str], float] = defaultdict(float)
    sizes[tools, "Use fewer tools: /tools switches them off"] = sum(map(raw_tokens, schemas))
    start = request.prompt_index
    for index, message in enumerate(request.messages):
        is_earlier = index < start and message.role is not Role.SYSTEM
        part = _EARLIER if is_earlier else _PARTS[message.role]
        sizes[part] += raw_tokens(message.sent_text) + sum(file.tokens for file in message.files)
    (name, step), tokens = max(sizes.items(), key=itemgetter(1))
    step += otherwise
    if (max_tokens := request.sampling.max_tokens or 0) > tokens:
        name = "max_tokens"
        step = "Lower max_tokens"
        tokens = max_tokens
    return f"The largest part is {name}, about {round(tokens)} tokens. {step}."


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
