"""vLLM and SGLang: their lists of models hold the product's name and the context window."""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.servers.http.json_values import JsonObject, count_or_none, dicts_in
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.products.product import VLLM_SAMPLING, Product
from lmchat.servers.products.server_api import ServerApi


class Vllm(Product):
    """vLLM; it serves the model that it was started with."""

    name = "vLLM"
    ports = (8000,)
    program = "vllm"
    where_to_get = "pip install vllm"
    start_step = "vllm serve MODEL"
    key_step = "Use the API key that vllm serve was started with (--api-key)"
    load_step = "It serves the model it was started with: vllm serve MODEL"
    larger_window = "For a larger window: vllm serve MODEL --max-model-len {context}"
    state = LoadState.LOADED
    names_build = True
    health_path = "/health"
    count_path = "/tokenize"
    efforts = EFFORTS
    has_thinking_switch = True
    thought_fields: tuple[str, ...] = ("reasoning", "reasoning_content")  # depends on the version
    sampling_fields: ClassVar = VLLM_SAMPLING
    owner = "vllm"  # value of `owned_by` in its list of models

    async def recognises(self, api: ServerApi) -> bool:
        """Whether the list of models names the product as the owner of a model."""
        reply = await api.get("/v1/models")
        return any(row.get("owned_by") == self.owner for row in dicts_in(reply.object.get("data")))

    def model_from_row(self, api: ServerApi, row: JsonObject) -> ModelInfo:
        """Return the model of a row of the list, also with the context window that the server uses.

        The server cannot load the model with another window, so this is also its largest one.
        """
        context = count_or_none(row.get("max_model_len"))
        model = super().model_from_row(api, row)
        return replace(model, context_loaded=context, context_max=context)


class SgLang(Vllm):
    """SGLang; it serves the model that it was started with."""

    name = "SGLang"
    ports = (30000,)
    program = "sglang"
    where_to_get = "pip install sglang"
    start_step = "sglang serve MODEL"
    key_step = "Use the API key that sglang serve was started with (--api-key)"
    load_step = "It serves the model it was started with: sglang serve MODEL"
    larger_window = "For a larger window: sglang serve MODEL --context-length {context}"
    names_build = False
    health_path = ""
    count_path = ""
    thought_fields = ("reasoning_content",)
    owner = "sglang"
