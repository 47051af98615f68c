"""Providers that are known by their host, and used where they are named."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.domain.product import Product
from lmchat.domain.server import ModelInfo
from lmchat.proxy.dialect import Dialect, JsonMode
from lmchat.proxy.json_values import mapping, whole
from lmchat.proxy.server_api import ServerApi
from lmchat.proxy.servers.base import Server, capabilities, has_word, lacks_word


class Hosted(Server):
    """A provider elsewhere; its models are always there."""

    start_hint = "Check the network, and the address"
    model_hint = "Choose a model with Ctrl+O or -m"
    load_hint = "Its models are always loaded"
    empty_hint = "Check what the account can use"


class OpenAi(Hosted):
    """The maker of the API."""

    product = Product.OPENAI
    hosts = ("api.openai.com",)
    efforts = EFFORTS
    seed_field = "seed"
    key_hint = "Create an API key at platform.openai.com/api-keys"
    dialect = Dialect(has_completion_tokens=True)


class Anthropic(Hosted):
    """Takes temperatures above 1 for 1, and neither seeds nor efforts."""

    product = Product.ANTHROPIC
    hosts = ("api.anthropic.com",)
    dialect = Dialect(json_modes=(JsonMode.WORDS,))  # `response_format` is ignored without a word
    key_hint = "Create an API key at console.anthropic.com/settings/keys"


class Gemini(Hosted):
    """Its address ends in /v1beta/openai."""

    product = Product.GEMINI
    hosts = ("generativelanguage.googleapis.com",)
    efforts = EFFORTS
    key_hint = "Create an API key at aistudio.google.com/apikey"


class Mistral(Hosted):
    """Refuses fields that it does not know."""

    product = Product.MISTRAL
    hosts = ("api.mistral.ai",)
    efforts = EFFORTS
    seed_field = "random_seed"
    key_hint = "Create an API key at console.mistral.ai/api-keys"
    dialect = Dialect(has_stream_options=False)

    def model(self, api: ServerApi, row: dict[str, Any]) -> ModelInfo:
        can = mapping(row.get("capabilities"))
        return replace(
            super().model(api, row),
            is_embedding=can.get("completion_chat") is False,
            context_max=whole(row.get("max_context_length")),
            capabilities=capabilities(
                tools=can.get("function_calling") is True, vision=can.get("vision") is True
            ),
            is_blind=can.get("vision") is False,
        )


class OpenRouter(Hosted):
    """Tells more of its models than the providers behind it do."""

    product = Product.OPENROUTER
    hosts = ("openrouter.ai",)
    efforts = EFFORTS
    seed_field = "seed"
    key_hint = "Create an API key at openrouter.ai/settings/keys"

    def model(self, api: ServerApi, row: dict[str, Any]) -> ModelInfo:
        """Return a model with window and abilities; one that makes no text cannot chat."""
        architecture = mapping(row.get("architecture"))
        inputs = architecture.get("input_modalities")
        outputs = architecture.get("output_modalities")
        parameters = row.get("supported_parameters")
        can_reason = has_word(parameters, "reasoning") or has_word(parameters, "include_reasoning")
        return replace(
            super().model(api, row),
            is_embedding=bool(outputs) and lacks_word(outputs, "text"),
            context_max=whole(row.get("context_length")),
            capabilities=capabilities(
                tools=has_word(parameters, "tools"),
                vision=has_word(inputs, "image"),
                reasoning=can_reason,
            ),
            is_blind=lacks_word(inputs, "image"),
        )

    def takes_effort(self, effort: str, model: ModelInfo | None) -> bool:
        """Whether the model reasons: for others the server drops the effort without an error."""
        known = model.capabilities if model is not None else ()
        can_reason = "reasoning" in known or not known
        return can_reason and super().takes_effort(effort, model)

    def effort_fields(self, effort: str) -> dict[str, Any]:
        return {"reasoning": {"effort": effort}}

    def _effort_note(
        self,
        effort: str,  # noqa: ARG002 - one reason for all
        model: ModelInfo | None,  # noqa: ARG002
    ) -> str:
        return "OpenRouter says that this model does not reason."
