"""Facts of models that products add to the list which all of them have.

Each function takes a listed model and its row, or all listed models, the JSON of the product's own
list, and a function that makes a model of a row. A name that only that list has is not added, as it
could not be sent. What a server does not say stays unknown.
"""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.servers.http.json_values import (
    JsonObject,
    count_or_none,
    dict_or_empty,
    dicts_in,
    number_or_none,
    str_or_empty,
)
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.products.product import ModelOfRow, Models

_MILLION = 1e6
_MIN_BILLION = 0.95e9  # rounds to 1B


def has_word(value: object, word: str) -> bool | None:
    """Whether a list from a server has a word; None if the value is no list: it is not known."""
    return word in value if isinstance(value, list) else None


def bool_or_none(value: object) -> bool | None:
    """Return a value that is true or false; None for any other."""
    return value if isinstance(value, bool) else None


def params_text(count: object) -> str:
    """Return a number of parameters as people write it: 135M, 8B, 1.7B.

    Empty if it is not a number, or is below a million.
    """
    params = number_or_none(count) or 0.0
    if params < _MILLION:
        return ""
    if params < _MIN_BILLION:
        return f"{params / _MILLION:.0f}M"
    return f"{params / 1e9:.1f}".removesuffix(".0") + "B"


# Facts in the rows of the list


def vllm_row(model: ModelInfo, row: JsonObject) -> ModelInfo:
    """The server cannot load the model with another window, so this is also its largest one."""
    context = count_or_none(row.get("max_model_len"))
    return replace(model, context_loaded=context, context_max=context)


def mistral_row(model: ModelInfo, row: JsonObject) -> ModelInfo:
    """Mistral says which models cannot chat, but not what they do."""
    abilities = dict_or_empty(row.get("capabilities"))
    return replace(
        model,
        kind="other" if abilities.get("completion_chat") is False else "",
        context_max=count_or_none(row.get("max_context_length")),
        tools=bool_or_none(abilities.get("function_calling")),
        images=bool_or_none(abilities.get("vision")),
    )


def openrouter_row(model: ModelInfo, row: JsonObject) -> ModelInfo:
    """OpenRouter lists what goes in, what comes out, and the parameters that have an effect."""
    architecture = dict_or_empty(row.get("architecture"))
    outputs = architecture.get("output_modalities")
    parameters = row.get("supported_parameters")
    reasons = has_word(parameters, "reasoning") or has_word(parameters, "include_reasoning")
    return replace(
        model,
        # an empty list says nothing: a model is left out only if other outputs are named
        kind="other" if outputs and has_word(outputs, "text") is False else "",
        context_max=count_or_none(row.get("context_length")),
        tools=has_word(parameters, "tools"),
        images=has_word(architecture.get("input_modalities"), "image"),
        reasoning=reasons,
    )


# Facts in the product's own list


def jan_available(models: Models, value: object, model_of: ModelOfRow) -> Models:
    """Also return the models that do not run: Jan loads them on request, so these are names."""
    known = {"", *(model.model_id for model in models)}
    others = [
        model if model.is_remote else replace(model, state=LoadState.NOT_LOADED)
        for model in map(model_of, dicts_in(dict_or_empty(value).get("data")))
        if model.model_id not in known
    ]
    return (*models, *others)


def litellm_info(models: Models, value: object, _: ModelOfRow) -> Models:
    """`/model/info` may have several rows of one name, or none if the key may not ask."""
    infos = {
        str_or_empty(row.get("model_name")): dict_or_empty(row.get("model_info"))
        for row in dicts_in(dict_or_empty(value).get("data"))
    }
    return tuple(_with_litellm(model, infos.get(model.model_id, {})) for model in models)


def _with_litellm(model: ModelInfo, info: JsonObject) -> ModelInfo:
    mode = str_or_empty(info.get("mode"))
    return replace(
        model,
        kind="" if mode in ("", "chat", "completion", "responses") else mode,
        context_max=count_or_none(info.get("max_input_tokens")),
        tools=bool_or_none(info.get("supports_function_calling")),
        images=bool_or_none(info.get("supports_vision")),
        reasoning=bool_or_none(info.get("supports_reasoning")),
    )
