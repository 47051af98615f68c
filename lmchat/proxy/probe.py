"""Probing of addresses: which product answers, in what state, with which models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import httpx
from msgspec import Struct
from msgspec.structs import replace

from lmchat.config.settings import TimeoutSettings
from lmchat.domain.product import Product
from lmchat.domain.server import Candidate, Endpoint, LoadState, ModelInfo, Verdict
from lmchat.errors import LMChatError, RequestInvalid, ServerRejected, ServerUnavailable
from lmchat.proxy.errors import NothingAnswers, ProxyUnavailable
from lmchat.proxy.http import POOL_S, WRITE_S, Connections, Reply, connect_timeout_s
from lmchat.proxy.refusals import Asked, read_body, shown_address, status_words
from lmchat.proxy.servers import SERVERS, server_of
from lmchat.proxy.servers.base import Server
from lmchat.proxy.servers.lm_studio import app_ports
from lmchat.proxy.site import NoQuestionsLeftError, Site
from lmchat.text import shell_word, without_secret
from lmchat.threads import run_abandonable

QUESTIONS = 3  # most requests to one port in one scan
_VERDICTS = {
    "host_blocked": Verdict.HOST_BLOCKED,
    "loading": Verdict.LOADING,
    "model_not_loaded": Verdict.NO_MODEL,
    "not_an_llm": Verdict.NOT_AN_LLM,
    "offline": Verdict.REFUSED,
    "timeout": Verdict.TIMED_OUT,
    "dropped": Verdict.NOT_AN_LLM,
}
_FOREIGN = frozenset({"wrong_path", "forbidden", "bad_request", "unsupported"})
"""Refusals that a model server would not give to the question for its models."""
_REDIRECTS = range(300, 400)


class Place(Struct, frozen=True, kw_only=True):
    """Where to look, and what to expect."""

    endpoint: Endpoint
    server: Server
    is_own: bool = False
    is_scan: bool = False  # whether it is one of many, which have to answer soon
    is_spare: bool = False  # whether it is a second port of a product
    is_old_port: bool = False  # whether older versions of the product have it as their default


async def look(site: Site, place: Place, known: Server | None = None) -> Candidate:
    """Look; never raises for a server that is away or odd. `known` saves finding out the product."""
    error, verdict = None, Verdict.NO_MODEL
    models: tuple[ModelInfo, ...] = ()
    try:
        models = await _models(site, place.server, known)
        verdict = verdict_of(models)
    except NoQuestionsLeftError:
        pass
    except (
        ServerUnavailable,
        ServerRejected,
        RequestInvalid,
    ) as caught:  # the last: an invalid key
        error, verdict = caught, _verdict(caught, site)
    server = server_of(site.asked.product)
    if error and verdict.is_server and not site.is_identified and not place.endpoint.is_loopback:
        # a port is no proof on a machine of one's own choice
        server = server_of(Product.OPENAI_COMPATIBLE)
    has_models = any(model.can_chat for model in models)
    return Candidate(
        endpoint=place.endpoint,
        product=server.product,
        verdict=verdict,
        latency_ms=site.first.elapsed_ms if site.first else None,
        models=models,
        detail=error.message if error else "",
        seen=_seen(site) if verdict in (Verdict.SERVER_ERROR, Verdict.NOT_AN_LLM) else "",
        kind=error.kind if error else "",
        next_step=_step_after(error, place, verdict, server, has_models=has_models),
        is_own=place.is_own,
    )


async def identify(site: Site, expected: Server) -> tuple[Server, bool]:
    """Return the product that answers, and whether that is proven, with as few questions as can be."""
    if expected.opening_path:
        opening = await site.get(expected.opening_path)
        if expected.confirms(opening):
            return expected, True
        if proven := _proven(opening):
            return proven, True
    listed = await site.get("/v1/models")
    if proven := _proven(listed):
        return proven, True
    suspect = next((one for one in SERVERS if one.confirm_path and one.suspects(listed)), expected)
    is_askable = suspect.confirm_path not in ("", expected.opening_path) and site.questions > 0
    if is_askable and suspect.confirms(await site.get(suspect.confirm_path)):
        return suspect, True
    is_list = listed.is_good and isinstance(listed.object.get("data"), list)
    return (server_of(Product.OPENAI_COMPATIBLE) if is_list else expected), False


def is_another(reply: Reply, known: Server) -> bool:
    """Tell whether another server answers than the one that stood there before."""
    proven = _proven(reply)
    return known.signs_replies if proven is None else proven.product is not known.product


def verdict_of(models: tuple[ModelInfo, ...]) -> Verdict:
    """Return what the list of models says about the server."""
    states = {model.state for model in models if model.can_chat}
    if states & {LoadState.LOADED, LoadState.ASLEEP, LoadState.UNKNOWN}:
        return Verdict.READY
    return Verdict.LOADING if LoadState.LOADING in states else Verdict.NO_MODEL


def next_step(
    verdict: Verdict, server: Server, endpoint: Endpoint, *, has_models: bool = True
) -> str:
    """Return the one step that helps."""
    steps = {
        Verdict.LOADING: "Wait until the model is loaded",
        Verdict.NO_MODEL: server.model_hint if has_models else server.empty_hint,
        Verdict.NEEDS_KEY: server.key_hint,
        Verdict.KEY_REJECTED: server.key_hint,
        Verdict.HOST_BLOCKED: server.host_hint,
        Verdict.SERVER_OFF: server.off_hint,
        Verdict.SERVER_ERROR: "Check the server's log, then restart it",
        Verdict.NOT_AN_LLM: server.port_hint,
        Verdict.REFUSED: server.start_hint,
        Verdict.TIMED_OUT: server.start_hint
        if server.hosts
        else "Check which program uses port {port}",
    }
    return steps.get(verdict, "").format(port=endpoint.port, host=shell_word(endpoint.host))


async def _models(site: Site, expected: Server, known: Server | None) -> tuple[ModelInfo, ...]:
    """Find out the product and read its models; without the newer lists, that costs one question more."""
    server, site.is_identified = (known, True) if known else await identify(site, expected)
    site.asked = replace(site.asked, product=server.product)
    if not site.is_identified:  # who is only expected is not asked for what it alone has
        server = server_of(Product.OPENAI_COMPATIBLE)
    try:
        return await server.models(site)
    except NoQuestionsLeftError:
        site.questions = 1
        return await server.models(site)


def _proven(reply: Reply) -> Server | None:
    return next((server for server in SERVERS if server.proves(reply)), None)


def _verdict(error: LMChatError, site: Site) -> Verdict:
    if error.kind == "auth":
        reply = None if site.is_identified else site.first
        if reply is not None and (_is_page(reply) or _asks_for_password(reply)):
            return Verdict.NOT_AN_LLM
        return Verdict.KEY_REJECTED if site.asked.key else Verdict.NEEDS_KEY
    if error.kind in _FOREIGN and not site.is_identified:
        return Verdict.NOT_AN_LLM
    return _VERDICTS.get(error.kind, Verdict.SERVER_ERROR)


def _is_page(reply: Reply) -> bool:
    return read_body(reply.body, reply.headers.get("content-type", "")).is_html


def _seen(site: Site) -> str:
    """Return in a few words what answered in place of a model server."""
    reply = site.refused
    if reply is None:
        return ""
    if reply.status in _REDIRECTS:
        where = without_secret(shown_address(reply.headers.get("location", "")), site.asked.key)
        return f"redirects to {where}" if where else status_words(reply.status)
    if reply.status in range(200, 300):
        return "a web page" if _is_page(reply) else ""
    if _asks_for_password(reply):
        return "asks for a user name and password (HTTP Basic)"
    return status_words(reply.status)


def _asks_for_password(reply: Reply) -> bool:
    return reply.headers.get("www-authenticate", "").lower().startswith("basic")


def _step_after(
    error: LMChatError | None, place: Place, verdict: Verdict, server: Server, *, has_models: bool
) -> str:
    kind, hint = (error.kind, error.hint.removesuffix(".")) if error else ("", "")
    if error is not None and (isinstance(error, ProxyUnavailable) or kind == "certificate"):
        return error.hint
    is_unknown_name = verdict is Verdict.REFUSED and not isinstance(error, NothingAnswers)
    if error is not None and (
        is_unknown_name or (verdict is Verdict.SERVER_ERROR and kind == "wrong_path")
    ):
        return hint
    if verdict is Verdict.NOT_AN_LLM and place.endpoint.path != "/v1" and kind == "wrong_path":
        return f"Leave the path out of the address: {place.endpoint.origin}"
    if verdict is Verdict.NOT_AN_LLM and place.is_own:
        if isinstance(error, ServerRejected) and (kind == "auth" or error.status in _REDIRECTS):
            return hint
        is_dropped = kind == "dropped" and place.endpoint.scheme == "http"
        https = ", and whether it should begin with https://" if is_dropped else ""
        return f"Check the port and the path of the address{https}"
    step = next_step(verdict, server, place.endpoint, has_models=has_models)
    if verdict is Verdict.TIMED_OUT and place.endpoint.scheme == "https" and not server.hosts:
        step += " and whether the address should begin with http://"  # llama.cpp waits for more
    return step


SOFT_S = 2.0  # after this, one usable server is enough
HARD_S = 5.0  # after this, whoever has not answered is not waited for
_NOTHING_THERE = (Verdict.NOT_AN_LLM, Verdict.REFUSED, Verdict.TIMED_OUT)
_RANKS = {verdict: rank for rank, verdict in enumerate(Verdict) if verdict not in _NOTHING_THERE}
"""Order of the places where something answers."""
_log = logging.getLogger(__name__)

LookAt = Callable[[Place], Awaitable[Candidate]]


def places(
    expected: Sequence[Endpoint],
    hinted_port: int | None,
    hinted: Mapping[Product, Endpoint] | None = None,
) -> list[Place]:
    """Return where to look, own endpoints first, then the ports of the products in their order."""
    found = [
        Place(endpoint=one, server=server_at(one), is_own=True, is_scan=True) for one in expected
    ]
    for server in SERVERS:
        ports = [_loopback(port) for port in server.ports]
        if server.product is Product.LM_STUDIO and hinted_port is not None:
            ports.insert(0, _loopback(hinted_port))
        if named := (hinted or {}).get(server.product):
            if named.is_loopback and named.port in server.ports:
                # the variable may name a host alone
                ports = [replace(endpoint, host=named.host) for endpoint in ports]
            ports.insert(0 if named.is_loopback else len(ports), named)
        found += _places_of(server, list(dict.fromkeys(ports)))
    first: dict[tuple[str, int], Place] = {}
    for place in found:
        host = "loopback" if place.endpoint.is_loopback else place.endpoint.host
        first.setdefault((host, place.endpoint.port), place)
    return list(first.values())


def _places_of(server: Server, endpoints: Sequence[Endpoint]) -> Iterator[Place]:
    """Yield the places of a product; all but the first are spare, or the port of older versions."""
    is_usual = bool(server.ports) and endpoints[0].port == server.ports[0]
    for number, endpoint in enumerate(endpoints):
        is_old_port = is_usual and endpoint.port == server.old_port
        is_second = number > 0 and endpoint.is_loopback
        yield Place(
            endpoint=endpoint,
            server=server,
            is_scan=True,
            is_spare=is_second and not is_old_port,
            is_old_port=is_old_port,
        )


async def look_around(where: Sequence[Place], look_at: LookAt) -> tuple[Candidate, ...]:
    """Look everywhere at once; best candidate first, spare places only where something answers."""
    tasks = {place: asyncio.create_task(_run(look_at, place)) for place in where}
    try:
        done, pending = await asyncio.wait(tasks.values(), timeout=SOFT_S)
        is_own_missing = any(place.is_own and task in pending for place, task in tasks.items())
        if pending and (
            is_own_missing or not any(task.result().verdict.is_usable for task in done)
        ):
            await asyncio.wait(pending, timeout=HARD_S - SOFT_S)
        found = [
            (place, task.result() if task.done() else unread(place, Verdict.TIMED_OUT))
            for place, task in tasks.items()
        ]
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    return tuple(sorted(_told(found), key=_rank))


def _rank(candidate: Candidate) -> int:
    return _RANKS.get(candidate.verdict, len(Verdict))


def _told(found: Sequence[tuple[Place, Candidate]]) -> Iterator[Candidate]:
    """Yield what is told of the places.

    A spare place counts where something answers; that a program runs is told with its first place.
    The port of older versions is told with the first place, unless something is there.
    """
    absent = (*_NOTHING_THERE, Verdict.SERVER_OFF)
    old_ports = {place.server.product: old for place, old in found if place.is_old_port}
    for place, candidate in found:
        is_refused = candidate.verdict is Verdict.REFUSED
        if place.is_old_port and is_refused:
            continue
        if place.is_spare and candidate.verdict in absent:
            continue
        is_usual = place.endpoint.port in place.server.ports[:1] and not place.is_own
        old = old_ports.get(place.server.product) if is_usual and is_refused else None
        if old is None:
            yield candidate
        elif old.verdict is Verdict.REFUSED:
            yield _with_port(candidate, old.endpoint.port)
        elif old.product is not place.server.product:
            yield candidate


def _with_port(candidate: Candidate, port: int) -> Candidate:
    """Add that nothing answers at another port either."""
    detail = candidate.detail
    if detail:
        detail = f"Nothing answers at {candidate.endpoint.netloc} or at port {port}."
    return replace(candidate, other_ports=(port,), detail=detail)


async def _run(look_at: LookAt, place: Place) -> Candidate:
    try:
        return await look_at(place)
    except Exception as error:  # noqa: BLE001 - whatever one server brings about, the others count
        _log.warning("look at %s: %s", place.endpoint.netloc, type(error).__name__)
        return replace(unread(place, Verdict.SERVER_ERROR), detail="its reply cannot be read")


def unread(place: Place, verdict: Verdict) -> Candidate:
    """Return the candidate of a place that has told nothing."""
    return Candidate(
        endpoint=place.endpoint,
        product=place.server.product,
        verdict=verdict,
        next_step=next_step(verdict, place.server, place.endpoint),
        is_own=place.is_own,
    )


def _loopback(port: int) -> Endpoint:
    return Endpoint(scheme="http", host="127.0.0.1", port=port)


def server_at(endpoint: Endpoint) -> Server:
    """Return the product that is expected at an address; at the host of a provider no other can be."""
    at_host = [one for one in SERVERS if endpoint.host in one.hosts]
    at_port = [one for one in SERVERS if endpoint.port in one.ports]
    return [*at_host, *at_port, server_of(Product.OPENAI_COMPATIBLE)][0]


SCAN_READ_S = (
    1.8  # timeout of an answer of this machine in a scan, which ends within 2 s if all are silent
)
GREETING_S = 0.5  # timeout of LM Studio's own tools for the greeting
MODEL_QUESTIONS = 40  # a list that a person asks for may cost more than a scan
PATIENT_QUESTIONS = 1000
_NO_KEY = ""


def _names(endpoint: Endpoint) -> list[Endpoint]:
    """Return an address, and where it is of this machine the same with its other names."""
    names = [endpoint]
    if endpoint.is_loopback:
        names += [replace(endpoint, host=host) for host in ("localhost", "127.0.0.1", "::1")]
    return names


class Prober:
    """Looks at addresses; knows their keys, timeouts and products."""

    def __init__(
        self,
        connections: Connections,
        key_for: Callable[[Endpoint], str | None],
        timeouts_for: Callable[[Endpoint], TimeoutSettings],
        why_withheld: Callable[[Endpoint], str] = lambda _: "",
        look_up: Callable[[Endpoint], None] | None = None,
    ) -> None:
        self._connections = connections
        self._key_for = key_for
        self._look_up = look_up
        self._why_withheld = why_withheld
        self._timeouts_for = timeouts_for
        self._products: dict[Endpoint, Product] = {}
        self._proven: set[Endpoint] = set()
        self._lacks: dict[Endpoint, set[str]] = {}
        self._facts: dict[Endpoint, dict[str, dict[str, Any]]] = {}
        self._traits: dict[Endpoint, set[str]] = {}

    def key(self, endpoint: Endpoint) -> str | None:
        """Return the key of an address; the names of the loopback address share theirs."""
        return next((key for key in map(self._key_for, _names(endpoint)) if key), None)

    async def key_after_refusal(self, endpoint: Endpoint) -> str | None:
        """Return the key of a server that has refused to answer without one; a keyring may be asked."""
        if self._look_up is not None and not self.key(endpoint):
            for name in _names(endpoint):
                await run_abandonable(partial(self._look_up, name))
        return self.key(endpoint)

    def why_withheld(self, endpoint: Endpoint) -> str:
        """Return why a key that is set is not sent to an address, and the next step."""
        return next(filter(None, map(self._why_withheld, _names(endpoint))), "")

    async def look_at(self, place: Place, *, key: str | None = None) -> Candidate:
        """Look at a place; where `localhost`, or a known port, refuses, also at the other literals (R-6)."""
        candidate = await self._look(place, key)
        is_known_port = place.is_scan and place.endpoint.is_loopback and not place.is_own
        if place.endpoint.host == "localhost" or is_known_port:
            for host in ("127.0.0.1", "::1"):
                literal = replace(place.endpoint, host=host)
                if candidate.verdict is Verdict.REFUSED and literal != place.endpoint:
                    found = await self._look(replace(place, endpoint=literal), key)
                    candidate = candidate if found.verdict is Verdict.REFUSED else found
        return await self._perhaps_off(candidate, place.server)

    async def check(self, endpoint: Endpoint, *, key: str | None = None) -> Candidate:
        is_known = endpoint.is_loopback and any(endpoint.port in one.ports for one in SERVERS)
        place = Place(endpoint=endpoint, server=self._expected(endpoint), is_own=not is_known)
        return await self.look_at(place, key=key)

    async def models(self, endpoint: Endpoint) -> tuple[ModelInfo, ...]:
        server = self._expected(endpoint)
        site = self.site(
            endpoint,
            server.product,
            read_s=self._timeouts_for(endpoint).health_s,
            questions=MODEL_QUESTIONS,
        )
        try:
            return await _models(
                site, server, server if endpoint in self._proven or server.hosts else None
            )
        except ServerUnavailable as error:
            server_of(site.asked.product).add_hint(error)
            raise
        finally:
            if site.is_identified:
                self._remember(endpoint, site.asked.product)

    def has_trait(self, endpoint: Endpoint, trait: str) -> bool:
        return trait in self._traits.get(endpoint, ())

    def expect(self, endpoint: Endpoint, product: Product) -> None:
        if product is not Product.OPENAI_COMPATIBLE:
            self._products.setdefault(endpoint, product)

    def _expected(self, endpoint: Endpoint) -> Server:
        server, product = server_at(endpoint), self._products.get(endpoint)
        return server_of(product) if product and not server.hosts else server

    async def _look(self, place: Place, key: str | None) -> Candidate:
        endpoint, is_by_host = place.endpoint, bool(place.server.hosts)
        is_quick = endpoint in self._proven and not place.is_scan
        if place.is_scan and not place.is_own:
            key = _NO_KEY  # sent only after the server has asked for one
        is_near_scan = place.is_scan and endpoint.is_loopback
        read_s = SCAN_READ_S if is_near_scan else self._timeouts_for(endpoint).health_s
        questions = (
            QUESTIONS if place.is_scan else QUESTIONS + 1
        )  # of an Ollama at any port, what is loaded
        site = self.site(
            endpoint, place.server.product, read_s=read_s, key=key, questions=questions
        )
        site.is_quick = is_quick
        candidate = await look(site, place, place.server if is_quick or is_by_host else None)
        if (
            is_quick
            and not is_by_host
            and site.first is not None
            and is_another(site.first, place.server)
        ):
            self._proven.discard(endpoint)
            return await self._look(place, key)
        if candidate.verdict is Verdict.NEEDS_KEY and not (key or site.asked.key or site.withheld):
            site.asked = replace(site.asked, key=await self.key_after_refusal(endpoint) or "")
        if candidate.verdict is Verdict.NEEDS_KEY and site.asked.key:
            known = server_of(candidate.product) if site.is_identified else None
            # the same look goes on: with its key, and what is left of the questions
            site.questions, site.first, site.refused = max(site.questions, 1), None, None
            # what was refused may have been for want of a key
            good = {
                url: one for url, one in site.replies.items() if one.is_good or one.is_unknown_path
            }
            site.replies = good
            candidate = await look(site, place, known)
        if candidate.verdict is Verdict.NEEDS_KEY:
            if reason := site.withheld or self.why_withheld(endpoint):
                candidate = replace(candidate, key_withheld=reason, next_step=reason)
        elif site.withheld:
            candidate = replace(candidate, key_withheld=site.withheld)
        if candidate.verdict.is_server and (site.is_identified or candidate.models):
            self._remember(endpoint, candidate.product)
        else:
            # whoever comes back may be another one; until then it is called by its name
            self._proven.discard(endpoint)
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
        if not any(await asyncio.gather(*(self._greets(port, server) for port in ports))):
            return candidate
        step = next_step(Verdict.SERVER_OFF, server, candidate.endpoint)
        return replace(candidate, verdict=Verdict.SERVER_OFF, next_step=step)

    async def _greets(self, port: int, server: Server) -> bool:
        endpoint = _loopback(port)
        site = self.site(endpoint, server.product, read_s=GREETING_S, key=_NO_KEY, questions=1)
        try:
            return server.confirms(await site.get(server.opening_path))
        except LMChatError:
            return False

    def site(
        self,
        endpoint: Endpoint,
        product: Product,
        *,
        read_s: float | None = None,
        key: str | None = None,
        questions: int = PATIENT_QUESTIONS,
    ) -> Site:
        """Return an address to ask; without `read_s` it is waited for: loading may take minutes."""
        key = self.key(endpoint) if key is None else key
        connect_s = connect_timeout_s(endpoint, self._timeouts_for(endpoint).connect_s)
        connect_s = connect_s if read_s is None else min(connect_s, read_s)
        return Site(
            endpoint=endpoint,
            connections=self._connections,
            timeout=httpx.Timeout(connect=connect_s, read=read_s, write=WRITE_S, pool=POOL_S),
            asked=Asked(product=product, key=key or "", host=endpoint.host),
            questions=questions,
            lacks=self._lacks.setdefault(endpoint, set()),
            facts=self._facts.setdefault(endpoint, {}),
            traits=self._traits.setdefault(endpoint, set()),
        )
