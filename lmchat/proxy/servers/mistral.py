"""Mistral: tells usage unasked, with the last piece."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lmchat.config.efforts import EFFORTS
from lmchat.domain.server import ModelInfo, Product
from lmchat.proxy.json_values import mapping, whole
from lmchat.proxy.servers.base import capabilities
from lmchat.proxy.servers.hosted import Hosted
from lmchat.proxy.site import Site
from lmchat.proxy.wire import Dialect


class Mistral(Hosted):
    """Refuses fields that it does not know."""

    product = Product.MISTRAL
    hosts = ("api.mistral.ai",)
    efforts = EFFORTS
    seed_field = "random_seed"
    key_hint = "Make a key at console.mistral.ai/api-keys"
    dialect = Dialect(has_stream_options=False)

    def model(self, site: Site, row: dict[str, Any]) -> ModelInfo:
        """Take window and abilities; what cannot chat cannot be chosen."""
        can = mapping(row.get("capabilities"))
        told = {"tools": can.get("function_calling") is True, "vision": can.get("vision") is True}
        return replace(
            super().model(site, row),
            is_embedding=can.get("completion_chat") is False,
            context_max=whole(row.get("max_context_length")),
            capabilities=capabilities(name for name, is_told in told.items() if is_told),
        )
