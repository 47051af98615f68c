"""Sign-in to MCP servers over HTTP (OAuth), by the SDK: what it stores, asks and listens to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from urllib.parse import parse_qs, urlsplit

import msgspec
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
)
from msgspec import Struct
from pydantic import AnyUrl, ValidationError

from lmchat.errors import LMChatError
from lmchat.tools.questions import AskUser, ServerQuestion

_HINT = "`/tools`, or `lmchat tools` in a terminal, asks you to sign in."
_WAIT_S = 300.0  # time for the user in the browser
_HEAD_BYTES = 16 * 1024
_PATH = "/callback"
_REPLY = "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n{text}\n"


class SavedSignIn(Struct, kw_only=True):
    """What is kept of a sign-in; texts are JSON of the SDK's classes."""

    client: str = ""
    tokens: str = ""
    metadata: str = ""  # of the server that gives tokens
    expires_at: float | None = None
    hosts: list[str] = []  # that the user has allowed for it


class SignIn:
    """The sign-in to one server, which is also the SDK's `TokenStorage`."""

    hint = _HINT

    def __init__(
        self,
        name: str,
        url: str,
        saved: str,
        save: Callable[[str], Awaitable[None]],
        ask: AskUser,
        paused_limits: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Read what `save` has written before; what cannot be read counts as none.

        Within `paused_limits`, the server's time does not run.
        """
        self._name = name
        self._save_text = save
        self._ask = ask
        self._paused_limits = paused_limits
        self.saved = SavedSignIn()
        with suppress(msgspec.MsgspecError):
            self.saved = msgspec.json.decode(saved, type=SavedSignIn)
        self._listening: asyncio.Server | None = None
        self._result: asyncio.Future[AuthorizationCodeResult] | None = None
        self._port = self._known_port() or _free_port()
        self.provider = OAuthClientProvider(
            url,
            OAuthClientMetadata(
                client_name="lmchat",
                redirect_uris=[AnyUrl(f"http://127.0.0.1:{self._port}{_PATH}")],
            ),
            self,
            redirect_handler=self._send_user,
            callback_handler=self._wait_for_user,
        )
        with suppress(ValidationError):
            context = self.provider.context
            context.oauth_metadata = OAuthMetadata.model_validate_json(self.saved.metadata)
            context.token_expiry_time = self.saved.expires_at

    # Storage of the SDK

    async def get_tokens(self) -> OAuthToken | None:
        with suppress(ValidationError):
            return OAuthToken.model_validate_json(self.saved.tokens)
        return None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.saved.tokens = tokens.model_dump_json(exclude_none=True)
        self.saved.expires_at = self.provider.context.token_expiry_time
        if metadata := self.provider.context.oauth_metadata:
            self.saved.metadata = metadata.model_dump_json(exclude_none=True)
        await self.save()

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        with suppress(ValidationError):
            return OAuthClientInformationFull.model_validate_json(self.saved.client)
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.saved.client = client_info.model_dump_json(exclude_none=True)
        await self.save()

    @property
    def is_offered(self) -> bool:
        """Whether the server has said where to sign in; others want a key."""
        return self.provider.context.oauth_metadata is not None

    def has_failed(self, error: BaseException) -> bool:
        return isinstance(error, OAuthFlowError)

    async def save(self) -> None:
        await self._save_text(msgspec.json.encode(self.saved).decode())

    # The user

    async def _send_user(self, address: str) -> None:
        """Listen for the browser, and have the user sign in; raises `LMChatError` after a no."""
        try:
            self._listening = await asyncio.start_server(
                self._receive, "127.0.0.1", self._port, limit=_HEAD_BYTES
            )
        except OSError as error:
            message = (
                f"Port {self._port} of this machine, to which {self._name} answers, is in use."
            )
            raise LMChatError(message, hint="Close what uses it, then try again.") from error
        self._result = asyncio.get_running_loop().create_future()
        host = urlsplit(address).netloc
        question = ServerQuestion(
            title=f"Sign in to {self._name}?",
            text=f"The tool server {self._name} wants you to sign in at {host}, in your browser.",
            url=address,
        )
        if await self._ask(question) is None:
            self._listening.close()
            raise self._refusal

    @property
    def _refusal(self) -> LMChatError:
        return LMChatError(f"You are not signed in to {self._name}.", hint=_HINT, kind="auth")

    def stop(self) -> None:
        """End the wait for the browser, if there is one."""
        if self._result is not None and not self._result.done():
            self._result.set_exception(self._refusal)
            self._result.exception()  # asyncio logs one that nothing has asked for

    async def _wait_for_user(self) -> AuthorizationCodeResult:
        assert self._result is not None  # noqa: S101 - `_send_user` comes before it
        try:
            with self._paused_limits():
                async with asyncio.timeout(_WAIT_S):
                    return await self._result
        except TimeoutError:
            message = f"The browser has not signed in to {self._name} within {_WAIT_S:g} s."
            raise LMChatError(message, hint=_HINT, kind="auth") from None
        finally:
            if self._listening is not None:
                self._listening.close()

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a request of the browser; the one with the code, or a refusal, is the result."""
        status, text = "404 Not Found", "lmchat waits for a sign-in at another address."
        with suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n")
            target = urlsplit(head.split(b" ")[1].decode("ascii"))
            values = {name: value[0] for name, value in parse_qs(target.query).items()}
            result = self._result
            is_answer = target.path == _PATH and {"code", "error"} & set(values)
            if is_answer and result is not None and not result.done():
                status, text = "200 OK", "lmchat has the answer. You can close this page."
                if "code" in values:
                    result.set_result(
                        AuthorizationCodeResult(
                            code=values["code"], state=values.get("state"), iss=values.get("iss")
                        )
                    )
                else:
                    reason = values.get("error_description") or values["error"]
                    message = f"The sign-in to {self._name} was refused: {reason.rstrip('.')}."
                    error = LMChatError(message, hint=_HINT, kind="auth")
                    result.set_exception(error)
        with suppress(OSError):
            writer.write(_REPLY.format(status=status, text=text).encode())
            await writer.drain()
            writer.close()

    def _known_port(self) -> int:
        """Return the port of the registered address, which many servers compare; 0 without one."""
        with suppress(ValidationError):
            client = OAuthClientInformationFull.model_validate_json(self.saved.client)
            return next((address.port or 0 for address in client.redirect_uris or ()), 0)
        return 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
