"""Fetches pages of the web, within limits and without cookies, scripts or passwords."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

import httpx

from lmchat.attachments.web_page import HTML_TYPES, TEXT_TYPES, PageAddress, PageReply
from lmchat.errors import FileRefused, WrongUse
from lmchat.safe_text import safe_line
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.http.connections import CONNECT_ELSEWHERE_S, Connections, body_chunks
from lmchat.servers.http.network_errors import errors_as_unavailable
from lmchat.servers.limits import AllowList

MAX_PAGE_BYTES = 10_000_000  # of a page, also after it was decompressed
_MAX_ADDRESS_CHARS = 2000
_MAX_TYPE_CHARS = 60  # of a type in a message
_SILENCE_S = 30.0  # longest wait for the next bytes; the caller limits the whole time
_PORTS = {"http": 80, "https": 443}
_VALID_PORTS = range(1, 65536)
_HOST = re.compile(r"[a-z0-9._:-]+")  # a name in ASCII, or an IP address
_LOCATION = "lmchat.location"  # extension of a response
_REDIRECTS = (301, 302, 303, 307, 308)
_OK = 200
# Codecs of Python for names of hosts: a page of 1 MB would take them minutes.
_NAME_CODECS = ("idna", "punycode")
_HEADERS = {
    "Accept": "text/html, text/markdown, text/plain, application/json;q=0.9, */*;q=0.1",
}
_IN_BROWSER = "Open the address in a browser, and attach what you save there."


class PageClient:
    """Client for pages; each request has a connection of its own, so that nothing is kept."""

    def __init__(self, allowed_hosts: Iterable[str], ca_file: str = "") -> None:
        """Create it; raises `EndpointNotAllowed` for a wrong entry of `allowed_hosts`."""
        self._allowed = AllowList(allowed_hosts)
        self._ca_file = ca_file

    def parse(self, text: str, base_url: str = "") -> PageAddress:
        """Read an address as it will be requested; a relative one begins at `base_url`.

        Raises `WrongUse` for an address that is not http(s) or has a user name or password.
        """
        if len(text) > _MAX_ADDRESS_CHARS:
            problem = f"The address has more than {_MAX_ADDRESS_CHARS} characters."
            raise WrongUse(problem, hint=_IN_BROWSER)
        try:
            url = httpx.URL(base_url).join(text.strip()).copy_with(fragment=None)
            # reading `host` decodes Punycode, which may be wrong
            host = url.raw_host.decode() if url.host else ""
        except (httpx.InvalidURL, ValueError):  # its words would quote what may be a password
            raise _no_address() from None
        if url.scheme not in _PORTS or not host:
            problem = "Only pages with http:// or https:// can be attached."
            raise WrongUse(problem, hint="Attach a file by its path.")
        if url.userinfo:
            problem = "Addresses with a user name or password are not accepted."
            raise WrongUse(problem, hint=_IN_BROWSER)
        port = _PORTS[url.scheme] if url.port is None else url.port
        if not _HOST.fullmatch(host) or port not in _VALID_PORTS:
            raise _no_address()
        origin = f"{url.scheme}://{url.netloc.decode()}"
        return PageAddress(url=str(url), scheme=url.scheme, host=host, port=port, origin=origin)

    def is_allowed(self, address: PageAddress) -> bool:
        """Return whether `allowed_hosts` names the host, alone or with this port.

        Before a page of any other host is fetched, the caller asks the user.
        """
        return self._allowed.names(address.host, address.port)

    async def fetch(self, address: PageAddress) -> PageReply:
        """Request an address and return the page, or the address to which the host redirects.

        The redirect is not followed here: the caller may have to ask the user about the new host.

        Raises:
            ServerUnavailable: nothing answers, or the connection broke.
            FileRefused: the host answered with an error, or with a page that is too large or is
                neither HTML nor text.
        """
        endpoint = Endpoint(scheme=address.scheme, host=address.host, port=address.port)
        timeout = httpx.Timeout(_SILENCE_S, connect=CONNECT_ELSEWHERE_S)
        connections = Connections(ca_file=self._ca_file)
        try:
            client = await connections.client(endpoint)
            client.event_hooks = {"response": [_take_location]}
            response = await connections.send(
                endpoint, "GET", address.url, headers=_HEADERS, timeout=timeout
            )
            with errors_as_unavailable(endpoint):
                try:
                    return await _reply(response, address)
                finally:
                    await response.aclose()
        finally:
            await connections.aclose()


def _no_address() -> WrongUse:
    return WrongUse("This is not the address of a page.", hint="Check it.")


async def _take_location(response: httpx.Response) -> None:
    """Move the address of a redirect from the headers to the extensions of the response.

    httpx parses the header even if it does not follow redirects, and fails if it does not know the
    scheme of the address.
    """
    response.extensions[_LOCATION] = response.headers.pop("Location", "")


async def _reply(response: httpx.Response, address: PageAddress) -> PageReply:
    """Return the reply of a host, whose body is read only if it is a page of a known type.

    Raises `FileRefused` for any other.
    """
    location = response.extensions[_LOCATION]
    if response.status_code in _REDIRECTS and location:
        return PageReply(location=location)
    if response.status_code != _OK:
        problem = f"{address.origin} answered with status {response.status_code}."
        raise FileRefused(problem, hint=_IN_BROWSER)

    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type not in (*HTML_TYPES, *TEXT_TYPES):
        named_type = safe_line(media_type, limit=_MAX_TYPE_CHARS) or "of no type"
        problem = f"The page is {named_type}, which is neither HTML nor text."
        raise FileRefused(problem, hint="Download it, and attach the file.")
    data = await _read(response)
    return PageReply(media_type=media_type, charset=_charset(response), data=data)


def _charset(response: httpx.Response) -> str:
    """Return the charset that the host names; empty if it names none, or one that is unknown.

    Those of `_NAME_CODECS` count as unknown.
    """
    try:
        charset = response.charset_encoding or ""
        codec = codecs.lookup(charset).name
    except (LookupError, ValueError):
        # a `ValueError` is raised for a NUL in the name, and for a number of thousands of digits
        return ""
    return "" if codec in _NAME_CODECS else charset


async def _read(response: httpx.Response) -> bytes:
    """Return the body, decompressed; raises `FileRefused` if it is too large or damaged.

    No more than `MAX_PAGE_BYTES` and one step of decompression are in memory at any time.
    """
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > MAX_PAGE_BYTES:
        raise _too_large()
    content = bytearray()
    try:
        async for chunk in body_chunks(response):
            content += chunk
            if len(content) > MAX_PAGE_BYTES:
                raise _too_large()
    except httpx.DecodingError as error:
        raise FileRefused(f"The page cannot be read: {error}.", hint=_IN_BROWSER) from None
    return bytes(content)


def _too_large() -> FileRefused:
    problem = f"The page is larger than {MAX_PAGE_BYTES // 1_000_000} MB."
    return FileRefused(problem, hint="Save the part you need as a file, and attach that.")
