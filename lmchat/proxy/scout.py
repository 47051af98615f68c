"""Asks servers what they are and have; remembers per address which product stands there (R-5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import httpx
from msgspec.structs import replace

from lmchat.config.settings import TimeoutSettings
from lmchat.domain.server import Candidate, Endpoint, ModelInfo, Product, Verdict
from lmchat.errors import LMChatError, ServerUnavailable
from lmchat.proxy.connections import POOL_S, WRITE_S, Connections, connect_timeout_s
from lmchat.proxy.discovery import is_well_known, other_literals, server_at
from lmchat.proxy.following import events_at
from lmchat.proxy.lm_studio_home import app_ports
from lmchat.proxy.look import QUESTIONS, Place, identify, is_another, look, next_step
from lmchat.proxy.refusals import Asked
from lmchat.proxy.reply import Reply
from lmchat.proxy.servers import server_of
from lmchat.proxy.servers.base import Server
from lmchat.proxy.site import Site

SCAN_READ_S = 1.8
"""How long a scan waits for an answer of this machine; all silent is told within 2 s."""
GREETING_S = 0.5
"""What LM Studio's own tools allow for the greeting."""
MODEL_QUESTIONS = 8
"""A list is asked for by a person: it may cost more than a scan, down to the oldest LM Studio."""
PATIENT_QUESTIONS = 1000
_NO_KEY = ""


