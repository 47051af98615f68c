"""Probes of single addresses, with what is known of their keys and products."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import httpx
from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.config.settings import TimeoutSettings
from lmchat.domain.product import Product
from lmchat.domain.server import Candidate, Endpoint, ModelInfo, Verdict, loopback
from lmchat.errors import EndpointNotAllowed, LMChatError, RequestInvalid, ServerUnavailable
from lmchat.proxy.connections import POOL_S, WRITE_S, Connections, connect_timeout_s
from lmchat.proxy.identify import is_other_server, server_at
from lmchat.proxy.probe import Probe, next_step, read_models, run_probe, unanswered
from lmchat.proxy.refusals import RequestFacts
from lmchat.proxy.scan import probe_all, usual_probes
from lmchat.proxy.server_api import ServerApi, ServerMemory
from lmchat.proxy.servers import SERVERS, server_of
from lmchat.proxy.servers.base import Server
from lmchat.proxy.servers.lm_studio import app_ports
from lmchat.text import shell_word
from lmchat.threads import run_abandonable

SCAN_REQUESTS = 3  # most requests to one port in one scan
LIST_REQUESTS = 40  # for a list that a person asks for
_MANY_REQUESTS = 1000
SCAN_READ_S = 1.8  # of an answer of this machine: a scan ends within 2 s if all are silent
GREETING_S = 0.5  # timeout of LM Studio's own tools for the greeting
_LITERALS = ("127.0.0.1", "::1")
_NO_KEY = ""


class KeySource(Struct, frozen=True, kw_only=True):
    """Source of API keys."""

    key_for: Callable[[Endpoint], str | None]
    why_withheld: Callable[[Endpoint], str] = lambda _: ""
    """Returns why a key that is set is not sent to a server."""
    look_up: Callable[[Endpoint], None] | None = None
    """Blocks; called for a server that wants a key, and may make `key_for` find one."""

    def key(self, endpoint: Endpoint) -> str | None:
        """Return the key of an address; the names of the loopback address share theirs."""
        for name in _names(endpoint):
            if key := self.key_for(name):
                return key
        return None

    async def key_after_refusal(self, endpoint: Endpoint) -> str | None:
        """Return the key of a server that refused to answer without one; may ask a keyring."""
        if self.look_up is not None and not self.key(endpoint):
            for name in _names(endpoint):
                await run_abandonable(partial(self.look_up, name))
        return self.key(endpoint)

    def reason(self, endpoint: Endpoint) -> str:
        """Return why a key that is set is not sent to an address, and the next step."""
        for name in _names(endpoint):
            if reason := self.why_withheld(name):
                return reason
        return ""


def _names(endpoint: Endpoint) -> list[Endpoint]:
    """Return an address; if it is of this machine, also with its other names."""
    names = [endpoint]
    if endpoint.is_loopback:
        names += [replace(endpoint, host=host) for host in ("localhost", *_LITERALS)]
    return names


def _is_replaced(api: ServerApi, known: Server) -> bool:
    """Whether another product answers than before; at the host of a provider none can."""
    if known.hosts or api.first_reply is None:
        return False
    return is_other_server(api.first_reply, known)


class _Known(Struct, kw_only=True):
    """What is known of an address."""

    product: Product | None = None
    is_proven: bool = False  # whether the product has answered, and no other one since
    memory: ServerMemory = field(default_factory=ServerMemory)


class Prober:
    """Prober of addresses; remembers their products and what they lack."""

    def __init__(
        self,
        connections: Connections,
        keys: KeySource,
        timeouts_for: Callable[[Endpoint], TimeoutSettings],
        *,
        check_allowed: Callable[[Endpoint], None],
    ) -> None:
        """`check_allowed` raises `EndpointNotAllowed` or `RequestInvalid`."""
        self.keys = keys
        self._connections = connections
        self._check_allowed = check_allowed
        self._timeouts_for = timeouts_for
        self._known: dict[Endpoint, _Known] = {}

    async def scan(
        self, expected: Sequence[Endpoint], hinted: Mapping[Product, Endpoint]
    ) -> tuple[Candidate, ...]:
        """Probe all usual addresses at once; best candidate first.

        `expected` are the user's own addresses, `hinted` those of the environment.
        """
        probes = await asyncio.to_thread(usual_probes, expected, hinted)
        return await probe_all(probes, self._probe_if_allowed)

    async def _probe_if_allowed(self, probe: Probe) -> Candidate:
        try:
            self._check_allowed(probe.endpoint)
        except (EndpointNotAllowed, RequestInvalid) as error:
            step = error.hint
            if error.kind == "not_allowed":
                step = f"lmchat --allow-host {shell_word(probe.endpoint.host)}"
            refused = unanswered(probe, Verdict.REFUSED)
            return replace(refused, detail=error.message, kind=error.kind, next_step=step)
        return await self.probe_one(probe)

    async def probe_one(self, probe: Probe, *, key: str | None = None) -> Candidate:
        """Probe an address; `localhost` or a known port that refuses also by its literals (R-6)."""
        endpoint = probe.endpoint
        candidate = await self._probe(probe, key)
        is_known_port = probe.is_scan and endpoint.is_loopback and not probe.is_own
        if endpoint.host == "localhost" or is_known_port:
            for host in _LITERALS:
                literal = replace(endpoint, host=host)
                if candidate.verdict is Verdict.REFUSED and literal != endpoint:
                    other = await self._probe(replace(probe, endpoint=literal), key)
                    if other.verdict is not Verdict.REFUSED:
                        candidate = other
        return await self._perhaps_off(candidate, probe.server)

    async def check(self, endpoint: Endpoint, *, key: str | None = None) -> Candidate:
        """Probe one address with as few requests as possible."""
        has_known_port = any(endpoint.port in server.ports for server in SERVERS)
        is_own = not (endpoint.is_loopback and has_known_port)
        probe = Probe(endpoint=endpoint, server=self._expected(endpoint), is_own=is_own)
        return await self.probe_one(probe, key=key)

    async def models(self, endpoint: Endpoint) -> tuple[ModelInfo, ...]:
        """Return the models of a server; raises `ServerUnavailable` or `ServerRejected`."""
        server = self._expected(endpoint)
        api = self.api(
            endpoint,
            server.product,
            read_s=self._timeouts_for(endpoint).health_s,
            requests=LIST_REQUESTS,
        )
        is_known = self._at(endpoint).is_proven or bool(server.hosts)
        try:
            return await read_models(api, server, server if is_known else None)
        except ServerUnavailable as error:
            server_of(api.facts.product).add_hint(error)
            raise
        finally:
            if api.is_identified:
                self._prove(endpoint, api.facts.product)

    def expect(self, endpoint: Endpoint, product: Product) -> None:
        """Note which product is expected at an address, unless one is known."""
        known = self._at(endpoint)
        if known.product is None and product is not Product.OPENAI_COMPATIBLE:
            known.product = product

    def tells_sleep(self, endpoint: Endpoint) -> bool:
        return self._at(endpoint).memory.tells_sleep

    def api(
        self,
        endpoint: Endpoint,
        product: Product,
        *,
        read_s: float | None = None,
        key: str | None = None,
        requests: int = _MANY_REQUESTS,
    ) -> ServerApi:
        """Return the API of an address; without `read_s` it waits: loading may take minutes."""
        connect_s = connect_timeout_s(endpoint, self._timeouts_for(endpoint).connect_s)
        if read_s is not None:
            connect_s = min(connect_s, read_s)
        if key is None:
            key = self.keys.key(endpoint) or ""
        return ServerApi(
            endpoint=endpoint,
            connections=self._connections,
            timeout=httpx.Timeout(connect=connect_s, read=read_s, write=WRITE_S, pool=POOL_S),
            facts=RequestFacts(product=product, key=key, host=endpoint.host),
            memory=self._at(endpoint).memory,
            requests_left=requests,
        )

    def _at(self, endpoint: Endpoint) -> _Known:
        return self._known.setdefault(endpoint, _Known())

    def _expected(self, endpoint: Endpoint) -> Server:
        server = server_at(endpoint)
        product = self._at(endpoint).product
        return server_of(product) if product and not server.hosts else server

    def _prove(self, endpoint: Endpoint, product: Product) -> None:
        known = self._at(endpoint)
        known.product = product
        known.is_proven = True

    async def _probe(self, probe: Probe, key: str | None) -> Candidate:
        endpoint = probe.endpoint
        known = self._at(endpoint)
        api = self._api_for(probe, key)
        api.is_quick = known.is_proven and not probe.is_scan
        is_known = api.is_quick or bool(probe.server.hosts)
        candidate = await run_probe(api, probe, probe.server if is_known else None)

        if api.is_quick and _is_replaced(api, probe.server):
            known.is_proven = False
            return await self._probe(probe, key)

        if candidate.verdict is Verdict.NEEDS_KEY:
            candidate = await self._probe_with_key(api, probe, candidate, has_key=bool(key))
        if candidate.verdict.is_server and (api.is_identified or candidate.models):
            self._prove(endpoint, candidate.product)
        else:
            # Another product may answer next time; until then this one gives the name.
            known.is_proven = False
        return self._with_reason(candidate, api.key_withheld)

    def _with_reason(self, candidate: Candidate, withheld: str) -> Candidate:
        """Add why a key was not sent."""
        if candidate.verdict is not Verdict.NEEDS_KEY:
            return replace(candidate, key_withheld=withheld)
        reason = withheld or self.keys.reason(candidate.endpoint)
        step = reason or candidate.next_step
        return replace(candidate, key_withheld=reason, next_step=step)

    def _api_for(self, probe: Probe, key: str | None) -> ServerApi:
        endpoint = probe.endpoint
        read_s = self._timeouts_for(endpoint).health_s
        requests = SCAN_REQUESTS + 1  # of an Ollama at any port: what is loaded
        if probe.is_scan:
            requests = SCAN_REQUESTS
            if endpoint.is_loopback:
                read_s = SCAN_READ_S
            if not probe.is_own:
                key = _NO_KEY  # sent only after the server has asked for one
        return self.api(endpoint, probe.server.product, read_s=read_s, key=key, requests=requests)

    async def _probe_with_key(
        self, api: ServerApi, probe: Probe, candidate: Candidate, *, has_key: bool
    ) -> Candidate:
        """Continue a probe with the key of the server, and the requests that are left (R-2)."""
        if not (has_key or api.facts.key or api.key_withheld):
            key = await self.keys.key_after_refusal(probe.endpoint)
            api.facts = replace(api.facts, key=key or "")
        if not api.facts.key:
            return candidate
        api.requests_left = max(api.requests_left, 1)
        api.first_reply = None
        api.refused_reply = None
        for url, reply in list(api.replies.items()):
            if not (reply.is_good or reply.is_unknown_path):  # it may have lacked the key
                del api.replies[url]
        product = server_of(candidate.product)
        return await run_probe(api, probe, product if api.is_identified else None)

    async def _perhaps_off(self, candidate: Candidate, server: Server) -> Candidate:
        """Distinguish a program whose server is off from one that does not run (R-3)."""
        is_refused = candidate.verdict is Verdict.REFUSED and candidate.endpoint.is_loopback
        if not server.off_hint or not is_refused:
            return candidate
        ports = await asyncio.to_thread(app_ports)
        greetings = await asyncio.gather(*(self._greets(port, server) for port in ports))
        if not any(greetings):
            return candidate
        step = next_step(Verdict.SERVER_OFF, server, candidate.endpoint)
        return replace(candidate, verdict=Verdict.SERVER_OFF, next_step=step)

    async def _greets(self, port: int, server: Server) -> bool:
        api = self.api(loopback(port), server.product, read_s=GREETING_S, key=_NO_KEY, requests=1)
        try:
            return server.is_confirmed_by(await api.get(server.opening_path))
        except LMChatError:
            return False
