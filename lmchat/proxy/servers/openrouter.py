"""OpenRouter: one address for the models of many providers."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lmchat.config.efforts import EFFORTS
from lmchat.domain.server import ModelInfo, Product
from lmchat.proxy.json_values import mapping, whole
from lmchat.proxy.servers.base import capabilities
from lmchat.proxy.servers.hosted import Hosted
from lmchat.proxy.site import Site


class OpenRouter(Hosted):
    """Tells more of its models than the providers behind it do."""

    product = Product.OPENROUTER
    hosts = ("openrouter.ai",)
    efforts = EFFORTS
    seed_field = "seed"
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

    def takes_effort(self, effort: str, model: ModelInfo | None) -> bool:
        """It says which models reason, and drops the effort for others without a word."""
        cannot = model is not None and bool(model.capabilities) and "reasoning" not in model.capabilities
        return super().takes_effort(effort, model) and not cannot

    def effort_fields(self, effort: str) -> dict[str, Any]:
        """It has one form of efforts for all providers."""
        return {"reasoning": {"effort": effort}}

    def _effort_note(self, effort: str, model: ModelInfo | None) -> str:  # noqa: ARG002 - one reason for all
        return "OpenRouter says that this model does not reason, so that it takes no reasoning effort."


def _names(row: dict[str, Any]) -> set[str]:
    names = row.get("supported_parameters")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