class Scout:
    """Knows how to ask each address: with which key, how long, as which product."""

    def __init__(
        self,
        connections: Connections,
        key_for: Callable[[Endpoint], str | None],
        timeouts_for: Callable[[Endpoint], TimeoutSettings],
    ) -> None:
        self._connections = connections
        self._key_for = key_for
        self._timeouts_for = timeouts_for
        self._products: dict[Endpoint, Product] = {}
        self._proven: set[Endpoint] = set()
        self._lacks: dict[Endpoint, set[str]] = {}
        self._facts: dict[Endpoint, dict[str, dict[str, Any]]] = {}

    def key(self, endpoint: Endpoint) -> str | None:
        """Return the key of an address; the names of the loopback address share theirs."""
        names = [endpoint]
        if endpoint.is_loopback:
            names += [replace(endpoint, host=host) for host in ("localhost", "127.0.0.1", "::1")]
        return next((key for key in map(self._key_for, names) if key), None)

    async def look_at(self, place: Place) -> Candidate:
        """Look at a place of a scan, on both loopback literals.

        Who stands at a place that nobody named may be anyone: a key goes there only after one was asked for.
        """
        read_s = SCAN_READ_S if place.endpoint.is_loopback else self._health_s(place.endpoint)
        key = None if place.is_own else _NO_KEY
        candidate = await self._look(place, read_s=read_s, key=key)
        candidate = await self._or_literals(candidate, place, read_s=read_s, key=key)
        return await self._perhaps_off(candidate, place.server)

    async def check(self, endpoint: Endpoint, *, key: str | None = None) -> Candidate:
        """Look at one address again; where the product is known, with one request.

        Where `localhost` refuses, the candidate has the literal that answers (R-6).
        """
        place = Place(endpoint=endpoint, server=self._expected(endpoint), is_own=not is_well_known(endpoint))
        read_s = self._health_s(endpoint)
        candidate = await self._look(place, read_s=read_s, key=key, is_quick=endpoint in self._proven)
        if endpoint.host == "localhost":
            candidate = await self._or_literals(candidate, place, read_s=read_s, key=key)
        return await self._perhaps_off(candidate, place.server)

    async def models(self, endpoint: Endpoint) -> tuple[ModelInfo, ...]:
        """Read the models of an address.

        Raises:
            ServerUnavailable: it is away.
            ServerRejected: it refuses, or is no model server.
        """
        server = self._expected(endpoint)
        site = self._site(
            endpoint, server.product, read_s=self._health_s(endpoint), questions=MODEL_QUESTIONS
        )
        try:
            if endpoint not in self._proven and not server.hosts:
                server = await self._identified(site, server)
            site.asked = replace(site.asked, product=server.product)
            return await server.models(site)
        except ServerUnavailable as error:
            raise server.with_hint(error) from error

    def expect(self, endpoint: Endpoint, product: Product) -> None:
        """Take note of what someone says stands there, where nothing better is known."""
        if product is not Product.OPENAI_COMPATIBLE:
            self._products.setdefault(endpoint, product)

    def patient_site(self, endpoint: Endpoint, product: Product) -> Site:
        """Return a site that is waited for as long as it takes: loading may take minutes."""
        return self._site(endpoint, product, read_s=None, questions=PATIENT_QUESTIONS)

    def brief_site(self, endpoint: Endpoint, product: Product, *, read_s: float) -> Site:
        """Return a site for one question that may go unanswered."""
        return self._site(endpoint, product, read_s=read_s)

    def _health_s(self, endpoint: Endpoint) -> float:
        return self._timeouts_for(endpoint).health_s

    def _expected(self, endpoint: Endpoint) -> Server:
        server, product = server_at(endpoint), self._products.get(endpoint)
        return server_of(product) if product and not server.hosts else server

    async def _identified(self, site: Site, expected: Server) -> Server:
        server, is_sure = await identify(site, expected)
        if is_sure:
            self._remember(site.endpoint, server.product)
        return server if is_sure else server_of(Product.OPENAI_COMPATIBLE)

    async def _look(
        self, place: Place, *, read_s: float, key: str | None = None, is_quick: bool = False
    ) -> Candidate:
        site = self._site(place.endpoint, place.server.product, read_s=read_s, key=key)
        site.is_quick = is_quick
        is_by_host = bool(place.server.hosts)
        candidate = await look(site, place, place.server if is_quick or is_by_host else None)
        if is_quick and not is_by_host and site.first is not None and is_another(site.first, place.server):
            self._proven.discard(place.endpoint)
            return await self._look(place, read_s=read_s, key=key)
        if key == _NO_KEY and candidate.verdict is Verdict.NEEDS_KEY and self.key(place.endpoint):
            known = server_of(candidate.product) if site.is_identified else None
            site = self._opened(site, read_s=read_s)
            candidate = await look(site, place, known)
        if candidate.verdict.is_server and (site.is_identified or candidate.models):
            self._remember(place.endpoint, candidate.product)
        else:
            # whoever comes back may be another one; until then it is called by its name
            self._proven.discard(place.endpoint)
        return candidate

    def _opened(self, site: Site, *, read_s: float) -> Site:
        """Return a place that asked for a key with its key, and what is left of the questions (R-2)."""
        opened = self._site(
            site.endpoint, site.asked.product, read_s=read_s, questions=max(site.questions, 1)
        )
        opened.take_over(site)
        return opened

    async def _or_literals(
        self, candidate: Candidate, place: Place, *, read_s: float, key: str | None = None
    ) -> Candidate:
        """Look at the literals of the loopback address where the first look was refused."""
        for literal in other_literals(place.endpoint, is_own=place.is_own):
            if candidate.verdict is not Verdict.REFUSED:
                break
            other = await self._look(
                replace(place, endpoint=literal), read_s=read_s, key=key, is_quick=literal in self._proven
            )
            candidate = candidate if other.verdict is Verdict.REFUSED else other
        return candidate

    def _remember(self, endpoint: Endpoint, product: Product) -> None:
        self._products[endpoint] = product
        self._proven.add(endpoint)

    async def _perhaps_off(self, candidate: Candidate, server: Server) -> Candidate:
        """Tell a program whose server is off from one that does not run (R-3)."""
        is_refused = candidate.verdict is Verdict.REFUSED and candidate.endpoint.is_loopback
        if not server.off_hint or not is_refused:
            return candidate
        ports = await asyncio.to_thread(app_ports)
        greeted = await asyncio.gather(*(self._greets(port, server) for port in ports))
        if not any(greeted):
            return candidate
        step = next_step(Verdict.SERVER_OFF, server, candidate.endpoint)
        return replace(candidate, verdict=Verdict.SERVER_OFF, next_step=step)

    async def _greets(self, port: int, server: Server) -> bool:
        endpoint = Endpoint(scheme="http", host="127.0.0.1", port=port)
        site = self._site(endpoint, server.product, read_s=GREETING_S, key=_NO_KEY, questions=1)
        try:
            return server.confirms(await site.get(server.opening_path))
        except LMChatError:
            return False

    def _site(
        self,
        endpoint: Endpoint,
        product: Product,
        *,
        read_s: float | None,
        key: str | None = None,
        questions: int | None = None,
    ) -> Site:
        key = self.key(endpoint) if key is None else key
        connect_s = connect_timeout_s(endpoint, self._timeouts_for(endpoint).connect_s)
        timeout = httpx.Timeout(
            connect=connect_s if read_s is None else min(connect_s, read_s),
            read=read_s,
            write=WRITE_S,
            pool=POOL_S,
        )

        async def ask(method: str, url: str, body: bytes | None) -> Reply:
            return await self._connections.ask(endpoint, method, url, key=key, patience=timeout, body=body)

        def follow(url: str) -> AsyncGenerator[dict[str, Any]]:
            return events_at(lambda: self._connections.client(endpoint), url, key)

        return Site(
            endpoint=endpoint,
            ask=ask,
            follow=follow,
            asked=Asked(product=product, has_key=bool(key), key=key or "", host=endpoint.host),
            questions=QUESTIONS if questions is None else questions,
            lacks=self._lacks.setdefault(endpoint, set()),
            facts=self._facts.setdefault(endpoint, {}),
        )
