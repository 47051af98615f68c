"""Where the variables of the servers' own programs say that they listen."""

from __future__ import annotations

from collections.abc import Mapping

from lmchat.domain.server import Endpoint, Product
from lmchat.errors import EndpointNotAllowed

_HERE = "127.0.0.1"
_ANY = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - read, not bound to
_LLAMA_PORT = "8080"


def places_of_variables(environ: Mapping[str, str]) -> dict[Product, Endpoint]:
    """Return where the environment says that products of this machine listen."""
    told = {
        Product.OLLAMA: ollama_endpoint(environ.get("OLLAMA_HOST", "")),
        Product.LLAMA_CPP: _llama_endpoint(environ),
        Product.LM_STUDIO: _lm_studio_endpoint(environ.get("LMS_SERVER_HOST", "")),
    }
    return {product: endpoint for product, endpoint in told.items() if endpoint is not None}


def ollama_endpoint(host: str) -> Endpoint | None:
    """Return where `ollama serve` listens by its variable, written as `HOST`, `HOST:PORT` or `:PORT`."""
    name, _, port = host.strip().removeprefix("http://").rstrip("/").rpartition(":")
    return _at(name, port)


def _llama_endpoint(environ: Mapping[str, str]) -> Endpoint | None:
    host, port = environ.get("LLAMA_ARG_HOST", "").strip(), environ.get("LLAMA_ARG_PORT", "").strip()
    return _at(host, port or _LLAMA_PORT) if host or port else None


def _lm_studio_endpoint(host: str) -> Endpoint | None:
    """Return the address that LM Studio's server binds; the variable has no port."""
    return _at(host.strip(), "1234") if host.strip() else None


def _at(name: str, port: str) -> Endpoint | None:
    """Return an address of this machine; None for any other, and for what is none."""
    if not (port.isascii() and port.isdecimal()):
        return None
    host = _HERE if name in _ANY else name
    is_bare_v6 = host.count(":") > 1 and not host.startswith("[")
    try:
        endpoint = Endpoint.parse(f"http://[{host}]:{port}" if is_bare_v6 else f"http://{host}:{port}")
    except EndpointNotAllowed:
        return None
    return endpoint if endpoint.is_loopback else None
