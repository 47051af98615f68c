"""The products as servers; a new one is a module here and a row of `lmchat.domain.product.FACTS`.

Optional: a variable of the environment that holds its address (`cli/server_variables.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from lmchat.domain.product import Product
from lmchat.proxy.servers.base import Server


def _subclasses(base: type[Server]) -> Iterator[type[Server]]:
    for subclass in base.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

_BY_PRODUCT = {kind.product: kind() for kind in _subclasses(Server) if "product" in vars(kind)}
SERVERS: tuple[Server, ...] = tuple(_BY_PRODUCT[product] for product in Product)
"""All products, in the order of detection."""


def server_of(product: Product) -> Server:
    """Return what is known about a product."""
    return _BY_PRODUCT[product]
