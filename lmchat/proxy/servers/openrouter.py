"""OpenRouter: one address for the models of many providers."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lmchat.domain.request import Sampling
from lmchat.domain.server import ModelInfo, Product
from lmchat.proxy.json_values import mapping, whole
from lmchat.proxy.servers.base import capabilities
from lmchat.proxy.servers.hosted import Hosted
from lmchat.proxy.site import Site


class OpenRouter(Hosted):
    """Tells more of its models than the providers behind it do."""

    product = Product.OPENROUTER
    hosts = ("openrouter.ai",)
    key_hint = "Make a key at openrouter.ai/settings/keys"

    def model(self, site: Site, row: dict[str, Any]) -> ModelInfo:
        """Take window and abilities; what gives no text cannot be chosen."""
        made_of = mapping(row.get("architecture"))
        sees, gives, takes = made_of.get("input_modalities"), made_of.get("output_modalities"), _names(row)
        told = {
            "tools": "tools" in takes,
            "vision": isinstance(sees, list) and "image" in sees,
            "reasoning": bool({"reasoning", "include_reasoning"} & takes),
        }
        return replace(
            super().model(site, row),
            is_embedding=isinstance(gives, list) and bool(gives) and "text" not in gives,
            context_max=whole(row.get("context_length")),
            capabilities=capabilities(name for name, is_told in told.items() if is_told),
        )

    def fields(self, sampling: Sampling) -> dict[str, Any]:
        """It hands seeds on, and has one form of efforts for all providers."""
        effort = sampling.reasoning_effort
        told: dict[str, Any] = {"seed": sampling.seed, "reasoning": {"effort": effort} if effort else None}
        return {name: value for name, value in told.items() if value is not None}


def _names(row: dict[str, Any]) -> set[str]:
    names = row.get("supported_parameters")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
