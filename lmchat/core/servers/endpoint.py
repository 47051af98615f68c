"""The address of a server, and the forms of hosts, which are never looked up in the network."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from lmchat.base.errors import EndpointNotAllowed
from lmchat.core.config.settings import Settings

_PORT_ALONE = r"^:?(\d{1,5})$"  # "1234" or ":1234"
_NOT_IN_ADDRESSES = r"[\s\\%\x00-\x1f\x7f-\x9f\ud800-\udfff]"
_MAX_ADDRESS_CHARS = 2000
_MAX_HOST_CHARS = 253
# ASCII, without a number at the end
_NAME = r"([a-z0-9_-]{1,63}\.)*(?!\d+$)[a-z0-9_-]{1,63}"
_VERSION_SEGMENT = r"/v\d[a-z0-9]*(/|$)"  # "/v1", "/v1beta/"
_OWN_PATH = r"((?<=:1234)/api(/v1)?|(?<=:11434)/api|/api/v0)"  # of LM Studio and Ollama
_REQUEST_PATH = (
    rf"({_OWN_PATH}?/((chat/)?completions|models)|{_OWN_PATH}(/chat)?"
    "|/api/(chat|generate|tags|show|ps|version))$"
)
"""Path of an address that was copied from a request, behind the port."""
# used only within a private network
_OWN_ZONES = (".local", ".localhost", ".lan", ".home", ".internal", ".home.arpa", ".localdomain")
_LOCALHOST = ("127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104 - they are only recognised
DEFAULT_PORTS = {"http": 80, "https": 443}


class Endpoint(Struct, frozen=True, kw_only=True):
    """The address of a server."""

    scheme: str  # "http" or "https"
    host: str
    """Lower case, without brackets around IPv6 addresses; `localhost` for this machine."""
    port: int
    path: str = "/v1"  # has a version, such as `/v1`, and no slash at its end

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read an address, with or without scheme and `/v1`, or a port of this machine.

        The ending of a request, such as `/models`, is removed. `/v1` is added to a path without a
        version. An IP address of this machine becomes `localhost`.

        Raises:
            EndpointNotAllowed: the text is no plain http(s) address.
        """
        if len(text) > _MAX_ADDRESS_CHARS:
            raise _not_allowed_error(f"it has more than {_MAX_ADDRESS_CHARS} characters")
        typed = re.sub(_PORT_ALONE, r"localhost:\1", text.strip())
        typed = re.sub(r"^(https?)(:/(?!/)|//)", r"\1://", typed)  # also "http:/localhost"
        try:
            parts = urlsplit(typed if "://" in typed else f"http://{typed}")
            host = (parts.hostname or "").rstrip(".")  # `example.com.` is the full form of a name
        except ValueError:  # its words quote what was typed, which may hold a password
            raise _not_allowed_error("not an address; write it as http://HOST:PORT") from None

        if parts.scheme not in DEFAULT_PORTS:
            raise _not_allowed_error("only http:// and https:// are supported")
        port = _port_of(parts)
        if parts.username is not None or parts.password is not None:
            raise _not_allowed_error(
                "addresses with a user name or password are not accepted; use an API key"
            )
        has_query = bool(parts.query or parts.fragment)
        if has_query or not _is_host(host) or re.search(_NOT_IN_ADDRESSES, typed):
            raise _not_allowed_error("write it as http://HOST:PORT")

        plain_path = re.sub("/{2,}", "/", parts.path).rstrip("/")
        path = re.sub(_REQUEST_PATH, "", f":{port}{plain_path}").removeprefix(f":{port}")
        if not re.search(_VERSION_SEGMENT, path):
            path += "/v1"
        return cls(scheme=parts.scheme, host=usual_host(host), port=port, path=path)

    @property
    def netloc(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    @property
    def base_url(self) -> str:
        """Address for `/chat/completions` and `/models`."""
        return f"{self.origin}{self.path}"

    @property
    def url(self) -> str:
        """Address for native APIs, and as lmchat shows it."""
        return f"{self.origin}{self.path.removesuffix('/v1')}"

    @property
    def is_loopback(self) -> bool:
        return is_loopback_host(self.host)

    @property
    def is_near(self) -> bool:
        """Whether it is here or in a private network: a name without a dot, or as `.local`."""
        address = _ip_address(self.host)
        if address is not None:
            return not address.is_global
        return "." not in self.host or self.host.endswith(_OWN_ZONES)


def is_address(text: str) -> bool:
    """Other texts must not be shown: they may hold a password."""
    try:
        Endpoint.parse(text)
    except EndpointNotAllowed:
        return False
    return True


def origin_of(url: str) -> str:
    """A wrong address has none; it is refused where it is used."""
    return Endpoint.parse(url).origin if is_address(url) else ""


def loopback(port: int) -> Endpoint:
    return Endpoint(scheme="http", host="localhost", port=port)


def is_loopback_host(host: str) -> bool:
    address = _ip_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def usual_host(host: str) -> str:
    """Return `localhost` for this machine, else a short form.

    Servers that listen on all addresses print 0.0.0.0 or [::]: these mean this machine, too. At
    127.0.0.2, another server may listen.
    """
    address = _ip_address(host)
    if address is None:
        return host
    return "localhost" if str(address) in _LOCALHOST else address.compressed


def _port_of(parts: SplitResult) -> int:
    """Raises `EndpointNotAllowed`."""
    try:
        port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:  # refused like 0
        port = 0
    if port == 0:
        raise _not_allowed_error("the port must be a number from 1 to 65535")
    return port


def _is_host(host: str) -> bool:
    # international names are refused, also in ASCII, where they start with `xn--`
    may_be_name = len(host) <= _MAX_HOST_CHARS and "xn--" not in host
    return _ip_address(host) is not None or (may_be_name and bool(re.fullmatch(_NAME, host)))


def _ip_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return None for a name; `::ffff:1.2.3.4` is one of IPv4."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _not_allowed_error(reason: str) -> EndpointNotAllowed:
    return EndpointNotAllowed(f"Endpoint not allowed: {reason}.")


def configured_endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """Return `endpoint`, else those of `[[endpoints]]`; raise `EndpointNotAllowed`."""
    urls = [settings.endpoint] if settings.endpoint else [entry.url for entry in settings.endpoints]
    return tuple(Endpoint.parse(url) for url in urls)


def configured_names(settings: Settings) -> dict[str, str]:
    """Return the names in `[[endpoints]]`, by origin."""
    return {origin_of(entry.url): entry.name for entry in settings.endpoints}
