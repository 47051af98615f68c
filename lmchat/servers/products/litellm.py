"""LiteLLM's proxy, whatever servers it passes requests on to."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.servers.http.connections import Reply
from lmchat.servers.http.json_values import count_or_none, dict_or_empty, dicts_in, str_or_empty
from lmchat.servers.model import ModelInfo
from lmchat.servers.products.base import Server, capabilities
from lmchat.servers.products.server_api import ServerApi

_CREATED = 1677610602  # date of every model that LiteLLM lists
_ERROR_WITHOUT_KEY = b"Internal Server Error"


class LiteLlm(Server):
    """A proxy in front of other servers."""

    product = "LiteLLM"
    ports = (4000,)
    confirm_path = "/health/liveliness"
    efforts = EFFORTS
    start_hint = "litellm --model MODEL"
    load_hint = "Load it on the server behind LiteLLM"
    key_hint = "Use a virtual key, or the master key, of the LiteLLM proxy"

    def is_proven_by(self, reply: Reply) -> bool:
        """Whether a reply has a header of LiteLLM, as some of its replies do."""
        return any(name.startswith("x-litellm-") for name in reply.headers)

    def is_suspected_by(self, reply: Reply) -> bool:
        """Whether a reply is LiteLLM's list, or its error for a missing or wrong key.

        LiteLLM looks up a key that it does not know in its database. Without a database, the error
        has the type `no_db_connection`.
        """
        listed = dicts_in(reply.object.get("data"))
        is_its_list = bool(listed) and all(row.get("created") == _CREATED for row in listed)
        is_server_error = reply.status == HTTPStatus.INTERNAL_SERVER_ERROR
        lacks_key = is_server_error and reply.body == _ERROR_WITHOUT_KEY  # it fails without a key
        has_wrong_key = dict_or_empty(reply.object.get("error")).get("type") == "no_db_connection"
        return is_its_list or lacks_key or has_wrong_key

    def is_confirmed_by(self, reply: Reply) -> bool:
        """Whether a reply is the health of LiteLLM, which needs no key."""
        return bool(reply.value == "I'm alive!")

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """Return the models of the list, with facts of each if the key may ask for them.

        A quick check does not ask for them.
        """
        models = await super().models(api)
        reply = None if api.is_quick else await api.get_extra("/model/info")
        if reply is None:
            return models
        infos = {
            str_or_empty(row.get("model_name")): dict_or_empty(row.get("model_info"))
            for row in dicts_in(reply.object.get("data"))
        }
        return tuple(_with_facts(model, infos.get(model.model_id, {})) for model in models)


def _with_facts(model: ModelInfo, info: dict[str, Any]) -> ModelInfo:
    """Return a model with the facts in `info`, its `model_info` from `/model/info`."""
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
