"""Checks of a request before anything is sent, the allow-list and the limits."""

from __future__ import annotations

import logging
import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from ipaddress import ip_address
from typing import TypeGuard

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
from lmchat.proxy.json_values import number_or_none
from lmchat.proxy.servers import SERVERS

TOO_MANY = "Too many requests to LMStudio, please try again later"
PROBES_PER_MINUTE = 240  # a check every 5 s takes 12 of them
MAX_MODEL_CHARS = 1024
_WINDOW_S = 60.0
_BASE64_GROWTH = 4 / 3  # of an image in a request
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_WHOLE = 2**63 - 1  # largest whole number that servers read
_RANGES = {"temperature": (0.0, 2.0), "top_p": (0.0, 1.0)}
_PROVIDERS = frozenset(host for server in SERVERS for host in server.hosts)
_log = logging.getLogger(__name__)


class AllowList:
    """Allowed hosts and ports; compares parsed values, never strings of addresses."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._hosts = set(map(_host_and_port, hosts))

    def allow(self, host: str) -> None:
        """Add "host" (any port) or "host:port"; raises `EndpointNotAllowed` if it is neither."""
        self._hosts.add(_host_and_port(host))

    def check(self, endpoint: Endpoint) -> None:
        """Raise `EndpointNotAllowed`, or `RequestInvalid` for a provider without https."""
        # An endpoint may have been built by hand: its address must read back as itself.
        if Endpoint.parse(endpoint.base_url) != endpoint:
            raise EndpointNotAllowed("Endpoint not allowed: write it as http://HOST:PORT.")

        host = _canonical(endpoint.host)
        if endpoint.scheme == "http" and host in _PROVIDERS:
            raise RequestInvalid(
                f"Endpoint not allowed: {host} accepts only https, "
                "because http would expose the API key.",
                hint=f"Write https://{host} in the address.",
                kind="insecure",
            )
        if endpoint.is_loopback or {(host, None), (host, endpoint.port)} & self._hosts:
            return
        hint = "Check the address, or add the host to allowed_hosts in config.toml."
        if endpoint.host.isdecimal():
            hint = f"Write http://127.0.0.1:{endpoint.host}."
        raise EndpointNotAllowed(
            "Endpoint not allowed: Endpoint must be localhost, "
            f"or be allowed by --allow-host {endpoint.host}",
            hint=hint,
        )


def _host_and_port(text: str) -> tuple[str, int | None]:
    host = text.strip().lower()
    is_bare_ipv6 = not host.startswith("[") and host.count(":") > 1  # it has no port
    if is_bare_ipv6:
        host = f"[{host}]"
    endpoint = Endpoint.parse(f"http://{host}")
    if endpoint.path != "/v1" or "/" in host:
        shown = "that" if "@" in text else f'"{text}"'  # before an @ may be a password
        raise EndpointNotAllowed(
            f"Endpoint not allowed: {shown} is not a host or host:port.",
            hint="Correct it in allowed_hosts or --allow-host, for example: gpu.lan:8080",
        )
    port = host.rpartition("]")[2].partition(":")[2]
    return _canonical(endpoint.host), int(port) if port else None


def _canonical(host: str) -> str:
    try:
        return ip_address(host).compressed
    except ValueError:
        return host


class Purpose(StrEnum):
    """Purpose of a request; each has a limit of its own."""

    CHAT = "chat"
    PROBE = "probe"  # health, models and counting


class Limiter:
    """Moving windows of a minute."""

    def __init__(self, requests_per_minute: int) -> None:
        self._limits = {Purpose.CHAT: requests_per_minute, Purpose.PROBE: PROBES_PER_MINUTE}
        self._times: dict[Purpose, deque[float]] = {purpose: deque() for purpose in Purpose}

    def take(self, purpose: Purpose, product: Product = Product.LM_STUDIO) -> None:
        """Take one request from a budget, or raise `TooManyRequests`."""
        times = self._recent(purpose)
        limit = self._limits[purpose]
        if len(times) < limit:
            times.append(time.monotonic())
            return
        wait_s = max(math.ceil(times[0] + _WINDOW_S - time.monotonic()), 1)
        raise TooManyRequests(
            f"{product.in_text(TOO_MANY)}: the limit is {limit} a minute; try again in {wait_s} s.",
            wait_s=wait_s,
            hint="Wait, or raise requests_per_minute under [limits].",
        )

    def budget(self) -> Budget:
        limit = self._limits[Purpose.CHAT]
        return Budget(left=limit - len(self._recent(Purpose.CHAT)), limit=limit)

    def _recent(self, purpose: Purpose) -> deque[float]:
        """Return the times of the requests in the window, oldest first."""
        times = self._times[purpose]
        while times and times[0] <= time.monotonic() - _WINDOW_S:
            times.popleft()
        return times


def check_request(request: ChatRequest, *, is_listed: bool = False) -> None:
    """Raise `RequestInvalid` for the first wrong part; a listed model may have any name."""
    if not is_listed:
        _check_model(request.model, request.product)
    _check_messages(request.messages)
    _check_sampling(request.sampling)


def check_size(
    body: bytes, messages: Sequence[ChatMessage], limit_mb: float, *, attached_bytes: int = 0
) -> None:
    """Raise `BodyTooLarge` with the size and the largest message; files have their own limits."""
    size_bytes = len(body) - attached_bytes * _BASE64_GROWTH
    if size_bytes <= limit_mb * 1e6:
        return
    sizes = [len(message.sent_text.encode("utf-8", "replace")) for message in messages]
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    raise BodyTooLarge(
        f"The request is {size_bytes / 1e6:.1f} MB; the limit is {limit_mb:g} MB. "
        f"Message {largest + 1} ({messages[largest].role.value}) alone is "
        f"{sizes[largest] / 1e6:.1f} MB.",
        hint="Shorten that message, or raise max_body_mb under [limits].",
    )


def _check_model(model: object, product: Product) -> None:
    if model == "":
        raise RequestInvalid(product.in_text("No LM Studio model selected"), hint="Choose a model.")
    if not _is_model_name(model):
        raise RequestInvalid("Invalid model parameter: a model name must be one line of text.")


def _is_model_name(model: object) -> bool:
    if not isinstance(model, str) or not model.strip():
        return False
    return len(model) <= MAX_MODEL_CHARS and not _CONTROL.search(model)


def _check_messages(messages: Sequence[ChatMessage]) -> None:
    if not messages:
        raise RequestInvalid("Invalid messages array: at least one message is needed.")
    last = messages[-1]
    continues_thought = last.role is Role.ASSISTANT and bool(last.reasoning)
    for position, message in enumerate(messages, 1):
        is_continued = continues_thought and message is last
        if not (message.sent_text or message.files or is_continued):
            raise RequestInvalid(f"Invalid message content: message {position} has no text.")


def _check_sampling(sampling: Sampling) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(sampling, name)
        if value is None:
            continue
        figure = number_or_none(value)
        if figure is None or not low <= figure <= high:
            raise RequestInvalid(f"{name} must be between {low:g} and {high:g}.")
    _check_whole("max_tokens", sampling.max_tokens, least=1)
    _check_whole("keep_loaded_s", sampling.keep_loaded_s, least=1)
    _check_whole("seed", sampling.seed)


def _check_whole(name: str, value: object, *, least: int | None = None) -> None:
    if value is None:
        return
    if not _is_whole(value):
        raise RequestInvalid(f"{name} must be a whole number.")
    if least is not None and value < least:
        raise RequestInvalid(f"{name} must be at least {least}.")


def _is_whole(value: object) -> TypeGuard[int]:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return abs(value) <= _MAX_WHOLE


class Admission:
    """Checks before anything is sent: validate, allow-list, size, limiter. Logs no content."""

    def __init__(self, settings: Settings) -> None:
        self._max_body_mb = settings.limits.max_body_mb
        self.allowed = AllowList(settings.allowed_hosts)
        self.limiter = Limiter(settings.limits.requests_per_minute)
        self.metrics = Metrics()

    def count(self, **counts: float) -> None:
        """Add to the metrics, by their names."""
        sums = {name: getattr(self.metrics, name) + count for name, count in counts.items()}
        self.metrics = replace(self.metrics, **sums)

    def check(self, endpoint: Endpoint) -> None:
        """Ask the allow-list alone, for what may be answered without a request."""
        with _logged_step(Purpose.PROBE, "allow-list"):
            self.allowed.check(endpoint)

    def take_probe(self, product: Product = Product.LM_STUDIO) -> None:
        """Take one request for health or models from their budget, or raise `TooManyRequests`."""
        with _logged_step(Purpose.PROBE, "limiter"):
            self.limiter.take(Purpose.PROBE, product)

    def admit(
        self,
        request: ChatRequest,
        encode: Callable[[ChatRequest], bytes],
        *,
        is_listed: bool,
        purpose: Purpose = Purpose.CHAT,
    ) -> int:
        """Pass a request through all steps and return the size of its body.

        `is_listed` is whether the server lists the model, which may then have any name.
        """
        try:
            with _logged_step(purpose, "validate"):
                check_request(request, is_listed=is_listed)
            with _logged_step(purpose, "allow-list"):
                self.allowed.check(request.endpoint)
            with _logged_step(purpose, "size"):
                body = encode(request)
                attached_bytes = sum(map(len, request.files.values()))
                check_size(body, request.messages, self._max_body_mb, attached_bytes=attached_bytes)
            with _logged_step(purpose, "limiter"):
                self.limiter.take(purpose, request.product)
        except LMChatError:
            if purpose is Purpose.CHAT:
                self.count(refused_requests=1)
            raise
        return len(body)


@contextmanager
def _logged_step(purpose: Purpose, name: str) -> Iterator[None]:
    try:
        yield
    except LMChatError as error:
        _log.info("%s request refused by %s: %s", purpose, name, error.kind)
        raise
    _log.debug("%s request passed %s", purpose, name)
