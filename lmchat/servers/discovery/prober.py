"""Probes of addresses, one or all, with the keys and the products that are known for them.

`Prober` remembers for each address which product has answered there. What a probe finds becomes a
`ProbeResult`: an address with its verdict and the next step for the user.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

import httpx
from msgspec import Struct
from msgspec.structs import replace

from lmchat.config.settings import TimeoutSettings
from lmchat.errors import (
    EndpointNotAllowed,
    LMChatError,
    NothingAnswers,
    RequestInvalid,
    ServerRejected,
    ServerUnavailable,
    WrongUse,
)
from lmchat.safe_text import shell_word
from lmchat.servers.discovery.probe_result import VERDICTS, ProbeResult, Verdict
from lmchat.servers.endpoint import Endpoint, loopback
from lmchat.servers.http.connections import POOL_S, WRITE_S, Connections, connect_timeout_s
from lmchat.servers.http.error_body import read_body
from lmchat.servers.http.key_source import KeySource
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.products import PRODUCTS, UNKNOWN, identify, product_at, product_named
from lmchat.servers.products.product import OPENAI_COMPATIBLE, Product
from lmchat.servers.products.server_api import ServerApi, ServerMemory

_SCAN_S = 5.0  # a scan ends after this time at the latest
# Timeout of a reply from this machine in a scan: the scan ends within 2 s if all ports are silent.
_SCAN_READ_S = 1.8
_NO_KEY = ""  # send none; None would mean the key that is known for the address
_VERDICT_BY_KIND = {  # verdict by the kind of an error
    "host_blocked": Verdict.HOST_BLOCKED,
    "loading": Verdict.LOADING,
    "model_not_loaded": Verdict.NONE_LOADED,
    "not_an_llm": Verdict.NOT_AN_LLM,
    "offline": Verdict.REFUSED,
    "timeout": Verdict.TIMED_OUT,
    "dropped": Verdict.NOT_AN_LLM,  # a program that does not speak HTTP closes the connection
}
_FOREIGN_KINDS = frozenset({"wrong_path", "forbidden", "bad_request", "unsupported"})
"""Refusals that a model server would not give to a request for its models."""
# a server is READY if at least one of its models has such a state
_READY_STATES = {LoadState.LOADED, LoadState.ASLEEP, LoadState.UNKNOWN}
_logger = logging.getLogger(__name__)


class Probe(Struct, frozen=True, kw_only=True):
    """An address to probe, and the product to expect there."""

    endpoint: Endpoint
    expected: Product
    is_own: bool = False  # whether the user has named the address in this run
    is_known: bool = False  # whether the user has named or used it, in this run or an earlier one


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
        """Create a prober.

        `timeouts_for` returns the timeouts that the settings have for an address. `check_allowed`
        raises `EndpointNotAllowed` or `RequestInvalid` for an address to which no request may be
        sent.
        """
        self._keys = keys
        self._connections = connections
        self._check_allowed = check_allowed
        self._timeouts_for = timeouts_for
        self._memories: dict[Endpoint, ServerMemory] = {}
        self._known: Sequence[Endpoint] = ()  # addresses that a scan probes beside the usual ones

    def scan_also(self, known: Sequence[Endpoint]) -> None:
        """Let each scan probe these addresses, too: of environment variables and earlier runs."""
        self._known = known

    async def scan(self, named: Sequence[Endpoint]) -> tuple[ProbeResult, ...]:
        """Probe all usual and known addresses at once; return the results to show, best first.

        `named` are the addresses that the user has named. If nothing answers at the usual addresses
        of a product, only the best result of them is shown. If a server of the product answers, its
        usual addresses where nothing answers are left out.
        """
        probes = await asyncio.to_thread(self._probes_of_scan, named)
        results = await asyncio.gather(*map(self._scan_one, probes))
        order = list(Verdict)  # best first
        ranked = sorted(
            zip(probes, results, strict=True), key=lambda pair: order.index(pair[1].verdict)
        )
        shown: list[ProbeResult] = []
        # Products of which one server answers, or one usual address is already shown. Their other
        # usual addresses, where nothing answers, are left out.
        products_shown = {probed.product for probed in results if probed.verdict.is_server}
        for probe, probed in ranked:
            has_answered = probed.verdict.is_server or probed.verdict is Verdict.SERVER_ERROR
            is_usual_address = not probe.is_known  # a port of its product on this machine
            if is_usual_address and not has_answered:
                if probe.expected.name in products_shown:
                    continue
                products_shown.add(probe.expected.name)
            shown.append(probed)
        return tuple(shown)

    def _probes_of_scan(self, named: Sequence[Endpoint]) -> list[Probe]:
        """Return what a scan probes, each address once.

        First come the `named` addresses, then those of the products, last the known ones. A product
        has the port that it used last, and its default ports. Blocks: reads files in which products
        keep their last port.
        """

        def known_probe(endpoint: Endpoint, *, is_own: bool) -> Probe:
            """Return the probe of an address that was named (`is_own`), or only used earlier."""
            product = self._expected_product(endpoint)
            return Probe(endpoint=endpoint, expected=product, is_own=is_own, is_known=True)

        probes = [known_probe(endpoint, is_own=True) for endpoint in named]
        for product in PRODUCTS:
            ports = filter(None, (product.last_port(), *product.ports))
            probes += [Probe(endpoint=loopback(port), expected=product) for port in ports]
        probes += [known_probe(endpoint, is_own=False) for endpoint in self._known]
        probe_by_address: dict[str, Probe] = {}
        for probe in probes:
            probe_by_address.setdefault(probe.endpoint.netloc, probe)  # the first of each address
        return list(probe_by_address.values())

    async def _scan_one(self, probe: Probe) -> ProbeResult:
        """Probe an address in a scan; if no request may be sent to it, the result says why.

        If a server asks for a key, and lmchat has one for it, the server is probed again with the
        key. To get it, the user may be asked for a password.
        """
        try:
            self._check_allowed(probe.endpoint)
        except (EndpointNotAllowed, RequestInvalid) as error:
            step = error.hint
            if error.kind == "not_allowed":
                step = f"lmchat --allow-host {shell_word(probe.endpoint.host)}"
            refused = _empty_result(probe, Verdict.REFUSED)
            return replace(refused, detail=error.message, kind=error.kind, next_step=step)
        probed = await self._probe_in_time(probe)
        if probed.verdict is not Verdict.NEEDS_KEY:
            return probed
        if await self._keys.key_for(probe.endpoint):
            # `is_known`: a scan sends a key only to known addresses, and this one has asked for it
            return await self._probe_in_time(replace(probe, is_known=True))
        # the command that should print the key has run only in `key_for`, and may have failed
        return replace(
            probed, next_step=self._keys.why_withheld(probe.endpoint) or probed.next_step
        )

    async def _probe_in_time(self, probe: Probe) -> ProbeResult:
        """Run a probe of a scan, for `_SCAN_S` at most; an unexpected error becomes a result."""
        try:
            async with asyncio.timeout(_SCAN_S):
                return await self._probe(probe, is_scan=True)
        except TimeoutError:
            return _empty_result(probe, Verdict.TIMED_OUT)
        except WrongUse:  # the client is closed, so no address can be probed
            raise
        except Exception as error:  # noqa: BLE001 - one strange server must not end the scan
            _logger.warning("probe of %s: %s", probe.endpoint.netloc, type(error).__name__)
            probed = _empty_result(probe, Verdict.SERVER_ERROR)
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
        """Note which product is expected at an address, so that a probe asks for it first.

        Nothing changes if a product was noted there before, perhaps because it has answered, or if
        `product` is not a known one.
        """
        memory = self._memory_of(endpoint)
        if memory.product is None and product != OPENAI_COMPATIBLE:
            memory.product = product

    def keeps_answers(self, endpoint: Endpoint) -> bool:
        return self._memory_of(endpoint).keeps_answers is True

    async def new_api(
        self,
        endpoint: Endpoint,
        product: str,
        *,
        read_s: float | None = None,
        key: str | None = None,
    ) -> ServerApi:
        """Return a new API of an address, for the requests of one probe or action.

        Each probe and action gets a new API, because an API remembers its replies to GET requests.
        `product` is the one that its errors name. `read_s` is the timeout of a reply in seconds;
        None: no timeout, as loading may take minutes. `key` is the key to send, which may be empty;
        None: the one that is known for the address.
        """
        connect_s = connect_timeout_s(endpoint, self._timeouts_for(endpoint).connect_s)
        if read_s is not None:  # the timeout of a reply limits connecting, too
            connect_s = min(connect_s, read_s)
        if key is None:
            key = await self._keys.key_for(endpoint) or ""
        timeout = httpx.Timeout(connect=connect_s, read=read_s, write=WRITE_S, pool=POOL_S)
        return ServerApi(
            endpoint=endpoint,
            facts=product_named(product).request_facts(key=key, host=endpoint.host),
            memory=self._memory_of(endpoint),
            ask=partial(self._connections.ask, endpoint, key=key, timeout=timeout),
            ask_for_events=partial(self._connections.json_events, endpoint, key=key),
        )

    def _memory_of(self, endpoint: Endpoint) -> ServerMemory:
        return self._memories.setdefault(endpoint, ServerMemory())

    def _expected_product(self, endpoint: Endpoint) -> Product:
        """Return the product to expect at an address.

        At the host of a provider, it is the provider. Elsewhere it is the product that was noted
        for the address, or else the one that usually has the port.
        """
        usual = product_at(endpoint)
        noted = self._memory_of(endpoint).product
        is_provider = bool(usual.hosts)
        return product_named(noted) if noted and not is_provider else usual

    async def _probe(
        self, probe: Probe, *, key: str | None = None, is_scan: bool = False
    ) -> ProbeResult:
        """Probe one address: ask for its models, and note which product answers.

        `key` is as for `new_api`. In a scan, replies of this machine have to come soon. Only known
        addresses then get a key, if the key is known without asking the user.
        """
        endpoint = probe.endpoint
        read_s = self._timeouts_for(endpoint).health_s
        if is_scan:
            read_s = _SCAN_READ_S if endpoint.is_loopback else read_s
            known_key = self._keys.known_key(endpoint) if probe.is_known else None
            key = known_key or _NO_KEY  # for None, `new_api` may ask the user for a key
        api = await self.new_api(endpoint, probe.expected.name, read_s=read_s, key=key)

        # the models, or the error, give the verdict
        error: LMChatError | None = None
        models: tuple[ModelInfo, ...] = ()
        try:
            models = await _read_models(api, probe.expected)
            states = {model.state for model in models if model.can_chat}
            if states & _READY_STATES:  # a model that answers counts more than one that loads
                verdict = Verdict.READY
            else:
                verdict = Verdict.LOADING if LoadState.LOADING in states else Verdict.NONE_LOADED
        except (ServerUnavailable, ServerRejected, RequestInvalid) as caught:
            error = caught  # `RequestInvalid`: the key has characters that no header can hold
            verdict = _verdict_of_error(caught, api)

        # The result names the product that was identified. A product that is only expected is named
        # after two errors: no model server has answered, or one of this machine has refused. On
        # other machines, the port does not tell the product.
        names_expected = error is not None and (endpoint.is_loopback or not verdict.is_server)
        has_name = api.is_identified or names_expected
        product = product_named(api.facts.product) if has_name else UNKNOWN

        # Note the product for later probes. A server that was not recognised and lists no models
        # says nothing about its product.
        if verdict.is_server and (api.is_identified or models):
            self._memory_of(endpoint).product = product.name
        elif verdict is Verdict.REFUSED:
            # The server has ended, and the next one may be another version. The product stays
            # noted, to be asked for first; other facts are forgotten.
            self._memories[endpoint] = ServerMemory(product=self._memory_of(endpoint).product)
            if endpoint.is_loopback and await asyncio.to_thread(probe.expected.is_open):
                verdict = Verdict.SERVER_OFF  # LM Studio runs, for instance, but not its server

        # the next step; if a key is set but was not sent, the reason for that says what to do
        if verdict is Verdict.NEEDS_KEY and (why := self._keys.why_withheld(endpoint)):
            step = why
        elif error is not None and _has_better_hint(error, probe, verdict):
            # A step has no full stop, unless it has several sentences.
            step = error.hint if ". " in error.hint else error.hint.removesuffix(".")
        else:
            has_models = any(model.can_chat for model in models)
            step = _next_step(verdict, product, endpoint, has_models=has_models)
        return ProbeResult(
            endpoint=endpoint,
            product=product.name,
            verdict=verdict,
            latency_ms=api.first_reply.elapsed_ms if api.first_reply else None,
            models=models,
            detail=error.message if error else "",
            kind=error.kind if error else "",
            next_step=step,
            is_own=probe.is_own,
        )


async def _read_models(api: ServerApi, expected: Product) -> tuple[ModelInfo, ...]:
    """Find out which product answers, and return its models.

    Set `api.facts` to those of the product, so that errors name it and give its next steps. Set
    `api.is_identified` to whether the product is known, and not only expected. Both are set even if
    the models cannot be read, which raises an error.
    """
    # a product with `hosts` is a provider, which alone answers there: nothing has to be asked
    product = expected if expected.hosts else await identify(api, expected)
    api.is_identified = product is not None
    # A server that no product recognises may still be of the expected one, so errors have the words
    # of that product. But the server is asked only for the list that every server has.
    api.facts = (product or expected).request_facts(key=api.facts.key, host=api.facts.host)
    return await (product or UNKNOWN).models(api)


def _empty_result(probe: Probe, verdict: Verdict) -> ProbeResult:
    """Return the result of a probe that has read nothing."""
    return ProbeResult(
        endpoint=probe.endpoint,
        product=probe.expected.name,
        verdict=verdict,
        next_step=_next_step(verdict, probe.expected, probe.endpoint),
        is_own=probe.is_own,
    )


def _next_step(
    verdict: Verdict, product: Product, endpoint: Endpoint, *, has_models: bool = True
) -> str:
    """Return what the user should do after a verdict; empty if nothing has to be done.

    Most steps of `VERDICTS` are one placeholder, such as "{key}", which the product's words fill.
    `has_models` is whether the server lists models that can chat.
    """
    host_step = product.host_step.format(host=shell_word(endpoint.host))  # some are commands
    return VERDICTS[verdict].step.format(
        model=product.model_step if has_models else product.empty_step,
        key=product.key_step,
        host=host_step,
        start=product.start_step,
        silent=product.silent_step.format(port=endpoint.port),
        port=endpoint.port,
    )


def _has_better_hint(error: LMChatError, probe: Probe, verdict: Verdict) -> bool:
    """Whether the hint of an error tells the user more than `_next_step` would for the verdict."""
    if verdict is Verdict.NOT_AN_LLM:
        # At an address that the user knows, the fault is of interest. The hint of a `bad_request`
        # is about options, which a request for models does not have.
        return probe.is_known and error.kind != "bad_request"
    if verdict is Verdict.SERVER_ERROR:
        # the step of the verdict, to read the server's log, would not help with these
        return error.kind in ("certificate", "wrong_path")
    # REFUSED for another reason than that nothing answers: a proxy, or an unknown name
    return verdict is Verdict.REFUSED and not isinstance(error, NothingAnswers)


def _verdict_of_error(error: LMChatError, api: ServerApi) -> Verdict:
    """Return the verdict for an error.

    As long as the product is not identified, another program may answer. A web login is a sign of
    one, and so is a refusal that a model server would not send. A server that wants a key has its
    own verdicts; all other kinds of errors are in `_VERDICT_BY_KIND`, or are a SERVER_ERROR.
    """
    may_be_other_program = not api.is_identified
    if error.kind == "auth":
        reply = api.refused_reply
        if may_be_other_program and reply is not None:
            # a web login or a password is asked for, and not an API key
            scheme = reply.headers.get("www-authenticate", "").lower()
            body = read_body(reply.body, reply.headers.get("content-type", ""))
            if body.is_html or scheme.startswith("basic"):
                return Verdict.NOT_AN_LLM
        return Verdict.KEY_REJECTED if api.facts.key else Verdict.NEEDS_KEY
    if may_be_other_program and error.kind in _FOREIGN_KINDS:
        return Verdict.NOT_AN_LLM
    return _VERDICT_BY_KIND.get(error.kind, Verdict.SERVER_ERROR)
