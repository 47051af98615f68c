"""LiteLLM's proxy, whatever servers it passes requests on to."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.domain.product import Product
from lmchat.domain.server import ModelInfo
from lmchat.proxy.connections import Reply
from lmchat.proxy.json_values import mapping, rows, text, whole
from lmchat.proxy.server_api import ServerApi
from lmchat.proxy.servers.base import Server, capabilities

_CREATED = 1677610602
_WITHOUT_KEY = b"Internal Server Error"


class LiteLlm(Server):
    """A proxy in front of other servers."""

    product = Product.LITELLM
    ports = (4000,)
    confirm_path = "/health/liveliness"
    efforts = EFFORTS
    seed_field = "seed"
    start_hint = "litellm --model MODEL"
    load_hint = "Load it on the server behind LiteLLM"
    key_hint = "Use a virtual key, or the master key, of the LiteLLM proxy"

    def proves(self, reply: Reply) -> bool:
        """It signs some of its replies."""
        return any(name.startswith("x-litellm-") for name in reply.headers)

    def suspects(self, reply: Reply) -> bool:
        """Its models share a date; without a key or with a wrong one, its errors are its own."""
        listed = rows(reply.object.get("data"))
        is_list = bool(listed) and all(row.get("created") == _CREATED for row in listed)
        has_no_key = reply.status == HTTPStatus.INTERNAL_SERVER_ERROR and reply.body == _WITHOUT_KEY
        has_wrong_key = mapping(reply.object.get("error")).get("type") == "no_db_connection"
        return is_list or has_no_key or has_wrong_key

    def confirms(self, reply: Reply) -> bool:
        """Its own words, open to all, without a key."""
        return bool(reply.value == "I'm alive!")

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """Return the list, with facts of each model if the key may ask for them."""
        models = await super().models(api)
        reply = None if api.is_quick else await api.get_extra("/model/info")
        if reply is None:
            return models
        infos = {
            text(row.get("model_name")): mapping(row.get("model_info"))
            for row in rows(reply.object.get("data"))
        }
        return tuple(_with_facts(model, infos.get(model.model_id, {})) for model in models)


def _with_facts(model: ModelInfo, info: dict[str, Any]) -> ModelInfo:
    return replace(
        model,
        is_embedding=info.get("mode") == "embedding",
        context_max=whole(info.get("max_input_tokens")),
        capabilities=capabilities(
            tools=info.get("supports_function_calling") is True,
            vision=info.get("supports_vision") is True,
            reasoning=info.get("supports_reasoning") is True,
        ),
    )
