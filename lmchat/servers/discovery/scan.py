"""Scan: probes of all usual addresses at once.

`usual_probes` says what to probe, `probe_all` runs the probes and chooses the results to show.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from lmchat.servers.discovery.probe import Probe, empty_result
from lmchat.servers.discovery.probe_result import ProbeResult, Verdict
from lmchat.servers.endpoint import Endpoint, loopback
from lmchat.servers.products import PRODUCTS, product_at

SCAN_S = 5.0  # a scan ends after this time at the latest
_log = logging.getLogger(__name__)

ProbeOne = Callable[[Probe], Awaitable[ProbeResult]]


class KnownAddresses(Struct, frozen=True, kw_only=True):
    """Addresses that a scan probes together with the usual ones."""

    expected: Sequence[Endpoint] = ()  # which the user has named
    hinted: Mapping[str, Endpoint] = {}  # which variables of the environment name
    used: Sequence[Endpoint] = ()  # of the models that earlier runs have used last


def usual_probes(known: KnownAddresses) -> list[Probe]:
    """Return what to probe: `expected` addresses, the ports of the products in order, `used` ones.

    Each product has the ports of its row, the one that it used last, and the address that the
    environment names. An address occurs once. Blocks: reads files in which products keep their last
    port.
    """
    probes = [
        Probe(endpoint=endpoint, expected=product_at(endpoint), is_own=True, is_known=True)
        for endpoint in known.expected
    ]
    for product in PRODUCTS:
        ports = filter(None, (product.last_port(), *product.ports))
        endpoints = [loopback(port) for port in ports]
        if hinted := known.hinted.get(product.name):
            endpoints.insert(0, hinted)
        probes += [Probe(endpoint=endpoint, expected=product) for endpoint in endpoints]
    probes += [
        Probe(endpoint=endpoint, expected=product_at(endpoint), is_known=True)
        for endpoint in known.used
    ]
    probe_by_address: dict[str, Probe] = {}
    for probe in probes:
        probe_by_address.setdefault(probe.endpoint.netloc, probe)  # the first of each address
    return list(probe_by_address.values())


async def probe_all(
    probes: Sequence[Probe],
    probe_one: ProbeOne,
    key_for: Callable[[Endpoint], Awaitable[str | None]],
) -> tuple[ProbeResult, ...]:
    """Run all probes at once with `probe_one`, and return the results to show, best first.

    A probe that has not ended after `SCAN_S` is cancelled; its verdict is TIMED_OUT. A server that
    asks for a key is probed again if `key_for` returns one, which may wait for the user.
    """

    async def with_key(probe: Probe) -> ProbeResult:
        probed = await limited(probe)
        if probed.verdict is Verdict.NEEDS_KEY and await key_for(probe.endpoint):
            return await limited(replace(probe, is_known=True))
        return probed

    async def limited(probe: Probe) -> ProbeResult:
        """Run a probe; an error that it did not expect is logged and becomes a SERVER_ERROR."""
        try:
            async with asyncio.timeout(SCAN_S):
                return await probe_one(probe)
        except TimeoutError:
            return empty_result(probe, Verdict.TIMED_OUT)
        except Exception as error:  # noqa: BLE001 - one strange server must not end the scan
            _log.warning("probe of %s: %s", probe.endpoint.netloc, type(error).__name__)
            probed = empty_result(probe, Verdict.SERVER_ERROR)
            return replace(probed, detail="its reply cannot be read")

    results = await asyncio.gather(*map(with_key, probes))
    shown: list[ProbeResult] = []
    # of each product, the usual addresses on this machine where no server answers
    away: dict[str, list[ProbeResult]] = {}
    for probe, probed in zip(probes, results, strict=True):
        is_answer = probed.verdict.is_server or probed.verdict is Verdict.SERVER_ERROR
        if is_answer or probe.is_known or not probe.endpoint.is_loopback:
            shown.append(probed)
        else:
            away.setdefault(probe.expected.name, []).append(probed)
    found = {probed.product for probed in shown if probed.verdict.is_server}
    order = list(Verdict)
    for product, candidates in away.items():
        if product not in found:
            shown.append(min(candidates, key=lambda probed: order.index(probed.verdict)))
    first_away = order.index(Verdict.NOT_AN_LLM)  # verdicts behind it are no better
    return tuple(sorted(shown, key=lambda probed: min(order.index(probed.verdict), first_away)))
