"""Probes of single addresses, with the keys and the products that are known for them.

`Prober` remembers for each address which product has answered there. `KeySource` knows the keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import httpx
from msgspec.structs import replace

from lmchat.config.settings import TimeoutSettings
from lmchat.errors import EndpointNotAllowed, RequestInvalid, ServerUnavailable
from lmchat.safe_text import shell_word
from lmchat.servers.discovery.probe import Probe, empty_result, next_step, read_models, run_probe
from lmchat.servers.discovery.probe_result import ProbeResult, Verdict
from lmchat.servers.discovery.scan import KnownAddresses, probe_all, usual_probes
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.http.api_keys import KeySource
from lmchat.servers.http.connections import POOL_S, WRITE_S, Connections, connect_timeout_s
from lmchat.servers.http.json_events import json_events
from lmchat.servers.model import ModelInfo
from lmchat.servers.products import PRODUCTS, product_at, product_named
from lmchat.servers.products.product import OPENAI_COMPATIBLE, Product
from lmchat.servers.products.server_api import ServerApi, ServerMemory

# Timeout of a reply from this machine in a scan: the scan ends within 2 s if all ports are silent.
SCAN_READ_S = 1.8
_NO_KEY = ""  # send none; None would mean the key that is known for the address


class Prober:
    """Prober of addresses; remembers what earlier requests found out about each."""

    def __init__(
        self,
        connections: Connections,
        keys: KeySource,
        timeouts_for: Callable[[Endpoint], TimeoutSettings],
        *,
        check_allowed: Callable[[Endpoint], None],
    ) -> None:
        """Create it; `timeouts_for` returns the timeouts that the settings have for an address.

        `check_allowed` raises `EndpointNotAllowed` or `RequestInvalid` for an address to which no
        request may be sent.
        """
        self.keys = keys
        self._connections = connections
        self._check_allowed = check_allowed
        self._timeouts_for = timeouts_for
        self._memories: dict[Endpoint, ServerMemory] = {}

    async def scan(self, known: KnownAddresses) -> tuple[ProbeResult, ...]:
        """Probe all usual and known addresses at once; return the results to show, best first.

        An address that only an earlier run has used is not shown as the user's own.
        """
        probes = await asyncio.to_thread(usual_probes, known)
        results = await probe_all(probes, self._probe_if_allowed, self.keys.key_for)
        return tuple(map(self._with_key_step, results))

    async def _probe_if_allowed(self, probe: Probe) -> ProbeResult:
        """Probe an address in a scan; if no request may be sent to it, the result says why."""
        try:
            self._check_allowed(probe.endpoint)
        except (EndpointNotAllowed, RequestInvalid) as error:
            step = error.hint
            if error.kind == "not_allowed":
                step = f"lmchat --allow-host {shell_word(probe.endpoint.host)}"
            refused = empty_result(probe, Verdict.REFUSED)
            return replace(refused, detail=error.message, kind=error.kind, next_step=step)
        return await self._probe(probe, is_scan=True)

    async def check(self, endpoint: Endpoint, *, key: str | None = None) -> ProbeResult:
        """Probe one address outside of a scan; None as `key` means the key that is known for it."""
        has_known_port = any(endpoint.port in product.ports for product in PRODUCTS)
        # An address that no scan would probe is one that the user has named.
        is_own = not (endpoint.is_loopback and has_known_port)
        expected = self._expected_product(endpoint)
        probe = Probe(endpoint=endpoint, expected=expected, is_own=is_own, is_known=is_own)
        return self._with_key_step(await self._probe(probe, key=key))

    async def models(self, endpoint: Endpoint) -> tuple[ModelInfo, ...]:
        """Ask a server for all its models and return them; the product is identified if needed.

        Raises:
            ServerUnavailable: the server does not answer.
            ServerRejected: the server refuses the request.
        """
        expected = self._expected_product(endpoint)
        health_s = self._timeouts_for(endpoint).health_s
        api = await self.new_api(endpoint, expected.name, read_s=health_s)
        try:
            models = await read_models(api, expected, self._known_product(endpoint))
        except ServerUnavailable as error:
            product_named(api.facts.product).add_hint(error)
            raise
        if api.is_identified:
            self._note_answer(endpoint, api.facts.product)
        return models

    def expect(self, endpoint: Endpoint, product: str) -> None:
        """Note which product is expected at an address.

        Nothing changes if a product was noted there before, or if `product` is not a known one.
        """
        memory = self._memory_of(endpoint)
        if memory.product is None and product != OPENAI_COMPATIBLE:
            memory.product = product

    def keeps_answers(self, endpoint: Endpoint) -> bool:
        """Whether the server at an address has said that it can keep answers (R-42)."""
        return self._memory_of(endpoint).keeps_answers is True

    async def new_api(
        self,
        endpoint: Endpoint,
        product: str,
        *,
        read_s: float | None = None,
        key: str | None = None,
    ) -> ServerApi:
        """Return a new API of an address, without the replies of earlier ones.

        `read_s` is the timeout of a reply in seconds; None: no timeout, as loading may take
        minutes. `key` is the key to send, which may be empty; None: the one that is known for the
        address.
        """
        connect_s = connect_timeout_s(endpoint, self._timeouts_for(endpoint).connect_s)
        if read_s is not None:
            connect_s = min(connect_s, read_s)
        if key is None:
            key = await self.keys.key_for(endpoint) or ""
        timeout = httpx.Timeout(connect=connect_s, read=read_s, write=WRITE_S, pool=POOL_S)
        return ServerApi(
            endpoint=endpoint,
            facts=product_named(product).request_facts(key=key, host=endpoint.host),
            memory=self._memory_of(endpoint),
            ask=partial(self._connections.ask, endpoint, key=key, timeout=timeout),
            ask_for_events=partial(json_events, self._connections, endpoint, key=key),
        )

    def _memory_of(self, endpoint: Endpoint) -> ServerMemory:
        return self._memories.setdefault(endpoint, ServerMemory())

    def _expected_product(self, endpoint: Endpoint) -> Product:
        """Return the product to expect at an address.

        It is that of the host of a provider, else the one noted for the address, else that of the
        port.
        """
        usual = product_at(endpoint)
        noted = self._memory_of(endpoint).product
        return product_named(noted) if noted and not usual.hosts else usual

    def _known_product(self, endpoint: Endpoint) -> Product | None:
        """Return the product that answers at an address, as far as it need not be identified.

        It is known at the host of a provider, and where it has answered before.
        """
        expected = self._expected_product(endpoint)
        is_known = self._memory_of(endpoint).is_proven or bool(expected.hosts)
        return expected if is_known else None

    def _note_answer(self, endpoint: Endpoint, product: str) -> None:
        """Note that this product has answered at an address."""
        memory = self._memory_of(endpoint)
        memory.product = product
        memory.is_proven = True

    async def _probe(
        self, probe: Probe, *, key: str | None = None, is_scan: bool = False
    ) -> ProbeResult:
        """Probe one address, and note what answers; `key` is as for `new_api`.

        In a scan, the product is identified again, replies of this machine have to come soon, and
        only an address that the user has named gets a key, if that is known without asking.
        """
        endpoint = probe.endpoint
        known = self._known_product(endpoint)
        read_s = self._timeouts_for(endpoint).health_s
        if is_scan:
            known = probe.expected if probe.expected.hosts else None
            read_s = SCAN_READ_S if endpoint.is_loopback else read_s
            key = (self.keys.known_key(endpoint) if probe.is_known else None) or _NO_KEY
        api = await self.new_api(endpoint, probe.expected.name, read_s=read_s, key=key)
        probed = await run_probe(api, probe, known)
        if probed.verdict.is_server and (api.is_identified or probed.models):
            self._note_answer(endpoint, probed.product)
        else:
            # Another product may answer next time; until then the name of this one is shown.
            self._memory_of(endpoint).is_proven = False
        if probed.verdict is Verdict.REFUSED:
            # it has ended: another version or product may be the next one
            self._memories[endpoint] = ServerMemory(product=self._memory_of(endpoint).product)
            if endpoint.is_loopback and await asyncio.to_thread(probe.expected.is_open):
                step = next_step(Verdict.SERVER_OFF, probe.expected, endpoint)
                return replace(probed, verdict=Verdict.SERVER_OFF, next_step=step)
        return probed

    def _with_key_step(self, probed: ProbeResult) -> ProbeResult:
        """Say of a server that needs a key why one that is set was not sent."""
        if probed.verdict is not Verdict.NEEDS_KEY:
            return probed
        return replace(
            probed, next_step=self.keys.why_withheld(probed.endpoint) or probed.next_step
        )
