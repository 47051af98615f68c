"""Servers and models: addresses, results of probes, and the target of the next turn."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.message import SentThoughts
from lmchat.domain.product import Product
from lmchat.errors import EndpointNotAllowed

_PORT_ALONE = r"^:?(\d{1,5})$"  # "1234" or ":1234"
_NOT_IN_ADDRESSES = r"[\s\\%\x00-\x1f\x7f-\x9f\ud800-\udfff]"
_MAX_ADDRESS_CHARS = 2000
_MAX_HOST_CHARS = 253
# a name in ASCII, or a number, which a hint explains; a name does not end with a number
_NAME = r"\d+|([a-z0-9_-]{1,63}\.)*(?!\d+$)[a-z0-9_-]{1,63}"
_VERSION_SEGMENT = r"/v\d[a-z0-9]*(/|$)"  # "/v1", "/v1beta/"
_REQUEST_PATH = r"(/api/(chat|generate|tags|show|ps|version)|/(chat/)?completions|/models)$"
"""Ending of an address that was copied from a request."""
# endings of names that are used only within a network of one's own
_OWN_ZONES = (".local", ".lan", ".home", ".internal", ".home.arpa", ".localdomain")
_DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK_LITERALS = ("127.0.0.1", "::1")  # addresses of `localhost`, as a host without brackets


class Verdict(StrEnum):
    """Result of a probe of an address, best first."""

    READY = "ready"
    LOADING = "loading"
    NO_MODEL = "no model loaded"
    NEEDS_KEY = "needs key"
    KEY_REJECTED = "key rejected"
    HOST_BLOCKED = "host blocked"  # the server takes no requests for this name of its host
    SERVER_OFF = "server off"  # the program runs, and says so, but serves no models
    SERVER_ERROR = "server error"
    NOT_AN_LLM = "not an LLM server"
    REFUSED = "refused"  # the connection, so nothing answers; or by lmchat, which may not connect
    TIMED_OUT = "timed out"

    @property
    def is_server(self) -> bool:
        """Whether a model server answered, also if it wants a key or another name of its host.

        After a `SERVER_ERROR` this is not known: any program may answer with an error.
        """
        denials = (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED, Verdict.HOST_BLOCKED)
        return self.is_usable or self in denials

    @property
    def is_usable(self) -> bool:
        """Whether a chat can begin without another step of the user."""
        return self in (Verdict.READY, Verdict.LOADING, Verdict.NO_MODEL)


class LoadState(StrEnum):
    """Whether a model is in memory."""

    LOADED = "loaded"
    ASLEEP = "asleep"
    """Taken out of memory while it is not used; the next request loads it again."""
    LOADING = "loading"
    NOT_LOADED = "not loaded"
    UNKNOWN = "unknown"


class Endpoint(Struct, frozen=True, kw_only=True):
    """The address of a server."""

    scheme: str
    host: str
    """Lower case, without brackets around IPv6 addresses."""
    port: int
    path: str = "/v1"

    @classmethod
    @lru_cache(maxsize=256)
    def parse(cls, text: str) -> Endpoint:
        """Read an address, with or without scheme and `/v1`, or a port of this machine.

        Without a scheme it is `http`, and without a port the usual one of the scheme. The ending of
        a request, such as `/models`, is removed, and `/v1` is added to a path without a version.

        Raises:
            EndpointNotAllowed: it is no plain http(s) address.
        """
        if len(text) > _MAX_ADDRESS_CHARS:
            raise _refused(f"it has more than {_MAX_ADDRESS_CHARS} characters")
        typed = re.sub(_PORT_ALONE, r"127.0.0.1:\1", text.strip())
        try:
            parts = urlsplit(typed if "://" in typed else f"http://{typed}")
            host = (parts.hostname or "").rstrip(".")  # `example.com.` is the full form of a name
        except ValueError:  # its words quote what was typed, which may hold a password
            raise _refused("not an address; write it as http://HOST:PORT") from None

        port = _port_of(parts)
        if parts.scheme not in _DEFAULT_PORTS:
            raise _refused("only http:// and https:// are supported")
        if parts.username is not None or parts.password is not None:
            reason = "addresses with a user name or password are not accepted; use an API key"
            raise _refused(reason)
        has_query = bool(parts.query or parts.fragment)
        if has_query or not _is_host(host) or re.search(_NOT_IN_ADDRESSES, typed):
            raise _refused("write it as http://HOST:PORT")

        path = re.sub(_REQUEST_PATH, "", parts.path.rstrip("/"))
        if not re.search(_VERSION_SEGMENT, path):
            path += "/v1"
        port = port or _DEFAULT_PORTS[parts.scheme]
        return cls(scheme=parts.scheme, host=host, port=port, path=path)

    @property
    def netloc(self) -> str:
        """Host and port, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Address without a path."""
        return f"{self.scheme}://{self.netloc}"

    @property
    def base_url(self) -> str:
        """Address with its version, for `/chat/completions` and `/models`."""
        return f"{self.origin}{self.path}"

    @property
    def root_url(self) -> str:
        """Address without `/v1` at its end, for `/health` and the native APIs."""
        return f"{self.origin}{self.path.removesuffix('/v1')}"

    @property
    def url(self) -> str:
        """Address that lmchat shows and prints: `root_url`."""
        return self.root_url

    @property
    def is_loopback(self) -> bool:
        """Whether it is `localhost` or a loopback address; no name is resolved."""
        if self.host == "localhost":
            return True
        address = _ip_address(self.host)
        if isinstance(address, IPv6Address) and address.ipv4_mapped:  # `::ffff:127.0.0.1`
            address = address.ipv4_mapped
        return address is not None and address.is_loopback

    @property
    def is_local(self) -> bool:
        """Whether it is this machine or an IP address in a private network; no name is resolved."""
        address = _ip_address(self.host)
        return self.is_loopback or (address is not None and address.is_private)

    @property
    def is_near(self) -> bool:
        """Whether it is this machine or in a private network, by its IP address or its name.

        A name is in a private network if it has no dot, or an ending such as `.local`.
        """
        if self.is_loopback or _ip_address(self.host) is not None:
            return self.is_local
        return "." not in self.host or self.host.endswith(_OWN_ZONES)

    @property
    def literal(self) -> Endpoint:
        """The address with 127.0.0.1 in place of `localhost`, as both are one server to lmchat.

        Other addresses stay as they are.
        """
        return replace(self, host="127.0.0.1") if self.host == "localhost" else self

    @property
    def aliases(self) -> list[Endpoint]:
        """This address and, if it is on this machine, the same with each name of this machine.

        All of them share an API key.
        """
        if not self.is_loopback:
            return [self]
        names = ("localhost", *LOOPBACK_LITERALS)
        return [self, *(replace(self, host=name) for name in names)]

    @property
    def canonical(self) -> tuple[str, int]:
        """Host and port; the host is `localhost` for every spelling of this machine's address."""
        return "localhost" if self.is_loopback else self.host, self.port


