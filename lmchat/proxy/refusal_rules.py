"""The table of refusals: the first row that fits wins."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct, field

from lmchat.domain.server import Product
from lmchat.proxy.error_bodies import ErrorBody

LM_STUDIO, JAN, LLAMA, OLLAMA = Product.LM_STUDIO, Product.JAN, Product.LLAMA_CPP, Product.OLLAMA


class Rule(Struct, frozen=True, kw_only=True):
    """One kind of refusal."""

    kind: str
    """One word for scripts."""
    statuses: frozenset[int] = frozenset()
    """Statuses that it is about; empty: all, also the inside of a stream."""
    pattern: str = ""
    """What has to stand in type, code, parameter or message; lower case."""
    product: Product | None = None
    """Whose refusal; None: anyone's."""
    is_silent: bool = False
    """Whether it is about a refusal without any words."""
    is_html: bool = False
    """Whether it is about a page for people."""
    message: str = ""
    """The sentence; empty: the server's own."""
    hint: str = ""
    """The next step."""
    hints: Mapping[Product, str] = field(default_factory=dict)
    """The next step with one product."""
    hint_without_key: str = ""
    """The next step where no key was sent."""

    def matches(self, status: int, body: ErrorBody, product: Product) -> bool:
        """Whether this row is about that refusal."""
        if (self.statuses and status not in self.statuses) or (self.product not in (None, product)):
            return False
        if (self.is_silent and (body.message or body.is_html)) or (self.is_html and not body.is_html):
            return False
        return not self.pattern or re.search(self.pattern, body.words) is not None

    def hint_for(self, product: Product, *, has_key: bool) -> str:
        """Return the next step."""
        own = self.hints.get(product)
        if own is not None:
            return own
        return self.hint if has_key or not self.hint_without_key else self.hint_without_key


def _of(*statuses: int) -> frozenset[int]:
    return frozenset(statuses)


_STREAM = _of(0)
"""Inside a stream, where no number says what it is."""
_OVERFLOW = (
    r"exceed_context_size|context_length_exceeded|maximum context length|exceeds the available context"
    r"|tokens to keep from the initial prompt|trying to keep the first|context size has been exceeded"
    r"|context (length|window).*exceed|exceed.*context (length|window)|prompt is too long"
)
_MODEL_MISSING = (
    r"model_not_found|model '[^']*' not found|model .*not found|model is not loaded|model name is missing"
    r"|invalid model identifier|model .*does not exist|no such model|not a valid model"
    r"|models/\S+ is not found|not_found_error.*model: \S+"
)
_KEY_HINTS = {
    LM_STUDIO: "LM Studio wants an API token: Developer, Server settings, Manage tokens.",
    JAN: "Jan shows its API key under Settings, Local API Server.",
    LLAMA: "Use the key that llama-server was started with (--api-key).",
}

