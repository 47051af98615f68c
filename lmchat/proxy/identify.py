"""Recognition of the product that answers at an address (R-4, R-5)."""

from __future__ import annotations

from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint
from lmchat.proxy.connections import Reply
from lmchat.proxy.server_api import ServerApi
from lmchat.proxy.servers import SERVERS, server_of
from lmchat.proxy.servers.base import Server

UNKNOWN = server_of(Product.OPENAI_COMPATIBLE)


def server_at(endpoint: Endpoint) -> Server:
    """Return the product that is expected at an address; the host of a provider has no other."""
    for server in SERVERS:
        if endpoint.host in server.hosts:
            return server
    for server in SERVERS:
        if endpoint.port in server.ports:
            return server
    return UNKNOWN


async def identify(api: ServerApi, expected: Server) -> tuple[Server, bool]:
    """Return the product that answers, and whether that is proven, with few requests."""
    if expected.opening_path:
        opening = await api.get(expected.opening_path)
        if expected.is_confirmed_by(opening):
            return expected, True
        if proven := _proven_by(opening):
            return proven, True

    listed = await api.get("/v1/models")
    if proven := _proven_by(listed):
        return proven, True

    suspect = _suspect(listed) or expected
    is_unasked = suspect.confirm_path not in ("", expected.opening_path)
    if is_unasked and api.requests_left > 0:
        confirmation = await api.get(suspect.confirm_path)
        if suspect.is_confirmed_by(confirmation):
            return suspect, True

    has_list = listed.is_good and isinstance(listed.object.get("data"), list)
    return (UNKNOWN if has_list else expected), False


def is_other_server(reply: Reply, known: Server) -> bool:
    """Tell whether another product answers than the one that answered before."""
    proven = _proven_by(reply)
    return known.signs_replies if proven is None else proven.product is not known.product


def _proven_by(reply: Reply) -> Server | None:
    return next((server for server in SERVERS if server.is_proven_by(reply)), None)


def _suspect(listed: Reply) -> Server | None:
    for server in SERVERS:
        if server.confirm_path and server.is_suspected_by(listed):
            return server
    return None
