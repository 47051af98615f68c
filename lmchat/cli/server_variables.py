"""Addresses of servers, from the environment variables that their programs read.

A server that listens on all addresses of this machine, such as 0.0.0.0, is reached at localhost.
"""

from __future__ import annotations

from collections.abc import Mapping

from lmchat.servers.endpoint import Endpoint, is_address
from lmchat.servers.products.llama_cpp import LlamaCpp
from lmchat.servers.products.lm_studio import LmStudio
from lmchat.servers.products.ollama import Ollama

_LM_STUDIO_PORT = "1234"
_LLAMA_CPP_PORT = "9931"  # a scan checks 8080, too, which older versions use
_OLLAMA_PORT = "11434"


def endpoints_of_variables(environ: Mapping[str, str]) -> dict[str, Endpoint]:
    """Return the address of each product whose variables set a usable one.

    Addresses on other machines are returned for Ollama only: the clients of Ollama read its
    variable, too. The variables of the others only say where a server of this machine listens.
    """
    endpoints = {Ollama.name: ollama_endpoint(environ.get("OLLAMA_HOST", ""))}

    llama_host = environ.get("LLAMA_ARG_HOST", "").strip()
    llama_port = environ.get("LLAMA_ARG_PORT", "").strip()
    if llama_host or llama_port:
        endpoints[LlamaCpp.name] = _loopback(llama_host, llama_port or _LLAMA_CPP_PORT)

    if lm_studio_host := environ.get("LMS_SERVER_HOST", "").strip():
        endpoints[LmStudio.name] = _loopback(lm_studio_host, _LM_STUDIO_PORT)
    return {product: endpoint for product, endpoint in endpoints.items() if endpoint is not None}


def ollama_endpoint(host: str) -> Endpoint | None:
    """Return Ollama's address from its variable: `HOST`, `HOST:PORT`, `:PORT` or a URL.

    A host without a port gets Ollama's usual port, a URL without one the port of its scheme. Return
    None for an empty or wrong value. Return None, too, for this machine, unless the value has a
    port and is no https URL: every scan checks the usual port here.
    """
    value = host.strip().rstrip("/")
    # This machine with a port. For anything else, `_loopback` returns None: without a port, `port`
    # is no number, and of an https URL, `name` is no host.
    name, _, port = value.removeprefix("http://").rpartition(":")
    loopback_endpoint = _loopback(name, port)
    if loopback_endpoint is not None:
        return loopback_endpoint

    # another machine, in any of the forms
    is_url = "://" in value
    url = value if is_url or port.isdecimal() else f"{value}:{_OLLAMA_PORT}"
    if not (value and is_address(url)):
        return None
    endpoint = Endpoint.parse(url)
    return None if endpoint.is_loopback else endpoint


def _loopback(name: str, port: str) -> Endpoint | None:
    """Return the http address of a server on this machine from the name of its host and its port.

    Return None for a host that is not this machine, and for a wrong host or port.
    """
    if not (port.isascii() and port.isdecimal()):
        return None
    host = name or "localhost"
    is_bare_ipv6 = host.count(":") > 1 and not host.startswith("[")
    url = f"http://[{host}]:{port}" if is_bare_ipv6 else f"http://{host}:{port}"
    if not is_address(url):
        return None
    endpoint = Endpoint.parse(url)
    return endpoint if endpoint.is_loopback else None
