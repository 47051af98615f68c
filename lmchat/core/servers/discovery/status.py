"""What answers at the address of a server, how it is said, and what the user can do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.safe_text import safe_line
from lmchat.base.units import SIGNS
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import (
    BUILT_IN,
    OPENAI_COMPATIBLE,
    LoadState,
    ModelInfo,
    server_id_of,
    server_name_of,
)
from lmchat.core.servers.target import Target


class ServerState(StrEnum):
    """How far a server is from a chat, best first."""

    READY = "ready"  # a chat can start now
    LOADING = "loading"  # wait
    NO_MODEL = "no model"  # choose or load one
    NEEDS_KEY = "needs key"  # type one
    REFUSES = "refuses"  # a server answers and says no
    AWAY = "away"  # no model server answers there

    @property
    def is_usable(self) -> bool:
        """Whether a chat can start as soon as a model is loaded; the server may have none."""
        return self in (ServerState.READY, ServerState.LOADING, ServerState.NO_MODEL)


class Next(StrEnum):
    """What the user can do about a server; the screen offers it."""

    CHAT = "chat"
    WAIT = "wait"
    PICK = "pick"  # one of its models
    PULL = "pull"  # a model: it has none, and downloads them on request
    NAME = "name"  # a model: no list tells which it has
    KEY = "key"
    ALLOW = "allow"  # its host
    START = "start"  # it, on this machine
    NOTHING = ""


class Meaning(Struct, frozen=True):
    """Meaning of a reason, and how it is said."""

    state: ServerState
    action: Next
    sign: str
    word: str  # for scripts and the welcome page
    panel: tuple[str, str]  # the state in a word, and why in two words at most
    sentence: str  # `ServerStatus.sentence` fills in what is in braces
    step: str = ""  # `scan` fills in the words of the product, or the next step of the error
    named_action: Next | None = None  # in place of `action` at an address that the user has named
    named_step: str = ""  # in place of `step` at an address that is not usual
    error_kind: str = ""  # if a program answers that cannot be used
    is_server: bool = True  # a model server has answered
    has_program: bool = True  # even if it is silent, or its server is off


_NO_MODEL = Meaning(
    ServerState.NO_MODEL,
    Next.PICK,
    SIGNS.degraded,
    "no model loaded",
    ("no model", ""),
    "{name} answers, but no model is loaded.",
    "{model}",
)
_EMPTY = replace(
    _NO_MODEL,
    action=Next.NOTHING,
    sentence="{name} answers, but has no model yet.",
    step="{empty}",
    named_action=Next.NAME,
)
_NEEDS_KEY = Meaning(
    ServerState.NEEDS_KEY,
    Next.KEY,
    SIGNS.degraded,
    "needs key",
    ("needs key", ""),
    "{name} answers, but needs an API key.",
    "{key}",
    error_kind="auth",
)
_SERVER_ERROR = Meaning(
    ServerState.REFUSES,
    Next.NOTHING,
    SIGNS.failed,
    "server error",
    ("down", "error"),
    "{name} answers with an error: {detail}.",
    "Check the server's log, then restart it",
    named_action=Next.NAME,
    error_kind="server_error",
    is_server=False,  # any program may answer with an error
)
_OTHER_PROGRAM = Meaning(
    ServerState.AWAY,
    Next.NOTHING,
    SIGNS.off,
    "not an LLM server",
    ("down", "not an LLM"),
    "The program at {url} is not a model server.",
    "Another program uses port {port}: stop it",
    named_action=Next.NAME,
    named_step="Check the port and the path of the address",
    error_kind="not_an_llm",
    is_server=False,
)
_OTHER_PATH = replace(_OTHER_PROGRAM, named_step="{next_step}")
_MOVED = replace(
    _OTHER_PROGRAM,
    word="redirects",
    panel=("down", "redirects"),
    sentence="{detail}.",
    step="{next_step}",
    named_action=None,
    named_step="",
    error_kind="wrong_path",
)
_SILENT = Meaning(
    ServerState.AWAY,
    Next.NOTHING,
    SIGNS.off,
    "timed out",
    ("down", "timed out"),
    "A program accepts connections at {url} but does not answer in time.",
    "{silent}",
    named_action=Next.NAME,
    is_server=False,
)
_CLOSED = Meaning(
    ServerState.AWAY,
    Next.NOTHING,
    SIGNS.off,
    "refused",
    ("down", "refused"),
    "Nothing answers at {url}.",
    "{start}",
    is_server=False,
    has_program=False,
)
_FORBIDDEN = replace(
    _CLOSED,
    word="not allowed",
    panel=("down", "not allowed"),
    sentence="It was not checked: {detail}.",
    step="{next_step}",
)
STATUS: Mapping[str, Meaning] = {
    "": Meaning(
        ServerState.READY, Next.CHAT, SIGNS.ready, "ready", ("ready", ""), "{name} answers."
    ),
    "loading": Meaning(
        ServerState.LOADING,
        Next.WAIT,
        SIGNS.degraded,
        "loading",
        ("loading", ""),
        "{name} answers and loads a model.",
        "Wait until the model is loaded",
    ),
    "model_not_loaded": _NO_MODEL,
    "only_remote": replace(_NO_MODEL, step="Choose a model with /model or -m"),  # none is loaded
    "not_pulled": replace(_EMPTY, action=Next.PULL, named_action=None),
    "empty": _EMPTY,
    "auth": _NEEDS_KEY,
    "key_withheld": replace(_NEEDS_KEY, step="{next_step}"),  # one is set, but was not sent
    "key_rejected": replace(
        _NEEDS_KEY,
        sign=SIGNS.failed,
        word="key rejected",
        panel=("key", "rejected"),
        sentence="{name} answers, but rejected the API key.",
    ),
    "host_blocked": Meaning(
        ServerState.REFUSES,
        Next.NOTHING,
        SIGNS.failed,
        "host blocked",
        ("blocked", "host"),
        "{name} does not accept the host name {host}.",
        "{host_step}",
        error_kind="host_blocked",
    ),
    "server_off": Meaning(
        ServerState.AWAY,
        Next.START,
        SIGNS.degraded,
        "server off",
        ("down", "server off"),
        "{name} runs, but its server is off.",
        "{start}",
        named_action=Next.NOTHING,
        is_server=False,
    ),
    "server_error": _SERVER_ERROR,
    "refuses_path": replace(_SERVER_ERROR, step="{next_step}"),  # its log would not help
    "certificate": replace(
        _SERVER_ERROR,
        sentence="{detail}.",
        step="{next_step}",
        named_action=None,
        error_kind="certificate",
    ),
    "password": replace(
        _MOVED,
        word="needs sign-in",
        panel=("down", "sign-in"),
        sentence="The program at {url} asks for a user name and a password (Basic), "
        "which lmchat cannot send.",
        step="Use the address of the server behind it",
        error_kind="auth",
    ),
    "moved": _MOVED,
    "slash": replace(
        _MOVED, step="Let it answer without the slash at the end, which lmchat does not send"
    ),
    "not_an_llm": _OTHER_PROGRAM,
    "other_path": _OTHER_PATH,
    # it does not speak HTTP, or speaks TLS
    "dropped": replace(
        _OTHER_PATH,
        sentence="The program at {url} closes the connection: it may want http or https, "
        "or be no model server.",
    ),
    "timeout": _SILENT,
    "unreachable": replace(_SILENT, sentence=_CLOSED.sentence, named_action=None),
    "not_allowed": replace(_FORBIDDEN, action=Next.ALLOW),  # its host
    "insecure": _FORBIDDEN,  # a provider that needs https was named with http
    # one of its headers has no value
    "config": replace(_FORBIDDEN, error_kind="config"),
    "offline": replace(_CLOSED, action=Next.START, named_action=Next.NOTHING),  # on this machine
    "far_offline": _CLOSED,
    "no_route": replace(_CLOSED, step="{next_step}"),  # by a proxy, or an unknown name
}
"""Meanings by reason, best first: "", or why a chat cannot start, mostly a kind of error."""
_DETAIL_CHARS = 200  # of an error message


class ServerStatus(Struct, frozen=True, kw_only=True):
    """What answers at the address of a server."""

    endpoint: Endpoint
    product: str
    """Its name; "OpenAI-compatible" if it is not known."""
    reason: str = ""
    """Why a chat cannot start now, mostly a kind of error; empty if it can."""
    models: tuple[ModelInfo, ...] = ()
    """All models, also those that cannot chat."""
    detail: str = ""
    """Words of the server, or of the error."""
    next_step: str = ""
    """What the user should do, usually without a full stop; empty: nothing."""
    latency_ms: float | None = None
    """Time to the first reply; None if nothing replied."""
    own_name: str = ""
    """That of `[[endpoints]]`."""
    is_configured: bool = False
    """Whether the user has named this server, or it is the built-in one, which only users start."""

    @property
    def meaning(self) -> Meaning:
        return STATUS[self.reason]

    @property
    def state(self) -> ServerState:
        return self.meaning.state

    @property
    def word(self) -> str:
        return self.meaning.word

    @property
    def is_model_server(self) -> bool:
        return self.meaning.is_server

    @property
    def action(self) -> Next:
        named = self.meaning.named_action if self.has_named_address else None
        return self.meaning.action if named is None else named

    @property
    def has_named_address(self) -> bool:
        """Whether the user has named its address; never that of the engine."""
        return self.is_configured and self.product != BUILT_IN

    @property
    def chat_models(self) -> tuple[ModelInfo, ...]:
        return tuple(model for model in self.models if model.can_chat)

    @property
    def server_id(self) -> str:
        return server_id_of(self.endpoint, self.product)

    @property
    def label(self) -> str:
        """The user's name, or such as "Jan"; of an unknown product, the address."""
        return self.own_name or server_name_of(self.endpoint, self.product)

    @property
    def name(self) -> str:
        """Such as "Jan at http://localhost:1337"; of an unknown product, the address."""
        is_known = self.own_name or self.product != OPENAI_COMPATIBLE
        return f"{self.label} at {self.endpoint.url}" if is_known else self.endpoint.url

    def sentence(self, name: str) -> str:
        """`name` is the subject of the sentence if a model server answers."""
        return self.meaning.sentence.format(
            name=name,
            url=self.endpoint.url,
            host=self.endpoint.host,
            detail=safe_line(self.detail, limit=_DETAIL_CHARS).rstrip(".") or "no message",
        )


def reason_of_models(models: Iterable[ModelInfo]) -> str:
    """Return why a server is not ready: no model, remote ones aside, can answer.

    One that answers is enough, even while others are loading.
    """
    listed = [model for model in models if model.can_chat]
    states = {model.state for model in listed}
    if states & {LoadState.LOADED, LoadState.ASLEEP, LoadState.UNKNOWN}:
        return ""
    if LoadState.LOADING in states:
        return "loading"
    if not listed:
        return "empty"
    return "only_remote" if all(model.is_remote for model in listed) else "model_not_loaded"


def usable_of(servers: Iterable[ServerStatus]) -> list[ServerStatus]:
    return [server for server in servers if server.state.is_usable]


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
    empty = [server.endpoint for server in servers if server.reason in ("empty", "not_pulled")]
    if target is not None and target.endpoint not in empty:
        return ServerState.NO_MODEL
    if target is None and ServerState.READY in states.values():  # `--local`, which has failed
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
