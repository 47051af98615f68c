"""Sign-in to MCP servers over HTTP (OAuth), by the SDK: what it stores, asks and listens to."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing, nullcontext, suppress
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit
from zlib import crc32

from httpx2 import Auth, Request, Response
from mcp.client.auth import OAuthClientProvider, OAuthFlowError, OAuthRegistrationError
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
)
from pydantic import AnyUrl, BaseModel, ValidationError

from lmchat.base.errors import EndpointNotAllowed, LMChatError
from lmchat.base.safe_text import safe_line
from lmchat.core.config.credentials import Credentials
from lmchat.core.config.settings import McpSettings
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.tools.calls import SENT_CALL, SentCall
from lmchat.core.tools.questions import AskUserThen, ServerQuestion

_WAIT_S = 300.0  # time for the user in the browser
_HEAD_BYTES = 16 * 1024
_PORTS = range(20_000, 30_000)  # below those that systems give to other connections
_PATH = "/callback"
_REPLY = b"""HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r
lmchat has the answer. You can close this page.
"""
_REFUSAL = b"""HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r
This is not the answer that lmchat waits for.
"""
_FORM = "application/x-www-form-urlencoded"
_SECRET_FIELDS = {"client_secret", "code", "code_verifier", "refresh_token", "state"}


class SavedSignIn(BaseModel):
    client: OAuthClientInformationFull | None = None
    tokens: OAuthToken | None = None
    metadata: OAuthMetadata | None = None  # of the server that gives tokens
    expires_at: float | None = None
    origins: set[str] = set()  # that the user has allowed for it


class SignIn(Auth):
    """The sign-in to one server, which is also the SDK's `TokenStorage`.

    Other processes use the same tokens, and the server may take each back when it is renewed.
    """

    def __init__(
        self,
        settings: McpSettings,
        credentials: Credentials,
        check_address: Callable[[str], None],
        ask: AskUserThen,
    ) -> None:
        """`check_address` raises `EndpointNotAllowed`."""
        self._name = settings.name
        self._url = settings.url
        self._credentials = credentials
        self._check_address = check_address
        self._ask = ask
        self._saved = SavedSignIn()
        self._using = asyncio.Lock()
        self._address = ""  # where the user signs in
        self.secrets: set[str] = set()  # which errors may repeat
        # one for each server: many compare the address with that of the first sign-in
        self._port = _PORTS[crc32(self._url.encode()) % len(_PORTS)]
        self._answers_to = f"http://127.0.0.1:{self._port}{_PATH}"
        answers_to = [AnyUrl(self._answers_to)]
        # that the user has registered; None: lmchat registers itself
        self._client: OAuthClientInformationFull | None = None
        if settings.client_id:
            self._client = OAuthClientInformationFull(
                client_id=settings.client_id,
                redirect_uris=answers_to,
            )
        self.provider = OAuthClientProvider(
            self._url,
            OAuthClientMetadata(client_name="lmchat", redirect_uris=answers_to),
            self,
            redirect_handler=self._note_address,
            callback_handler=self._send_user,
        )
        # it would be held until an answer comes, in which time no other call could be sent
        self.provider.context.lock = nullcontext()  # type: ignore[assignment]

    async def async_auth_flow(self, request: Request) -> AsyncGenerator[Request, Response]:
        """Sign in as the SDK does, but renew a token that was refused before the user is asked.

        If a session was refused, a new one is tried before that. The end of one, and the wait for
        notices, ask for nothing.
        """
        refused = ""
        while True:
            async with aclosing(self.provider.async_auth_flow(request)) as flow:
                async with self._using, AsyncExitStack() as stack:
                    await self._freshen(refused, stack)
                    # else the SDK takes a refused token again
                    self.provider._initialized = True  # noqa: SLF001
                    outgoing = await anext(flow)
                    while outgoing is not request:
                        outgoing = await flow.asend((yield outgoing))
                response = yield request
                if request.method != "POST" or SENT_CALL.get(SentCall()).starts_session:
                    return
                if response.status_code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                    return
                sent = request.headers.pop("Authorization", "")
                can_renew = response.status_code == HTTPStatus.UNAUTHORIZED and sent and not refused
                async with self._using:
                    signs_in = not can_renew and not self._has_newer(sent)
                    if signs_in:
                        if not self.provider.context.is_token_valid():
                            # the server may have forgotten the client, too: register anew
                            self.provider.context.client_info = self._client
                        try:
                            outgoing = await flow.asend(response)
                            while outgoing is not request:
                                outgoing = await flow.asend((yield outgoing))
                        except StopAsyncIteration:  # the SDK knows no sign-in that helps
                            return
                if signs_in:
                    yield request
                    return
                refused = sent

    def _has_newer(self, sent: str) -> bool:
        """Whether another request has signed in since this one was sent."""
        tokens = self.provider.context.current_tokens
        is_valid = self.provider.context.is_token_valid()
        return is_valid and tokens is not None and sent != f"Bearer {tokens.access_token}"

    async def _freshen(self, refused: str, stack: AsyncExitStack) -> None:
        """Take what another process has saved; if that is over, let `stack` hold the renewal."""
        context = self.provider.context
        if context.is_token_valid() and not refused:
            return
        await self._take_saved(refused)
        if not context.is_token_valid() and context.can_refresh_token():
            await stack.enter_async_context(self._credentials.renewing())
            await self._take_saved(refused)

    async def _take_saved(self, refused: str) -> None:
        context = self.provider.context
        context.current_tokens = tokens = await self.get_tokens()
        if tokens and refused == f"Bearer {tokens.access_token}":
            context.token_expiry_time = 1.0  # so that the SDK renews it
        context.client_info = await self.get_client_info()

    # Storage of the SDK

    async def get_tokens(self) -> OAuthToken | None:
        """Read what was saved, before the SDK asks for anything else."""
        text = await asyncio.to_thread(self._credentials.sign_in, self._url)
        saved = SavedSignIn()
        with suppress(ValidationError):
            saved = SavedSignIn.model_validate_json(text)
        saved.origins |= self._saved.origins
        self._saved = saved
        # the SDK does not ask for these, without which no token is renewed in a later run
        self.provider.context.oauth_metadata = self._saved.metadata
        self.provider.context.token_expiry_time = self._saved.expires_at
        self._note_saved()
        return self._saved.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._saved.tokens = tokens
        self._saved.metadata = self.provider.context.oauth_metadata
        self._saved.expires_at = self.provider.context.token_expiry_time
        self._note_saved()
        text = self._saved.model_dump_json(exclude_none=True)
        await asyncio.to_thread(self._credentials.set_sign_in, self._url, text)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client or self._saved.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Save it with its tokens: those of the last client may still be of use."""
        self._saved.client = client_info
        self._note_saved()

    # Secrets

    async def note_request(self, request: Request) -> None:
        """Note the secrets of a request before it is sent; raises as `require_allowed`."""
        origin = request.url.copy_with(path="/", query=None, fragment=None)
        await self.require_allowed(Endpoint.parse(str(origin)))
        authorization = request.headers.get("authorization", "")
        self.secrets |= {authorization, authorization.rpartition(" ")[2]}
        if request.headers.get("content-type") == _FORM:  # it asks for tokens
            self._note_fields(request.content.decode())

    def _note_fields(self, query: str) -> dict[str, str]:
        fields = dict(parse_qsl(query))
        self.secrets |= {value for name, value in fields.items() if name in _SECRET_FIELDS}
        return fields

    def _note_saved(self) -> None:
        tokens = self._saved.tokens
        client = self._saved.client
        found = [client.client_secret] if client else []
        found += [tokens.access_token, tokens.refresh_token] if tokens else []
        self.secrets |= set(filter(None, found))

    # The user

    async def require_allowed(self, endpoint: Endpoint) -> None:
        """Ask about another origin, to which the sign-in leads; raises `LMChatError` after a no.

        A server elsewhere may not send lmchat to this machine or its network unasked, whatever
        hosts are allowed.
        """
        own = Endpoint.parse(self._url)
        if endpoint.origin in (own.origin, *self._saved.origins):
            return
        next_step = "`lmchat tools` in a terminal asks you about it."
        if own.is_loopback or not endpoint.is_near:
            next_step = (
                f"Add {endpoint.netloc} to allowed_hosts, or run `lmchat tools` in a terminal."
            )
            with suppress(EndpointNotAllowed):
                self._check_address(endpoint.url)
                return
        question = ServerQuestion(
            title=f"Connect to {safe_line(endpoint.netloc)}?",
            text=f"To sign in to {self._name}, lmchat has to connect to {endpoint.origin}, too.",
        )
        if not await self._ask(question):
            raise LMChatError(
                f"{self._name} signs in at {endpoint.origin}, which is not allowed.",
                next_step=next_step,
                kind="auth",
            )
        self._saved.origins.add(endpoint.origin)

    async def _note_address(self, address: str) -> None:
        self._address = address

    async def _send_user(self) -> AuthorizationCodeResult:
        """Have the user sign in, and return the answer of the browser; raises `LMChatError`."""
        answer: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        state = self._note_fields(urlsplit(self._address).query).get("state", "")
        try:
            listening = await asyncio.start_server(
                partial(_receive, answer, state), "127.0.0.1", self._port, limit=_HEAD_BYTES
            )
        except OSError as error:
            raise LMChatError(
                f"Port {self._port} of this machine, to which {self._name} answers, is in use.",
                next_step="Close what uses it, then try again.",
            ) from error
        question = ServerQuestion(
            title=f"Sign in to {self._name}?",
            text=f"The tool server {self._name} wants you to sign in with your browser.",
            url=self._address,
        )
        try:
            values = await self._ask(question, partial(asyncio.wait_for, answer, _WAIT_S))
        except TimeoutError:
            limit = f"within {_WAIT_S:g} s"
            raise _failure(f"The browser has not signed in to {self._name} {limit}.") from None
        finally:
            listening.close()
        if not values:
            raise _failure(f"You are not signed in to {self._name}.")
        if "error" in values:
            reason = values.get("error_description", values["error"]).rstrip(".")
            raise _failure(f"The sign-in to {self._name} was refused: {reason}.")
        return AuthorizationCodeResult.model_validate({"code": ""} | values)

    def failure_of(self, error: BaseException, reason: str) -> LMChatError | None:
        """Return an error of the sign-in; None if the server has not said where: it wants a key."""
        if isinstance(error, OAuthFlowError) and self.provider.context.oauth_metadata is not None:
            failure = _failure(f"The sign-in to {self._name} failed: {reason}.")
            if isinstance(error, OAuthRegistrationError):
                failure.next_step = (
                    "If it takes only registered programs, register lmchat with the address "
                    f"{self._answers_to}, and set client_id in mcp.json."
                )
            return failure
        return None


def _failure(message: str) -> LMChatError:
    return LMChatError(
        message,
        next_step="`/tools`, or `lmchat tools` in a terminal, asks you to sign in.",
        kind="auth",
    )


async def _receive(
    answer: asyncio.Future[dict[str, str]],
    state: str,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Take the query of the browser's address for the answer if it has the state of this sign-in.

    Without it, any web page could answer, or end the sign-in with an error.
    """
    with suppress(OSError, ValueError):  # the browser has gone, or this is no HTTP
        _, address, _ = (await reader.readline()).decode("ascii").split(" ")
        target = urlsplit(address)
        values = dict(parse_qsl(target.query))  # without empty ones
        given = values.get("state", "").encode()
        is_answer = bool(given) and secrets.compare_digest(given, state.encode())
        is_answer = is_answer and target.path == _PATH
        if is_answer and not answer.done():
            answer.set_result(values)
        writer.write(_REPLY if is_answer else _REFUSAL)
        await writer.drain()
    writer.close()