def is_address(text: str) -> bool:
    """Return whether a text can be read as an address.

    Other texts must not be shown or used: they may hold a password.
    """
    try:
        Endpoint.parse(text)
    except EndpointNotAllowed:
        return False
    return True


def loopback(port: int) -> Endpoint:
    """Return the address of a port of this machine."""
    return Endpoint(scheme="http", host="127.0.0.1", port=port)


def _port_of(parts: SplitResult) -> int | None:
    """Return the port that an address names; None if it names none.

    Raises `EndpointNotAllowed` for a port that is no number, 0 or too large.
    """
    try:
        port = parts.port
    except ValueError:  # it is no number, or too large: refused like 0
        port = 0
    if port == 0:
        raise _refused("the port must be a number from 1 to 65535")
    return port


def _is_host(host: str) -> bool:
    """Return whether a host is an IP address, or a name that can be looked up."""
    if _ip_address(host) is not None:
        return True
    if len(host) > _MAX_HOST_CHARS:
        return False
    if host.isascii() and "xn--" not in host:
        return re.fullmatch(_NAME, host) is not None

    import idna  # noqa: PLC0415 - only few hosts need its tables

    try:  # what `xn--` stands for is checked, too: HTTP clients read it
        name = idna.encode(host).decode()
        idna.decode(name)
    except UnicodeError:
        return False
    return re.fullmatch(_NAME, name) is not None


def _ip_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return a host as an IP address; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _refused(reason: str) -> EndpointNotAllowed:
    return EndpointNotAllowed(f"Endpoint not allowed: {reason}.")


def server_id_of(endpoint: Endpoint, product: Product) -> str:
    """Return the text by which a server is known in files.

    It is the address, and for the built-in engine its product: its port changes with each run.
    """
    return product.value if product is Product.BUILT_IN else endpoint.literal.url


