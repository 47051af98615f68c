"""Check of who may use `lmchat serve`: programs of this machine, and no web page."""

from __future__ import annotations

import hmac

from msgspec import Struct
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lmchat.errors import LMChatError
from lmchat.serve.error_replies import openai_error

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")  # as in a `Host` header
_OWN_SITES = frozenset(("none", "same-origin"))
"""Values of `Sec-Fetch-Site` for an address that a person has typed, and for what it shows."""


class AccessRules(Struct, frozen=True, kw_only=True):
    """Rules for the headers of each request."""

    hosts: frozenset[str]
    """Values of `Host` in small letters, with and without the port; any is right with a key."""
    key: str = ""  # that each request needs; empty: none

    def check(self, headers: Headers) -> None:
        """Return if a request with these headers is allowed; raise `LMChatError` if not.

        A web page that a browser shows can send requests to this machine. They have its origin, or
        the name of a host that only pretends to be this machine (DNS rebinding). For an image, they
        have neither, but the browser says that another site asks for it.
        """
        host = headers.get("host", "").lower()
        if not self.key and host not in self.hosts:
            raise LMChatError(
                "This address is for programs of this machine: the Host header names another one.",
                kind="forbidden",
                hint="Use http://127.0.0.1 with this port.",
            )
        sites = headers.getlist("sec-fetch-site")
        if "origin" in headers or not _OWN_SITES.issuperset(sites):
            raise LMChatError(
                "Web pages may not use this address.",
                kind="forbidden",
                hint="Use a program that is not a page in a browser.",
            )
        if self.key and not self._has_key(headers):
            raise LMChatError(
                "The API key is missing or wrong.",
                kind="auth",
                hint="Use the key that lmchat serve was started with (--key).",
            )

    def _has_key(self, headers: Headers) -> bool:
        """Return whether the header `Authorization` has the key.

        The comparison takes as long for a wrong key as for one that is nearly right, so its time
        does not help to guess the key.
        """
        scheme, _, key = headers.get("authorization", "").partition(" ")
        is_equal = hmac.compare_digest(key.strip().encode(), self.key.encode())
        return scheme.lower() == "bearer" and is_equal


class AccessCheck:
    """ASGI application that checks each request before another application gets it."""

    def __init__(self, app: ASGIApp, rules: AccessRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._rules.check(Headers(scope=scope))
        except LMChatError as error:
            await openai_error(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)
