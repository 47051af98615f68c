"""Servers and models: addresses, products, verdicts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.message import SentThoughts
from lmchat.errors import EndpointNotAllowed

_VERSION_SEGMENT = re.compile(r"/v\d+[a-z0-9]*(/|$)")
_REQUEST_PATH = re.compile(
    r"(/api/(chat|generate|tags|show|ps|version)|/(chat/)?completions|/models)$"
)
"""Ending of an address that was copied from a request."""
_OWN_ZONES = (".local", ".lan", ".home", ".internal", ".home.arpa", ".localdomain")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Product(StrEnum):
    """Kinds of servers, in the order of detection."""

    LM_STUDIO = "LM Studio"
    JAN = "Jan"
    LLAMA_CPP = "llama.cpp"
    OLLAMA = "Ollama"
    VLLM = "vLLM"
    SGLANG = "SGLang"
    LITELLM = "LiteLLM"
    OPENAI = "OpenAI"
    MISTRAL = "Mistral"
    ANTHROPIC = "Anthropic"
    GEMINI = "Gemini"
    OPENROUTER = "OpenRouter"
    OPENAI_COMPATIBLE = "OpenAI-compatible"
    BUILT_IN = "built-in"

    def in_text(self, text: str) -> str:
        """Replace LM Studio in a text by the name of this product."""
        if self in (Product.LM_STUDIO, Product.OPENAI_COMPATIBLE):
            return text
        return text.replace("LMStudio", self.value).replace("LM Studio", self.value)


LARGER_WINDOW: Mapping[Product, str] = {
    **dict.fromkeys(
        (Product.LM_STUDIO, Product.JAN),
        "Load it with: lmchat models load {model} --context {context}",
    ),
    Product.LLAMA_CPP: "Set it when you start the server: llama-server -c {context}",
    Product.OLLAMA: "Set it when you start Ollama: OLLAMA_CONTEXT_LENGTH={context} ollama serve",
    Product.VLLM: "Set it when you start the server: vllm serve MODEL --max-model-len {context}",
    Product.SGLANG: "Set it when you start the server: sglang serve MODEL --context-length {context}",
}
"""Step to a larger context window."""


THOUGHT_FIELDS: Mapping[Product, tuple[str, ...]] = {
    **dict.fromkeys(
        (Product.LLAMA_CPP, Product.BUILT_IN, Product.JAN, Product.LM_STUDIO, Product.SGLANG),
        ("reasoning_content",),
    ),
    Product.VLLM: ("reasoning", "reasoning_content"),  # versions differ in what they read
    Product.OLLAMA: ("reasoning",),
}
"""Fields of an answer in a request that give its thought back; others are not known to take any."""


class Verdict(StrEnum):
    """Result of a probe of an address, best first."""

    READY = "ready"
    LOADING = "loading"
    NO_MODEL = "no model loaded"
    NEEDS_KEY = "needs key"
    KEY_REJECTED = "key rejected"
    HOST_BLOCKED = "host blocked"
    SERVER_OFF = "server off"
    SERVER_ERROR = "server error"
    NOT_AN_LLM = "not an LLM server"
    REFUSED = "refused"
    TIMED_OUT = "timed out"

    @property
    def is_server(self) -> bool:
        return self.is_usable or self in (
            Verdict.NEEDS_KEY,
            Verdict.KEY_REJECTED,
            Verdict.HOST_BLOCKED,
        )

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
    def parse(cls, text: str) -> Endpoint:
        """Read an address, with or without scheme and `/v1`, or the port of a server on this machine.

        Raises:
            EndpointNotAllowed: it is no plain http(s) address.
        """
        typed = re.sub(r"^:?(\d{1,5})$", r"127.0.0.1:\1", text.strip())
        try:
            parts = urlsplit(typed if "://" in typed else f"http://{typed}")
            host = (parts.hostname or "").rstrip(".")
        except ValueError:  # its words quote what was typed, which may hold a password
            raise _refused("not an address; write it as http://HOST:PORT") from None
        try:
            port = parts.port
        except ValueError:
            port = 0
        if port == 0:
            raise _refused("the port must be a number from 1 to 65535")
        if parts.scheme not in _DEFAULT_PORTS:
            raise _refused("only http:// and https:// are supported")
        if parts.username is not None or parts.password is not None:
            raise _refused(
                "addresses with a user name or password are not accepted; use an API key"
            )
        if (
            parts.query
            or parts.fragment
            or not host
            or re.search(r"[\s\\%\x00-\x1f\x7f-\x9f]", typed)
        ):
            raise _refused("write it as http://HOST:PORT")
        path = _REQUEST_PATH.sub("", parts.path.rstrip("/"))
        if not _VERSION_SEGMENT.search(path):
            path += "/v1"
        return cls(
            scheme=parts.scheme, host=host, port=port or _DEFAULT_PORTS[parts.scheme], path=path
        )

    @property
    def netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    @property
    def base_url(self) -> str:
        """Address with its version, for `/chat/completions` and `/models`."""
        return f"{self.origin}{self.path}"

    @property
    def root_url(self) -> str:
        """Address without `/v1`, for `/health` and the native APIs."""
        return f"{self.origin}{re.sub(r'/v1$', '', self.path)}"

    @property
    def url(self) -> str:
        """Address that lmchat shows and prints, without `/v1`."""
        return self.root_url

    @property
    def is_loopback(self) -> bool:
        """Whether it is `localhost` or a loopback address; no name is resolved."""
        if self.host == "localhost":
            return True
        address = _address(self.host)
        if address is None:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return bool((mapped or address).is_loopback)

    @property
    def is_local(self) -> bool:
        """Whether it is this machine or an address in a private network."""
        address = _address(self.host)
        return self.is_loopback or (address is not None and address.is_private)

    @property
    def is_near(self) -> bool:
        """Whether it is in your own network, also by name."""
        if self.is_loopback or _address(self.host) is not None:
            return self.is_local
        return "." not in self.host or self.host.endswith(_OWN_ZONES)

    @property
    def literal(self) -> Endpoint:
        """The same server, without the name `localhost`."""
        return replace(self, host="127.0.0.1") if self.host == "localhost" else self

    @property
    def canonical(self) -> tuple[str, int]:
        """Host and port, the same for all spellings of the address."""
        return "localhost" if self.is_loopback else self.host, self.port


def is_address(text: str) -> bool:
    """Whether a text is an address; others may hold a password."""
    try:
        Endpoint.parse(text)
    except EndpointNotAllowed:
        return False
    return True


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _refused(reason: str) -> EndpointNotAllowed:
    return EndpointNotAllowed(f"Endpoint not allowed: {reason}.")


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
    created: int | None = None
    owned_by: str = ""

    @property
    def server_id(self) -> str:
        return server_id_of(self.endpoint, self.product)

    @property
    def only_for(self) -> str:
        """What a model makes that cannot chat, as "embeddings"; empty if it can."""
        if self.is_embedding:
            return "embeddings"
        return "decisions" if self.is_decision else ""

    @property
    def can_chat(self) -> bool:
        return not self.only_for

    @property
    def context(self) -> int | None:
        """Context window in tokens: as loaded, otherwise the maximum."""
        return self.context_loaded or self.context_max


def sent_thoughts_of(product: Product, model: ModelInfo | None) -> SentThoughts:
    """Return which thoughts a request to a model gives back."""
    if product not in THOUGHT_FIELDS:
        return SentThoughts.NONE
    keeps_all = model is not None and model.keeps_thoughts
    return SentThoughts.ALL if keeps_all else SentThoughts.SINCE_PROMPT


def server_id_of(endpoint: Endpoint, product: Product) -> str:
    """Return the name of a server for later runs."""
    return product.value if product is Product.BUILT_IN else endpoint.literal.url


class Candidate(Struct, frozen=True, kw_only=True):
    """A checked address, and the result."""

    endpoint: Endpoint
    product: Product
    verdict: Verdict
    latency_ms: float | None = None
    models: tuple[ModelInfo, ...] = ()
    detail: str = ""
    """Message of the error; empty without one."""
    seen: str = ""
    """Answer of an unusable server, such as "502 Bad Gateway"."""
    kind: str = ""
    """Kind of the error, as `LMChatError.kind`; empty without one."""
    next_step: str = ""
    key_withheld: str = ""
    """Why an API key that is set was not sent to it; empty without one."""
    other_ports: tuple[int, ...] = ()
    """Default ports of other versions of the product, where nothing answers either."""
    is_own: bool = False
    """Whether you named this server."""
    is_hinted: bool = False
    """Whether the environment names this server, as `OLLAMA_HOST` does."""

    @property
    def finding(self) -> str:
        """Verdict, followed by `seen`."""
        return f"{self.verdict}: {self.seen}" if self.seen else self.verdict.value

    @property
    def port_words(self) -> str:
        """Its port and `other_ports`, as 9931/8080."""
        return "/".join(map(str, (self.endpoint.port, *self.other_ports)))


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


_FILE = re.compile(r"(-\d{5}-of-\d{5})?\.gguf$")
_TAG = re.compile(r"[:@]([^:@]*)$")
_BUILD = re.compile(
    r"[-.](latest|gguf|mlx|\d{4}-\d\d-\d\d|\d{8}|\d{4}"
    r"|(?:ud-)?i?q\d\w*|b?fp?(?:8|16|32)|mxfp4|\d+bit|awq|gptq)$"
)
_NO_BUILD = re.compile(r"latest|gguf|mlx|\d{1,2}")
"""Endings that name no build; a number is that of an instance in LM Studio."""

_LONGEST = 500  # removing the endings of longer names takes too long


def is_other_model(asked: str, served: str) -> bool:
    """Whether two names are of different models.

    Folders, publishers, file endings, instances, and builds that only one side names make no difference.
    """
    if not asked.strip() or not served.strip():
        return False
    (name, builds), (other_name, other_builds) = _parts(asked), _parts(served)
    return name != other_name or bool(builds and other_builds and builds != other_builds)


def _parts(full_name: str) -> tuple[str, set[str]]:
    """Return the name without endings, and the builds that they name."""
    if len(full_name) > _LONGEST:
        return full_name, set()
    name = full_name.strip().casefold().replace("\\", "/").rstrip("/").rpartition("/")[2]
    name, builds = _FILE.sub("", name), set()
    while found := _TAG.search(name) or _BUILD.search(name):
        name = name[: found.start()]
        if not _NO_BUILD.fullmatch(found[1]):
            builds.add(found[1].removeprefix("ud-"))
    return name, builds
