"""Scan: probes of all usual addresses at once.

`usual_probes` says what to probe, `probe_all` runs the probes and chooses the results to show.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from lmchat.servers.discovery.probe import Probe, empty_result
from lmchat.servers.discovery.probe_result import ProbeResult, Verdict
from lmchat.servers.endpoint import Endpoint, loopback
from lmchat.servers.products.base import Server
from lmchat.servers.products.identify import server_at
from lmchat.servers.products.registry import SERVERS

SOFT_S = 2.0  # a scan that has found a usable server ends after this time
HARD_S = 5.0  # every scan ends after this time
_NO_SERVER = (Verdict.NOT_AN_LLM, Verdict.REFUSED, Verdict.TIMED_OUT)
_log = logging.getLogger(__name__)

ProbeOne = Callable[[Probe], Awaitable[ProbeResult]]


class KnownAddresses(Struct, frozen=True, kw_only=True):
    """Addresses that a scan probes together with the usual ones."""

    expected: Sequence[Endpoint] = ()  # which the user has named
    hinted: Mapping[str, Endpoint] = {}  # which variables of the environment name
    used: Sequence[Endpoint] = ()  # of the models that earlier runs have used last


def usual_probes(known: KnownAddresses) -> list[Probe]:
    """Return what to probe: `expected` addresses, the ports of the products in order, `used` ones.

    An address occurs once. Blocks: reads files in which products keep their last port.
    """
    probes = [_own_probe(endpoint) for endpoint in known.expected]
    for server in SERVERS:
        endpoints = _usual_endpoints(server, known.hinted.get(server.product))
        probes += _probes_of(server, endpoints)
    probes += [replace(_own_probe(endpoint), is_from_earlier=True) for endpoint in known.used]

    probe_by_address: dict[str, Probe] = {}
    for probe in probes:
        probe_by_address.setdefault(probe.endpoint.netloc, probe)  # the first of each address
    return list(probe_by_address.values())


def _own_probe(endpoint: Endpoint) -> Probe:
    """Return the probe of an address that the user has named."""
    return Probe(endpoint=endpoint, server=server_at(endpoint), is_own=True, is_scan=True)


def _usual_endpoints(server: Server, hinted: Endpoint | None) -> list[Endpoint]:
    """Return the addresses where a product may answer, without repetitions, the likeliest first.

    They are its ports on this machine, also the one that it used last, and `hinted`, the address
    that the environment names for the product. One on another machine comes last.
    """
    endpoints = [loopback(port) for port in server.ports]
    last_port = server.last_port()
    if last_port is not None:
        endpoints.insert(0, loopback(last_port))
    if hinted is not None and hinted.is_loopback:
        endpoints.insert(0, hinted)
    elif hinted is not None:
        endpoints.append(hinted)
    return list(dict.fromkeys(endpoints))


def _probes_of(server: Server, endpoints: Sequence[Endpoint]) -> Iterator[Probe]:
    """Yield the probes of a product at these addresses.

    On this machine, all but the first are marked as spare, or as the port of older versions: they
    are shown only with certain verdicts (`_results_to_show`).
    """
    # If another address comes first, the old port is a spare one like any other.
    begins_with_usual_port = bool(server.ports) and endpoints[0].port == server.ports[0]
    for index, endpoint in enumerate(endpoints):
        is_old_port = begins_with_usual_port and endpoint.port == server.old_port
        is_further_port = index > 0 and endpoint.is_loopback
        yield Probe(
            endpoint=endpoint,
            server=server,
            is_scan=True,
            is_spare=is_further_port and not is_old_port,
            is_old_port=is_old_port,
        )


async def probe_all(probes: Sequence[Probe], probe_one: ProbeOne) -> tuple[ProbeResult, ...]:
    """Run all probes at once with `probe_one`, and return the results to show, best first.

    The scan ends when all probes have ended, after `SOFT_S` if a server is usable and the user's
    own addresses have answered, and after `HARD_S` in any case. A probe that has not ended by then
    is cancelled; its verdict is TIMED_OUT.
    """
    tasks = {probe: asyncio.create_task(_probe_safely(probe_one, probe)) for probe in probes}
    try:
        done, pending = await asyncio.wait(tasks.values(), timeout=SOFT_S)
        is_own_pending = any(probe.is_own and task in pending for probe, task in tasks.items())
        # `result` raises nothing: `_probe_safely` has turned errors into results.
        has_usable = any(task.result().verdict.is_usable for task in done)
        if pending and (is_own_pending or not has_usable):
            await asyncio.wait(pending, timeout=HARD_S - SOFT_S)
        results: dict[Probe, ProbeResult] = {}
        for probe, task in tasks.items():
            if task.done():
                results[probe] = task.result()
            else:
                results[probe] = empty_result(probe, Verdict.TIMED_OUT)
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    return tuple(sorted(_results_to_show(results), key=_sort_key))


def _sort_key(probed: ProbeResult) -> int:
    """Return the position of a result's verdict in `Verdict`, whose order is best first.

    Verdicts that mean that there is no server share the last position.
    """
    verdicts = list(Verdict)
    if probed.verdict in _NO_SERVER:
        return len(verdicts)
    return verdicts.index(probed.verdict)


async def _probe_safely(probe_one: ProbeOne, probe: Probe) -> ProbeResult:
    """Run a probe and return its result.

    An error that the probe did not expect is logged and becomes the verdict SERVER_ERROR.
    """
    try:
        return await probe_one(probe)
    except Exception as error:  # noqa: BLE001 - one strange server must not end the scan
        _log.warning("probe of %s: %s", probe.endpoint.netloc, type(error).__name__)
        probed = empty_result(probe, Verdict.SERVER_ERROR)
        return replace(probed, detail="its reply cannot be read")


def _results_to_show(results: Mapping[Probe, ProbeResult]) -> Iterator[ProbeResult]:
    """Yield the results to show.

    - A spare port is shown only if a server answers there.
    - The port of older versions is shown unless it refuses the connection.
    - The usual port is left out if it refuses, but the product answers at the port of older
      versions. If both ports refuse, its result names both.
    """
    old_port_results = {
        probe.server.product: probed for probe, probed in results.items() if probe.is_old_port
    }
    for probe, probed in results.items():
        if _is_unused_extra_port(probe, probed):
            continue

        ports = probe.server.ports
        is_first_port = bool(ports) and probe.endpoint.port == ports[0]
        is_usual_port = is_first_port and not probe.is_own
        is_refused = probed.verdict is Verdict.REFUSED
        at_old_port = old_port_results.get(probe.server.product)
        if at_old_port is None or not (is_usual_port and is_refused):
            yield probed
        elif at_old_port.verdict is Verdict.REFUSED:
            yield _with_other_port(probed, at_old_port.endpoint.port)
        elif at_old_port.product != probe.server.product:  # another program has that port
            yield probed
        # Otherwise it is left out: the product answers at its old port.


def _is_unused_extra_port(probe: Probe, probed: ProbeResult) -> bool:
    """Whether a probe of a spare or old port has shown that the product does not use it.

    False for any other port.
    """
    if probe.is_old_port:
        return probed.verdict is Verdict.REFUSED
    # That the program runs with its server off is said at its usual port.
    return probe.is_spare and probed.verdict in (*_NO_SERVER, Verdict.SERVER_OFF)


def _with_other_port(probed: ProbeResult, port: int) -> ProbeResult:
    """Return a result that says that nothing answers at another port either.

    If it has a detail, this then names both ports.
    """
    detail = probed.detail
    if detail:
        detail = f"Nothing answers at {probed.endpoint.netloc} or at port {port}."
    return replace(probed, other_ports=(port,), detail=detail)
