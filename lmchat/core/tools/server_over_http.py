"""The connection to a tool server over HTTP: its requests, what it refuses, and its secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import cache
from http import HTTPStatus
from typing import Any

from lmchat.base.errors import LMChatError
from lmchat.base.json_values import NotJsonError, decode, dict_or_empty
from lmchat.base.safe_text import without_secret
from lmchat.core.config.credentials import Credentials
from lmchat.core.config.settings import McpSettings
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.http.network_errors import unavailable_error
from lmchat.core.servers.http.proxies import proxy_for
from lmchat.core.servers.http.reply import read_body
from lmchat.core.tools.calls import SENT_CALL
from lmchat.core.tools.mcp_messages import MESSAGE_BYTES, REQUEST_ID
from lmchat.core.tools.questions import AskUserThen

ANSWER_S = 30.0  # time to connect, to list changed tools and to close
_NO_KEY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_SESSION = "mcp-session-id"
_NO_PATH = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE)
_SERVER_ERRORS = range(500, 600)


@cache
def _certificates() -> Any:
    """Those of SSL_CERT_FILE, SSL_CERT_DIR or the system; reading them takes 20 ms."""
    import httpx2

    return httpx2.create_ssl_context()


class ServerOverHttp:
    """A server at an address; without a key in `headers`, it may want the user to sign in."""

    def __init__(
        self,
        settings: McpSettings,
        headers: Mapping[str, str],
        *,
        secrets: set[str],
        credentials: Credentials,
        check_address: Callable[[str], None],
        ask: AskUserThen,
    ) -> None:
        """`secrets` are more than `headers`: values in the address.

        `check_address` raises `LMChatError` for an address that is not allowed.
        """
        from lmchat.core.tools.sign_in import SignIn

        self._settings = settings
        self._headers = headers
        self._secrets = secrets
        self.status = 0  # HTTP status of its last reply; 0 before a reply
        self._said = ""  # in the body of a refusal
        has_key = any(header.lower() == "authorization" for header in headers)
        self._sign_in = None if has_key else SignIn(settings, credentials, check_address, ask)

    @property
    def secrets(self) -> set[str]:
        """Values that errors may repeat, also without the scheme, as in `Bearer KEY`."""
        values = self._headers.values()
        of_sign_in = self._sign_in.secrets if self._sign_in is not None else ()
        return {
            *self._secrets,
            *values,
            *(value.rpartition(" ")[2] for value in values),
            *of_sign_in,
        }

    async def transport(self, stack: AsyncExitStack) -> Any:
        """Return that of the SDK; leaving `stack` closes the HTTP client."""
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        address = self._settings.url
        client = httpx2.AsyncClient(
            auth=self._sign_in,
            event_hooks={"request": [self._note_request], "response": [self._note_reply]},
            headers=self._headers,
            follow_redirects=False,
            proxy=proxy_for(Endpoint.parse(address)) or None,
            trust_env=False,  # httpx2 fails at networks in NO_PROXY
            verify=_certificates(),
            timeout=httpx2.Timeout(ANSWER_S, read=None),  # the caller limits the time of a call
        )
        return streamable_http_client(
            address,
            http_client=await stack.enter_async_context(client),
            max_sse_event_size=MESSAGE_BYTES,
        )

    def _is_message(self, request: Any) -> bool:
        """Other requests ask for notices, end the session, or sign in."""
        return request.method == "POST" and "text/event-stream" in request.headers.get("accept", "")

    async def _note_request(self, request: Any) -> None:
        if self._sign_in is not None:
            await self._sign_in.note_request(request)
        if self._is_message(request):
            self.status = 0
            REQUEST_ID.set(_id_of(await request.aread()))  # of one that is redirected, too

    async def _note_reply(self, reply: Any) -> None:
        if not self._is_message(reply.request):
            return
        self.status = reply.status_code
        is_refused = self.status >= HTTPStatus.BAD_REQUEST
        content = await reply.aread() if is_refused else b""
        if call := SENT_CALL.get(None):
            # a session is refused by 404, or else without an answer to the call
            is_lost = self.status == HTTPStatus.NOT_FOUND or (
                self.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED)
                and str(_id_of(content)) != str(REQUEST_ID.get())
            )
            call.has_no_session = is_lost and _SESSION in reply.request.headers
        if is_refused:
            body = without_secret(content.decode(errors="replace"), *self.secrets)
            media_type = reply.headers.get("content-type", "")
            # once more, as JSON can write letters in other ways
            said = read_body(body.encode(), media_type).message
            self._said = without_secret(said, *self.secrets)

    def failure_of(self, error: BaseException, reason: str) -> LMChatError | None:
        """Return what is known of an error: of the way to the server, the sign-in or a reply."""
        import httpx2

        if not self.status and isinstance(error, httpx2.TransportError):
            return unavailable_error(error, Endpoint.parse(self._settings.url))
        failure = None if self._sign_in is None else self._sign_in.failure_of(error, reason)
        return failure or self.refusal

    @property
    def refusal(self) -> LMChatError | None:
        """Why the server has refused its last request, and what to do; None if it has not."""
        status: int | str = self.status
        if self.status < HTTPStatus.BAD_REQUEST:
            return None
        with suppress(ValueError):  # a status without a name
            status = f"{self.status} {HTTPStatus(self.status).phrase}"
        says = f"The server {self._settings.name} answers {status}"
        said = self._said.rstrip(".")
        said = "" if said in str(status) else said
        if self.status in _NO_KEY and self._headers:
            next_step = f"Check its {', '.join(self._headers)} in mcp.json."
        elif self.status in _NO_KEY:
            next_step = "If it needs a key, add headers to it in mcp.json."
        elif self.status in _NO_PATH and self._settings.url.rstrip("/").endswith("/sse"):
            next_step = (
                "lmchat does not speak its older transport (SSE): use its url that ends in /mcp."
            )
        elif self.status in _NO_PATH:
            next_step = "Check the path of its url, which often ends in /mcp."
        elif self.status in (HTTPStatus.TOO_MANY_REQUESTS, *_SERVER_ERRORS):
            next_step = "Try again later, or see the log of the server."
        else:
            next_step = "Check its url and headers."
        return LMChatError(f"{says}: {said}." if said else f"{says}.", next_step=next_step)


def _id_of(message: bytes) -> Any:
    with suppress(NotJsonError):
        return dict_or_empty(decode(message)).get("id")
    return None
