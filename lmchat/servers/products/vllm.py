"""vLLM and SGLang: their lists of models hold the product's name and the context window."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.servers.http.connections import Reply
from lmchat.servers.http.json_values import count_or_none, dicts_in
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.products.base import Server, capabilities
from lmchat.servers.products.server_api import ServerApi


class Vllm(Server):
    """vLLM; it serves the model that it was started with."""

    product = "vLLM"
    ports = (8000,)
    state = LoadState.LOADED
    health_path: ClassVar[str] = "/health"
    efforts = EFFORTS
    has_thinking_switch = True
    count_path: ClassVar[str] = "/tokenize"
    start_hint = "vllm serve MODEL"
    load_hint = "It serves the model it was started with: vllm serve MODEL"
    key_hint = "Use the API key given to vllm serve --api-key"
    owner = "vllm"  # value of `owned_by` in its list of models

    def is_proven_by(self, reply: Reply) -> bool:
        """Whether a reply is a list with a model whose `owned_by` is the name of the product."""
        return any(row.get("owned_by") == self.owner for row in dicts_in(reply.object.get("data")))

    def model_from_row(self, api: ServerApi, row: dict[str, Any]) -> ModelInfo:
        """Return the model of a row, also with the context window that it is loaded with."""
        context = count_or_none(row.get("max_model_len"))
        model = super().model_from_row(api, row)
        return replace(model, context_loaded=context, context_max=context)


class SgLang(Vllm):
    """SGLang; it serves the model that it was started with."""

    product = "SGLang"
    ports = (30000,)
    health_path = ""
    start_hint = "sglang serve MODEL"
    load_hint = "It serves the model it was started with: sglang serve MODEL"
    key_hint = "Use the API key given to sglang serve --api-key"
    count_path = ""
    owner = "sglang"

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """Return the models of the list, with the abilities that `/model_info` names.

        A quick check does not ask for them.
        """
        models = await super().models(api)
        reply = None if api.is_quick else await api.get_extra("/model_info")
        if reply is None:
            return models
        info = reply.object
        has_vision = info.get("has_image_understanding")
        facts = {
            "capabilities": capabilities(
                tools=info.get("tool_call_parser"), vision=has_vision is True
            ),
            "is_embedding": info.get("is_generation") is False,
            "is_blind": has_vision is False,
        }
        return tuple(replace(model, **facts) for model in models)
