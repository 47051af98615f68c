"""Pages of the web as files for a prompt; the user is asked before a host is contacted."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Protocol

from msgspec import Struct

from lmchat.attachments.attachment import MAX_TEXT_BYTES, Attachment, text_attachment
from lmchat.errors import EndpointNotAllowed, FileRefused, ServerUnavailable
from lmchat.processes.child import ChildEndedError, ChildProcess
from lmchat.safe_text import decoded_text, safe_line, safe_text

HTML_TYPES = ("text/html", "application/xhtml+xml")
TEXT_TYPES = {
    "text/plain": "",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "application/json": "json",
}
"""Types of pages that are attached as they are, each with the language of its code fence."""
_ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)


class PageAddress(Struct, frozen=True, kw_only=True):
    """An address without user name, password and fragment, as it is requested."""

    url: str  # ASCII: other letters are escaped
    scheme: str  # `http` or `https`
    host: str  # ASCII, in lower case, without brackets around IPv6 addresses
    port: int
    origin: str  # address without a path, as a question names it


class PageReply(Struct, frozen=True, kw_only=True):
    """What a host sent for an address: a page, or another address."""

    location: str = ""  # the address to which it redirects; empty for a page
    media_type: str = ""  # one of `HTML_TYPES` and `TEXT_TYPES`
    charset: str = ""  # as the host names it; empty if that is unknown
    data: bytes = b""


def is_page_address(text: str) -> bool:
    """Return whether a text is one http or https address; it may still be a wrong one."""
    return _ADDRESS.fullmatch(text.strip()) is not None


FETCH_S = 30.0  # for all requests of one page; waiting for the user does not count
_CHILD = "lmchat.attachments.html_program"
_CONVERT_S = 20.0  # for the text of a page; an article of 10 MB takes 9 s on a slow machine
_MOST_REDIRECTS = 10
_MAX_NAME_CHARS = 200

Ask = Callable[[PageAddress], Awaitable[bool]]
"""Asks the user whether a page may be fetched from the host of an address."""


async def refuse(address: PageAddress) -> bool:
    """Raise `EndpointNotAllowed`; this is the `Ask` of commands, which do not ask the user."""
    problem = f"{address.origin} is not allowed: lmchat asks only hosts that you name."
    host = f"[{address.host}]" if ":" in address.host else address.host
    raise EndpointNotAllowed(problem, hint=f"Add --allow-host {host}:{address.port}.")


class PageFetcher(Protocol):
    """Client for pages of the web."""

    def parse(self, text: str, base_url: str = "") -> PageAddress:
        """Read an address; a relative one begins at `base_url`. Raises `WrongUse`."""

    def is_allowed(self, address: PageAddress) -> bool:
        """Return whether the configuration or the command line allows the host."""

    async def fetch(self, address: PageAddress) -> PageReply:
        """Request an address; redirects are returned, not followed. Raises `LMChatError`."""


class WebPages:
    """Fetches pages and turns them into text; remembers which hosts the user has allowed."""

    def __init__(
        self,
        fetcher: PageFetcher,
        *,
        clock: Callable[[], float] = time.monotonic,
        longest_s: float = FETCH_S,
    ) -> None:
        """Contact nothing yet; `clock` returns seconds, and `longest_s` is for a whole page."""
        self._fetcher = fetcher
        self._clock = clock
        self._longest_s = longest_s
        self._allowed: set[tuple[str, str, int]] = set()  # session, host and port

    async def attachment(self, text: str, session_id: str, ask: Ask) -> Attachment:
        """Fetch the page at the address `text`; return its text, named by the final address.

        `ask` is called before the first request to each host and port, also of redirects, unless
        the configuration allows them, or the user has allowed them for this session.

        Raises:
            WrongUse: it is no http(s) address.
            EndpointNotAllowed: the user refused.
            ServerUnavailable: nothing answers, or not in time.
            FileRefused: what came is no page that can be attached.
        """
        fetcher = self._fetcher
        address = fetcher.parse(text)
        left_s = self._longest_s
        for _ in range(_MOST_REDIRECTS + 1):
            await self._require_consent(fetcher, address, session_id, ask)
            started_s = self._clock()
            reply = await self._fetch(fetcher, address, left_s)
            left_s -= self._clock() - started_s
            if not reply.location:
                return await _attachment_of(address, reply)
            address = fetcher.parse(reply.location, address.url)
        problem = f"{address.origin} redirects more than {_MOST_REDIRECTS} times."
        raise FileRefused(problem, hint="Check the address in a browser.")

    async def _require_consent(
        self, fetcher: PageFetcher, address: PageAddress, session_id: str, ask: Ask
    ) -> None:
        """Return if the host and port may be contacted; else raise `EndpointNotAllowed`."""
        place = (session_id, address.host, address.port)
        if place in self._allowed or fetcher.is_allowed(address):
            return
        if not await ask(address):
            problem = f"Nothing was downloaded from {address.origin}."
            raise EndpointNotAllowed(problem, hint="To attach the page, answer y next time.")
        self._allowed.add(place)

    async def _fetch(self, fetcher: PageFetcher, address: PageAddress, left_s: float) -> PageReply:
        """Return the reply to one request; raises `ServerUnavailable` after `left_s` seconds."""
        try:
            async with asyncio.timeout(left_s):
                return await fetcher.fetch(address)
        except TimeoutError:
            problem = f"{address.origin} did not send the page within {self._longest_s:.0f} s."
            raise ServerUnavailable(problem, kind="timeout", hint="Try again later.") from None
        except ServerUnavailable as error:
            # the hint of an error of no special kind is about model servers
            if error.kind == ServerUnavailable.kind:
                error.hint = "Check the address and the network."
            raise


async def _attachment_of(address: PageAddress, reply: PageReply) -> Attachment:
    """Return a page as a text file; raises `FileRefused` if it cannot be one."""
    name = safe_line(address.url, limit=_MAX_NAME_CHARS)
    media_type = reply.media_type
    if media_type in HTML_TYPES:
        text = await _html_text(reply)
        media_type = "text/plain"
    else:
        text = _decoded(reply)
    if not text.strip():
        hint = "Open it in a browser: scripts may write its text."
        raise FileRefused("The page has no text.", hint=hint)
    text = text.replace("\r\n", "\n")  # as `safe_text` does, which shortens it
    text = safe_text(text[: MAX_TEXT_BYTES + 1])  # a longer one is refused in any case
    return text_attachment(
        name,
        media_type,
        text.encode("utf-8", "replace"),
        language=TEXT_TYPES.get(media_type, ""),
    )


def _decoded(reply: PageReply) -> str:
    """Return the text of a reply that is not HTML; its charset may be missing or wrong."""
    try:
        return reply.data.decode(reply.charset or "utf-8")
    except (LookupError, UnicodeError):
        return decoded_text(reply.data)


async def _html_text(reply: PageReply) -> str:
    """Return the text of a page of HTML from a child process.

    Raises `FileRefused` without inscriptis, and for a page that takes too long or too much memory.
    """
    if find_spec("inscriptis") is None:
        problem = "The page is HTML, which cannot be read without inscriptis."
        raise FileRefused(problem, hint='Install it: pip install "lmchat[web]"')
    child = await ChildProcess.start_own(_CHILD)
    try:
        async with asyncio.timeout(_CONVERT_S):
            await child.send_frame(reply.charset.encode() + b"\n" + reply.data)
            return (await child.receive_frame()).decode()
    except (TimeoutError, ChildEndedError):
        problem = "The page is too complicated to be turned into text."
        hint = "Save the part you need as a file, and attach that."
        raise FileRefused(problem, hint=hint) from None
    finally:
        await child.end()
