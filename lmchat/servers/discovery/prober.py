"""Probes of single addresses, with the keys and the products that are known for them.

`Prober` remembers for each address which product has answered there. `KeySource` knows the keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.config.settings import TimeoutSettings
from lmchat.errors import EndpointNotAllowed, LMChatError, RequestInvalid, ServerUnavailable
from lmchat.safe_text import shell_word
from lmchat.servers.discovery.probe import Probe, empty_result, next_step, read_models, run_probe
from lmchat.servers.discovery.probe_result import ProbeResult, Verdict
from lmchat.servers.discovery.scan import KnownAddresses, probe_all, usual_probes
from lmchat.servers.endpoint import Endpoint, loopback
from lmchat.servers.http.api_keys import KeySource
from lmchat.servers.http.connections import POOL_S, WRITE_S, Connections, connect_timeout_s
from lmchat.servers.model import ModelInfo
from lmchat.servers.products.base import Server
from lmchat.servers.products.identify import is_other_server, server_at
from lmchat.servers.products.lm_studio import app_ports
from lmchat.servers.products.product import OPENAI_COMPATIBLE
from lmchat.servers.products.refusals import RequestFacts
from lmchat.servers.products.registry import SERVERS, server_of
from lmchat.servers.products.server_api import ServerApi, ServerMemory

SCAN_REQUESTS = 3  # most requests to one port in one scan
LIST_REQUESTS = 40  # most requests for a list of models that the user asks for
_MANY_REQUESTS = 1000  # for an action, which needs no limit
# Timeout of a reply from this machine in a scan: the scan ends within 2 s if all ports are silent.
SCAN_READ_S = 1.8
GREETING_S = 0.5  # timeout of LM Studio's own tools for the greeting
_NO_KEY = ""  # send none; None would mean the key that is known for the address


def _is_other_product(api: ServerApi, known_server: Server) -> bool:
    """Whether the first reply to a probe shows another product than the known one.

    False if there was no reply, or at the host of a provider, where no other product answers.
    """
    if known_server.hosts or api.first_reply is None:
        return False
    return is_other_server(api.first_reply, known_server)


class _AddressRecord(Struct, kw_only=True):
    """What earlier requests found out about an address."""

    product: str | None = None
    is_proven: bool = False  # whether `product` has answered, and no other product since
    memory: ServerMemory = field(default_factory=ServerMemory)

    def forget_server(self) -> None:
        """Forget the server, as it has ended: another version or product may be the next one."""
        self.is_proven = False
        self.memory = ServerMemory()


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
        self._records: dict[Endpoint, _AddressRecord] = {}

    async def scan(self, known: KnownAddresses) -> tuple[ProbeResult, ...]:
        """Probe all usual and known addresses at once; return the results to show, best first.

        An address that only an earlier run has used is not shown as the user's own.
        """
        probes = await asyncio.to_thread(usual_probes, known)
        return await probe_all(probes, self._probe_if_allowed)

    async def _probe_if_allowed(self, probe: Probe) -> ProbeResult:
        """Probe an address and return its result.

        If no request may be sent to it, nothing is sent, and the result says why.
        """
        try:
            self._check_allowed(probe.endpoint)
        except (EndpointNotAllowed, RequestInvalid) as error:
            step = error.hint
            if error.kind == "not_allowed":
                step = f"lmchat --allow-host {shell_word(probe.endpoint.host)}"
            refused = empty_result(probe, Verdict.REFUSED)
            return replace(refused, detail=error.message, kind=error.kind, next_step=step)
        return await self.probe_one(probe)

    async def probe_one(self, probe: Probe, *, key: str | None = None) -> ProbeResult:
        """Probe an address, and return its result.

        If nothing answers there, it is checked whether the program runs with its server off. None
        as `key` means the key that is known for the address.
        """
        return await self._check_if_off(await self._probe(probe, key), probe.server)

    async def check(self, endpoint: Endpoint, *, key: str | None = None) -> ProbeResult:
        """Probe one address outside of a scan; None as `key` means the key that is known for it."""
        has_known_port = any(endpoint.port in server.ports for server in SERVERS)
        # An address that no scan would probe is one that the user has named.
        is_own = not (endpoint.is_loopback and has_known_port)
        probe = Probe(endpoint=endpoint, server=self._expected_server(endpoint), is_own=is_own)
        return await self.probe_one(probe, key=key)

    async def models(self, endpoint: Endpoint) -> tuple[ModelInfo, ...]:
        """Ask a server for all its models and return them.

        The product is identified first, unless it has answered at this address before, or the host
        is that of a provider.

        Raises:
            ServerUnavailable: the server does not answer.
            ServerRejected: the server refuses the request.
        """
        server = self._expected_server(endpoint)
        api = self.new_api(
            endpoint,
            server.product,
            read_s=self._timeouts_for(endpoint).health_s,
            requests=LIST_REQUESTS,
        )
        record = self._record_of(endpoint)
        is_known = record.is_proven or bool(server.hosts)
        known_server = server if is_known else None
        try:
            models = await read_models(api, server, known_server)
        except ServerUnavailable as error:
            server_of(api.facts.product).add_hint(error)
            raise
        finally:
            if api.is_identified:  # `read_models` may fail after the identification
                self._note_answer(endpoint, api.facts.product)
        if is_known and _is_other_product(api, server):
            record.forget_server()  # so the second call identifies the server, and ends
            return await self.models(endpoint)
        return models

    def expect(self, endpoint: Endpoint, product: str) -> None:
        """Note which product is expected at an address.

        Nothing changes if a product was noted there before, or if `product` is not a known one.
        """
        record = self._record_of(endpoint)
        if record.product is None and product != OPENAI_COMPATIBLE:
            record.product = product

    def keeps_answers(self, endpoint: Endpoint) -> bool:
        """Whether the server at an address has said that it can keep answers (R-42)."""
        return self._record_of(endpoint).memory.keeps_answers is True

    def new_api(
        self,
        endpoint: Endpoint,
        product: str,
        *,
        read_s: float | None = None,
        key: str | None = None,
        requests: int = _MANY_REQUESTS,
    ) -> ServerApi:
        """Return a new API of an address, without the replies of earlier ones.

        `read_s` is the timeout of a reply in seconds; None: no timeout, as loading may take
        minutes. `key` is the key to send, which may be empty; None: the one that is known for the
        address. `requests` is how many requests the API may send.
        """
        connect_s = connect_timeout_s(endpoint, self._timeouts_for(endpoint).connect_s)
        if read_s is not None:
            connect_s = min(connect_s, read_s)
        if key is None:
            key = self.keys.key_for(endpoint) or ""
        return ServerApi(
            endpoint=endpoint,
            connections=self._connections,
            timeout=httpx.Timeout(connect=connect_s, read=read_s, write=WRITE_S, pool=POOL_S),
            facts=RequestFacts(product=product, key=key, host=endpoint.host),
            memory=self._record_of(endpoint).memory,
            requests_left=requests,
        )

    def _record_of(self, endpoint: Endpoint) -> _AddressRecord:
        """Return the record of an address; the first call for an address makes an empty one."""
        return self._records.setdefault(endpoint, _AddressRecord())

    def _expected_server(self, endpoint: Endpoint) -> Server:
        """Return the product to expect at an address.

        It is that of the host of a provider, else the one noted for the address, else that of the
        port.
        """
        server = server_at(endpoint)
        product = self._record_of(endpoint).product
        return server_of(product) if product and not server.hosts else server

    def _note_answer(self, endpoint: Endpoint, product: str) -> None:
        """Note that this product has answered at an address."""
        record = self._record_of(endpoint)
        record.product = product
        record.is_proven = True

    async def _probe(self, probe: Probe, key: str | None) -> ProbeResult:
        """Probe one address, and note what answers.

        Outside of a scan, a product that has answered before is only asked for what may change. If
        another product answers now, the address is probed from the beginning, with identification.
        If the server needs a key that was not sent, the probe continues with the key.
        """
        endpoint = probe.endpoint
        record = self._record_of(endpoint)
        api = self._new_api_for(probe, key)
        is_proven = record.is_proven and not probe.is_scan
        # At the host of a provider, no other product answers.
        is_known = is_proven or bool(probe.server.hosts)
        known_server = probe.server if is_known else None
        probed = await run_probe(api, probe, known_server)

        if is_proven and _is_other_product(api, probe.server):
            record.forget_server()  # so the second call is not a quick one, and ends
            return await self._probe(probe, key)

        if probed.verdict is Verdict.NEEDS_KEY:
            probed = await self._probe_with_key(api, probe, probed, has_key=bool(key))
        shows_product = api.is_identified or bool(probed.models)
        if probed.verdict.is_server and shows_product:
            self._note_answer(endpoint, probed.product)
        else:
            # Another product may answer next time; until then the name of this one is shown.
            record.is_proven = False
            if probed.verdict is Verdict.REFUSED:
                record.forget_server()
        if probed.verdict is not Verdict.NEEDS_KEY:
            return probed
        reason = self.keys.why_withheld(endpoint)
        step = reason or probed.next_step
        return replace(probed, key_withheld=reason, next_step=step)

    def _new_api_for(self, probe: Probe, key: str | None) -> ServerApi:
        """Return a new API for a probe.

        In a scan, it has fewer requests, a short timeout on this machine, and no key for addresses
        that the user has not named. `key` is as for `new_api`.
        """
        endpoint = probe.endpoint
        read_s = self._timeouts_for(endpoint).health_s
        # One more than in a scan, for an Ollama at an unusual port: it is identified and has listed
        # its models after three, and the fourth tells which of them are in memory.
        requests = SCAN_REQUESTS + 1
        if probe.is_scan:
            requests = SCAN_REQUESTS
            if endpoint.is_loopback:
                read_s = SCAN_READ_S
            if not probe.is_own:
                key = _NO_KEY  # sent only after the server has asked for one
        product = probe.server.product
        return self.new_api(endpoint, product, read_s=read_s, key=key, requests=requests)

    async def _probe_with_key(
        self, api: ServerApi, probe: Probe, probed: ProbeResult, *, has_key: bool
    ) -> ProbeResult:
        """Continue a probe, whose server needs a key, with the key and the requests left (R-2).

        If there is no key to send, return `probed`, the result so far. `has_key` is whether the
        caller has given the key for this probe. No key is looked for then.
        """
        if not (has_key or api.facts.key):
            api.facts = replace(api.facts, key=self.keys.key_for(probe.endpoint) or "")
        if not api.facts.key:
            return probed
        # At least one request; what was refused is asked again, and other replies are kept.
        api.requests_left = max(api.requests_left, 1)
        api.first_reply = None
        api.refused_reply = None
        for url, reply in list(api.replies.items()):
            was_refused = not (reply.is_good or reply.is_unknown_path)
            if was_refused:  # perhaps because of the missing key
                del api.replies[url]
        known_server = server_of(probed.product) if api.is_identified else None
        return await run_probe(api, probe, known_server)

    async def _check_if_off(self, probed: ProbeResult, server: Server) -> ProbeResult:
        """Find out whether LM Studio runs with its server off (R-3).

        LM Studio itself listens at other ports than its server. They are asked if the port of the
        server refuses the connection on this machine. If one answers, return the result with
        the verdict SERVER_OFF. In all other cases, also for other products, return it unchanged.
        """
        is_refused = probed.verdict is Verdict.REFUSED and probed.endpoint.is_loopback
        has_app_ports = bool(server.off_hint)  # only LM Studio has this hint
        if not has_app_ports or not is_refused:
            return probed
        ports = await asyncio.to_thread(app_ports)
        answers = await asyncio.gather(*(self._is_program_at(port, server) for port in ports))
        if not any(answers):
            return probed
        step = next_step(Verdict.SERVER_OFF, server, probed.endpoint)
        return replace(probed, verdict=Verdict.SERVER_OFF, next_step=step)

    async def _is_program_at(self, port: int, server: Server) -> bool:
        """Whether a program at a port of this machine answers the opening path as `server` does."""
        api = self.new_api(
            loopback(port), server.product, read_s=GREETING_S, key=_NO_KEY, requests=1
        )
        try:
            return server.is_confirmed_by(await api.get(server.opening_path))
        except LMChatError:
            return False
