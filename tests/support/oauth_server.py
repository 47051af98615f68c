"""MCP server over HTTP that asks for a sign-in, and asks its user; made with the SDK."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from threading import Event, Thread
from typing import Annotated, Self
from urllib.parse import urlencode

import uvicorn
from mcp.server import MCPServer
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    RefreshToken,
    TokenError,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver import Elicit, Resolve
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl, BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Bed(BaseModel):
    """What the tool `plant` asks for."""

    name: str


async def which_bed() -> Elicit[Bed]:
    return Elicit("Which bed?", Bed)


def add_questions(server: MCPServer) -> None:
    """Add a tool that asks the user, by the protocol of 2026."""

    @server.tool()
    async def plant(bed: Annotated[ElicitationResult[Bed], Resolve(which_bed)]) -> str:
        """Plant a bed."""
        return bed.action


class OAuthServer:
    """Both the MCP server and the one that gives tokens, in a thread, until the block ends."""

    def __init__(self, issuer: str = "", *, registers: bool = True) -> None:
        """With `issuer`, another server gives the tokens."""
        self._issuer = issuer
        self._registers = registers
        self.is_older = False  # whether it knows only protocols before 2026
        self.refuses = False  # whether the user says no in the browser
        self.lost_calls = 0  # calls to come that it answers as if it had forgotten their session
        self.refuses_renewal = ""  # its error code
        self.echoes = ""  # path at which it answers an error that quotes all secrets it knows
        self.state = ""  # of the last sign-in
        self.quoted: set[str] = set()
        self.lives_s = 3600
        self.is_renewing, self.may_renew = Event(), Event()
        self.may_renew.set()
        self.signed_in = 0
        self.refreshed = 0
        self._clients: dict[str, OAuthClientInformationFull] = {}
        self._codes: dict[str, AuthorizationCode] = {}
        self.tokens: dict[str, AccessToken] = {}
        self.refresh_tokens: dict[str, RefreshToken] = {}

    def __enter__(self) -> Self:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"{self.origin}/mcp"
        server = MCPServer(
            "garden",
            auth_server_provider=self,
            auth=AuthSettings(
                issuer_url=AnyHttpUrl(self._issuer or self.origin),
                resource_server_url=AnyHttpUrl(self.url),
                client_registration_options=ClientRegistrationOptions(enabled=self._registers),
                validate_token_resource=False,
            ),
        )
        add_questions(server)
        app = self._echoing(server.streamable_http_app())
        config = uvicorn.Config(app, log_level="critical", lifespan="on")
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join()
        self._socket.close()

    def _echoing(self, app: ASGIApp) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if self.is_older and (b"mcp-method", b"server/discover") in scope.get("headers", ()):
                return await JSONResponse({}, 404)(scope, receive, send)
            if self.lost_calls and scope.get("method") == "POST" and scope["path"] == "/mcp":
                message = await receive()
                if b'"tools/call"' in message["body"]:
                    self.lost_calls -= 1
                    reply = JSONResponse({"error": "invalid_session"}, 401)
                    return await reply(scope, receive, send)
                left = [message]
                rest = receive

                async def receive() -> Message:
                    return left.pop() if left else await rest()

            if scope["type"] != "http" or scope["path"] != self.echoes:
                return await app(scope, receive, send)
            request = Request(scope, receive)
            authorization = request.headers.get("authorization", "")
            if self.echoes == "/mcp" and not authorization:
                return await app(scope, receive, send)
            sent = await request.form() if self.echoes == "/token" else {}
            names = ("client_secret", "code", "code_verifier", "refresh_token")
            said = [str(sent[name]) for name in names if name in sent]
            said += [authorization.removeprefix("Bearer "), self.state, *self.refresh_tokens]
            newest = [*self._clients.values()][-1:]  # lmchat knows no other one any more
            said += [str(client.client_secret) for client in newest]
            self.quoted |= set(filter(None, said))
            body = f"nope {authorization} {' '.join(said)} {urlencode(sent)}"
            reply = JSONResponse({"error": {"message": body}}, 500)
            return await reply(scope, receive, send)

        return answer

    def forget_clients(self) -> None:
        """Lose what is known of clients; their tokens have ended."""
        self._clients.clear()
        for token in self.tokens.values():
            token.expires_at = 1

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self._clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self._clients[client_info.client_id] = client_info

    async def authorize(
        self, client: OAuthClientInformationFull, params: AuthorizationParams
    ) -> str:
        back = str(params.redirect_uri)
        self.state = str(params.state)
        if self.refuses:
            return construct_redirect_uri(back, error="access_denied", state=params.state)
        code = AuthorizationCode(
            code=secrets.token_hex(),
            scopes=[],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=True,
        )
        self._codes[code.code] = code
        return construct_redirect_uri(back, code=code.code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self._codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        self.signed_in += 1
        return self._new_tokens(client.client_id)

    async def load_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: str
    ) -> RefreshToken | None:
        return self.refresh_tokens.get(refresh_token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        self.is_renewing.set()
        await asyncio.to_thread(self.may_renew.wait)
        if self.refuses_renewal:
            raise TokenError(self.refuses_renewal)
        if self.refresh_tokens.pop(refresh_token.token, None) is None:
            raise TokenError("invalid_grant")
        self.refreshed += 1
        return self._new_tokens(client.client_id)

    async def load_access_token(self, token: str) -> AccessToken | None:
        found = self.tokens.get(token)
        return found if found and (found.expires_at or 0) > time.time() else None

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.tokens.pop(token.token, None)

    async def exchange_identity_assertion(self, *_: object) -> OAuthToken:
        raise TokenError("unsupported_grant_type")

    def _new_tokens(self, client_id: str) -> OAuthToken:
        access = f"s3cret-{secrets.token_hex()}"
        refresh = f"s3cret-{secrets.token_hex()}"
        expires_at = int(time.time()) + self.lives_s
        self.tokens[access] = AccessToken(
            token=access, client_id=client_id, scopes=[], expires_at=expires_at
        )
        self.refresh_tokens[refresh] = RefreshToken(token=refresh, client_id=client_id, scopes=[])
        return OAuthToken(access_token=access, refresh_token=refresh, expires_in=self.lives_s)
