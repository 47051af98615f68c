"""Probes of addresses: a scan asks all where a server may be, a check only one."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from urllib.parse import urljoin

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import (
    EndpointNotAllowed,
    LMChatError,
    NothingAnswers,
    RequestInvalid,
    ServerRejected,
    ServerUnavailable,
    WrongUse,
)
from lmchat.base.processes.environment import find_program
from lmchat.base.safe_text import shell_word
from lmchat.core.servers.access import Access
from lmchat.core.servers.discovery.model_lists import ModelLists
from lmchat.core.servers.discovery.status import (
    STATUS,
    ServerState,
    ServerStatus,
    reason_of_models,
)
from lmchat.core.servers.endpoint import Endpoint, loopback, origin_of
from lmchat.core.servers.model import OPENAI_COMPATIBLE, LoadState, ModelInfo
from lmchat.core.servers.products import PRODUCTS, UNKNOWN, identify, product_at, product_named
from lmchat.core.servers.products.product import LIST, Product
from lmchat.core.servers.products.server_api import ServerApi
from lmchat.core.servers.target import Target

_SCAN_S = 5.0
# on this machine: a scan ends within 2 s if all ports are silent
_SCAN_READ_S = 1.8
_CACHED_LIST_S = 600.0  # in place of a look that would disturb the server
_FOREIGN_KINDS = frozenset({"wrong_path", "forbidden", "bad_request", "unsupported"})
"""A model server would not refuse a request for its models in these ways."""
_KINDS_OF_PATHS = ("wrong_path", "forbidden")  # the next steps of these errors say more
_logger = logging.getLogger(__name__)


class Candidate(Struct, frozen=True, kw_only=True):
    """Address where a server may be, and the product to expect there.

    It is neither configured nor usual if an earlier run or an environment variable has it.
    """

    endpoint: Endpoint
    expected: Product
    is_configured: bool = False  # by the user, in this run
    is_usual: bool = False  # of a product, on this machine
    is_offered: bool = True
    """Shown if no model server answers; else any program may have the port."""


class Scanner:
    """Scanner of addresses; notes which product has answered at each."""

    def __init__(self, access: Access, lists: ModelLists) -> None:
        self._access = access
        self._keys = access.keys
        self._lists = lists
        settings = access.settings
        urls = (settings.endpoint, *(entry.url for entry in settings.endpoints))
        access.named.update(map(origin_of, urls))
        self.remembered: Sequence[Endpoint] = ()
        """Each scan probes these, too: those of environment variables and earlier runs."""

    async def scan(self, named: Sequence[Endpoint]) -> tuple[ServerStatus, ...]:
        """Ask all addresses at once; return what to show, best first.

        Of several addresses of a product without a model server, only the best result is shown, and
        none if a server of the product answers anywhere.
        """
        self._access.named.update(endpoint.origin for endpoint in named)
        candidates = await asyncio.to_thread(self._candidates, named)
        servers = await asyncio.gather(*map(self._scan_one, candidates))
        words = [meaning.word for meaning in STATUS.values()]  # best first
        ranked = sorted(
            zip(candidates, servers, strict=True), key=lambda pair: words.index(pair[1].word)
        )
        shown: list[ServerStatus] = []
        products_shown = {server.product for server in servers if server.is_model_server}
        for candidate, server in ranked:
            is_shown = candidate.is_offered or server.is_model_server
            if server.product == OPENAI_COMPATIBLE and not is_shown:
                continue
            if candidate.is_usual and server.state is ServerState.AWAY:
                if candidate.expected.name in products_shown:
                    continue
                products_shown.add(candidate.expected.name)
            shown.append(server)
        return tuple(shown)

    def _candidates(self, named: Sequence[Endpoint]) -> list[Candidate]:
        """Return each address once, named ones first. Blocks."""
        candidates = [self._candidate(endpoint, is_configured=True) for endpoint in named]
        search_path = os.environ.get("PATH", os.defpath)
        for product in PRODUCTS:
            is_installed = bool(
                product.program.name and find_program(product.program.name, search_path)
            )
            candidates += [
                Candidate(
                    endpoint=replace(loopback(port), path=product.place.path),
                    expected=product,
                    is_usual=True,
                    is_offered=product.place.is_offered or is_installed,
                )
                for port in filter(None, (product.place.last_port(), *product.place.ports))
            ]
        candidates += map(self._candidate, self.remembered)
        by_address: dict[str, Candidate] = {}
        for candidate in candidates:
            by_address.setdefault(candidate.endpoint.netloc, candidate)
        return list(by_address.values())

    def _candidate(
        self, endpoint: Endpoint, *, is_configured: bool = False, is_usual: bool = False
    ) -> Candidate:
        """Expect the product that was noted, but at a provider's address."""
        usual = product_at(endpoint)
        noted = self._access.memories[endpoint].product
        return Candidate(
            endpoint=endpoint,
            expected=usual if usual.place.hosts or not noted else product_named(noted),
            is_configured=is_configured,
            is_usual=is_usual,
        )

    async def _scan_one(self, candidate: Candidate) -> ServerStatus:
        """A usual address gets no key at first, as any program may listen there.

        A server that asks for one is asked again; the user may be asked for a password.
        """
        endpoint = candidate.endpoint
        try:
            self._access.allowed.check(endpoint)
            self._access.connections.headers_for(endpoint)
        except (EndpointNotAllowed, RequestInvalid) as error:
            next_step = error.next_step
            if error.kind == "not_allowed":
                next_step = f"lmchat --allow-host {shell_word(endpoint.host)}"
            return _unread(candidate, error.kind, detail=error.message, next_step=next_step)
        known_key = "" if candidate.is_usual else self._keys.known_key(endpoint)
        server = await self._ask_in_time(candidate, known_key)
        return await self._with_key(server, partial(self._ask_in_time, candidate))

    async def _with_key(
        self, server: ServerStatus, ask: Callable[[str], Awaitable[ServerStatus]]
    ) -> ServerStatus:
        """Ask again with the key if one is wanted: by now it is known which product asks."""
        if server.reason != "auth":
            return server
        if key := await self._keys.key_for(server.endpoint):
            return await ask(key)
        # the command for the key has run only in `key_for`, and may have failed
        if why := self._keys.why_withheld(server.endpoint):
            return replace(server, reason="key_withheld", next_step=why)
        return server

    async def _ask_in_time(self, candidate: Candidate, key: str) -> ServerStatus:
        """Turn an unexpected error into a status.

        Replies of this machine have to come sooner: at most of its usual ports, nothing answers.
        """
        endpoint = candidate.endpoint
        read_s = _SCAN_READ_S if endpoint.is_loopback else self._access.timeouts(endpoint).health_s
        try:
            async with asyncio.timeout(_SCAN_S):
                return await self._ask(candidate, key, read_s=read_s)
        except TimeoutError:
            return _unread(candidate, "timeout")
        except WrongUse:  # the client is closed, so no address can be asked
            raise
        except Exception as error:  # noqa: BLE001 - one strange server must not end the scan
            _logger.warning("probe of %s: %s", endpoint.netloc, type(error).__name__)
            return _unread(candidate, "server_error", detail="its reply cannot be read")

    async def check(self, endpoint: Endpoint, *, key: str = "") -> ServerStatus:
        """Ask one address outside of a scan; "" means the known key."""
        if not (endpoint.is_loopback and product_at(endpoint).place.ports):
            self._access.named.add(endpoint.origin)  # no scan would ask it: the user has named it
        is_usual = endpoint.origin not in self._access.named
        candidate = self._candidate(endpoint, is_configured=not is_usual, is_usual=is_usual)
        ask = partial(self._ask, candidate, read_s=self._access.timeouts(endpoint).health_s)
        server = await ask(key or await self._keys.key_for(endpoint))
        return await self._with_key(server, ask)

    def expect_product(self, endpoint: Endpoint, product: str) -> None:
        """Note the product that a probe asks for first; a known one stays: it may have answered."""
        memory = self._access.memories[endpoint]
        if memory.product is None and product != OPENAI_COMPATIBLE:
            memory.product = product

    def forget_lists(self) -> None:
        """Let the next probes find out again product and version, also where that disturbs."""
        for endpoint in [*self._access.memories]:
            self._access.new_start(endpoint)

    async def _ask(self, candidate: Candidate, key: str, *, read_s: float) -> ServerStatus:
        endpoint = candidate.endpoint
        expected = candidate.expected
        target = Target(endpoint=endpoint, product=OPENAI_COMPATIBLE)
        api = await self._access.api(target, key=key, read_s=read_s)

        detail = next_step = ""
        models: tuple[ModelInfo, ...] = ()
        try:
            models = await self._cached_list(api)
            if not models:
                models = self._with_known_windows(await _read_models(api, expected), api)
            reason = reason_of_models(models)
        except (ServerUnavailable, ServerRejected, RequestInvalid) as caught:
            # `RequestInvalid`: the key has characters that no header can hold
            reason = _reason_of(caught, api, is_usual=candidate.is_usual)
            detail = caught.message
            # a step has no full stop, unless it has several sentences
            next_step = (
                caught.next_step if ". " in caught.next_step else caught.next_step.removesuffix(".")
            )
            if reason == "offline" and await asyncio.to_thread(expected.program.is_open):
                reason = "server_off"  # LM Studio runs, for instance, but not its server
        server = ServerStatus(
            endpoint=endpoint,
            product=api.refusal_context.product,
            reason=reason,
            models=models,
            detail=detail,
            latency_ms=api.first_reply.elapsed_ms if api.first_reply else None,
            is_configured=candidate.is_configured,
        )

        # An expected product is named where no model server answers, and where one refuses the
        # name of its host without a word, as only Ollama does.
        refused = api.refused_reply
        is_blocked = reason == "host_blocked" and refused is not None and not refused.body
        is_away = server.state is ServerState.AWAY and candidate.is_offered
        if (is_away or is_blocked) and not api.is_identified:
            server = replace(server, product=expected.name)
        if reason == "empty" and product_named(server.product).can_pull(models):
            server = replace(server, reason="not_pulled")
        self._note_product(server, api)
        return _with_step(server, candidate, next_step)

    def _with_known_windows(
        self, models: tuple[ModelInfo, ...], api: ServerApi
    ) -> tuple[ModelInfo, ...]:
        """Add the windows that this start of the server has told, where the list tells none.

        Another product, or another window of a model, shows that the server has started again. What
        requests to a model have shown ends when it is unloaded.
        """
        memory = api.memory
        told = {model.model_id: model.context_loaded for model in models if model.context_loaded}
        is_other = memory.is_recognised and memory.product != api.refusal_context.product
        if is_other or any(memory.windows.get(name, told[name]) != told[name] for name in told):
            memory = self._access.new_start(api.endpoint)
        memory.windows.update(told)
        for model in models:
            if model.state is LoadState.NOT_LOADED:  # the program that has shown it has ended
                memory.models.pop(model.model_id, None)
        return tuple(
            replace(model, context_loaded=memory.windows.get(model.model_id)) for model in models
        )

    def _note_product(self, server: ServerStatus, api: ServerApi) -> None:
        """A server that was not recognised and lists no models says nothing about its product."""
        endpoint = server.endpoint
        if server.is_model_server and (api.is_identified or server.models):
            memory = self._access.memories[endpoint]
            memory.product = server.product
            memory.is_recognised = api.is_identified
            memory.wants_list = False
        elif server.reason == "server_off" or not server.meaning.has_program:
            self._access.new_start(endpoint)  # the next one may be another version

    async def _cached_list(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """Return the earlier list of a server whose answer a look would end.

        One of an earlier run counts if it is younger than `_CACHED_LIST_S`. Raises
        `ServerUnavailable` if the server does not answer in time.
        """
        models = (
            self._lists.models_of(
                api.endpoint, max_age_s=None if api.memory.is_recognised else _CACHED_LIST_S
            )
            or ()
        )
        if not models or api.memory.wants_list:
            return ()
        product = product_named(models[0].product)
        if not product.lists.is_disturbed:
            return ()
        try:
            reply = await api.ping()
            name = reply.headers.get("server", "")
            usual = any(clue.header and clue.fits_headers(reply) for clue in product.place.clues)
            if name and not usual and name != api.memory.server_name:
                return ()  # it is another server
        except NothingAnswers:
            return ()
        except ServerUnavailable as error:
            if error.kind == "timeout":  # it may be busy: its list would end what it does
                raise
            # it does not take this request, and closes the connection
        api.take_words(product.refusal_context())
        return models


async def _read_models(api: ServerApi, expected: Product) -> tuple[ModelInfo, ...]:
    """Return the models, each name once; set `api.refusal_context`."""
    # a provider alone answers there
    product = expected if expected.place.hosts else await identify(api, expected)
    if product is UNKNOWN:  # it may still be an Ollama that blocks the name of its host
        product = replace(UNKNOWN, place=expected.place)
    api.take_words(product.refusal_context())
    models = await product.models(api)
    # Some lists have a name several times. If the server runs it elsewhere in one record, prompts
    # may leave the machine.
    by_name = {model.model_id: model for model in reversed(models)}
    by_name |= {model.model_id: model for model in models if model.is_remote}
    return tuple(by_name[name] for name in dict.fromkeys(model.model_id for model in models))


def _unread(
    candidate: Candidate, reason: str, *, detail: str = "", next_step: str = ""
) -> ServerStatus:
    server = ServerStatus(
        endpoint=candidate.endpoint,
        product=candidate.expected.name,
        reason=reason,
        detail=detail,
        is_configured=candidate.is_configured,
    )
    if server.state is not ServerState.AWAY:
        server = replace(server, product=OPENAI_COMPATIBLE)
    return _with_step(server, candidate, next_step)


def _with_step(server: ServerStatus, candidate: Candidate, next_step: str) -> ServerStatus:
    """Add the next step in the words of the product; `next_step` is that of the error."""
    meaning = server.meaning
    endpoint = server.endpoint
    product = product_named(server.product)
    step = meaning.step if candidate.is_usual else meaning.named_step or meaning.step
    text = step.format(
        next_step=next_step,
        model=product.step("model"),
        empty=product.step("empty"),
        key=product.step("key"),
        host_step=product.step("host").format(host=shell_word(endpoint.host)),  # may be a command
        start=product.step("start"),
        silent=product.step("silent").format(port=endpoint.port),
        port=endpoint.port,
    )
    return replace(server, next_step=text)


def _location(api: ServerApi) -> str:
    """Return the URL of a redirect, or ""."""
    location = api.refused_reply.headers.get("location", "") if api.refused_reply else ""
    with suppress(ValueError):  # it is no address
        return urljoin(api.url(LIST), location) if location else ""
    return ""


def _reason_of(error: LMChatError, api: ServerApi, *, is_usual: bool) -> str:
    """Return a reason that suits another program while no product is identified."""
    reply = api.refused_reply
    may_be_other = not api.is_identified
    has_ended = error.kind == "dropped" and api.memory.is_recognised
    if has_ended or (error.kind == "offline" and isinstance(error, NothingAnswers)):
        return "offline" if api.endpoint.is_loopback else "far_offline"
    if error.kind == "offline":
        return "no_route"
    if error.kind == "timeout" and isinstance(error, NothingAnswers):
        return "unreachable"
    if error.kind == "auth":
        scheme = reply.headers.get("www-authenticate", "") if reply else ""
        if may_be_other and scheme.lower().startswith("basic"):
            return "password"
        return "key_rejected" if api.refusal_context.key else "auth"
    if not is_usual and (location := _location(api)):
        return "slash" if location == f"{api.url(LIST)}/" else "moved"
    is_foreign = error.kind in _FOREIGN_KINDS or (reply is not None and reply.is_unknown_path)
    # one that forbids the request may be a model server, but for a web page
    is_api = error.kind == "forbidden" and not is_usual and not (reply and reply.is_page)
    if may_be_other and is_foreign and not is_api:
        return "other_path" if error.kind in _KINDS_OF_PATHS else "not_an_llm"
    if error.kind in _KINDS_OF_PATHS:
        return "refuses_path"
    return error.kind if error.kind in STATUS else "server_error"
