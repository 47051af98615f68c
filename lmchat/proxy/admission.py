"""Checks of a request before anything is sent, the allow-list and the limits."""

from __future__ import annotations

import logging
import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address

from msgspec.structs import replace

from lmchat.config.settings import Settings
from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.product import Product
from lmchat.domain.request import ChatRequest, Sampling
from lmchat.domain.server import Endpoint
from lmchat.domain.telemetry import Budget, Metrics
from lmchat.errors import (
    BodyTooLarge,
    EndpointNotAllowed,
    LMChatError,
    RequestInvalid,
    TooManyRequests,
)
from lmchat.proxy.json_values import number
from lmchat.proxy.servers import SERVERS

_log = logging.getLogger(__name__)
_PROVIDERS = frozenset(host for server in SERVERS for host in server.hosts)


class AllowList:
    """Compares parsed hosts and ports, never strings of addresses."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._hosts = set(map(_parsed, hosts))

    def allow(self, host: str) -> None:
        """Add "host" (any port) or "host:port"; raises `EndpointNotAllowed` where it is neither."""
        self._hosts.add(_parsed(host))

    def check(self, endpoint: Endpoint) -> None:
        # An endpoint may have been built by hand: only one that reads back as itself is what it says.
        if Endpoint.parse(endpoint.base_url) != endpoint:
            raise EndpointNotAllowed("Endpoint not allowed: write it as http://HOST:PORT.")
        host = _canonical(endpoint.host)
        if endpoint.scheme == "http" and host in _PROVIDERS:
            raise RequestInvalid(
                f"Endpoint not allowed: {host} accepts only https, because http would expose the API key.",
                hint=f"Write https://{host} in the address.",
                kind="insecure",
            )
        if endpoint.is_loopback or {(host, None), (host, endpoint.port)} & self._hosts:
            return
        hint = "Check the address, or add the host to allowed_hosts in config.toml."
        raise EndpointNotAllowed(
            f"Endpoint not allowed: Endpoint must be localhost, "
            f"or be allowed by --allow-host {endpoint.host}",
            hint=f"Write http://127.0.0.1:{endpoint.host}." if endpoint.host.isdecimal() else hint,
        )


def _parsed(text: str) -> tuple[str, int | None]:
    host = text.strip().lower()
    if not host.startswith("[") and host.count(":") > 1:  # a bare IPv6 address has no port
        host = f"[{host}]"
    endpoint = Endpoint.parse(f"http://{host}")
    if endpoint.path != "/v1" or "/" in host:
        shown = (
            "that" if "@" in text else f'"{text}"'
        )  # what stands before the sign may be a password
        hint = "Correct it in allowed_hosts or --allow-host, for example: gpu.lan:8080"
        raise EndpointNotAllowed(
            f"Endpoint not allowed: {shown} is not a host or host:port.", hint=hint
        )
    port = host.rpartition("]")[2].partition(":")[2]
    return _canonical(endpoint.host), int(port) if port else None


def _canonical(host: str) -> str:
    try:
        return ip_address(host).compressed
    except ValueError:
        return host


TOO_MANY = "Too many requests to LMStudio, please try again later"
CHAT = "chat"
LOOK = "look"
LOOKS_PER_MINUTE = 240  # a check every 5 s takes 12 of them
_WINDOW_S = 60.0


class Limiter:
    """Moving windows of a minute for chat, and for health, models and counting."""

    def __init__(self, requests_per_minute: int) -> None:
        self._limits = {CHAT: requests_per_minute, LOOK: LOOKS_PER_MINUTE}
        self._taken: dict[str, deque[float]] = {CHAT: deque(), LOOK: deque()}

    def take(self, purpose: str, product: Product = Product.LM_STUDIO) -> None:
        """Take one request from a budget, or raise `TooManyRequests`."""
        taken, limit = self._recent(purpose), self._limits[purpose]
        if len(taken) < limit:
            taken.append(time.monotonic())
            return
        wait_s = max(math.ceil(taken[0] + _WINDOW_S - time.monotonic()), 1)
        raise TooManyRequests(
            f"{product.in_text(TOO_MANY)}: the limit is {limit} a minute; try again in {wait_s} s.",
            wait_s=wait_s,
            hint="Wait, or raise requests_per_minute under [limits].",
        )

    def budget(self) -> Budget:
        limit = self._limits[CHAT]
        return Budget(left=limit - len(self._recent(CHAT)), limit=limit)

    def _recent(self, purpose: str) -> deque[float]:
        """Return the times of the requests in the window, oldest first."""
        taken = self._taken[purpose]
        while taken and taken[0] <= time.monotonic() - _WINDOW_S:
            taken.popleft()
        return taken


MAX_MODEL_CHARS = 1024
_BASE64 = 4 / 3  # growth of an image in a request
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LARGEST = 2**63 - 1  # largest whole number that servers read
_RANGES = {"temperature": (0.0, 2.0), "top_p": (0.0, 1.0)}


def check_request(request: ChatRequest, *, is_listed: bool = False) -> None:
    """Raise `RequestInvalid` naming the part that is wrong; a name that the server lists never is."""
    if not is_listed:
        _check_model(request.model, request.product)
    _check_messages(request.messages)
    _check_sampling(request.sampling)


def check_size(
    body: bytes, messages: Sequence[ChatMessage], limit_mb: float, *, attached_bytes: int = 0
) -> None:
    """Raise `BodyTooLarge` naming the size and the largest message; attached files have their own limits."""
    size = len(body) - attached_bytes * _BASE64
    if size <= limit_mb * 1e6:
        return
    sizes = [len(message.sent_text.encode("utf-8", "replace")) for message in messages]
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    raise BodyTooLarge(
        f"The request is {size / 1e6:.1f} MB; the limit is {limit_mb:g} MB. Message {largest + 1} "
        f"({messages[largest].role.value}) alone is {sizes[largest] / 1e6:.1f} MB.",
        hint="Shorten that message, or raise max_body_mb under [limits].",
    )


def _check_model(model: object, product: Product) -> None:
    if model == "":
        raise RequestInvalid(product.in_text("No LM Studio model selected"), hint="Choose a model.")
    is_name = isinstance(model, str) and model.strip() and len(model) <= MAX_MODEL_CHARS
    if not is_name or _CONTROL.search(str(model)):
        raise RequestInvalid("Invalid model parameter: a model name must be one line of text.")


def _check_messages(messages: Sequence[ChatMessage]) -> None:
    if not messages:
        raise RequestInvalid("Invalid messages array: at least one message is needed.")
    last = messages[-1]
    goes_on_thinking = last.role is Role.ASSISTANT and last.reasoning
    for place, message in enumerate(messages, 1):
        if not (message.sent_text or message.files) and not (goes_on_thinking and message is last):
            raise RequestInvalid(f"Invalid message content: message {place} has no text.")


def _check_sampling(sampling: Sampling) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(sampling, name)
        figure = number(value)
        if value is not None and (figure is None or not low <= figure <= high):
            raise RequestInvalid(f"{name} must be between {low:g} and {high:g}.")
    _check_whole("max_tokens", sampling.max_tokens, least=1)
    _check_whole("keep_loaded_s", sampling.keep_loaded_s, least=1)
    _check_whole("seed", sampling.seed)


def _check_whole(name: str, value: object, *, least: int | None = None) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST:
        raise RequestInvalid(f"{name} must be a whole number.")
    if least is not None and value < least:
        raise RequestInvalid(f"{name} must be at least {least}.")


class Admission:
    """Checks before anything is sent: validate, allow-list, size, limiter. The log has no content."""

    def __init__(self, settings: Settings) -> None:
        self._max_body_mb = settings.limits.max_body_mb
        self.allowed = AllowList(settings.allowed_hosts)
        self.limiter = Limiter(settings.limits.requests_per_minute)
        self.metrics = Metrics()

    def count(self, **counts: float) -> None:
        """Add to the metrics, by their names."""
        self.metrics = replace(
            self.metrics,
            **{name: getattr(self.metrics, name) + count for name, count in counts.items()},
        )

    def check(self, endpoint: Endpoint) -> None:
        """Ask the allow-list alone, for what may be answered without a request."""
        with _step(LOOK, "allow-list"):
            self.allowed.check(endpoint)

    def take_probe(self, product: Product = Product.LM_STUDIO) -> None:
        """Take one request for health or models from their budget, or raise `TooManyRequests`."""
        with _step(LOOK, "limiter"):
            self.limiter.take(LOOK, product)

    def admit(
        self,
        request: ChatRequest,
        encode: Callable[[ChatRequest], bytes],
        *,
        is_listed: bool,
        purpose: str = CHAT,
    ) -> int:
        """Put a request through all steps; return the size of its body. A listed model may have any name."""
        try:
            with _step(purpose, "validate"):
                check_request(request, is_listed=is_listed)
            with _step(purpose, "allow-list"):
                self.allowed.check(request.endpoint)
            with _step(purpose, "size"):
                body = encode(request)
                attached_bytes = sum(map(len, request.files.values()))
                check_size(body, request.messages, self._max_body_mb, attached_bytes=attached_bytes)
            with _step(purpose, "limiter"):
                self.limiter.take(purpose, request.product)
        except LMChatError:
            if purpose == CHAT:
                self.count(refused_requests=1)
            raise
        return len(body)


@contextmanager
def _step(purpose: str, name: str) -> Iterator[None]:
    try:
        yield
    except LMChatError as error:
        _log.info("%s request refused by %s: %s", purpose, name, error.kind)
        raise
    _log.debug("%s request passed %s", purpose, name)
