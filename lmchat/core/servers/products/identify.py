"""Which product answers at an address, by the reply to the request for its list of models."""

from __future__ import annotations

import re
from http import HTTPStatus

from lmchat.base.errors import ServerUnavailable
from lmchat.core.servers.products.place import Proof
from lmchat.core.servers.products.product import LIST, Product, records_in
from lmchat.core.servers.products.server_api import ServerApi
from lmchat.core.servers.products.table import PRODUCTS, UNKNOWN

_MAX_PROOF_BYTES = 64 * 1024  # a gateway's document of 2 MB would keep it busy for seconds


async def identify(api: ServerApi, expected: Product) -> Product:
    """Return `UNKNOWN` if nothing tells it; raise `ServerUnavailable`.

    After a hint, or where a product is expected, one request more asks for its proof, unless the
    product was recognised here before (R-2).
    """
    reply = await api.get(LIST)
    api.memory.server_name = reply.headers.get("server", "")
    records = records_in(reply) or []
    fitting = [
        (product, clue)
        for product in PRODUCTS
        for clue in product.place.clues
        if clue.fits(reply, records)
    ]
    # a header is that of the server itself; a gateway passes records of other products on
    for is_by_header in (True, False):
        for product, clue in fitting:
            if not clue.is_hint and bool(clue.header) is is_by_header:
                api.memory.has_clue = bool(records)
                return product
    hinted = [product for product, _ in fitting if product.name not in api.memory.refuted]
    is_another = api.memory.has_clue and bool(records)  # its records had a clue before
    if api.memory.is_recognised and (expected in hinted or not (hinted or is_another)):
        api.memory.has_clue |= bool(hinted and records)
        return expected
    # of several hints, the port or an earlier look decides whose proof is asked for
    candidate = expected if expected in hinted or not hinted else hinted[0]
    proof = candidate.place.proof
    if proof is None or (proof.needs_hint and not hinted):
        return UNKNOWN
    if not await _prove(api, candidate.name, proof, is_open=reply.is_good):
        return UNKNOWN
    api.memory.has_clue = bool(hinted and records)
    return candidate


async def _prove(api: ServerApi, name: str, proof: Proof, *, is_open: bool) -> bool:
    """Ask for the proof once; of a server that lists its models (`is_open`) also if it refuses."""
    if name in api.memory.refuted:
        return False
    try:
        reply = await api.get(proof.path, max_bytes=_MAX_PROOF_BYTES)
    except ServerUnavailable:
        return False
    if re.search(proof.pattern, reply.text):
        return True
    is_refused = is_open and reply.status < HTTPStatus.INTERNAL_SERVER_ERROR
    if reply.is_good or reply.is_unknown_path or is_refused:
        api.memory.refuted.add(name)
    return False
