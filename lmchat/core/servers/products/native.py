"""Facts of models that products add to the list which all of them have.

Each function takes a model and its record, or all models and the JSON of the product's own list. A
name that only that list has is not added, as it could not be sent.
"""

from __future__ import annotations

from collections.abc import Container

from msgspec.structs import replace

from lmchat.base.json_values import (
    JsonObject,
    count_or_none,
    dict_or_empty,
    dicts_in,
    number_or_none,
    str_or_empty,
)
from lmchat.core.servers.events import PullProgress
from lmchat.core.servers.model import LoadState, ModelInfo
from lmchat.core.servers.products.product import Models

_MILLION = 1e6
_STATES = {state.value: state for state in LoadState}
_MIN_BILLION = 0.95e9  # rounds to 1B
_MOST_PARTS = 50_000  # of a download that are told apart; a model has a few hundred
_MAX_NAME_CHARS = 256  # by which parts are told apart


def has_word(value: object, word: str) -> bool | None:
    """Return None, not known, if `value` is no list."""
    return word in value if isinstance(value, list) else None


def bool_or_none(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def params_text(count: object) -> str:
    """Return such as 135M, 8B, 1.7B; "" below a million."""
    params = number_or_none(count) or 0.0
    if params < _MILLION:
        return ""
    if params < _MIN_BILLION:
        return f"{params / _MILLION:.0f}M"
    return f"{params / 1e9:.1f}".removesuffix(".0") + "B"


class PullSum:
    """Progress of a download in parts, of which `done` and `total` are fields.

    Each part changes the sums, which are not made again: the server says how many parts there are.
    """

    def __init__(self, *, done: str, total: str) -> None:
        self._fields = (done, total)
        self._parts: dict[str, tuple[int, int]] = {}  # bytes by name: done, total
        self._done_bytes = 0
        self._total_bytes = 0

    def keep(self, name: str, part: object) -> None:
        """Replace what the part of this name said before; leave out those beyond the limit."""
        name = name[:_MAX_NAME_CHARS]
        if name not in self._parts and len(self._parts) >= _MOST_PARTS:
            return
        record = dict_or_empty(part)
        done_before, total_before = self._parts.get(name, (0, 0))
        done, total = (count_or_none(record.get(field)) or 0 for field in self._fields)
        self._parts[name] = (done, total)
        self._done_bytes += done - done_before
        self._total_bytes += total - total_before

    @property
    def progress(self) -> PullProgress:
        return PullProgress(done_bytes=self._done_bytes, total_bytes=self._total_bytes or None)


# Facts in the records of the list


def _with_window(model: ModelInfo, tokens: object) -> ModelInfo:
    """For a server that cannot load the model with another window: this is also its largest one."""
    window = count_or_none(tokens)
    return replace(model, context_loaded=window, context_max=window)


def common_record(model: ModelInfo, record: JsonObject) -> ModelInfo:
    """Facts under names that several servers use, such as Together, Xinference and Groq."""
    windows = (count_or_none(record.get(name)) for name in _COMMON_WINDOWS)
    kind = str_or_empty(record.get("model_type") or record.get("type")).lower()
    return replace(
        _with_window(model, next(filter(None, windows), None)), kind=_COMMON_KINDS.get(kind, "")
    )


_COMMON_WINDOWS = ("max_model_len", "context_length", "context_window", "max_context_length")
_COMMON_KINDS = {
    "embedding": "embedding",
    "embeddings": "embedding",
    "rerank": "reranking",
    "reranker": "reranking",
    "image": "image",
    "audio": "speech",
    "moderation": "other",
}


def mistral_record(model: ModelInfo, record: JsonObject) -> ModelInfo:
    """Mistral says which models cannot chat, but not what they do."""
    abilities = dict_or_empty(record.get("capabilities"))
    return replace(
        _with_window(model, record.get("max_context_length")),
        kind="other" if abilities.get("completion_chat") is False else "",
        tools=bool_or_none(abilities.get("function_calling")),
        images=bool_or_none(abilities.get("vision")),
    )


def openrouter_record(model: ModelInfo, record: JsonObject) -> ModelInfo:
    architecture = dict_or_empty(record.get("architecture"))
    outputs = architecture.get("output_modalities")
    parameters = record.get("supported_parameters")
    return replace(
        _with_window(model, record.get("context_length")),
        # an empty list says nothing: a model is left out only if other outputs are named
        kind="other" if outputs and has_word(outputs, "text") is False else "",
        tools=has_word(parameters, "tools"),
        images=has_word(architecture.get("input_modalities"), "image"),
        reasoning=has_word(parameters, "reasoning") or has_word(parameters, "include_reasoning"),
    )


def llama_swap_record(model: ModelInfo, record: JsonObject) -> ModelInfo:
    """Only newer versions tell a state."""
    states = {"loaded": LoadState.LOADED, "unloaded": LoadState.NOT_LOADED}
    state = states.get(str_or_empty(dict_or_empty(record.get("status")).get("value")), model.state)
    aliases = dict_or_empty(dict_or_empty(record.get("meta")).get("llamaswap")).get("aliases")
    known = aliases if isinstance(aliases, list) else []
    return replace(
        model,
        state=state,
        aliases=tuple(alias for alias in known if str_or_empty(alias)),
    )


def docker_record(model: ModelInfo, record: JsonObject) -> ModelInfo:
    """The window is that with which the engine is started."""
    facts = dict_or_empty(record.get("dmr"))
    return replace(
        _with_window(model, facts.get("context_window")),
        params=str_or_empty(facts.get("parameters")),
        quantization=str_or_empty(facts.get("quantization")).removeprefix("MOSTLY_"),
    )


def lemonade_record(model: ModelInfo, record: JsonObject) -> ModelInfo:
    """Older versions have fewer labels."""
    labels = record.get("labels")
    known = labels if isinstance(labels, list) else []
    kinds = (kind for label, kind in _LEMONADE_KINDS.items() if label in known)
    if not model.is_remote:  # else the figures are those of local models
        size_gb = number_or_none(record.get("size"))
        model = replace(
            model,
            checkpoint=str_or_empty(record.get("checkpoint")),
            context_loaded=count_or_none(record.get("context_length")),
            context_max=count_or_none(record.get("max_context_window")),
            size_bytes=None if size_gb is None else round(size_gb * 1e9),
        )
    return replace(
        model,
        kind="" if "chat" in known else next(kinds, ""),
        tools="tool-calling" in known or None,  # not each model that can has the label
        images=has_word(labels, "vision"),
        reasoning=has_word(labels, "reasoning"),
    )


_LEMONADE_KINDS = {
    "embeddings": "embedding",
    "embedding": "embedding",
    "reranking": "reranking",
    "image": "image",
    "transcription": "speech",
    "tts": "speech",
}


def koboldcpp_record(model: ModelInfo, _: JsonObject) -> ModelInfo:
    """Without a model for text, KoboldCpp lists this name in its place."""
    return replace(model, kind="other" if model.model_id == "inactive" else "")


def lmchat_record(model: ModelInfo, record: JsonObject) -> ModelInfo:
    abilities = record.get("capabilities")
    kind = str_or_empty(record.get("type"))
    return replace(
        model,
        state=_STATES.get(str_or_empty(record.get("state")), model.state),
        kind="" if kind == "llm" else kind,
        context_loaded=count_or_none(record.get("context_loaded")),
        context_max=count_or_none(record.get("context_max")),
        tools=has_word(abilities, "tools") or None,
        images=has_word(abilities, "vision") or None,
        reasoning=has_word(abilities, "reasoning") or None,
    )


# Facts in the product's own list


def litellm_info(models: Models, value: object) -> Models:
    """It may have several records of one name, or none if the key may not ask."""
    infos: dict[str, JsonObject] = {}
    for record in dicts_in(dict_or_empty(value).get("data")):
        name = str_or_empty(record.get("model_name"))
        infos[name] = infos.get(name) or dict_or_empty(record.get("model_info"))
    return tuple(_with_litellm(model, infos.get(model.model_id, {})) for model in models)


def _with_litellm(model: ModelInfo, info: JsonObject) -> ModelInfo:
    mode = str_or_empty(info.get("mode"))
    return replace(
        _with_window(model, info.get("max_input_tokens")),
        kind="" if mode in ("", "chat", "completion", "responses") else mode,
        tools=bool_or_none(info.get("supports_function_calling")),
        images=bool_or_none(info.get("supports_vision")),
        reasoning=bool_or_none(info.get("supports_reasoning")),
    )


def with_states(
    models: Models, loaded: Container[object], remote: Container[object] = ()
) -> Models:
    def state_of(model: ModelInfo) -> LoadState:
        if model.is_remote or model.model_id in remote:
            return LoadState.REMOTE
        return LoadState.LOADED if model.model_id in loaded else LoadState.NOT_LOADED

    return tuple(replace(model, state=state_of(model)) for model in models)


def localai_facts(models: Models, value: object) -> Models:
    """`/system` names the backend of what is in memory; `/api/tags` that of all, as a family.

    The first may be for administrators alone, the second adds `:latest`. `/v1/models/capabilities`
    says what a model is for, if its settings tell it.
    """
    document = dict_or_empty(value)
    others = {
        str_or_empty(one.get("id"))
        for one in dicts_in(document.get("data"))
        if (known := one.get("capabilities"))
        and [has_word(known, word) for word in ("chat", "completion")] == [False, False]
    }
    models = tuple(
        replace(model, kind="other" if model.model_id in others else model.kind) for model in models
    )
    loaded = dicts_in(document.get("loaded_models"))
    remote = [
        record.get("id") or str_or_empty(record.get("name")).removesuffix(":latest")
        for record in (*loaded, *dicts_in(document.get("models")))
        if "cloud-proxy"
        in (record.get("backend"), dict_or_empty(record.get("details")).get("family"))
    ]
    return with_states(models, [record.get("id") for record in loaded], remote)


def lemonade_loaded(models: Models, value: object) -> Models:
    records = dicts_in(dict_or_empty(value).get("all_models_loaded"))
    loaded = [record.get(name) for record in records for name in ("model_name", "checkpoint")]
    names = [
        model.model_id
        for model in models
        if model.model_id in loaded or (model.checkpoint and model.checkpoint in loaded)
    ]
    return with_states(models, names)


def docker_loaded(models: Models, value: object) -> Models:
    """`/engines/ps` names models without `docker.io/` and `:latest`."""
    running = [record.get("model_name") for record in dicts_in(value)]
    return with_states(
        models,
        [
            model.model_id
            for model in models
            if model.model_id.removeprefix("docker.io/").removesuffix(":latest") in running
        ],
    )


def koboldcpp_window(models: Models, value: object) -> Models:
    """It serves one model, with one window."""
    return tuple(_with_window(model, dict_or_empty(value).get("value")) for model in models)


def tabby_loaded(models: Models, value: object) -> Models:
    """`/v1/model` is the one model in memory; the list has all folders, perhaps a dummy name."""
    record = dict_or_empty(value)
    facts = dict_or_empty(record.get("parameters"))
    return tuple(
        replace(
            _with_window(model, facts.get("max_seq_len")),
            slots=count_or_none(facts.get("max_batch_size")),
            images=bool_or_none(facts.get("use_vision")),
        )
        if model.state is LoadState.LOADED
        else model
        for model in with_states(models, [record.get("id")])
    )
