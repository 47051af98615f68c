"""Looks at all known places at once and puts what it found in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from lmchat.domain.server import Candidate, Endpoint, Product, Verdict
from lmchat.proxy.look import Place, next_step
from lmchat.proxy.servers import SERVERS, server_of
from lmchat.proxy.servers.base import Server

SOFT_S = 2.0
"""After this, one usable server is enough."""
HARD_S = 5.0
"""After this, whoever has not answered is not waited for."""
_ORDER = (
    Verdict.READY,
    Verdict.LOADING,
    Verdict.NO_MODEL,
    Verdict.NEEDS_KEY,
    Verdict.KEY_REJECTED,
    Verdict.HOST_BLOCKED,
    Verdict.SERVER_OFF,
    Verdict.SERVER_ERROR,
)

_log = logging.getLogger(__name__)

LookAt = Callable[[Place], Awaitable[Candidate]]


def places(
    expected: Sequence[Endpoint], hinted_port: int | None, hinted: Mapping[Product, Endpoint] | None = None
) -> list[Place]:
    """Return where to look, own endpoints first, then the ports of the products in their order.

    `hinted` is where the environment says that a product of this machine listens.
    """
    found = [Place(endpoint=one, server=server_at(one), is_own=True) for one in expected]
    for server in SERVERS:
        ports = [_loopback(port) for port in server.ports]
        if server.product is Product.LM_STUDIO and hinted_port is not None:
            ports.insert(0, _loopback(hinted_port))
        if hinted and server.product in hinted:
            ports.insert(0, hinted[server.product])
        found += [
            Place(endpoint=endpoint, server=server, is_spare=number > 0)
            for number, endpoint in enumerate(dict.fromkeys(ports))
        ]
    seen: set[tuple[str, int]] = set()
    return [place for place in found if not _is_seen(place.endpoint, seen)]


async def look_around(where: Sequence[Place], look_at: LookAt) -> tuple[Candidate, ...]:
    """Look everywhere at once; best candidate first, spare places only where something answers."""
    tasks = {
        asyncio.create_task(_run(look_at, place), name=f"look {place.endpoint.netloc}"): place
        for place in where
    }
    try:
        pending = await _wait(tasks, SOFT_S)
        if any(tasks[task].is_own for task in pending) or not any(_is_usable(task) for task in tasks):
            await _wait(pending, HARD_S - SOFT_S)
        found = [(number, tasks[task], _result(task, tasks[task])) for number, task in enumerate(tasks)]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    kept = [(number, one) for number, place, one in found if not place.is_spare or _is_there(one)]
    kept.sort(key=lambda entry: (_rank(entry[1]), entry[0]))
    return tuple(one for _, one in kept)


def other_literals(endpoint: Endpoint, *, is_own: bool) -> list[Endpoint]:
    """Return the forms of the loopback address to try where this one refuses (R-6)."""
    if not endpoint.is_loopback or (is_own and endpoint.host != "localhost"):
        return []
    return [
        Endpoint(scheme=endpoint.scheme, host=host, port=endpoint.port, path=endpoint.path)
        for host in ("127.0.0.1", "::1")
        if host != endpoint.host
    ]


def is_well_known(endpoint: Endpoint) -> bool:
    """Whether detection looks there unasked."""
    return endpoint.is_loopback and any(endpoint.port in one.ports for one in SERVERS)


async def _run(look_at: LookAt, place: Place) -> Candidate:
    try:
        return await look_at(place)
    except Exception as error:  # noqa: BLE001 - whatever one server brings about, the others count
        _log.warning("look at %s: %s", place.endpoint.netloc, type(error).__name__)
        return _unread(place, Verdict.SERVER_ERROR, "its reply cannot be read")


async def _wait(tasks: Iterable[asyncio.Task[Candidate]], timeout_s: float) -> set[asyncio.Task[Candidate]]:
    waiting = set(tasks)
    if not waiting:
        return waiting
    _, pending = await asyncio.wait(waiting, timeout=timeout_s)
    return pending


def _result(task: asyncio.Task[Candidate], place: Place) -> Candidate:
    if task.done():
        return task.result()
    return _unread(place, Verdict.TIMED_OUT)


def _unread(place: Place, verdict: Verdict, detail: str = "") -> Candidate:
    return Candidate(
        endpoint=place.endpoint,
        product=place.server.product,
        verdict=verdict,
        detail=detail,
        next_step=next_step(verdict, place.server, place.endpoint),
        is_own=place.is_own,
    )


def _is_usable(task: asyncio.Task[Candidate]) -> bool:
    return (
        task.done() and not task.cancelled() and task.exception() is None and task.result().verdict.is_usable
    )


def _is_there(candidate: Candidate) -> bool:
    """Whether something answers at a spare place; that a program runs is told with its first place."""
    return candidate.verdict in _ORDER and candidate.verdict is not Verdict.SERVER_OFF


def _rank(candidate: Candidate) -> int:
    return _ORDER.index(candidate.verdict) if candidate.verdict in _ORDER else len(_ORDER)


def _loopback(port: int) -> Endpoint:
    return Endpoint(scheme="http", host="127.0.0.1", port=port)


def server_at(endpoint: Endpoint) -> Server:
    """Return the product that is expected at an address; at the host of a provider no other can be."""
    at_host = next((one for one in SERVERS if endpoint.host in one.hosts), None)
    if at_host is not None:
        return at_host
    return next((one for one in SERVERS if endpoint.port in one.ports), server_of(Product.OPENAI_COMPATIBLE))


def _is_seen(endpoint: Endpoint, seen: set[tuple[str, int]]) -> bool:
    place = ("loopback" if endpoint.is_loopback else endpoint.host, endpoint.port)
    if place in seen:
        return True
    seen.add(place)
    return False
