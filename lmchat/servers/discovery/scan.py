"""Probes of addresses, one or all, with the keys and the products that are known for them.

A scan probes all addresses where a server may be, a check only one. `Scanner` remembers for each
address which product has answered there. What a probe finds becomes a `ServerStatus`: an address
with its verdict and the next step for the user.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Sequence
from enum import Enum, auto
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
from lmchat.processes.environment import find_program
from lmchat.safe_text import shell_word
from lmchat.servers.discovery.status import VERDICTS, ServerStatus, Verdict
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.http.connections import POOL_S, WRITE_S, Connections, connect_timeout_s
from lmchat.servers.http.error_body import read_body
from lmchat.servers.http.key_source import KeySource
from lmchat.servers.http.reply import Reply
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.model_cache import ModelCache
from lmchat.servers.products import PRODUCTS, UNKNOWN, identify, product_at, product_named
from lmchat.servers.products.product import OPENAI_COMPATIBLE, Product
from lmchat.servers.products.server_api import ServerApi, ServerMemory

_SCAN_S = 5.0  # a scan ends after this time at the latest
# Timeout of a reply from this machine in a scan: the scan ends within 2 s if all ports are silent.
_SCAN_READ_S = 1.8
_KEPT_LIST_S = 600.0  # age of a list that is used in place of a look that would disturb the server
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
_logger = logging.getLogger(__name__)


class AddressSource(Enum):
    """Where a server address comes from."""

    NAMED = auto()  # by the user, in this run
    REMEMBERED = auto()  # an earlier run has used it, or an environment variable has it
    USUAL = auto()  # a port of this machine at which a product usually answers


class Candidate(Struct, frozen=True, kw_only=True):
    """An address to probe, and the product to expect there."""

    endpoint: Endpoint
    expected: Product
    source: AddressSource
    is_offered: bool = True
    """Whether it is shown if no model server answers; else any program may have the port."""


class Scanner:
    """Scanner of addresses; remembers what earlier requests found out about each."""

    def __init__(
        self,
        connections: Connections,
        keys: KeySource,
        cache: ModelCache,
        timeouts_for: Callable[[Endpoint], TimeoutSettings],
        *,
        check_allowed: Callable[[Endpoint], None],
        named: Collection[str] = (),
    ) -> None:
        """Create a scanner.

        `cache` has the lists of models that were read before. `timeouts_for` returns the timeouts
        that the settings have for an address. `check_allowed` raises `EndpointNotAllowed` or
        `RequestInvalid` for an address to which no request may be sent. `named` are the hosts and
        ports that the settings name.
        """
        self._named = named
        self._keys = keys
        self._connections = connections
        self._cache = cache
        self._check_allowed = check_allowed
        self._timeouts_for = timeouts_for
        self._memories: dict[Endpoint, ServerMemory] = {}
        # addresses of environment variables and earlier runs
        self._remembered: Sequence[Endpoint] = ()

    def scan_also(self, remembered: Sequence[Endpoint]) -> None:
        """Let each scan probe these addresses, too: of environment variables and earlier runs."""
        self._remembered = remembered

    async def scan(self, named: Sequence[Endpoint]) -> tuple[ServerStatus, ...]:
        """Ask all usual and remembered addresses at once; return what to show, best first.

        `named` are the addresses that the user has named. A product may have several usual
        addresses. Of those at which no model server answers, only the best result is shown, and
        none if a server of the product answers at any address.
        """
        probes = await asyncio.to_thread(self._probes_of_scan, named)
        results = await asyncio.gather(*map(self._scan_one, probes))
        order = list(Verdict)  # best first
        ranked = sorted(
            zip(probes, results, strict=True), key=lambda pair: order.index(pair[1].verdict)
        )
        shown: list[ServerStatus] = []
        # Products that need no further row without a server: one of their servers answers, or such
        # a row is already shown.
        products_shown = {server.product for server in results if server.verdict.is_server}
        for probe, server in ranked:
            if server.product == OPENAI_COMPATIBLE and not (
                probe.is_offered or server.verdict.is_usable
            ):
                continue
            may_be_server = server.verdict.is_server or server.verdict is Verdict.SERVER_ERROR
            if probe.source is AddressSource.USUAL and not may_be_server:
                if probe.expected.name in products_shown:
                    continue
                products_shown.add(probe.expected.name)
            shown.append(server)
        return tuple(shown)

    def _probes_of_scan(self, named: Sequence[Endpoint]) -> list[Candidate]:
        """Return what a scan probes, each address once.

        First come the `named` addresses, then those of the products, last the remembered ones. A
        product has the port that it used last, and its default ports. Blocks: reads files in which
        products keep their last port.
        """
        probes = [self._probe_of(endpoint, AddressSource.NAMED) for endpoint in named]
        search_path = os.environ.get("PATH", os.defpath)
        for product in PRODUCTS:
            is_installed = bool(product.program and find_program(product.program, search_path))
            for port in filter(None, (product.last_port(), *product.ports)):
                probe = Candidate(
                    endpoint=product.endpoint_at(port),
                    expected=product,
                    source=AddressSource.USUAL,
                    is_offered=product.is_offered or is_installed,
                )
                probes.append(probe)
        probes += [
            self._probe_of(endpoint, AddressSource.REMEMBERED) for endpoint in self._remembered
        ]
        probe_by_address: dict[str, Candidate] = {}
        for probe in probes:
            probe_by_address.setdefault(probe.endpoint.netloc, probe)  # the first of each address
        return list(probe_by_address.values())

    def _probe_of(self, endpoint: Endpoint, source: AddressSource) -> Candidate:
        expected = self._expected_product(endpoint)
        return Candidate(endpoint=endpoint, expected=expected, source=source)

    async def _scan_one(self, probe: Candidate) -> ServerStatus:
        """Probe an address in a scan; if no request may be sent to it, the result says why.

        A usual address gets no key at first, as any program may listen there. A server that asks
        for a key is server again with its key, for which the user may be asked for a password.
        """
        try:
            self._check_allowed(probe.endpoint)
        except (EndpointNotAllowed, RequestInvalid) as error:
            step = error.hint
            if error.kind == "not_allowed":
                step = f"lmchat --allow-host {shell_word(probe.endpoint.host)}"
            refused = _empty_result(probe, Verdict.REFUSED)
            return replace(refused, detail=error.message, kind=error.kind, next_step=step)
        is_usual = probe.source is AddressSource.USUAL
        known_key = "" if is_usual else self._keys.known_key(probe.endpoint)
        server = await self._probe_in_time(probe, known_key)
        if server.verdict is not Verdict.NEEDS_KEY:
            return server
        if key := await self._keys.key_for(probe.endpoint):
            return await self._probe_in_time(probe, key)
        # the command that should print the key has run only in `key_for`, and may have failed
        return replace(
            server, next_step=self._keys.why_withheld(probe.endpoint) or server.next_step
        )

    async def _probe_in_time(self, probe: Candidate, key: str) -> ServerStatus:
        """Run a probe of a scan, for `_SCAN_S` at most; an unexpected error becomes a result.

        Replies of this machine have to come sooner: at most of its usual ports, nothing answers.
        """
        endpoint = probe.endpoint
        read_s = _SCAN_READ_S if endpoint.is_loopback else self._timeouts_for(endpoint).health_s
        try:
            async with asyncio.timeout(_SCAN_S):
                return await self._probe(probe, key, read_s)
        except TimeoutError:
            return _empty_result(probe, Verdict.TIMED_OUT)
        except WrongUse:  # the client is closed, so no address can be server
            raise
        except Exception as error:  # noqa: BLE001 - one strange server must not end the scan
            _logger.warning("probe of %s: %s", endpoint.netloc, type(error).__name__)
            server = _empty_result(probe, Verdict.SERVER_ERROR)
            return replace(server, detail="its reply cannot be read")

    async def check(self, endpoint: Endpoint, *, key: str = "") -> ServerStatus:
        """Ask one address outside of a scan; an empty `key` means that known for the address."""
        has_usual_port = any(endpoint.port in product.ports for product in PRODUCTS)
        is_usual = endpoint.is_loopback and has_usual_port and endpoint.netloc not in self._named
        # An address that no scan would probe is one that the user has named. The source decides
        # `is_configured` of the result, and which next step it names.
        probe = self._probe_of(endpoint, AddressSource.USUAL if is_usual else AddressSource.NAMED)
        key = key or await self._keys.key_for(endpoint)
        return await self._probe(probe, key, self._timeouts_for(endpoint).health_s)

    def expect_product(self, endpoint: Endpoint, product: str) -> None:
        """Note which product is expected at an address, so that a probe asks for it first.

        Nothing changes if a product was noted there before, perhaps because it has answered, or if
        `product` is not a known one.
        """
        memory = self._memory_of(endpoint)
        if memory.product is None and product != OPENAI_COMPATIBLE:
            memory.product = product

    def forget_lists(self) -> None:
        """Let the next probe of each server find out anew which product and version it is.

        It asks for the list also where that disturbs the server.
        """
        for memory in self._memories.values():
            memory.wants_list = True
            memory.is_recognised = memory.has_old_api = False
            memory.refuted.clear()

    def keeps_answers(self, endpoint: Endpoint) -> bool:
        return self._memory_of(endpoint).keeps_answers is True

    def new_api(
        self, endpoint: Endpoint, product: str, *, key: str, read_s: float | None
    ) -> ServerApi:
        """Return a new API of an address, for the requests of one probe or action.

        Each probe and action gets a new API, because an API remembers its replies to GET requests.
        `product` is the one that its errors name. `key` is sent with each request, unless it is
        empty. `read_s` is the timeout of a reply in seconds; None: no timeout, as loading may take
        minutes.
        """
        connect_s = connect_timeout_s(endpoint, self._timeouts_for(endpoint).connect_s)
        if read_s is not None:  # the timeout of a reply limits connecting, too
            connect_s = min(connect_s, read_s)
        timeout = httpx.Timeout(connect=connect_s, read=read_s, write=WRITE_S, pool=POOL_S)
        return ServerApi(
            endpoint=endpoint,
            facts=product_named(product).refusal_context(
                key=key, host=endpoint.host, path=endpoint.path
            ),
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

    async def _probe(self, probe: Candidate, key: str, read_s: float) -> ServerStatus:
        """Probe one address: ask for its models, and note which product answers.

        `key` and `read_s` are as for `new_api`.
        """
        endpoint = probe.endpoint
        api = self.new_api(endpoint, probe.expected.name, key=key, read_s=read_s)

        # the models, or the error, give the verdict
        error: LMChatError | None = None
        models: tuple[ModelInfo, ...] = ()
        try:
            models = await self._kept_list(api)
            if not models:
                listed = await _read_models(api, probe.expected)
                models = self._cache.with_seen_windows(endpoint, listed)
            verdict = _verdict_of_models(models)
        except (ServerUnavailable, ServerRejected, RequestInvalid) as caught:
            error = caught  # `RequestInvalid`: the key has characters that no header can hold
            is_usual = probe.source is AddressSource.USUAL
            verdict = _verdict_of_error(caught, api, is_usual=is_usual)
            is_refused_here = verdict is Verdict.REFUSED and endpoint.is_loopback
            if is_refused_here and await asyncio.to_thread(probe.expected.is_open):
                verdict = Verdict.SERVER_OFF  # LM Studio runs, for instance, but not its server

        # The result names the product that was identified. A product that is only expected is named
        # after an error, in two cases: no model server has answered, or one of this machine has
        # refused. On other machines, the port does not tell the product, unless the server refuses
        # the name of its host without a word, as only Ollama does.
        refused = api.refused_reply
        is_blocked = verdict is Verdict.HOST_BLOCKED and refused is not None and not refused.body
        names_expected = (
            error is not None
            and (endpoint.is_loopback or not verdict.is_server or is_blocked)
            and probe.is_offered
        )
        has_name = api.is_identified or names_expected
        product = product_named(api.facts.product) if has_name else UNKNOWN

        # Note the product for later probes. A server that was not recognised and lists no models
        # says nothing about its product.
        if verdict.is_server and (api.is_identified or models):
            memory = self._memory_of(endpoint)
            memory.product, memory.is_recognised = product.name, api.is_identified
            memory.wants_list = False
        elif verdict in (Verdict.REFUSED, Verdict.SERVER_OFF):
            # The server has ended, and the next one may be another version. The product stays
            # noted, to be asked for first; other facts are forgotten. In place of an unknown one,
            # that of the port is expected again.
            noted = self._memory_of(endpoint).product
            product_name = None if noted == OPENAI_COMPATIBLE else noted
            self._memories[endpoint] = ServerMemory(product=product_name, wants_list=True)

        # the next step; if a key is set but was not sent, the reason for that says what to do
        if verdict is Verdict.NEEDS_KEY and (why := self._keys.why_withheld(endpoint)):
            step = why
        elif error is not None and _has_better_hint(error, probe, verdict):
            # A step has no full stop, unless it has several sentences.
            step = error.hint if ". " in error.hint else error.hint.removesuffix(".")
        else:
            chat_models = [model for model in models if model.can_chat]
            step = _next_step(verdict, product, endpoint, has_models=bool(chat_models))
            if verdict is Verdict.NOT_AN_LLM and probe.source is not AddressSource.USUAL:
                step = "Check the port and the path of the address"
            if chat_models and all(model.is_remote for model in chat_models):
                step = "Choose a model with /model or -m"  # none of them can be loaded
        return ServerStatus(
            endpoint=endpoint,
            product=product.name,
            verdict=verdict,
            latency_ms=api.first_reply.elapsed_ms if api.first_reply else None,
            models=models,
            detail=error.message if error else "",
            kind=error.kind if error else "",
            next_step=step,
            is_configured=probe.source is AddressSource.NAMED,
        )

    async def _kept_list(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """Return the list that was read before, of a server whose answer a look would end.

        It is empty for all others, and if none is known, or nothing answers. What an earlier run,
        or another one, has read counts if it is younger than `_KEPT_LIST_S`. Raises
        `ServerUnavailable` if the server does not answer in time.
        """
        max_age_s = None if api.memory.is_recognised else _KEPT_LIST_S
        models = self._cache.models_of(api.endpoint, max_age_s=max_age_s) or ()
        if not models or api.memory.wants_list:
            return ()
        product = product_named(models[0].product)
        if not product.is_disturbed_by_list:
            return ()
        try:
            reply = await api.ping()
            name = reply.headers.get("server", "")
            usual = any(clue.header and clue.fits_headers(reply) for clue in product.clues)
            if name and not usual and name != api.memory.server_name:
                return ()  # it is another server
        except NothingAnswers:
            return ()
        except ServerUnavailable as error:
            if error.kind == "timeout":  # it may be busy: its list would end what it does
                raise
            # it does not take this request, and closes the connection
        api.is_identified = True
        api.facts = product.refusal_context(
            key=api.facts.key, host=api.facts.host, path=api.facts.path
        )
        return models


async def _read_models(api: ServerApi, expected: Product) -> tuple[ModelInfo, ...]:
    """Find out which product answers, and return its models, each name once.

    Set `api.facts` to those of the product, so that errors name it and give its next steps. Set
    `api.is_identified` to whether the product is known, and not only expected. Both are set even if
    the models cannot be read, which raises an error.
    """
    # a product with `hosts` is a provider, which alone answers there: nothing has to be asked
    product = expected if expected.hosts else await identify(api, expected)
    api.is_identified = product is not None
    # A server that no product recognises may still be of the expected one, so errors have the words
    # of that product. But the server is asked only for the list that every server has.
    api.facts = (product or expected).refusal_context(
        key=api.facts.key, host=api.facts.host, path=api.facts.path
    )
    models = await (product or UNKNOWN).models(api)
    # Some lists have a name several times. If the server runs it elsewhere in one row, prompts may
    # leave the machine.
    by_name = {model.model_id: model for model in reversed(models)}
    by_name |= {model.model_id: model for model in models if model.is_remote}
    return tuple(by_name[name] for name in dict.fromkeys(model.model_id for model in models))


def _empty_result(probe: Candidate, verdict: Verdict) -> ServerStatus:
    """Return the result of a probe that has read nothing."""
    return ServerStatus(
        endpoint=probe.endpoint,
        product=probe.expected.name if probe.is_offered else OPENAI_COMPATIBLE,
        verdict=verdict,
        next_step=_next_step(verdict, probe.expected, probe.endpoint),
        is_configured=probe.source is AddressSource.NAMED,
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


def _has_better_hint(error: LMChatError, probe: Candidate, verdict: Verdict) -> bool:
    """Whether the hint of an error tells the user more than `_next_step` would for the verdict."""
    if verdict is Verdict.NOT_AN_LLM:
        # At a usual address, any program may run, and what is wrong with it helps nobody. The hint
        # of a `bad_request` is about options, which a request for models does not have.
        return probe.source is not AddressSource.USUAL and error.kind != "bad_request"
    if verdict is Verdict.SERVER_ERROR:
        # the step of the verdict, to read the server's log, would not help with these
        return error.kind in ("certificate", "wrong_path", "forbidden")
    # REFUSED for another reason than that nothing answers: a proxy, or an unknown name
    return verdict is Verdict.REFUSED and not isinstance(error, NothingAnswers)


def _verdict_of_models(models: Sequence[ModelInfo]) -> Verdict:
    """Return the verdict for a server that lists these models.

    It is READY if at least one of them answers, even while others are loading. Remote models do not
    count: none of them is used unasked.
    """
    states = {model.state for model in models if model.can_chat}
    if states & {LoadState.LOADED, LoadState.ASLEEP, LoadState.UNKNOWN}:
        return Verdict.READY
    return Verdict.LOADING if LoadState.LOADING in states else Verdict.NONE_LOADED


def _verdict_of_error(error: LMChatError, api: ServerApi, *, is_usual: bool) -> Verdict:
    """Return the verdict for an error.

    As long as the product is not identified, another program may answer. A web login is a sign of
    one, and so is a refusal that a model server would not send. One that forbids the request may
    come from a model server, or a proxy of it, unless the address is only a usual one. A server
    that wants a key has its own verdicts; all other kinds of errors are in `_VERDICT_BY_KIND`, or
    are a SERVER_ERROR.
    """
    may_be_other_program = not api.is_identified
    if error.kind == "dropped" and api.memory.is_recognised:
        return Verdict.REFUSED  # the server that was there has just ended
    if error.kind == "auth":
        reply = api.refused_reply
        if may_be_other_program and reply is not None:
            # a web login or a password is asked for, and not an API key
            scheme = reply.headers.get("www-authenticate", "").lower()
            if _is_web_page(reply) or scheme.startswith("basic"):
                return Verdict.NOT_AN_LLM
        return Verdict.KEY_REJECTED if api.facts.key else Verdict.NEEDS_KEY
    refused = api.refused_reply
    is_path_unknown = refused is not None and refused.is_unknown_path
    if error.kind == "forbidden" and not is_usual and not _is_web_page(refused):
        return Verdict.SERVER_ERROR
    if may_be_other_program and (error.kind in _FOREIGN_KINDS or is_path_unknown):
        return Verdict.NOT_AN_LLM
    return _VERDICT_BY_KIND.get(error.kind, Verdict.SERVER_ERROR)


def _is_web_page(reply: Reply | None) -> bool:
    if reply is None:
        return False
    return read_body(reply.body, reply.headers.get("content-type", "")).is_html
