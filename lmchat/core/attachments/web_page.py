"""Pages of the web as files for a prompt; the user is asked before a host is contacted.

They are fetched within limits, without cookies, scripts or passwords.
"""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from importlib.util import find_spec

import httpx
from msgspec import Struct

from lmchat.base.errors import EndpointNotAllowed, FileRefused, ServerUnavailable, WrongUse
from lmchat.base.extras import install_command
from lmchat.base.processes.child import ChildEndedError, ChildProcess
from lmchat.base.safe_text import encoding_of, safe_line, without_controls
from lmchat.core.attachments.attachment import (
    Attachment,
    attachment_of,
    language_of,
    text_attachment,
)
from lmchat.core.servers.allow_list import AllowList
from lmchat.core.servers.endpoint import DEFAULT_PORTS, Endpoint
from lmchat.core.servers.http.connections import (
    CONNECT_ELSEWHERE_S,
    Connections,
    errors_as_unavailable,
    read_up_to,
)

MAX_PAGE_BYTES = 10_000_000  # also decompressed
_FETCH_S = 30.0  # for a page
_CONVERT_S = 20.0  # an article of 10 MB takes 9 s on a slow machine
_MOST_REDIRECTS = 10
_MAX_ADDRESS_CHARS = 2000
_MAX_NAME_CHARS = 200
_CHILD = "lmchat.core.attachments.html_to_text_child"
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
_VALID_PORTS = range(1, 65536)
_HOST = re.compile(r"[a-z0-9._:-]+")  # a name in ASCII, or an IP address
_REDIRECTS = (301, 302, 303, 307, 308)
_OK = 200
# Larger charsets, which browsers take for those that a page names (encoding.spec.whatwg.org). The
# codecs for names of hosts would take minutes for 1 MB.
_READ_AS = {
    **dict.fromkeys(("utf-8", "idna", "punycode"), "utf-8-sig"),
    **dict.fromkeys(("ascii", "iso8859-1"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"),
    **dict.fromkeys(("tis-620", "iso8859-11"), "cp874"),
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso8859-9": "cp1254",
}
_HEADERS = {
    "Accept": "text/html, text/markdown, text/plain, application/json;q=0.9, */*;q=0.1",
}
_CHARSET = re.compile(rb"charset=[\"']?([a-z0-9_.:-]+)", re.IGNORECASE)
_CHARSET_OF_HTML = re.compile(rb"<meta[^>]+" + _CHARSET.pattern, re.IGNORECASE)
_HEAD_BYTES = 2048  # in which a page names its charset
_SAVE_PART = "Save the part you need as a file, and attach that."
_IN_BROWSER = "Open the address in a browser, and attach what you save there."


class PageAddress(Struct, frozen=True, kw_only=True):
    """Address as it is requested: without user name, password and fragment."""

    url: str  # ASCII: other letters are escaped
    endpoint: Endpoint  # whose path says nothing
    path: str
    origin: str  # without a path, for a question


def is_page_address(text: str) -> bool:
    """Whether a text is one http(s) address, perhaps a wrong one."""
    return _ADDRESS.fullmatch(text.strip()) is not None


class WebPages:
    """Pages as text; remembers which hosts the user has allowed."""

    def __init__(self, allowed_hosts: Iterable[str], ca_file: str) -> None:
        """Raises `EndpointNotAllowed` for a wrong entry of `allowed_hosts`."""
        self._allow_list = AllowList(allowed_hosts)
        self._ca_file = ca_file
        # session and origin that the user has allowed
        self._consents: set[tuple[str, str]] = set()

    async def attachment(
        self, text: str, session_id: str, ask: Callable[[PageAddress], Awaitable[bool]]
    ) -> Attachment:
        """Fetch what is at an address; return it as a file, named by the final address.

        HTML becomes text; all else is read as a file with the same bytes.

        `ask` is called before the first request to each scheme, host and port, also of redirects,
        unless the configuration or the user allows them for this session.

        Raises `WrongUse` for what is no http(s) address, also of a redirect; `EndpointNotAllowed`
        if the user refuses; `ServerUnavailable`; `FileRefused`.
        """
        address = _parse(text)
        for _ in range(_MOST_REDIRECTS + 1):
            endpoint = address.endpoint
            consent = (session_id, endpoint.origin)
            is_configured = self._allow_list.names(endpoint)
            if not (is_configured or consent in self._consents or await ask(address)):
                raise EndpointNotAllowed(
                    f"Nothing was downloaded from {address.origin}.",
                    next_step="To attach the page, answer yes next time.",
                )
            self._consents.add(consent)
            try:
                async with asyncio.timeout(_FETCH_S):
                    reply = await self._fetch(address)
            except TimeoutError:
                raise ServerUnavailable(
                    f"{address.origin} did not send the page within {_FETCH_S:.0f} s.",
                    kind="timeout",
                    next_step="Try again later.",
                ) from None
            except ServerUnavailable as error:
                # its next step is about model servers
                if error.kind == ServerUnavailable.kind:
                    error.next_step = "Check the address and the network."
                raise
            if not isinstance(reply, PageAddress):
                return await _attachment(address, *reply)
            address = reply
        raise FileRefused(
            f"{address.origin} redirects more than {_MOST_REDIRECTS} times.",
            next_step="Check the address in a browser.",
        )

    async def _fetch(self, address: PageAddress) -> tuple[bytes, str] | PageAddress:
        """Request an address over a new connection, so that no cookie or connection is left.

        Return its content and type, or a redirect, as the user may have to be asked.
        """
        endpoint = address.endpoint
        timeout = httpx.Timeout(_FETCH_S, connect=CONNECT_ELSEWHERE_S)
        connections = Connections(ca_file=self._ca_file)
        try:
            response = await connections.send(
                endpoint, "GET", address.url, headers=_HEADERS, timeout=timeout
            )
            with errors_as_unavailable(endpoint):
                try:
                    location = response.headers.get("Location", "")
                    if response.status_code in _REDIRECTS and location:
                        return _parse(location, address.url)
                    return await _read(response, address)
                finally:
                    await response.aclose()
        finally:
            await connections.aclose()


def _parse(text: str, base_url: str = "") -> PageAddress:
    """Raises `WrongUse`. A relative address starts at `base_url`."""
    no_address = WrongUse("This is not the address of a page.", next_step="Check it.")
    if len(text) > _MAX_ADDRESS_CHARS:
        raise WrongUse(
            f"The address has more than {_MAX_ADDRESS_CHARS} characters.", next_step=_IN_BROWSER
        )
    try:
        url = httpx.URL(base_url).join(text.strip()).copy_with(fragment=None)
        # `url.host` decodes Punycode, and raises if it is wrong
        host = url.raw_host.decode() if url.host else ""
    except (httpx.InvalidURL, ValueError):  # its text may quote a password
        raise no_address from None
    if url.scheme not in DEFAULT_PORTS or not host:
        raise WrongUse(
            "Only pages with http:// or https:// can be attached.",
            next_step="Attach a file by its path.",
        )
    if url.userinfo:
        raise WrongUse(
            "Addresses with a user name or password are not accepted.", next_step=_IN_BROWSER
        )
    port = DEFAULT_PORTS[url.scheme] if url.port is None else url.port
    if not _HOST.fullmatch(host) or port not in _VALID_PORTS:
        raise no_address
    return PageAddress(
        url=str(url),
        endpoint=Endpoint(scheme=url.scheme, host=host, port=port),
        path=url.path,
        origin=f"{url.scheme}://{url.netloc.decode()}",
    )


async def _read(response: httpx.Response, address: PageAddress) -> tuple[bytes, str]:
    """Return its content and type; raises `FileRefused`.

    No more than `MAX_PAGE_BYTES` and one step of decompression are in memory.
    """
    if response.status_code != _OK:
        raise FileRefused(
            f"{address.origin} answered with status {response.status_code}.", next_step=_IN_BROWSER
        )
    try:
        content = await read_up_to(response, MAX_PAGE_BYTES)
    except httpx.DecodingError as error:
        raise FileRefused(f"The page cannot be read: {error}.", next_step=_IN_BROWSER) from None
    if len(content) > MAX_PAGE_BYTES:
        raise FileRefused(
            f"The page is larger than {MAX_PAGE_BYTES // 1_000_000} MB.", next_step=_SAVE_PART
        )
    return content, response.headers.get("Content-Type", "")


async def _attachment(address: PageAddress, content: bytes, content_type: str) -> Attachment:
    """Raises `FileRefused`."""
    name = safe_line(address.url, limit=_MAX_NAME_CHARS)
    charset = _CHARSET.search(content_type.encode())
    if content_type.partition(";")[0].strip().lower() not in _HTML_TYPES:
        if charset is not None:  # of a text; an image or a PDF has none
            content = _decoded(content, charset[1].decode()).encode("utf-8", "replace")
        return await attachment_of(name, content, language=language_of(address.path))
    # named by the header, else by the page, else decided by its bytes
    charset = charset or _CHARSET_OF_HTML.search(content, 0, _HEAD_BYTES)
    text = await _text_of_html(_decoded(content, charset[1].decode() if charset else ""))
    if not text.strip():
        raise FileRefused(
            "The page has no text.", next_step="Open it in a browser: scripts may write its text."
        )
    return text_attachment(name, "text/plain", without_controls(text).encode("utf-8", "replace"))


def _decoded(content: bytes, label: str) -> str:
    """`label` is the charset that the page names, or ""; raises `FileRefused`."""
    encoding = encoding_of(content)
    if encoding in ("utf-16", "utf-32"):  # its mark is more reliable
        label = encoding
    try:
        codec = codecs.lookup(label.lower().removeprefix("x-")).name
    except LookupError:
        codec = "utf-8"
    codec = _READ_AS.get(codec, codec)
    tries = [(codec, "strict"), ("utf-8-sig", "strict")]
    if codec == "cp1252":  # many servers name it for all pages
        tries.reverse()
    if codec != "utf-8-sig":
        tries.append((codec, "replace"))
    for name, errors in tries:
        with suppress(LookupError, UnicodeError):  # no charset, or not that of this page
            return content.decode(name, errors)
    if not encoding:
        raise FileRefused("The page is text in an unknown encoding.", next_step=_IN_BROWSER)
    return content.decode(encoding, "replace")


async def _text_of_html(html: str) -> str:
    """Raises `FileRefused`."""
    if find_spec("inscriptis") is None:
        raise FileRefused(
            "The page is HTML, which cannot be read without inscriptis.",
            next_step=f"Install it: {install_command('web')}",
        )
    try:
        text = await ChildProcess.answer(
            _CHILD, html.encode("utf-8", "replace"), timeout_s=_CONVERT_S
        )
    except ChildEndedError:
        raise FileRefused(
            "The page is too complicated to be turned into text.", next_step=_SAVE_PART
        ) from None
    return text.decode()
