"""Probes of all usual addresses at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from lmchat.domain.product import Product
from lmchat.domain.server import Candidate, Endpoint, Verdict, loopback
from lmchat.proxy.identify import server_at
from lmchat.proxy.probe import Probe, unanswered
from lmchat.proxy.servers import SERVERS
from lmchat.proxy.servers.base import Server

SOFT_S = 2.0  # after this, one usable server is enough
HARD_S = 5.0  # after this, nothing more is waited for
_NOTHING_THERE = (Verdict.NOT_AN_LLM, Verdict.REFUSED, Verdict.TIMED_OUT)
_log = logging.getLogger(__name__)

ProbeOne = Callable[[Probe], Awaitable[Candidate]]


def usual_probes(expected: Sequence[Endpoint], hinted: Mapping[Product, Endpoint]) -> list[Probe]:
    """Return what to probe: own endpoints first, then the ports of the products in their order.

    `hinted` are addresses from the environment. Blocks: reads where products keep their last port.
    """
    probes = [
        Probe(endpoint=endpoint, server=server_at(endpoint), is_own=True, is_scan=True)
        for endpoint in expected
    ]
    for server in SERVERS:
        endpoints = [loopback(port) for port in server.ports]
        last_port = server.last_port()
        if last_port is not None:
            endpoints.insert(0, loopback(last_port))
        if named := hinted.get(server.product):
            if named.is_loopback and named.port in server.ports:
                # the variable may name a host alone
                endpoints = [replace(endpoint, host=named.host) for endpoint in endpoints]
            endpoints.insert(0 if named.is_loopback else len(endpoints), named)
        probes += _probes_of(server, list(dict.fromkeys(endpoints)))

    first: dict[tuple[str, int], Probe] = {}
    for probe in probes:
        first.setdefault(probe.endpoint.canonical, probe)
    return list(first.values())


def _probes_of(server: Server, endpoints: Sequence[Endpoint]) -> Iterator[Probe]:
    """Yield the probes of a product; all but the first are spare, or of older versions."""
    is_usual = bool(server.ports) and endpoints[0].port == server.ports[0]
    for number, endpoint in enumerate(endpoints):
        is_old_port = is_usual and endpoint.port == server.old_port
        is_second = number > 0 and endpoint.is_loopback
        yield Probe(
            endpoint=endpoint,
            server=server,
            is_scan=True,
            is_spare=is_second and not is_old_port,
            is_old_port=is_old_port,
        )


async def probe_all(probes: Sequence[Probe], probe_one: ProbeOne) -> tuple[Candidate, ...]:
    """Run all probes at once; best candidate first, spare ports only if something answers."""
    tasks = {probe: asyncio.create_task(_guarded(probe_one, probe)) for probe in probes}
    try:
        done, pending = await asyncio.wait(tasks.values(), timeout=SOFT_S)
        is_own_pending = any(probe.is_own and task in pending for probe, task in tasks.items())
        has_usable = any(task.result().verdict.is_usable for task in done)
        if pending and (is_own_pending or not has_usable):
            await asyncio.wait(pending, timeout=HARD_S - SOFT_S)
        results: dict[Probe, Candidate] = {}
        for probe, task in tasks.items():
            is_done = task.done()
            results[probe] = task.result() if is_done else unanswered(probe, Verdict.TIMED_OUT)
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    return tuple(sorted(_reported(results), key=_rank))


def _rank(candidate: Candidate) -> int:
    """Return the sort key: best verdict first, and addresses where nothing is last."""
    verdicts = list(Verdict)
    if candidate.verdict in _NOTHING_THERE:
        return len(verdicts)
    return verdicts.index(candidate.verdict)


async def _guarded(probe_one: ProbeOne, probe: Probe) -> Candidate:
    try:
        return await probe_one(probe)
    except Exception as error:  # noqa: BLE001 - one strange server must not end the scan
        _log.warning("probe of %s: %s", probe.endpoint.netloc, type(error).__name__)
        candidate = unanswered(probe, Verdict.SERVER_ERROR)
        return replace(candidate, detail="its reply cannot be read")


def _reported(results: Mapping[Probe, Candidate]) -> Iterator[Candidate]:
    """Yield the candidates that are shown.

    A spare port counts if something answers; a program whose server is off is shown once, with its
    first port. The port of older versions is shown with the first one, unless something is there.
    """
    old_ports = {
        probe.server.product: candidate for probe, candidate in results.items() if probe.is_old_port
    }
    for probe, candidate in results.items():
        is_refused = candidate.verdict is Verdict.REFUSED
        is_absent = candidate.verdict in (*_NOTHING_THERE, Verdict.SERVER_OFF)
        if (probe.is_old_port and is_refused) or (probe.is_spare and is_absent):
            continue
        is_usual = probe.endpoint.port in probe.server.ports[:1] and not probe.is_own
        old = old_ports.get(probe.server.product)
        if old is None or not (is_usual and is_refused):
            yield candidate
        elif old.verdict is Verdict.REFUSED:
            yield _with_port(candidate, old.endpoint.port)
        elif old.product is not probe.server.product:
            yield candidate


def _with_port(candidate: Candidate, port: int) -> Candidate:
    """Add that nothing answers at another port either."""
    detail = candidate.detail
    if detail:
        detail = f"Nothing answers at {candidate.endpoint.netloc} or at port {port}."
    return replace(candidate, other_ports=(port,), detail=detail)
