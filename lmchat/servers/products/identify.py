"""Recognition of the product that answers at an address (R-4, R-5).

A reply proves a product if it can come from no other. A list of models may only make a product
likely; then the reply to a further request confirms it.
"""

from __future__ import annotations

from lmchat.servers.endpoint import Endpoint
from lmchat.servers.http.connections import Reply
from lmchat.servers.products.base import Server
from lmchat.servers.products.product import OPENAI_COMPATIBLE
from lmchat.servers.products.registry import SERVERS, server_of
from lmchat.servers.products.server_api import ServerApi

UNKNOWN = server_of(OPENAI_COMPATIBLE)


def server_at(endpoint: Endpoint) -> Server:
    """Return the product to which the host of an address belongs, else its port, else `UNKNOWN`."""
    for server in SERVERS:
        if endpoint.host in server.hosts:
            return server
    for server in SERVERS:
        if endpoint.port in server.ports:
            return server
    return UNKNOWN


async def identify(api: ServerApi, expected: Server) -> tuple[Server, bool]:
    """Return the product that answers, and whether a reply has proven or confirmed it.

    At most three requests are sent, until one gives proof: the opening path of the `expected`
    product, the list of models, and the path that confirms the product that the list makes likely,
    or else the expected one. Without proof, a server with a list of models is `UNKNOWN`. Any other
    counts as the expected one: it may have refused the requests.
    """
    if expected.opening_path:
        opening = await api.get(expected.opening_path)
        if expected.is_confirmed_by(opening):
            return expected, True
        if proven := _proven_by(opening):
            return proven, True

    models_reply = await api.get("/v1/models")
    if proven := _proven_by(models_reply):
        return proven, True

    suspect = _suspected_by(models_reply) or expected
    # The opening path was asked above, and its reply has confirmed nothing.
    has_new_path = suspect.confirm_path not in ("", expected.opening_path)
    if has_new_path and api.requests_left > 0:
        confirmation = await api.get(suspect.confirm_path)
        if suspect.is_confirmed_by(confirmation):
            return suspect, True

    has_list = models_reply.is_good and isinstance(models_reply.object.get("data"), list)
    if has_list:
        return UNKNOWN, False
    return expected, False


def is_other_server(reply: Reply, known: Server) -> bool:
    """Tell whether a reply shows another product than the known one.

    A reply that proves no product shows this only if the known product signs all its replies.
    """
    proven = _proven_by(reply)
    if proven is None:
        return known.signs_replies
    return proven.product != known.product


def _proven_by(reply: Reply) -> Server | None:
    """Return the only product from which a reply can come; None if several could send it."""
    for server in SERVERS:
        if server.is_proven_by(reply):
            return server
    return None


def _suspected_by(models_reply: Reply) -> Server | None:
    """Return the first product that the list of models makes likely and a request can confirm.

    None if there is no such product.
    """
    for server in SERVERS:
        if server.confirm_path and server.is_suspected_by(models_reply):
            return server
    return None
