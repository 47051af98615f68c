"""Providers on the internet, each recognised by its host.

A row is an object of JSON in the list of models that a provider sends. What it does not say is not
known: a model may then take images, for example.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.servers.http.json_values import JsonObject, count_or_none, dict_or_empty
from lmchat.servers.model import ModelInfo
from lmchat.servers.products.dialect import Dialect, JsonMode
from lmchat.servers.products.product import (
    OPENAI_SAMPLING,
    VLLM_SAMPLING,
    Product,
    capabilities,
    has_word,
    lacks_word,
)
from lmchat.servers.products.server_api import ServerApi


class Hosted(Product):
    """A provider; its models are always loaded."""

    start_step = "Check the network, and the address"
    silent_step = start_step  # no program of the user has the port
    model_step = "Choose a model with /model or -m"
    load_step = "Its models are always loaded"
    empty_step = "Check what the account can use"


class OpenAi(Hosted):
    """OpenAI."""

    name = "OpenAI"
    hosts = ("api.openai.com",)
    efforts = EFFORTS
    key_step = "Create an API key at platform.openai.com/api-keys"
    dialect = Dialect(has_completion_tokens=True)
    names_build = True
    sampling_fields: ClassVar = OPENAI_SAMPLING


class Anthropic(Hosted):
    """Anthropic; it reads temperatures above 1 as 1, and takes neither seeds nor efforts."""

    name = "Anthropic"
    hosts = ("api.anthropic.com",)
    dialect = Dialect(json_modes=(JsonMode.WORDS,))  # it ignores `response_format`
    key_step = "Create an API key at console.anthropic.com/settings/keys"


class Gemini(Hosted):
    """Gemini; its address ends in /v1beta/openai."""

    name = "Gemini"
    hosts = ("generativelanguage.googleapis.com",)
    efforts = EFFORTS
    key_step = "Create an API key at aistudio.google.com/apikey"


class Mistral(Hosted):
    """Mistral; it refuses fields that it does not know."""

    name = "Mistral"
    hosts = ("api.mistral.ai",)
    efforts = EFFORTS
    key_step = "Create an API key at console.mistral.ai/api-keys"
    dialect = Dialect(has_stream_options=False)
    sampling_fields: ClassVar = {"seed": "random_seed"}

    def model_from_row(self, api: ServerApi, row: JsonObject) -> ModelInfo:
        """Return the model of a row, also with its context window and abilities.

        A model that cannot chat counts as one for embeddings, so it is not offered for chats.
        It is blind only if the row denies vision.
        """
        abilities = dict_or_empty(row.get("capabilities"))
        return replace(
            super().model_from_row(api, row),
            is_embedding=abilities.get("completion_chat") is False,
            context_max=count_or_none(row.get("max_context_length")),
            capabilities=capabilities(
                tools=abilities.get("function_calling") is True,
                vision=abilities.get("vision") is True,
            ),
            is_blind=abilities.get("vision") is False,
        )


class OpenRouter(Hosted):
    """OpenRouter; it passes requests on to other providers."""

    name = "OpenRouter"
    hosts = ("openrouter.ai",)
    efforts = EFFORTS
    key_step = "Create an API key at openrouter.ai/settings/keys"
    sampling_fields: ClassVar = VLLM_SAMPLING

    def model_from_row(self, api: ServerApi, row: JsonObject) -> ModelInfo:
        """Return the model of a row, also with its context window and abilities.

        A model that makes no text, for example only images, counts as one for embeddings, so it is
        not offered for chats. It is blind if the row lists what it takes, and images are not there.
        """
        architecture = dict_or_empty(row.get("architecture"))
        inputs = architecture.get("input_modalities")
        outputs = architecture.get("output_modalities")
        parameters = row.get("supported_parameters")
        can_reason = has_word(parameters, "reasoning") or has_word(parameters, "include_reasoning")
        return replace(
            super().model_from_row(api, row),
            # an empty list says nothing: a model is left out only if other outputs are named
            is_embedding=bool(outputs) and lacks_word(outputs, "text"),
            context_max=count_or_none(row.get("context_length")),
            capabilities=capabilities(
                tools=has_word(parameters, "tools"),
                vision=has_word(inputs, "image"),
                reasoning=can_reason,
            ),
            is_blind=lacks_word(inputs, "image"),
        )

    def effort_fields(self, effort: str) -> JsonObject:
        """Return the field `reasoning`, which OpenRouter has in place of `reasoning_effort`."""
        return {"reasoning": {"effort": effort}}
