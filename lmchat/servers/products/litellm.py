"""LiteLLM's proxy, whatever servers it passes requests on to."""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.servers.http.json_values import (
    JsonObject,
    count_or_none,
    dict_or_empty,
    dicts_in,
    str_or_empty,
)
from lmchat.servers.model import ModelInfo
from lmchat.servers.products.product import OPENAI_SAMPLING, Product, capabilities
from lmchat.servers.products.server_api import ServerApi


class LiteLlm(Product):
    """A proxy in front of other servers."""

    name = "LiteLLM"
    ports = (4000,)
    program = "litellm"
    where_to_get = "pip install 'litellm[proxy]'"
    start_step = "litellm --model MODEL"
    key_step = "Use a virtual key, or the master key, of the LiteLLM proxy"
    load_step = "Load it on the server behind LiteLLM"
    refusal_hints: ClassVar = {"server_error": f"It may ask for a key. {key_step}."}
    is_gateway = True
    efforts = EFFORTS
    sampling_fields: ClassVar = OPENAI_SAMPLING

    async def recognises(self, api: ServerApi) -> bool:
        """Whether a header names LiteLLM, or LiteLLM's health check answers, which needs no key.

        Only some replies of LiteLLM have such a header.
        """
        models_reply = await api.get("/v1/models")
        if any(name.startswith("x-litellm-") for name in models_reply.headers):
            return True
        health_reply = await api.get("/health/liveliness")
        return bool(health_reply.value == "I'm alive!")

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """Return the models of the list, with facts of each if the key may ask for them."""
        models = await super().models(api)
        reply = await api.get_extra("/model/info")
        if reply is None:
            return models
        infos = {
            str_or_empty(row.get("model_name")): dict_or_empty(row.get("model_info"))
            for row in dicts_in(reply.object.get("data"))
        }
        return tuple(_with_facts(model, infos.get(model.model_id, {})) for model in models)


def _with_facts(model: ModelInfo, info: JsonObject) -> ModelInfo:
    """Return a model with what `/model/info` says of it; `info` is empty without a row for it."""
    return replace(
        model,
        is_embedding=info.get("mode") == "embedding",
        context_max=count_or_none(info.get("max_input_tokens")),
        capabilities=capabilities(
            tools=info.get("supports_function_calling") is True,
            vision=info.get("supports_vision") is True,
            reasoning=info.get("supports_reasoning") is True,
        ),
    )
