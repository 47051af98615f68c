"""LiteLLM's proxy: told by its headers; what stands behind it is its own business."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.domain.server import ModelInfo, Product
from lmchat.proxy.http import Reply
from lmchat.proxy.json_values import mapping, rows, text, whole
from lmchat.proxy.servers.base import Server, capabilities
from lmchat.proxy.site import Site

_CAPABILITIES = {
    "supports_function_calling": "tools",
    "supports_vision": "vision",
    "supports_reasoning": "reasoning",
}


class LiteLlm(Server):
    """A proxy in front of other servers."""

    product = Product.LITELLM
    ports = (4000,)
    signs_replies = True
    efforts = EFFORTS
    seed_field = "seed"
    start_hint = "litellm --model MODEL"
    load_hint = "Load it on the server behind LiteLLM"
    key_hint = "Use a virtual key, or the master key, of the LiteLLM proxy"

    def proves(self, reply: Reply) -> bool:
        """It signs its replies."""
        return any(name.startswith("x-litellm-") for name in reply.headers)

    async def models(self, site: Site) -> tuple[ModelInfo, ...]:
        """The list, and what it knows of each model, where the key may ask for that."""
        models = await super().models(site)
        reply = None if site.is_quick else await site.get_if_told("/model/info")
        if reply is None:
            return models
        told = {
            text(row.get("model_name")): mapping(row.get("model_info"))
            for row in rows(reply.object.get("data"))
        }
        return tuple(_with_facts(model, told.get(model.model_id, {})) for model in models)


def _with_facts(model: ModelInfo, told: dict[str, Any]) -> ModelInfo:
    return replace(
        model,
        is_embedding=told.get("mode") == "embedding",
        context_max=whole(told.get("max_input_tokens")),
        capabilities=capabilities(name for key, name in _CAPABILITIES.items() if told.get(key) is True),
    )
