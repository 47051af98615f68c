"""What lmchat knows of each product, and how it is spoken to.

This module looks products up in their table. Must not know: who asks.
"""

from __future__ import annotations

from collections.abc import Mapping

from lmchat.servers.endpoint import Endpoint
from lmchat.servers.products.identify import identify
from lmchat.servers.products.product import LM_STUDIO, Product
from lmchat.servers.products.table import PRODUCTS, UNKNOWN
from lmchat.servers.target import Target
from lmchat.sessions.message import SentThoughts

__all__ = ["PRODUCTS", "UNKNOWN", "identify"]
_BY_NAME = {product.name: product for product in PRODUCTS}


def product_named(name: str) -> Product:
    """Return the product of this name, or that of an unknown server if there is none."""
    return _BY_NAME.get(name, UNKNOWN)


def product_at(endpoint: Endpoint) -> Product:
    """Return the product to which the host of an address belongs, else its port, else `UNKNOWN`."""
    for product in PRODUCTS:
        if endpoint.host in product.hosts:
            return product
    for product in PRODUCTS:
        if endpoint.port in product.ports:
            return product
    return UNKNOWN


def named_endpoints(environ: Mapping[str, str]) -> dict[str, Endpoint]:
    """Return the addresses that the environment names, by the name of the product."""
    found = {product.name: product.named_endpoint(environ) for product in PRODUCTS}
    return {name: endpoint for name, endpoint in found.items() if endpoint is not None}


def sent_thoughts_to(target: Target | None) -> SentThoughts:
    """Return which answers the model of a target gets together with their thoughts (R-45)."""
    if target is None:
        return SentThoughts.NONE
    return product_named(target.product).sent_thoughts(target.model)


def no_model_selected(product: str) -> str:
    """Return the words of the error that no model of a product is chosen, without a full stop.

    Users' scripts look for "No LM Studio model selected", so this is also what an unknown product
    gets.
    """
    named = product_named(product)
    return f"No {LM_STUDIO if named is UNKNOWN else named.name} model selected"


def too_many_requests(product: str) -> str:
    """Return the words of the error that too many requests go to a product, without a full stop.

    Users' scripts look for "Too many requests to LMStudio, please try again later", in which the
    name is one word. LM Studio and an unknown product get exactly this text.
    """
    named = product_named(product)
    name = "LMStudio" if named is UNKNOWN or named.name == LM_STUDIO else named.name
    return f"Too many requests to {name}, please try again later"
