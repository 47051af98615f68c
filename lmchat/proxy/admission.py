"""What a request has to pass before anything is sent: validate, allow-list, size, limiter, in this order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lmchat.config.settings import Settings
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Endpoint
from lmchat.domain.telemetry import Budget
from lmchat.errors import LMChatError
from lmchat.proxy.allow_list import AllowList
from lmchat.proxy.counters import Counters
from lmchat.proxy.limiter import CHAT, COUNT, LOOK, Limiter
from lmchat.proxy.validation import check_request, check_size

_log = logging.getLogger(__name__)


class Admission:
    """Lets requests through or refuses them; the log has steps and kinds of refusals, never content."""

    def __init__(self, settings: Settings, counters: Counters) -> None:
        self._max_body_mb = settings.limits.max_body_mb
        self._allowed = AllowList(settings.allowed_hosts)
        self._limiter = Limiter(settings.limits.requests_per_minute)
        self._counters = counters

    def allow(self, host: str) -> None:
        """Put a host ("host" or "host:port") on the allow-list."""
        self._allowed.allow(host)

    def budget(self) -> Budget:
        """Return what the limiter has left for chat requests."""
        return self._limiter.budget()

    def check(self, endpoint: Endpoint) -> None:
        """Ask the allow-list alone, for what may be answered without a request.

        Raises:
            EndpointNotAllowed: the address is neither of this machine nor named by the user.
        """
        with _step("look", "allow-list"):
            self._allowed.check(endpoint)

    def take_look(self) -> None:
        """Take one request for health or models out of their budget.

        Raises:
            TooManyRequests: it is used up.
        """
        with _step("look", "limiter"):
            self._limiter.take(LOOK)

    def look(self, endpoint: Endpoint) -> None:
        """Put a request for health or models through both.

        Raises:
            EndpointNotAllowed, TooManyRequests: it is refused.
        """
        self.check(endpoint)
        self.take_look()

    def chat(self, request: ChatRequest, encode: Callable[[ChatRequest], bytes]) -> int:
        """Put a chat request through all steps and return the size of its body.

        Raises:
            RequestInvalid, EndpointNotAllowed, BodyTooLarge, TooManyRequests: it is refused, and counted so.
        """
        try:
            return self._pass(CHAT, request, encode)
        except LMChatError:
            self._counters.refused()
            raise

    def count(self, request: ChatRequest, encode: Callable[[ChatRequest], bytes]) -> None:
        """Put the question how many tokens a request has through the same steps, with a budget of its own.

        Raises:
            RequestInvalid, EndpointNotAllowed, BodyTooLarge, TooManyRequests: it is refused.
        """
        self._pass(COUNT, request, encode)

    def _pass(self, purpose: str, request: ChatRequest, encode: Callable[[ChatRequest], bytes]) -> int:
        with _step(purpose, "validate"):
            check_request(request)
        with _step(purpose, "allow-list"):
            self._allowed.check(request.endpoint)
        with _step(purpose, "size"):
            body = encode(request)
            check_size(body, request.messages, self._max_body_mb)
        with _step(purpose, "limiter"):
            self._limiter.take(purpose)
        return len(body)


def step_where_refused(error: LMChatError, endpoint: Endpoint) -> str:
    """Return the step that helps where a place may not be asked: the flag, unless it is another one."""
    return f"lmchat --allow-host {endpoint.host}" if "--allow-host" in error.message else error.hint


@contextmanager
def _step(purpose: str, name: str) -> Iterator[None]:
    """Log that a step was passed, or at which one a request was refused."""
    try:
        yield
    except LMChatError as error:
        _log.info("%s request refused by %s: %s", purpose, name, error.kind)
        raise
    _log.debug("%s request passed %s", purpose, name)
