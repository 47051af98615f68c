"""vLLM: its list of models tells who made it and how long the context is."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.domain.product import Product
from lmchat.domain.server import LoadState, ModelInfo
from lmchat.proxy.connections import Reply
from lmchat.proxy.json_values import rows, whole
from lmchat.proxy.server_api import ServerApi
from lmchat.proxy.servers.base import Server, capabilities


class Vllm(Server):
    """Serves what it was started with."""

    product = Product.VLLM
    ports = (8000,)
    state = LoadState.LOADED
    health_path: ClassVar[str] = "/health"
    efforts = EFFORTS
    has_thinking_switch = True
    seed_field = "seed"
    count_path: ClassVar[str] = "/tokenize"
    start_hint = "vllm serve MODEL"
    load_hint = "It serves the model it was started with: vllm serve MODEL"
    key_hint = "Use the API key given to vllm serve --api-key"
    owner = "vllm"

    def proves(self, reply: Reply) -> bool:
        """Every row has its name."""
        return any(row.get("owned_by") == self.owner for row in rows(reply.object.get("data")))

    def model(self, api: ServerApi, row: dict[str, Any]) -> ModelInfo:
        length = whole(row.get("max_model_len"))
        return replace(super().model(api, row), context_loaded=length, context_max=length)


class SgLang(Vllm):
    """Serves what it was started with."""

    product = Product.SGLANG
    ports = (30000,)
    health_path = ""
    start_hint = "sglang serve MODEL"
    load_hint = "It serves the model it was started with: sglang serve MODEL"
    key_hint = "Use the API key given to sglang serve --api-key"
    count_path = ""
    owner = "sglang"

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        models = await super().models(api)
        reply = None if api.is_quick else await api.get_extra("/model_info")
        if reply is None:
            return models
        info = reply.object
        vision = info.get("has_image_understanding")
        facts = {
            "capabilities": capabilities(tools=info.get("tool_call_parser"), vision=vision is True),
            "is_embedding": info.get("is_generation") is False,
            "is_blind": vision is False,
        }
        return tuple(replace(model, **facts) for model in models)
