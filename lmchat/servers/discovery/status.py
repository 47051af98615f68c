"""An address, its verdict and its models; the health of the server in use.

`VERDICTS` says what a verdict means, for all that show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, StrEnum, auto

from msgspec import Struct

from lmchat.safe_text import safe_line
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import BUILT_IN, ModelInfo, server_id_of
from lmchat.servers.target import Target


class Verdict(StrEnum):
    """Result of a probe of an address, best first."""

    READY = "ready"
    LOADING = "loading"
    NONE_LOADED = "no model loaded"
    NEEDS_KEY = "needs key"
    KEY_REJECTED = "key rejected"
    HOST_BLOCKED = "host blocked"  # the server takes no requests for this name of its host
    SERVER_OFF = "server off"  # the program runs, and says so, but serves no models
    SERVER_ERROR = "server error"
    NOT_AN_LLM = "not an LLM server"
    TIMED_OUT = "timed out"  # a program is there but silent, which is more than REFUSED
    REFUSED = "refused"  # nothing takes the connection, or lmchat must not connect

    @property
    def is_server(self) -> bool:
        """Whether a model server answered, also if it wants a key or another name of its host.

        After a `SERVER_ERROR` this is not known: any program may answer with an error.
        """
        denials = (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED, Verdict.HOST_BLOCKED)
        return self.is_usable or self in denials

    @property
    def is_usable(self) -> bool:
        """Whether a chat can begin as soon as a model is loaded.

        The server may have none: see `ServerStatus.has_model`.
        """
        return self in (Verdict.READY, Verdict.LOADING, Verdict.NONE_LOADED)


class ServerGrade(Enum):
    """How far a server is from a chat."""

    READY = auto()
    STEP = auto()  # the user has to wait, or to do one thing
    FAULT = auto()  # it refuses requests
    AWAY = auto()  # no model server answers


class Meaning(Struct, frozen=True):
    """What a verdict means, and how it is said."""

    grade: ServerGrade
    sentence: str  # `ServerStatus.sentence` fills in what is in braces
    step: str = ""  # next step; `next_step` fills in the words of the product
    state: str = "down"  # state of the server in use, in a word
    reason: str = ""  # why it is in this state, in two words at most
    error_kind: str = "server_error"  # kind of the error that says why it cannot be used


VERDICTS: Mapping[Verdict, Meaning] = {
    Verdict.READY: Meaning(ServerGrade.READY, "{name} answers.", state="ready"),
    Verdict.LOADING: Meaning(
        ServerGrade.STEP,
        "{name} answers and loads a model.",
        "Wait until the model is loaded",
        state="loading",
    ),
    Verdict.NONE_LOADED: Meaning(
        ServerGrade.STEP,
        "{name} answers, but {lack}.",
        "{model}",
        state="no model",
    ),
    Verdict.NEEDS_KEY: Meaning(
        ServerGrade.STEP,
        "{name} answers, but needs an API key.",
        "{key}",
        state="needs key",
        error_kind="auth",
    ),
    Verdict.KEY_REJECTED: Meaning(
        ServerGrade.FAULT,
        "{name} answers, but rejected the API key.",
        "{key}",
        state="key",
        reason="rejected",
        error_kind="auth",
    ),
    Verdict.HOST_BLOCKED: Meaning(
        ServerGrade.FAULT,
        "{name} does not accept the host name {host}.",
        "{host}",
        state="blocked",
        reason="host",
        error_kind="host_blocked",
    ),
    Verdict.SERVER_OFF: Meaning(
        ServerGrade.STEP,
        "{name} runs, but its server is off.",
        "{start}",
        reason="server off",
    ),
    Verdict.SERVER_ERROR: Meaning(
        ServerGrade.FAULT,
        "{name} answers with an error: {detail}.",
        "Check the server's log, then restart it",
        reason="error",
    ),
    Verdict.NOT_AN_LLM: Meaning(
        ServerGrade.AWAY,
        "The program at {url} is not a model server.",
        "Another program uses port {port}: stop it",
        reason="not an LLM",
        error_kind="not_an_llm",
    ),
    Verdict.REFUSED: Meaning(
        ServerGrade.AWAY, "Nothing answers at {url}.", "{start}", reason="refused"
    ),
    Verdict.TIMED_OUT: Meaning(
        ServerGrade.AWAY,
        "A program accepts connections at {url} but does not answer in time.",
        "{silent}",
        reason="timed out",
    ),
}
_NO_CHAT_KINDS = ("", "auth", "certificate", "dropped")  # no reply, or a login in front of it
_DETAIL_CHARS = 200  # most characters of an error message that are shown


class ServerStatus(Struct, frozen=True, kw_only=True):
    """A checked address, and the result of its probe."""

    endpoint: Endpoint
    product: str  # its name; "OpenAI-compatible" if it is not known
    verdict: Verdict
    latency_ms: float | None = None  # time of the first reply; None if nothing replied
    models: tuple[ModelInfo, ...] = ()  # with those that cannot chat
    detail: str = ""
    """Message of the error; empty without one."""
    kind: str = ""
    """Kind of the error, as `LMChatError.kind`; empty without one."""
    next_step: str = ""  # what the user should do, usually without a full stop; empty: nothing
    is_configured: bool = False
    """Whether the user has named this server, or it is the built-in one, which only users start."""

    @property
    def server_id(self) -> str:
        return server_id_of(self.endpoint, self.product)

    @property
    def has_named_address(self) -> bool:
        """Whether the user has named its address; that of the built-in server is never named."""
        return self.is_configured and self.product != BUILT_IN

    @property
    def name(self) -> str:
        """Product and address, such as "Jan at http://localhost:1337"."""
        return f"{self.product} at {self.endpoint.url}"

    def sentence(self, name: str) -> str:
        """Return a sentence about the result; `name` is its subject if a model server answers.

        If the server has models, but none is loaded, the words for `{lack}` are another clause.
        """
        return VERDICTS[self.verdict].sentence.format(
            name=name,
            url=self.endpoint.url,
            host=self.endpoint.host,
            lack="no model is loaded" if self.chat_models else "has no model yet",
            detail=safe_line(self.detail, limit=_DETAIL_CHARS).rstrip(".") or "no message",
        )

    @property
    def chat_models(self) -> tuple[ModelInfo, ...]:
        return tuple(model for model in self.models if model.can_chat)

    @property
    def has_model(self) -> bool:
        """Whether there is a model to chat with, or one is being loaded.

        A loading server counts also if it lists no models yet.
        """
        return self.verdict is Verdict.LOADING or bool(self.chat_models)

    @property
    def may_answer(self) -> bool:
        """Whether only a chat can tell if a model server answers.

        The user has named the address, and a program there has no list of models to show.
        """
        return (
            self.has_named_address
            and self.verdict in (Verdict.NOT_AN_LLM, Verdict.SERVER_ERROR)
            and self.kind not in _NO_CHAT_KINDS
        )

    @property
    def takes_any_name(self) -> bool:
        """Whether the user may type the name of a model that is not listed."""
        is_empty = self.verdict.is_usable and not self.has_model and self.has_named_address
        return is_empty or self.may_answer

    @property
    def is_forbidden(self) -> bool:
        """Whether lmchat sends no requests to the address.

        The host is not allowed, or is a provider that needs https and was named with http.
        """
        return self.kind in ("not_allowed", "insecure")

    @property
    def can_be_allowed(self) -> bool:
        """Whether lmchat sends no requests to the address only because its host is not allowed."""
        return self.kind == "not_allowed"


def usable_of(results: Iterable[ServerStatus]) -> list[ServerStatus]:
    """Return the results of the servers that can be used, in the same order."""
    return [server for server in results if server.verdict.is_usable]


class ServerHealth(Struct, frozen=True, kw_only=True):
    """State of the server in use; `detail` and `next_step` are those of `ServerStatus`."""

    endpoint: Endpoint | None = None  # None: no server is in use
    product: str | None = None
    verdict: Verdict | None = None  # None before the first check
    since_s: float | None = None  # monotonic time of the first check with this verdict
    detail: str = ""
    next_step: str = ""
    latencies_ms: tuple[float | None, ...] = ()
    """Milliseconds of the last checks, newest last; None for a failed check."""
    model: ModelInfo | None = None  # model in use, as the last check has listed it
    seen_s: float | None = None  # monotonic time of the last check that found the server

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds of the last check; None if it failed, or before the first one."""
        return self.latencies_ms[-1] if self.latencies_ms else None

    @property
    def is_down(self) -> bool:
        return self.verdict is not None and not self.verdict.is_usable


