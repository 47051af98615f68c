"""The products that lmchat knows; a new one is a module here and a row of `Product`.

Optional rows, each with a default: how to get it (`services/candidates.py`), where its key is
(`tui/screens/ask_dialog.py`), how it is found and started (`machine/model_servers.py`,
`services/server_launcher.py`), whether it continues an answer (`services/continuation.py`), whether it
answers to any model name (`services/monitor.py`), hints of its refusals (`proxy/refusals.py`), and the
variable with its address (`cli/target.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from lmchat.domain.product import Product
from lmchat.proxy.servers.base import Server


def _kinds(base: type[Server]) -> Iterator[type[Server]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

_BY_PRODUCT = {kind.product: kind() for kind in _kinds(Server) if "product" in vars(kind)}
SERVERS: tuple[Server, ...] = tuple(_BY_PRODUCT[product] for product in Product)
"""All products, in the order of detection."""


def server_of(product: Product) -> Server:
    """Return what is known about a product."""
    return _BY_PRODUCT[product]
