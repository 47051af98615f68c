"""What lmchat knows of each product, and how it is spoken to.

This module looks products up in their table. Must not know: who asks.
"""

from __future__ import annotations

from collections.abc import Mapping

from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.products.identify import identify
from lmchat.core.servers.products.product import LM_STUDIO, Product
from lmchat.core.servers.products.table import PRODUCTS, UNKNOWN
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import SentThoughts

__all__ = ["PRODUCTS", "UNKNOWN", "identify"]
_BY_NAME = {product.name: product for product in PRODUCTS}


def product_named(name: str) -> Product:
    """Return the product of this name, or that of an unknown server."""
    return _BY_NAME.get(name, UNKNOWN)


def product_at(endpoint: Endpoint) -> Product:
    """Return the product of the host of an address, else of its port, else `UNKNOWN`."""
    for product in PRODUCTS:
        if endpoint.host in product.place.hosts:
            return product
    for product in PRODUCTS:
        if endpoint.port in product.place.ports:
            return product
    return UNKNOWN


def named_endpoints(environ: Mapping[str, str]) -> dict[str, Endpoint]:
    """Return addresses by the name of the product."""
    found = {product.name: product.place.named_endpoint(environ) for product in PRODUCTS}
    return {name: endpoint for name, endpoint in found.items() if endpoint is not None}


def sent_thoughts_to(target: Target | None) -> SentThoughts:
    if target is None:
        return SentThoughts.NONE
    return product_named(target.product).chat.sent_thoughts(target.model)


def no_model_selected(product: str) -> str:
    """Return a sentence without its full stop.

    Scripts look for "No LM Studio model selected", also of an unknown product.
    """
    return f"No {_name_for_scripts(product)} model selected"


def too_many_requests(product: str) -> str:
    """Return a sentence without its full stop.

    Scripts look for "Too many requests to LMStudio, please try again later", also of an unknown
    product.
    """
    name = _name_for_scripts(product).replace(LM_STUDIO, "LMStudio")
    return f"Too many requests to {name}, please try again later"


def _name_for_scripts(product: str) -> str:
    named = product_named(product)
    return LM_STUDIO if named is UNKNOWN else named.name