WANTS_KEY = (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED)


class TargetState(Enum):
    """Steps from the start of lmchat to a model that answers."""

    SEARCHING = auto()  # the first search has not ended
    NOT_FOUND = auto()  # no server has a model to chat with; the search is repeated
    NEEDS_KEY = auto()  # no server can be used, but one needs a key, or has rejected it
    MODEL_NOT_CHOSEN = auto()  # a server is in use, but none of its models is chosen
    LOADING = auto()  # the server loads the model
    READY = auto()

    @property
    def lacks_server(self) -> bool:
        """Whether a search has ended without a server that can be used and has a model."""
        return self in (TargetState.NOT_FOUND, TargetState.NEEDS_KEY)


def target_state(target: Target | None, results: Sequence[ServerStatus]) -> TargetState:
    """Return the state for the target in use; None means that no server is in use.

    `results` are the addresses that the last search has server, with or without a server; they
    are empty until the first search has ended.
    """
    if target is not None and target.is_loading:
        return TargetState.LOADING
    if target is not None and target.model_id:
        return TargetState.READY
    # a model is missing: the user can choose one, unless the search has found the server empty
    empty = [server.endpoint for server in usable_of(results) if not server.has_model]
    if target is not None and target.endpoint not in empty:
        return TargetState.MODEL_NOT_CHOSEN
    if any(server.verdict in WANTS_KEY for server in results):
        return TargetState.NEEDS_KEY
    return TargetState.NOT_FOUND if results else TargetState.SEARCHING
