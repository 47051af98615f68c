"""One `Server` for each product; its class knows how this product differs from others.

A new product is a class here, in a module of its own or of its relatives, and a row of
`lmchat.servers.products.product.PRODUCTS`.

Optional: a variable of the environment that holds its address (`cli/server_variables.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from lmchat.proxy.servers.base import Server
from lmchat.servers.products.product import PRODUCTS


def _subclasses(base: type[Server]) -> Iterator[type[Server]]:
    """Yield the subclasses of a class, and the subclasses of these."""
    for subclass in base.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


# Importing a module makes its classes known to `Server.__subclasses__`.
for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

# A class without a `product` of its own is the base of others, such as `Hosted`.
_BY_PRODUCT = {
    server_class.product: server_class()
    for server_class in _subclasses(Server)
    if "product" in vars(server_class)
}
SERVERS: tuple[Server, ...] = tuple(_BY_PRODUCT[product.name] for product in PRODUCTS)
"""All products, in the order of detection."""


def server_of(product: str) -> Server:
    """Return the one `Server` object of a product."""
    return _BY_PRODUCT[product]
