"""Probes of addresses, one or all, with the keys and the products that are known for them.

`Prober` remembers for each address which product has answered there. `KeySource` knows the keys.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import httpx
from msgspec.structs import replace

from lmchat.config.settings import TimeoutSettings
from lmchat.errors import EndpointNotAllowed, RequestInvalid
from lmchat.safe_text import shell_word
from lmchat.servers.discovery.probe import Probe, empty_result, next_step, run_probe
from lmchat.servers.discovery.probe_result import ProbeResult, Verdict
from lmchat.servers.endpoint import Endpoint, loopback
from lmchat.servers.http.api_keys import KeySource
from lmchat.servers.http.connections import POOL_S, WRITE_S, Connections, connect_timeout_s
from lmchat.servers.http.json_events import json_events
from lmchat.servers.products import PRODUCTS, product_at, product_named
from lmchat.servers.products.product import OPENAI_COMPATIBLE, Product
from lmchat.servers.products.server_api import ServerApi, ServerMemory

_SCAN_S = 5.0  # a scan ends after this time at the latest
# Timeout of a reply from this machine in a scan: the scan ends within 2 s if all ports are silent.
_SCAN_READ_S = 1.8
_NO_KEY = ""  # send none; None would mean the key that is known for the address
_log = logging.getLogger(__name__)


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
        # what a scan probes together with the usual addresses
        self.hinted: Mapping[str, Endpoint] = {}  # what the environment names, by product
        self.used: Sequence[Endpoint] = ()  # of the models that earlier runs have used last

    async def scan(self, expected: Sequence[Endpoint]) -> tuple[ProbeResult, ...]:
        """Probe all usual and known addresses at once; return the results to show, best first.

        `expected` addresses are those that the user has named. Of the usual addresses of a product
        where nothing answers, only the best is shown, and none if another one of them answers.
        """
        probes = await asyncio.to_thread(self._usual_probes, expected)
        results = await asyncio.gather(*map(self._scanned, probes))
        order = list(Verdict)
        ranked = sorted(
            zip(probes, results, strict=True), key=lambda pair: order.index(pair[1].verdict)
        )
        shown: list[ProbeResult] = []
        products = {probed.product for probed in results if probed.verdict.is_server}
        for probe, probed in ranked:
            is_answer = probed.verdict.is_server or probed.verdict is Verdict.SERVER_ERROR
            if not is_answer and not probe.is_known and probe.endpoint.is_loopback:
                if probe.expected.name in products:
                    continue
                products.add(probe.expected.name)
            shown.append(probed)
        return tuple(shown)

    def _usual_probes(self, expected: Sequence[Endpoint]) -> list[Probe]:
        """Return what to probe, each address once: `expected`, those of the products, `used` ones.

        A product has the address that the environment names, the port that it used last, and those
        of its row. Blocks: reads files in which products keep their last port.
        """
        probes = [
            Probe(endpoint=endpoint, expected=product_at(endpoint), is_own=True, is_known=True)
            for endpoint in expected
        ]
        for product in PRODUCTS:
            ports = filter(None, (product.last_port(), *product.ports))
            endpoints = [loopback(port) for port in ports]
            if hinted := self.hinted.get(product.name):
                endpoints.insert(0, hinted)
            probes += [Probe(endpoint=endpoint, expected=product) for endpoint in endpoints]
        probes += [
            Probe(endpoint=endpoint, expected=product_at(endpoint), is_known=True)
            for endpoint in self.used
        ]
        probe_by_address: dict[str, Probe] = {}
        for probe in probes:
            probe_by_address.setdefault(probe.endpoint.netloc, probe)  # the first of each address
        return list(probe_by_address.values())

    async def _scanned(self, probe: Probe) -> ProbeResult:
        """Probe an address in a scan; if no request may be sent to it, the result says why.

        A server that asks for a key is probed again if there is one, for which the user may be
        asked.
        """
        try:
            self._check_allowed(probe.endpoint)
        except (EndpointNotAllowed, RequestInvalid) as error:
            step = error.hint
            if error.kind == "not_allowed":
                step = f"lmchat --allow-host {shell_word(probe.endpoint.host)}"
            refused = empty_result(probe, Verdict.REFUSED)
            return replace(refused, detail=error.message, kind=error.kind, next_step=step)
        probed = await self._limited(probe)
        if probed.verdict is Verdict.NEEDS_KEY and await self.keys.key_for(probe.endpoint):
            return await self._limited(replace(probe, is_known=True))
        return probed

    async def _limited(self, probe: Probe) -> ProbeResult:
        """Run a probe of a scan; an error that it did not expect is logged."""
        try:
            async with asyncio.timeout(_SCAN_S):
                return await self._probe(probe, is_scan=True)
        except TimeoutError:
            return empty_result(probe, Verdict.TIMED_OUT)
        except Exception as error:  # noqa: BLE001 - one strange server must not end the scan
            _log.warning("probe of %s: %s", probe.endpoint.netloc, type(error).__name__)
            probed = empty_result(probe, Verdict.SERVER_ERROR)
            return replace(probed, detail="its reply cannot be read")

    async def check(self, endpoint: Endpoint, *, key: str | None = None) -> ProbeResult:
        """Probe one address outside of a scan; None as `key` means the key that is known for it."""
        has_known_port = any(endpoint.port in product.ports for product in PRODUCTS)
        # An address that no scan would probe is one that the user has named.
        is_own = not (endpoint.is_loopback and has_known_port)
        expected = self._expected_product(endpoint)
        probe = Probe(endpoint=endpoint, expected=expected, is_own=is_own, is_known=is_own)
        return await self._probe(probe, key=key)

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

    async def _probe(
        self, probe: Probe, *, key: str | None = None, is_scan: bool = False
    ) -> ProbeResult:
        """Probe one address, and note what answers; `key` is as for `new_api`.

        In a scan, replies of this machine have to come soon, and only an address that the user has
        named gets a key, if that is known without asking.
        """
        endpoint = probe.endpoint
        read_s = self._timeouts_for(endpoint).health_s
        if is_scan:
            read_s = _SCAN_READ_S if endpoint.is_loopback else read_s
            key = (self.keys.known_key(endpoint) if probe.is_known else None) or _NO_KEY
        api = await self.new_api(endpoint, probe.expected.name, read_s=read_s, key=key)
        probed = await run_probe(api, probe)
        if probed.verdict.is_server and (api.is_identified or probed.models):
            self._memory_of(endpoint).product = probed.product
        if probed.verdict is Verdict.REFUSED:
            # it has ended: another version or product may be the next one
            self._memories[endpoint] = ServerMemory(product=self._memory_of(endpoint).product)
            if endpoint.is_loopback and await asyncio.to_thread(probe.expected.is_open):
                step = next_step(Verdict.SERVER_OFF, probe.expected, endpoint)
                return replace(probed, verdict=Verdict.SERVER_OFF, next_step=step)
        if probed.verdict is Verdict.NEEDS_KEY and (why := self.keys.why_withheld(endpoint)):
            return replace(probed, next_step=why)
        return probed
