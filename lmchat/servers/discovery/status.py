"""What answers at the address of a server, and how it is said.

Only this module looks at the `reason` of a status; other code branches on its state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from lmchat.safe_text import safe_line
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import BUILT_IN, LoadState, ModelInfo, server_id_of
from lmchat.servers.target import Target
from lmchat.units import SIGNS


class ServerState(StrEnum):
    """How far a server is from a chat, best first."""

    READY = "ready"  # a chat can begin now
    LOADING = "loading"  # wait
    NO_MODEL = "no model"  # choose or load one
    NEEDS_KEY = "needs key"  # type one
    REFUSES = "refuses"  # a server answers and says no
    AWAY = "away"  # no model server answers there

    @property
    def is_usable(self) -> bool:
        """Whether a chat can begin as soon as a model is loaded; the server may have none."""
        return self in (ServerState.READY, ServerState.LOADING, ServerState.NO_MODEL)


class Meaning(Struct, frozen=True):
    """Meaning of a reason, and how it is said."""

    state: ServerState
    sign: str
    word: str  # for scripts and the welcome page
    panel: tuple[str, str]  # the state in a word, and why in two words at most
    sentence: str  # `ServerStatus.sentence` fills in what is in braces
    step: str = ""  # `scan` fills in the words of the product
    named_step: str = ""  # in its place at an address that is not usual
    own_steps: tuple[str, ...] = ()  # kinds of errors whose hint says more
    error_kind: str = ""  # if a program answers that cannot be used


_OTHER_PROGRAM = Meaning(
    ServerState.AWAY,
    SIGNS.off,
    "not an LLM server",
    ("down", "not an LLM"),
    "The program at {url} is not a model server.",
    "Another program uses port {port}: stop it",
    named_step="Check the port and the path of the address",
    own_steps=("wrong_path", "forbidden", "dropped"),
    error_kind="not_an_llm",
)
_MOVED = replace(
    _OTHER_PROGRAM,
    word="redirects",
    panel=("down", "redirects"),
    sentence="{detail}.",
    error_kind="wrong_path",
)
_SIGN_IN = replace(
    _OTHER_PROGRAM,
    word="needs sign-in",
    panel=("down", "sign-in"),
    sentence="The program at {url} leads to a sign-in page at {detail}.",
    step="Use the address of the server behind it",
    named_step="",
    own_steps=(),
    error_kind="auth",
)
_CLOSED = Meaning(
    ServerState.AWAY,
    SIGNS.off,
    "refused",
    ("down", "refused"),
    "Nothing answers at {url}.",
    "{start}",
    own_steps=("offline", "dropped"),  # a proxy or an unknown name; it closed the connection
)
_SILENT = Meaning(
    ServerState.AWAY,
    SIGNS.off,
    "timed out",
    ("down", "timed out"),
    "A program accepts connections at {url} but does not answer in time.",
    "{silent}",
)
_SERVER_ERROR = Meaning(
    ServerState.REFUSES,
    SIGNS.failed,
    "server error",
    ("down", "error"),
    "{name} answers with an error: {detail}.",
    "Check the server's log, then restart it",
    own_steps=("certificate", "wrong_path", "forbidden"),  # its log would not help
    error_kind="server_error",
)
STATUS: Mapping[str, Meaning] = {
    "": Meaning(ServerState.READY, SIGNS.ready, "ready", ("ready", ""), "{name} answers."),
    "loading": Meaning(
        ServerState.LOADING,
        SIGNS.degraded,
        "loading",
        ("loading", ""),
        "{name} answers and loads a model.",
        "Wait until the model is loaded",
    ),
    "model_not_loaded": Meaning(
        ServerState.NO_MODEL,
        SIGNS.degraded,
        "no model loaded",
        ("no model", ""),
        "{name} answers, but {lack}.",
        "{model}",
    ),
    "auth": Meaning(
        ServerState.NEEDS_KEY,
        SIGNS.degraded,
        "needs key",
        ("needs key", ""),
        "{name} answers, but needs an API key.",
        "{key}",
        error_kind="auth",
    ),
    "key_rejected": Meaning(
        ServerState.NEEDS_KEY,
        SIGNS.failed,
        "key rejected",
        ("key", "rejected"),
        "{name} answers, but rejected the API key.",
        "{key}",
        error_kind="auth",
    ),
    "host_blocked": Meaning(
        ServerState.REFUSES,
        SIGNS.failed,
        "host blocked",
        ("blocked", "host"),
        "{name} does not accept the host name {host}.",
        "{host}",
        error_kind="host_blocked",
    ),
    "server_off": Meaning(
        ServerState.AWAY,
        SIGNS.degraded,
        "server off",
        ("down", "server off"),
        "{name} runs, but its server is off.",
        "{start}",
    ),
    "server_error": _SERVER_ERROR,
    "certificate": replace(_SERVER_ERROR, sentence="{detail}.", error_kind="certificate"),
    "password": replace(
        _SIGN_IN,
        sentence="The program at {url} asks for a user name and a password (Basic), "
        "which lmchat cannot send.",
    ),
    "sign_in": _SIGN_IN,
    "moved": _MOVED,
    "slash": replace(
        _MOVED,
        named_step="Let it answer without the slash at the end, which lmchat does not send",
        own_steps=(),
    ),
    "not_an_llm": _OTHER_PROGRAM,
    "dropped": _OTHER_PROGRAM,  # it does not speak HTTP, and closes the connection
    "timeout": _SILENT,
    "unreachable": replace(_SILENT, sentence=_CLOSED.sentence),
    "offline": _CLOSED,
    "not_allowed": _CLOSED,  # its host; lmchat sends no requests there
    "insecure": _CLOSED,  # a provider that needs https was named with http
}
"""Meanings by reason, best first: "", or why a chat cannot begin, mostly a kind of error."""
_FORBIDDEN = ("not_allowed", "insecure")
_DETAIL_CHARS = 200  # of an error message


class ServerStatus(Struct, frozen=True, kw_only=True):
    """What answers at the address of a server."""

    endpoint: Endpoint
    product: str
    """Its name; "OpenAI-compatible" if it is not known."""
    is_guess: bool = False
    """Whether only the port tells the product of a server that needs a key."""
    reason: str = ""
    """Why a chat cannot begin now, mostly a kind of error; empty if it can."""
    models: tuple[ModelInfo, ...] = ()
    """All models, also those that cannot chat."""
    detail: str = ""
    """Words of the server, or of the error."""
    next_step: str = ""
    """What the user should do, usually without a full stop; empty: nothing."""
    latency_ms: float | None = None
    """Time to the first reply; None if nothing replied."""
    is_configured: bool = False
    """Whether the user has named this server, or it is the built-in one, which only users start."""

    @property
    def _meaning(self) -> Meaning:
        return STATUS[self.reason]

    @property
    def state(self) -> ServerState:
        return self._meaning.state

    @property
    def sign(self) -> str:
        return self._meaning.sign

    @property
    def word(self) -> str:
        return self._meaning.word

    @property
    def panel(self) -> tuple[str, str]:
        return self._meaning.panel

    @property
    def rank(self) -> int:
        """Place among all statuses; the best has 0."""
        return [meaning.word for meaning in STATUS.values()].index(self.word)

    @property
    def server_id(self) -> str:
        return server_id_of(self.endpoint, self.product)

    @property
    def label(self) -> str:
        """Product, such as "Jan", or "Jan?" for a guess."""
        return f"{self.product}?" if self.is_guess else self.product

    @property
    def name(self) -> str:
        """Such as "Jan at http://localhost:1337"."""
        return f"{self.label} at {self.endpoint.url}"

    def sentence(self, name: str) -> str:
        """`name` is the subject of the sentence if a model server answers."""
        return self._meaning.sentence.format(
            name=name,
            url=self.endpoint.url,
            host=self.endpoint.host,
            lack="no model is loaded" if self.chat_models else "has no model yet",
            detail=safe_line(self.detail, limit=_DETAIL_CHARS).rstrip(".") or "no message",
        )

    # What answers

    @property
    def is_model_server(self) -> bool:
        """Whether a model server answered; any program may answer with an error."""
        return self.state is not ServerState.AWAY and self.word != _SERVER_ERROR.word

    @property
    def error_kind(self) -> str:
        return self._meaning.error_kind

    @property
    def has_program(self) -> bool:
        """Whether a program is there, even if it is silent, or its server is off."""
        return self._meaning is not _CLOSED

    @property
    def is_off(self) -> bool:
        """Whether the program runs, and its server does not."""
        return self.reason == "server_off"

    @property
    def can_be_started(self) -> bool:
        """Whether a server of this machine may be started at the address."""
        is_free = self.is_off or self.reason == "offline"
        return is_free and self.endpoint.is_loopback and not self.is_configured

    @property
    def has_rejected_key(self) -> bool:
        return self.reason == "key_rejected"

    @property
    def is_forbidden(self) -> bool:
        return self.reason in _FORBIDDEN

    @property
    def can_be_allowed(self) -> bool:
        return self.reason == "not_allowed"

    # Its models

    @property
    def has_named_address(self) -> bool:
        """Whether the user has named its address; never that of the engine."""
        return self.is_configured and self.product != BUILT_IN

    @property
    def chat_models(self) -> tuple[ModelInfo, ...]:
        return tuple(model for model in self.models if model.can_chat)

    @property
    def has_model(self) -> bool:
        """A loading server need not list its model yet."""
        return self.state is ServerState.LOADING or bool(self.chat_models)

    @property
    def may_answer(self) -> bool:
        """Whether only a chat can tell: the user has named the address, which has no list."""
        has_no_list = self.reason == "timeout" or self.error_kind in ("not_an_llm", "server_error")
        return self.has_named_address and has_no_list

    @property
    def takes_any_name(self) -> bool:
        """Whether the user may type the name of a model that is not listed."""
        is_empty = self.state.is_usable and not self.has_model and self.has_named_address
        return is_empty or self.may_answer


def reason_of_models(models: Iterable[ModelInfo]) -> str:
    """Return why a server is not ready: no model, remote ones aside, can answer.

    One that answers is enough, even while others are loading.
    """
    states = {model.state for model in models if model.can_chat}
    if states & {LoadState.LOADED, LoadState.ASLEEP, LoadState.UNKNOWN}:
        return ""
    return "loading" if LoadState.LOADING in states else "model_not_loaded"


def usable_of(servers: Iterable[ServerStatus]) -> list[ServerStatus]:
    return [server for server in servers if server.state.is_usable]


LACKS_SERVER = (ServerState.NEEDS_KEY, ServerState.AWAY)
"""A search has found no server with a model."""


def chat_state(
    target: Target | None, servers: Sequence[ServerStatus], *, is_loading: bool
) -> ServerState | None:
    """Return None while the first search runs; never REFUSES, as another server is looked for.

    `is_loading`: prompts have to wait for the model.
    """
    if is_loading:
        return ServerState.LOADING
    if target is not None and target.model_id:
        return ServerState.READY
    states = {server.endpoint: server.state for server in servers}
    # a check may know before the search that it is loaded, but not yet the name of its model
    if target is not None and states.get(target.endpoint) is ServerState.LOADING:
        return ServerState.LOADING
    # the user can choose a model, unless the server is empty
    empty = [server.endpoint for server in usable_of(servers) if not server.has_model]
    if target is not None and target.endpoint not in empty:
        return ServerState.NO_MODEL
    if any(server.state is ServerState.NEEDS_KEY for server in servers):
        return ServerState.NEEDS_KEY
    return ServerState.AWAY if servers else None


class ServerHealth(Struct, frozen=True, kw_only=True):
    """Server in use, as the last check has found it."""

    target: Target | None = None  # with the model as it was listed
    status: ServerStatus | None = None
    since_s: float | None = None  # monotonic, of the first check with this word
    latencies_ms: tuple[float | None, ...] = ()
    """Latencies of the last checks, newest last; None for a failed check."""
    seen_s: float | None = None  # monotonic, of the last check that found it

    @property
    def model(self) -> ModelInfo | None:
        return self.target.model if self.target else None

    @property
    def state(self) -> ServerState | None:
        return self.status.state if self.status else None

    @property
    def latency_ms(self) -> float | None:
        return self.latencies_ms[-1] if self.latencies_ms else None

    @property
    def is_down(self) -> bool:
        return self.state is not None and not self.state.is_usable