class ModelInfo(Struct, frozen=True, kw_only=True):
    """A model of a server."""

    model_id: str
    endpoint: Endpoint
    product: Product
    state: LoadState = LoadState.UNKNOWN
    load_fraction: float | None = None
    is_embedding: bool = False
    """Whether the model makes only embeddings and cannot chat."""
    is_decision: bool = False
    """Whether the model makes only decisions and cannot chat."""
    params: str = ""
    """Number of parameters, such as "8B"."""
    quantization: str = ""
    context_loaded: int | None = None
    context_max: int | None = None
    size_bytes: int | None = None
    capabilities: tuple[str, ...] = ()
    """Any of `tools`, `vision`, `reasoning`, in this order."""
    is_blind: bool = False
    """Whether the server says that the model takes no images."""
    keeps_thoughts: bool = False
    """Whether the chat template shows the model the thoughts of all its answers."""
    efforts: tuple[str, ...] = ()
    """Values of `reasoning_effort` that the server names for this model."""
    slots: int | None = None
    """How many requests are answered at once; None if the server does not say."""
    has_own_slots: bool = False
    """Whether the slots are those of this model only, as behind a router."""
    created: int | None = None
    owned_by: str = ""

    @property
    def server_id(self) -> str:
        return server_id_of(self.endpoint, self.product)

    @property
    def only_for(self) -> str:
        """What a model makes that cannot chat, as "embeddings"; "" for a model that can."""
        if self.is_embedding:
            return "embeddings"
        return "decisions" if self.is_decision else ""

    @property
    def can_chat(self) -> bool:
        return not self.only_for

    @property
    def context(self) -> int | None:
        """Context window in tokens: as loaded, else the maximum, else None."""
        return self.context_loaded or self.context_max


def sent_thoughts_of(product: Product, model: ModelInfo | None) -> SentThoughts:
    """Return which thoughts a request to a model gives back.

    `NONE` if the product has no field for them, `ALL` if the model keeps the thoughts of all its
    answers, else `SINCE_PROMPT`. `model` is None if it is not known.
    """
    if not product.facts.thought_fields:
        return SentThoughts.NONE
    keeps_all = model is not None and model.keeps_thoughts
    return SentThoughts.ALL if keeps_all else SentThoughts.SINCE_PROMPT


class Candidate(Struct, frozen=True, kw_only=True):
    """A checked address, and the result of its probe."""

    endpoint: Endpoint
    product: Product
    verdict: Verdict
    latency_ms: float | None = None
    models: tuple[ModelInfo, ...] = ()
    detail: str = ""
    """Message of the error; empty without one."""
    seen: str = ""
    """Answer of a server that cannot be used, such as "502 Bad Gateway"."""
    kind: str = ""
    """Kind of the error, as `LMChatError.kind`; empty without one."""
    next_step: str = ""
    key_withheld: str = ""
    """Why an API key that is set was not sent to it; empty without one."""
    other_ports: tuple[int, ...] = ()
    """Default ports of other versions of the product, where nothing answers either."""
    is_own: bool = False
    """Whether you named this server, or it is the built-in one, which only you can start."""
    is_hinted: bool = False
    """Whether the environment names this server, as `OLLAMA_HOST` does."""

    @property
    def server_id(self) -> str:
        return server_id_of(self.endpoint, self.product)

    @property
    def has_named_address(self) -> bool:
        """Whether you named its address; that of the built-in server is never named."""
        return self.is_own and self.product is not Product.BUILT_IN

    @property
    def finding(self) -> str:
        """Verdict, with `seen` behind it if there is one."""
        return f"{self.verdict}: {self.seen}" if self.seen else self.verdict.value

    @property
    def port_words(self) -> str:
        """Its port and `other_ports`, as 9931/8080."""
        return "/".join(map(str, (self.endpoint.port, *self.other_ports)))

    @property
    def chat_models(self) -> tuple[ModelInfo, ...]:
        """Models that can chat."""
        return tuple(model for model in self.models if model.can_chat)

    @property
    def has_model(self) -> bool:
        """Whether there is a model to chat with, or one is being loaded.

        A ready or loading server counts also if it lists no models.
        """
        return self.verdict in (Verdict.READY, Verdict.LOADING) or bool(self.chat_models)

    @property
    def is_forbidden(self) -> bool:
        """Whether lmchat sends no requests to it.

        Its host is not allowed, or is a provider that needs https and was named with http.
        """
        return self.kind in ("not_allowed", "insecure")

    @property
    def can_be_allowed(self) -> bool:
        """Whether lmchat sends no requests to it only because its host is not allowed."""
        return self.kind == "not_allowed"


class ModelList(Struct, frozen=True, kw_only=True):
    """Models of one or more servers."""

    models: tuple[ModelInfo, ...] = ()
    age_s: float = 0.0
    is_stale: bool = False  # whether a server did not answer


class Target(Struct, frozen=True, kw_only=True):
    """Server and model that answer the next turn."""

    endpoint: Endpoint
    product: Product
    model: ModelInfo | None = None
    is_loading: bool = False  # whether the model is being loaded; its name may not be known yet
    loading_since_s: float | None = None  # monotonic time; None where the server loads it unasked
    loading_fraction: float | None = None

    @property
    def server_id(self) -> str:
        return server_id_of(self.endpoint, self.product)

    @property
    def model_id(self) -> str:
        return self.model.model_id if self.model else ""

    @property
    def context(self) -> int | None:
        return self.model.context if self.model else None

    @property
    def sent_thoughts(self) -> SentThoughts:
        return sent_thoughts_of(self.product, self.model)