RULES: tuple[Rule, ...] = (
    Rule(
        kind="wrong_path",
        pattern="unexpected endpoint or method",
        message="LM Studio does not know this path.",
        hint="The address of the server should end in /v1, or in nothing.",
    ),
    Rule(
        kind="wrong_path",
        statuses=_of(400, 426),
        pattern=r"http request (was sent )?to (an )?https (server|port)",
        message="The server speaks https at this port.",
        hint="Write https:// in front of its address.",
    ),
    Rule(
        kind="context_overflow",
        pattern=_OVERFLOW,
        message="The conversation is longer than the model's context.",
        hint="Shorten it, begin a new session, or load the model with a larger context length.",
    ),
    Rule(
        kind="billing",
        pattern=r"insufficient_quota|exceeded your current quota|credit_balance|out of credits?\b|billing",
        message="{product} says that the account is out of credit.",
        hint="Check the account's plan and billing; trying again does not help.",
    ),
    Rule(
        kind="billing",
        statuses=_of(429),
        pattern="credit",
        hint="Check the account's plan and billing; trying again does not help.",
    ),
    Rule(kind="billing", statuses=_of(402), hint="Check the account's plan and billing."),
    Rule(
        kind="loading",
        statuses=_of(503),
        pattern="loading model|model is loading",
        message="The model is loading.",
        hint="Wait until it is loaded.",
    ),
    Rule(
        kind="model_not_loaded",
        pattern="no models loaded|failed to load model|no running session found|no models are available",
        hint="Load a model, or a smaller one if memory is short.",
        hints={
            JAN: "Start the model in Jan, then try again.",
            LM_STUDIO: "Load it with Ctrl+O, Enter: then this is asked again.",
        },
    ),
    Rule(
        kind="model_crashed",
        pattern="model has crashed|exit code",
        hint="It is often out of memory: load a smaller model or a smaller context.",
    ),
    Rule(
        kind="model_missing",
        statuses=_of(0, 400, 404, 422),
        pattern=_MODEL_MISSING,
        hint="Choose a model that the server has: Ctrl+O lists them.",
        hints={OLLAMA: "Fetch it with: ollama pull {model}"},
    ),
    Rule(
        kind="auth",
        statuses=_of(401),
        message="{said}",
        hint="The key was rejected: check it.",
        hint_without_key="The server wants an API key, and none was sent.",
        hints=_KEY_HINTS,
    ),
    Rule(
        kind="auth",
        pattern="invalid_api_key|authentication_error|invalid api key|api token is required"
        r"|api key not valid|missing or invalid authorization header",
        hint="The key was rejected: check it.",
        hint_without_key="The server wants an API key, and none was sent.",
        hints=_KEY_HINTS,
    ),
    Rule(
        kind="host_blocked",
        statuses=_of(400, 403),
        pattern="host header|host not allowed",
        message='{product} does not accept the host name "{host}".',
        hint="Let the server trust this host name, or use 127.0.0.1.",
        hints={JAN: "In Jan: Settings, Local API Server, Trusted Hosts: add {host}."},
    ),
    Rule(
        kind="host_blocked",
        statuses=_of(403),
        product=OLLAMA,
        is_silent=True,
        message='Ollama does not accept the host name "{host}".',
        hint="Use 127.0.0.1, or start it so: OLLAMA_HOST={host} ollama serve.",
    ),
    Rule(kind="forbidden", statuses=_of(403), hint="The server does not allow this."),
    Rule(
        kind="wrong_path",
        statuses=_of(404, 405),
        is_html=True,
        message="This is not an LLM API: a web page answered.",
        hint="Check the port and the path of the address.",
    ),
    Rule(
        kind="wrong_path",
        statuses=_of(404, 405),
        hint="The address of the server should end in /v1, or in nothing.",
        hints={JAN: "Check the API prefix under Jan's Settings, Local API Server."},
    ),
    Rule(
        kind="wrong_path",
        statuses=_of(301, 302, 303, 307, 308),
        message="{product} sends to another address.",
        hint="Redirects are not followed; use the other address itself.",
    ),
    Rule(
        kind="timeout",
        statuses=_of(408, 504),
        message="Request timeout: {said}",
        hint="Try again; the server took too long.",
    ),
    Rule(kind="too_large", statuses=_of(413), hint="Shorten the conversation."),
    Rule(kind="bad_request", statuses=_of(400, 409, 422), hint="The server does not accept this request."),
    Rule(
        kind="rate_limited",
        statuses=_of(429),
        hint="Wait a moment; the server limits requests.",
    ),
    Rule(
        kind="rate_limited",
        statuses=_STREAM,
        pattern="rate.?limit|too.many.requests",
        hint="Wait a moment; the server limits requests.",
    ),
    Rule(
        kind="busy",
        statuses=_STREAM,
        pattern=r"overloaded|service.{0,12}unavailable|unavailable_error|currently unavailable|server.busy",
        hint="The server is busy; try again in a moment.",
    ),
    Rule(
        kind="unsupported",
        statuses=_of(501),
        hint="This server cannot do that.",
    ),
    Rule(
        kind="busy",
        statuses=_of(529),
        hint="The server is overloaded; try again later.",
    ),
    Rule(
        kind="busy",
        statuses=_of(503),
        pattern="busy|overloaded|maximum pending",
        hint="The server is busy; try again in a moment.",
    ),
    Rule(
        kind="upstream",
        statuses=_of(502, 503),
        hint="What stands behind the server does not answer; restart the model.",
        hints={JAN: "The engine has ended: restart the model in Jan."},
    ),
    Rule(
        kind="not_an_llm",
        is_html=True,
        message="This is not an LLM API: a web page answered.",
        hint="Check the port and the path of the address.",
    ),
    Rule(kind="server_error", hint="Look at the server's log, then try again."),
)
